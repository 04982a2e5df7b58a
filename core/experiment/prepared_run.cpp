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
  if (spec.plan && *spec.plan != "none") run.plans = read_plan_file(*spec.plan);
  run.session = sessions ? sessions(spec.model) : std::make_shared<Session>(spec.model);
  if (run.plans) check_model(*run.plans, run.session->checkpoint().hash());
  run.methods = make_methods(spec, *run.session, run.device.device.type());
  run.prompt = prepare_prompt(spec, *run.session);
  for (const Method& method : run.methods.methods) {
    if (run.plans && method.options.name != "dense" && method.options.name != "oracle")
      find_plan(*run.plans, method.id, run.length(), run.methods.dense_layers, run.config());
  }
  return run;
}

}  // namespace headroom::experiment
