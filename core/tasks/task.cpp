// SPDX-License-Identifier: Apache-2.0
// Lists the tasks, fits a task's haystack to the wanted length and scores answers.
#include "tasks/task.h"

#include <algorithm>

#include "base/error.h"
#include "tasks/fit.h"
#include "tasks/generator.h"

namespace headroom::tasks {
namespace {

constexpr std::int64_t max_task_length = std::int64_t{1} << 24;

std::vector<Generator> generators_in_place() {
  auto all = generators();
  std::sort(all.begin(), all.end(), [](const Generator& a, const Generator& b) { return a.place < b.place; });
  return all;
}

Generator find_generator(const std::string& task) {
  const auto known = generators();
  const auto found = std::find_if(known.begin(), known.end(), [&](const Generator& g) { return g.info.name == task; });
  if (found != known.end()) return *found;
  std::string names;
  for (const std::string& name : task_names()) names += (names.empty() ? "" : ", ") + name;
  throw usage_error("there is no task '" + task + "'; known are: " + names);
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

}  // namespace

std::string to_string(Metric metric) {
  return metric == Metric::match_all ? "string_match_all" : "string_match_part";
}

Metric parse_metric(const std::string& name) {
  for (const Metric metric : {Metric::match_all, Metric::match_part})
    if (to_string(metric) == name) return metric;
  throw Error(ErrorKind::usage, "the metric is not known", {{}, "string_match_all or string_match_part", name});
}

std::vector<TaskInfo> task_infos() {
  std::vector<TaskInfo> infos;
  for (const Generator& generator : generators_in_place()) infos.push_back(generator.info);
  return infos;
}

TaskInfo task_info(const std::string& task) {
  return find_generator(task).info;
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const TaskInfo& info : task_infos()) names.push_back(info.name);
  return names;
}

Sample make_sample(const std::string& task, std::int64_t length, std::uint64_t seed,
                   const tokenizer::Tokenizer& tokenizer, std::int64_t overhead,
                   std::optional<std::int64_t> max_new_tokens, const Haystack* haystack) {
  const Generator generator = find_generator(task);
  if (length < 1 || length > max_task_length) {
    throw usage_error("the length of a task is 1 to " + std::to_string(max_task_length) + " tokens, not " +
                      std::to_string(length));
  }
  if (haystack && !generator.info.takes_haystack) {
    std::string names;
    for (const TaskInfo& info : task_infos())
      if (info.takes_haystack) names += (names.empty() ? "" : ", ") + info.name;
    throw usage_error("a text as haystack has no place in " + task + ": tasks that have one are " + names);
  }
  const auto make = [&](std::int64_t units, bool short_form) {
    Draft draft = generator.make({units, length, short_form, Random(task, seed), haystack});
    draft.sample.task = task;
    draft.sample.metric = generator.info.metric;
    draft.sample.max_new_tokens = max_new_tokens.value_or(generator.info.max_new_tokens);
    return draft;
  };
  return fit_sample(make, generator.has_short_form, task, length, tokenizer, overhead);
}

double score(const Sample& sample, const std::string& answer) {
  if (sample.references.empty()) return 0;
  const std::string text = lower(answer);
  const auto hits =
      std::count_if(sample.references.begin(), sample.references.end(),
                    [&](const std::string& reference) { return text.find(lower(reference)) != std::string::npos; });
  if (sample.metric == Metric::match_part) return hits > 0 ? 100 : 0;
  return 100.0 * static_cast<double>(hits) / static_cast<double>(sample.references.size());
}

}  // namespace headroom::tasks
