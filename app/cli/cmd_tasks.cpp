// SPDX-License-Identifier: Apache-2.0
// headroom tasks: what can be generated.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/json_fields.h"
#include "commands.h"
#include "standard_streams.h"
#include "tasks/task.h"

namespace headroom::cli {
namespace {

const char* family_of(const tasks::TaskInfo& info) {
  return info.in_family ? "in-family" : "out-of-family";
}

int list_tasks(bool as_json) {
  const auto infos = tasks::task_infos();
  if (as_json) {
    auto list = nlohmann::json::array();
    for (const tasks::TaskInfo& info : infos)
      list.push_back({{"name", info.name},
                      {"title", info.title},
                      {"definition", info.definition},
                      {"source", info.source},
                      {"metric", to_string(info.metric)},
                      {"graded", info.graded},
                      {"family", family_of(info)},
                      {"takes_haystack", info.takes_haystack},
                      {"max_new_tokens", info.max_new_tokens}});
    write_answer(dump_json({{"tasks", std::move(list)}}) + "\n");
    return 0;
  }
  std::size_t widest = 0;
  for (const tasks::TaskInfo& info : infos) widest = std::max(widest, info.name.size());
  for (const tasks::TaskInfo& info : infos) {
    write_answer(info.name + std::string(widest + 2 - info.name.size(), ' ') + info.title + ". " + info.definition +
                 "\n" + std::string(widest + 2, ' ') + (info.graded ? "Graded" : "Binary") + " " +
                 to_string(info.metric) + ", " + std::to_string(info.max_new_tokens) + " tokens for the answer, " +
                 family_of(info) + (info.takes_haystack ? ", takes --haystack" : "") + ".\n");
  }
  return 0;
}

}  // namespace

void add_tasks(CLI::App& app, Action& chosen) {
  const auto as_json = std::make_shared<bool>(false);
  auto* command =
      app.add_subcommand("tasks", "The tasks that can be generated: what each asks for and how it is scored");
  command->add_flag("--json", *as_json, "one JSON object, with sources");
  command->callback([as_json, &chosen] { chosen = [as_json] { return list_tasks(*as_json); }; });
}

}  // namespace headroom::cli
