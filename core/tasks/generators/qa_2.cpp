// SPDX-License-Identifier: Apache-2.0
// Question answering that joins two articles among others, as RULER's qa_2 does with HotpotQA (Hsieh et al. 2024,
// section 3); the articles are of this project's own making (qa_world.h).
#include "tasks/qa_world.h"

namespace headroom::tasks {
namespace {

/// A fact of a town that is named by the first article alone.
QaQuestion through_town(const std::string& described, const QaTown& town, const Article& first, std::uint64_t which) {
  const std::vector<Article> articles = {first, QaWorld::about(town)};
  switch (which) {
    case 0:
      return {"On which river lies the town where " + described + "?", {town.river}, articles};
    case 1:
      return {"In which year was the town founded where " + described + "?", {std::to_string(town.founded)}, articles};
    case 2:
      return {"What is the town known for where " + described + "?", {town.product}, articles};
    default:
      return {"Who was the first mayor of the town where " + described + "?", {town.mayor}, articles};
  }
}

/// A fact of the person who founded the works.
QaQuestion through_founder(const QaWorks& works, const QaPerson& person, std::uint64_t which) {
  const std::vector<Article> articles = {QaWorld::about(works), QaWorld::about(person)};
  const std::string founder = "the founder of the " + works.name;
  switch (which) {
    case 0:
      return {"In which town was " + founder + " born?", {person.birthplace}, articles};
    case 1:
      return {"From whom did " + founder + " learn the trade?", {person.teacher}, articles};
    case 2:
      return {"Which award did " + founder + " receive?", {person.prize}, articles};
    default:
      return {"In which year did " + founder + " die?", {std::to_string(person.died)}, articles};
  }
}

Draft make_qa_2(const Request& request) {
  constexpr std::uint64_t facts = 4;
  Random random = request.random;
  const Random places = random.fork();
  QaWorld world(random.fork());
  const std::uint64_t kind = random.below(3), which = random.below(facts);
  QaPerson person = world.person();
  const QaTown town = world.town();
  QaWorks works = world.works();
  QaQuestion question;
  if (kind == 0) {
    person.birthplace = town.name;
    question = through_town(person.name() + " was born", town, QaWorld::about(person), which);
  } else if (kind == 1) {
    works.town = town.name;
    question = through_town("the " + works.name + " was opened", town, QaWorld::about(works), which);
  } else {
    works.founder = person.name();
    question = through_founder(works, person, which);
  }
  for (const Article& article : question.articles) world.keep(article.title);
  for (const std::string& answer : question.answers) world.keep(answer);
  return qa_prompt(question, world, request, places);
}

}  // namespace

Generator entry_qa_2() {
  TaskInfo info;
  info.name = "qa_2";
  info.title = "Question, two documents";
  info.definition =
      "Short articles about invented people, towns and works. The question names a thing by what one article says of "
      "it "
      "and asks for a fact that is in another.";
  info.source = "RULER's qa_2 (HotpotQA there; Hsieh et al. 2024, arXiv 2404.06654), our wording and articles";
  info.metric = Metric::match_part;
  info.max_new_tokens = 32;
  return {13, info, make_qa_2};
}

}  // namespace headroom::tasks
