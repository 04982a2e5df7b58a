// SPDX-License-Identifier: Apache-2.0
#include "tasks/needles.h"

#include <algorithm>
#include <array>
#include <functional>

#include "tasks/essay.h"

namespace headroom::tasks {
namespace {

constexpr auto noise_sentences = std::to_array<std::string_view>(
    {"The lamp is on.", "The cup is full.", "The door is shut.", "We wait a while.", "Then it all starts anew."});
constexpr auto per_noise_line = static_cast<std::int64_t>(noise_sentences.size());

struct Fact {
  std::string key, value;
};

class NeedlePrompt {
 public:
  NeedlePrompt(const NeedleSetup& setup, const Request& request)
      : setup_(setup),
        units_(request.units),
        random_(request.random),
        keys_(random_.fork(), static_cast<std::size_t>(setup.keys)),
        essay_(random_.fork(), request.haystack),
        others_(random_.fork()) {}

  Draft make() {
    make_facts();
    Draft draft;
    std::string& prompt = draft.sample.prompt;
    const bool one = setup_.queries * setup_.values == 1;
    prompt = "The text below tells " + noun() + "s. Read all of it carefully: at the end there is a question about " +
             (one ? "one" : "several") + " of them.\n";
    switch (setup_.haystack) {
      case HaystackKind::noise:
        prompt += noise_lines(units_, [&](std::int64_t line) { return taken_at(line, noise_gaps(units_), "\n"); });
        break;
      case HaystackKind::essay:
        add_essay(prompt);
        break;
      case HaystackKind::needles:
        add_other_needles(prompt);
    }
    draft.pad_at = prompt.size();
    ask(draft.sample, one);
    return draft;
  }

 private:
  std::string noun() const { return setup_.uuid_values ? "pass code" : "pass number"; }
  std::string key() { return setup_.uuid_keys ? random_uuid(random_) : keys_.next(); }
  std::string value(Random& random) const { return setup_.uuid_values ? random_uuid(random) : random_number(random); }
  std::string sentence(const Fact& fact) const {
    return (setup_.values > 1 ? "One of the " + noun() + "s for " : "The " + noun() + " for ") + fact.key + " is " +
           fact.value + ".";
  }

  void make_facts() {
    for (int k = 0; k < setup_.keys; ++k) {
      asked_.push_back(key());
      for (int v = 0; v < setup_.values; ++v) {
        std::string number = value(random_);
        while (is_taken(number)) number = value(random_);
        facts_.push_back({asked_.back(), std::move(number)});
      }
    }
    asked_.resize(static_cast<std::size_t>(setup_.queries));
    for (const Fact& fact : facts_)
      if (std::find(asked_.begin(), asked_.end(), fact.key) != asked_.end()) references_.push_back(fact.value);
    shuffle(facts_, random_);
    for (std::size_t i = 0; i < facts_.size(); ++i) depths_.push_back(random_.uniform());
    std::sort(depths_.begin(), depths_.end());
  }
  bool is_taken(const std::string& value) const {
    return std::any_of(facts_.begin(), facts_.end(), [&](const Fact& fact) { return fact.value == value; });
  }

  /// The facts whose depth is that gap of `gaps`, each followed by `end`; gaps are asked for in their order.
  std::string taken_at(std::int64_t gap, std::int64_t gaps, const char* end) {
    std::string text;
    for (; next_ < facts_.size(); ++next_) {
      if (static_cast<std::int64_t>(depths_[next_] * static_cast<double>(gaps)) > gap) break;
      text += sentence(facts_[next_]) + end;
    }
    return text;
  }

  void add_essay(std::string& prompt) {
    for (std::int64_t i = 0; i < units_; ++i) {
      prompt += taken_at(i, units_ + 1, " ");
      const Essay::Sentence next = essay_.next();
      prompt += next.text;
      prompt += next.ends_paragraph || i + 1 == units_ ? '\n' : ' ';
    }
    const std::string last = taken_at(units_, units_ + 1, " ");
    if (!last.empty()) prompt += last.substr(0, last.size() - 1) + '\n';
  }

  void add_other_needles(std::string& prompt) {
    for (std::int64_t i = 0; i < units_; ++i) {
      prompt += taken_at(i, units_ + 1, "\n");
      Fact other{setup_.uuid_keys ? random_uuid(others_) : keys_.next(), value(others_)};
      while (is_taken(other.value)) other.value = value(others_);
      prompt += sentence(other) + '\n';
    }
    prompt += taken_at(units_, units_ + 1, "\n");
  }

  void ask(Sample& sample, bool one) const {
    const std::string what = noun() + (one ? " for " : "s for ") + listed(asked_);
    sample.prompt += (one ? "What is the " : "What are all the ") + what + " that the text tells?";
    sample.answer_prefix = " The " + what + " that the text tells " + (one ? "is" : "are");
    sample.references = references_;
  }

  const NeedleSetup& setup_;
  std::int64_t units_;
  Random random_;
  Keys keys_;
  Essay essay_;
  Random others_;  ///< values of the needles in the haystack
  std::vector<std::string> asked_, references_;
  std::vector<Fact> facts_;     ///< in the order of the text
  std::vector<double> depths_;  ///< of facts_, 0 … 1
  std::size_t next_ = 0;        ///< of facts_, to be put down
};

}  // namespace

Draft make_needles(const NeedleSetup& setup, const Request& request) {
  return NeedlePrompt(setup, request).make();
}

std::int64_t noise_gaps(std::int64_t count) {
  return (count + per_noise_line - 1) / per_noise_line + 1;
}

std::string noise_lines(std::int64_t count, const std::function<std::string(std::int64_t)>& between) {
  std::string text;
  for (std::int64_t line = 0; line < noise_gaps(count); ++line) {
    text += between(line);
    for (std::int64_t i = line * per_noise_line; i < std::min(count, (line + 1) * per_noise_line); ++i) {
      text += noise_sentences[static_cast<std::size_t>(i % per_noise_line)];
      text += i + 1 == count || i % per_noise_line == per_noise_line - 1 ? '\n' : ' ';
    }
  }
  return text;
}

TaskInfo needle_info(const char* name, const char* title, const char* definition, const NeedleSetup& setup) {
  TaskInfo info;
  info.name = name;
  info.title = title;
  info.definition = definition;
  info.source = std::string("RULER's ") + name + " (Hsieh et al. 2024, arXiv 2404.06654), our wording and texts";
  info.in_family = true;
  info.graded = setup.queries * setup.values > 1;
  info.takes_haystack = setup.haystack == HaystackKind::essay;
  info.max_new_tokens = 128;
  return info;
}

}  // namespace headroom::tasks
