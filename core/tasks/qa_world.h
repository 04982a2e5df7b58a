// SPDX-License-Identifier: Apache-2.0
// The invented world of the qa tasks: short articles about people, towns and works, each sentence a fact, none of it
// true or taken from anywhere.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "tasks/generator.h"

namespace headroom::tasks {

struct Article {
  std::string title;
  std::vector<std::string> sentences;
};

struct QaPerson {
  std::string first, last, role, birthplace, teacher, prize, residence, work;
  std::int64_t born = 0, finished = 0, died = 0, collected = 0;
  std::string name() const { return first + " " + last; }
};
struct QaTown {
  std::string name, river, product, tower, feast, mayor;
  std::int64_t founded = 0, inhabitants = 0, height = 0;
};
struct QaWorks {
  std::string name, town, founder, product, model, later_town;
  std::int64_t opened = 0, hands = 0, closed = 0;
};

/// Titles never repeat (there are some thousand of each kind); names that are only mentioned may, but for those that
/// were kept.
class QaWorld {
 public:
  explicit QaWorld(Random random);

  QaPerson person();
  QaTown town();
  QaWorks works();
  /// Of a random kind, about something new.
  Article article();

  static Article about(const QaPerson& person);
  static Article about(const QaTown& town);
  static Article about(const QaWorks& works);

  /// From now on `name` is mentioned by nothing new.
  void keep(const std::string& name) { kept_.insert(name); }

 private:
  std::string new_name(std::vector<std::uint32_t>& order, std::size_t& taken, std::string (*spell)(std::size_t));
  std::string any_person();
  std::string any_town();
  std::int64_t between(std::int64_t lowest, std::int64_t highest);

  Random random_;
  std::set<std::string> kept_;
  std::vector<std::uint32_t> people_, towns_, works_;  ///< orders in which names are taken
  std::size_t people_taken_ = 0, towns_taken_ = 0, works_taken_ = 0;
};

/// A question, its answers (any of which will do), and the articles that answer it.
struct QaQuestion {
  std::string text;
  std::vector<std::string> answers;
  std::vector<Article> articles;
};

/// The articles of `question` among others of `world` at random places, and the question. A unit is a sentence of the
/// others.
Draft qa_prompt(const QaQuestion& question, QaWorld& world, const Request& request, Random places);

}  // namespace headroom::tasks
