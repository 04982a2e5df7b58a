// SPDX-License-Identifier: Apache-2.0
// The text of a prompt or a message from its file: what can be read is read, once; what is no text is refused by what
// it is; what a person may not know to be there is said.
#pragma once

#include <string>

#include "base/progress.h"
#include "protocol/run_spec.h"
#include "tasks/text_input.h"

namespace headroom::experiment {

/// A regular file, or what can be read but once: a pipe, a FIFO (its writer is waited for, until a stop of `job`), a
/// terminal. Throws input errors naming the file: nothing there, a folder, or more than a prompt may have.
std::string read_prompt_file(const std::string& file, const JobContext& job);

using tasks::check_prompt_text;
using tasks::prompt_text_notes;

/// Throws an input error for files of the specification that can be read but once: an engine reads them when it is
/// asked what a run will need, and again when the run begins.
void require_regular_files(const protocol::RunSpec& spec);

}  // namespace headroom::experiment
