// SPDX-License-Identifier: Apache-2.0
// Variable tracking: RULER's vt with one chain of four hops in noise (Hsieh et al. 2024, section 3), after a worked
// example; the wording is this project's own.
#include <algorithm>

#include "tasks/needles.h"

namespace headroom::tasks {
namespace {

constexpr int vt_hops = 4, vt_variables = vt_hops + 1;

struct Chain {
  std::string value;
  std::vector<std::string> variables;
};

Chain make_chain(Random& random, int letters) {
  Chain chain;
  chain.value = std::to_string(10'000 + random.below(90'000));
  while (chain.variables.size() < vt_variables) {
    std::string name = random_letters(random, letters, 'A');
    if (std::find(chain.variables.begin(), chain.variables.end(), name) == chain.variables.end())
      chain.variables.push_back(std::move(name));
  }
  return chain;
}

/// The text with the chain's assignments in their order at random depths, and the question. A unit is a sentence.
std::string vt_text(const Chain& chain, std::int64_t units, Random& random) {
  std::vector<double> depths;
  for (int i = 0; i < vt_variables; ++i) depths.push_back(random.uniform());
  std::sort(depths.begin(), depths.end());
  std::size_t next = 0;
  const auto gaps = noise_gaps(units);
  return noise_lines(units, [&](std::int64_t gap) {
    std::string lines;
    for (; next < depths.size() && static_cast<std::int64_t>(depths[next] * static_cast<double>(gaps)) <= gap; ++next)
      lines += "SET " + chain.variables[next] + " = " + (next == 0 ? chain.value : chain.variables[next - 1]) + "\n";
    return lines;
  });
}

std::string vt_question(const Chain& chain) {
  return "Question: which variables hold the value " + chain.value + " after all the assignments above?";
}

std::string vt_prefix(const Chain& chain) {
  return " Answer: following the assignments, " + std::to_string(vt_variables) + " variables hold the value " +
         chain.value + ":";
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += " " + word;
  return text;
}

Draft make_vt(const Request& request) {
  constexpr const char* introduction =
      "Follow the assignments of variables that are hidden in the text below: a variable is set to a number or to what "
      "another variable holds.\n";
  constexpr std::int64_t example_sentences = 15;
  Random random = request.random;
  Random example_random = random.fork(), depth_random = random.fork();
  const Chain example = make_chain(example_random, 3), chain = make_chain(random, 5);
  Draft draft;
  std::string& prompt = draft.sample.prompt;
  prompt = introduction + vt_text(example, example_sentences, example_random) + vt_question(example) +
           vt_prefix(example) + joined(example.variables) + "\n\n" + introduction +
           vt_text(chain, request.units, depth_random);
  draft.pad_at = prompt.size();
  prompt += vt_question(chain);
  draft.sample.answer_prefix = vt_prefix(chain);
  draft.sample.references = chain.variables;
  return draft;
}

}  // namespace

Generator entry_vt() {
  TaskInfo info;
  info.name = "vt";
  info.title = "Variable tracking";
  info.definition =
      "A number is passed on from variable to variable, five in all, by assignments hidden in noise. All variables "
      "that "
      "hold it are asked for, after a worked example.";
  info.source = "RULER's vt: 1 chain, 4 hops (Hsieh et al. 2024, arXiv 2404.06654), our wording";
  info.graded = true;
  info.max_new_tokens = 30;
  return {9, info, make_vt};
}

}  // namespace headroom::tasks
