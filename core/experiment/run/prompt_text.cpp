// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/prompt_text.h"

#include "base/error.h"
#include "base/input_file.h"

namespace headroom::experiment {

std::string read_prompt_file(const std::string& file, const JobContext& job) {
  return read_input_file(file, {"a text file", tasks::prompt_too_large, tasks::max_prompt_bytes}, job);
}

void require_regular_files(const protocol::RunSpec& spec) {
  for (const auto& file : {spec.prompt_file, spec.prompts, spec.haystack, spec.system_file, spec.plan})
    if (file && reads_once(*file))
      throw input_error(*file, "cannot be read twice, as an engine does", "a regular file", "a pipe or a device");
}

}  // namespace headroom::experiment
