// SPDX-License-Identifier: Apache-2.0
#include "experiment/prepared_run.h"

#include <algorithm>

#include "base/paths.h"

namespace headroom::experiment {
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
