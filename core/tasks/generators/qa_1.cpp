// SPDX-License-Identifier: Apache-2.0
// Question answering over one article among others, as RULER's qa_1 does with SQuAD (Hsieh et al. 2024, section 3); the
// articles are of this project's own making (qa_world.h).
#include "tasks/qa_world.h"

namespace headroom::tasks {
namespace {

QaQuestion qa_1_about(const QaPerson& p, std::uint64_t which) {
  const Article article = QaWorld::about(p);
  switch (which) {
    case 0:
      return {"In which town was " + p.name() + " born?", {p.birthplace}, {article}};
    case 1:
      return {"From whom did " + p.name() + " learn the trade?", {p.teacher}, {article}};
    case 2:
      return {"Which award did " + p.name() + " receive?", {p.prize}, {article}};
    case 3:
      return {"How many letters by " + p.name() + " have survived?", {std::to_string(p.collected)}, {article}};
    default:
      return {"In which year did " + p.name() + " die?", {std::to_string(p.died)}, {article}};
  }
}

QaQuestion qa_1_about(const QaTown& t, std::uint64_t which) {
  const Article article = QaWorld::about(t);
  switch (which) {
    case 0:
      return {"On which river does " + t.name + " lie?", {t.river}, {article}};
    case 1:
      return {"In which year was " + t.name + " founded?", {std::to_string(t.founded)}, {article}};
    case 2:
      return {"What is the town of " + t.name + " known for?", {t.product}, {article}};
    case 3:
      return {"Which is the tallest building of " + t.name + "?", {t.tower}, {article}};
    default:
      return {"Who was the first mayor of " + t.name + "?", {t.mayor}, {article}};
  }
}

QaQuestion qa_1_about(const QaWorks& w, std::uint64_t which) {
  const Article article = QaWorld::about(w);
  switch (which) {
    case 0:
      return {"In which town was the " + w.name + " opened?", {w.town}, {article}};
    case 1:
      return {"Who was the founder of the " + w.name + "?", {w.founder}, {article}};
    case 2:
      return {"How many people worked at the " + w.name + " at its height?", {std::to_string(w.hands)}, {article}};
    case 3:
      return {"To which town was the " + w.name + " moved after a fire?", {w.later_town}, {article}};
    default:
      return {"In which year did the " + w.name + " close?", {std::to_string(w.closed)}, {article}};
  }
}

Draft make_qa_1(const Request& request) {
  constexpr std::uint64_t facts = 5;
  Random random = request.random;
  const Random places = random.fork();
  QaWorld world(random.fork());
  const std::uint64_t kind = random.below(3), which = random.below(facts);
  const QaQuestion question = kind == 0   ? qa_1_about(world.person(), which)
                              : kind == 1 ? qa_1_about(world.town(), which)
                                          : qa_1_about(world.works(), which);
  world.keep(question.articles[0].title);
  for (const std::string& answer : question.answers) world.keep(answer);
  return qa_prompt(question, world, request, places);
}

}  // namespace

Generator entry_qa_1() {
  TaskInfo info;
  info.name = "qa_1";
  info.title = "Question, one document";
  info.definition = "Short articles about invented people, towns and works. A fact of one of them is asked for.";
  info.source = "RULER's qa_1 (SQuAD there; Hsieh et al. 2024, arXiv 2404.06654), our wording and articles";
  info.metric = Metric::match_part;
  info.max_new_tokens = 32;
  return {12, info, make_qa_1};
}

}  // namespace headroom::tasks
