// SPDX-License-Identifier: Apache-2.0
#include "experiment/prepared_run.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"

namespace headroom::experiment {
namespace {

/// Refused before an hour of work rather than after it.
void check_output(const std::string& out) {
  const std::filesystem::path file(out);
  std::error_code ignored;
  const auto folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  if (!std::filesystem::is_directory(folder, ignored))
    throw input_error(out, "the record cannot be written", "an existing folder", folder.string());
  if (std::filesystem::is_directory(file, ignored))
    throw input_error(out, "the record cannot be written", "a file name", "a folder");
}

}  // namespace

std::int64_t PreparedRun::full_layers() const {
  return std::count(config().layers.begin(), config().layers.end(), checkpoint::LayerKind::full);
}

PreparedRun prepare_run(const protocol::RunSpec& spec, const SessionProvider& sessions) {
  protocol::validate(spec);
  PreparedRun run;
  run.spec = spec;
  run.device = model::open_device(spec.device);
  run.dtype = resolve_dtype(spec.dtype, run.device.device);
  if (spec.out) check_output(*spec.out);
  run.session = sessions ? sessions(spec.model) : std::make_shared<Session>(spec.model);
  run.methods = make_methods(spec, *run.session);
  run.prompt = prepare_prompt(spec, *run.session);
  return run;
}

}  // namespace headroom::experiment
