// SPDX-License-Identifier: Apache-2.0
// Each task is what RULER's definition says, read back from its text: needles and their depths, chains, frequencies,
// documents. The reading here knows nothing of the generators.
#include <QRegularExpression>
#include <QtTest>
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "support/tiny_model.h"
#include "task_tokenizers.h"
#include "tasks/fit.h"
#include "tasks/generator.h"
#include "tasks/task.h"

using namespace headroom;
using tasks::Sample;

namespace {

using Strings = std::vector<std::string>;

struct Fact {
  std::string key, value;
  std::size_t at = 0;
};

/// "The pass number for KEY is VALUE." and its like.
std::vector<Fact> facts_of(const std::string& prompt) {
  static const QRegularExpression sentence("(?:The|One of the) pass (?:number|code)s? for (\\S+) is ([0-9a-f-]+)\\.");
  std::vector<Fact> facts;
  for (auto it = sentence.globalMatch(QString::fromStdString(prompt)); it.hasNext();) {
    const auto match = it.next();
    facts.push_back({match.captured(1).toStdString(), match.captured(2).toStdString(),
                     static_cast<std::size_t>(match.capturedStart())});
  }
  return facts;
}

std::string last_line(const std::string& text) {
  return text.substr(text.rfind('\n') + 1);
}

Strings sorted(Strings list) {
  std::sort(list.begin(), list.end());
  return list;
}

std::size_t occurrences(const std::string& text, const std::string& wanted) {
  std::size_t count = 0;
  for (auto at = text.find(wanted); at != std::string::npos; at = text.find(wanted, at + 1)) ++count;
  return count;
}

/// "1. word 2. word …" of one line; the numbers must ascend from 1.
std::map<std::string, int> numbered(const std::string& line) {
  static const QRegularExpression entry("(\\d+)\\. (\\S+)");
  std::map<std::string, int> counts;
  int number = 0;
  for (auto it = entry.globalMatch(QString::fromStdString(line)); it.hasNext();) {
    const auto match = it.next();
    if (match.captured(1).toInt() != ++number) return {};
    ++counts[match.captured(2).toStdString()];
  }
  return counts;
}

struct Document {
  std::string title, text;
};
std::vector<Document> documents_of(const std::string& prompt) {
  static const QRegularExpression document("Document (\\d+): (.+)\\n(.+)\\n");
  std::vector<Document> list;
  for (auto it = document.globalMatch(QString::fromStdString(prompt)); it.hasNext();) {
    const auto match = it.next();
    if (match.captured(1).toULongLong() != list.size() + 1) return {};
    list.push_back({match.captured(2).toStdString(), match.captured(3).toStdString()});
  }
  return list;
}

}  // namespace

class TestTaskStructure : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_;

  Sample make(const char* task, std::int64_t length, std::uint64_t seed) const {
    return tasks::make_sample(task, length, seed, *tokenizer_, 0);
  }

 private slots:
  void initTestCase() {
    const auto file = test::write_tiny_model(folder_.filePath("tiny.gguf").toStdString(), {.layers = 1});
    tokenizer_ = tokenizer::make_tokenizer(*checkpoint::open_checkpoint(file));
  }

  void there_are_rulers_thirteen() {
    const Strings names = {"niah_single_1",
                           "niah_single_2",
                           "niah_single_3",
                           "niah_multikey_1",
                           "niah_multikey_2",
                           "niah_multikey_3",
                           "niah_multivalue",
                           "niah_multiquery",
                           "vt",
                           "cwe",
                           "fwe",
                           "qa_1",
                           "qa_2"};
    QCOMPARE(tasks::task_names(), names);
    const std::map<std::string, std::int64_t> room = {
        {"vt", 30}, {"cwe", 120}, {"fwe", 50}, {"qa_1", 32}, {"qa_2", 32}};
    const std::set<std::string> graded = {"niah_multivalue", "niah_multiquery", "vt", "cwe", "fwe"};
    for (const tasks::TaskInfo& info : tasks::task_infos()) {
      const bool needle = info.name.starts_with("niah");
      QVERIFY(!info.title.empty() && info.definition.ends_with('.') && info.source.find("RULER") != std::string::npos);
      QCOMPARE(info.in_family, needle);
      QCOMPARE(info.max_new_tokens, needle ? 128 : room.at(info.name));
      QCOMPARE(info.metric == tasks::Metric::match_part, info.name.starts_with("qa"));
      QCOMPARE(info.graded, graded.contains(info.name));
      const Sample sample = make(info.name.c_str(), 2500, 1);
      QCOMPARE(sample.metric, info.metric);
      QCOMPARE(sample.max_new_tokens, info.max_new_tokens);
      QCOMPARE(sample.references.size() > 1 && info.metric == tasks::Metric::match_all, info.graded);
      QCOMPARE(tasks::task_info(info.name).title, info.title);
    }
  }

  void needles_data() {
    QTest::addColumn<int>("keys");
    QTest::addColumn<int>("values");
    QTest::addColumn<int>("queries");
    QTest::addColumn<QString>("haystack");
    QTest::addColumn<bool>("uuid_keys");
    QTest::addColumn<bool>("uuid_values");
    const auto row = [](const char* task, int keys, int values, int queries, const char* haystack, bool uuid_keys,
                        bool uuid_values) {
      QTest::newRow(task) << keys << values << queries << QString(haystack) << uuid_keys << uuid_values;
    };
    row("niah_single_1", 1, 1, 1, "noise", false, false);
    row("niah_single_2", 1, 1, 1, "essay", false, false);
    row("niah_single_3", 1, 1, 1, "essay", false, true);
    row("niah_multikey_1", 4, 1, 1, "essay", false, false);
    row("niah_multikey_2", 1, 1, 1, "needles", false, false);
    row("niah_multikey_3", 1, 1, 1, "needles", true, true);
    row("niah_multivalue", 1, 4, 1, "essay", false, false);
    row("niah_multiquery", 4, 1, 4, "essay", false, false);
  }
  void needles() {
    QFETCH(int, keys);
    QFETCH(int, values);
    QFETCH(int, queries);
    QFETCH(QString, haystack);
    QFETCH(bool, uuid_keys);
    QFETCH(bool, uuid_values);
    const QRegularExpression uuid("^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$");
    const QRegularExpression word("^[a-z]+-[a-z]+$"), number("^[1-9][0-9]{6}$");
    std::vector<double> depths;
    std::set<std::string> asked_of_all;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
      const Sample sample = make(QTest::currentDataTag(), 3000, seed);
      const auto facts = facts_of(sample.prompt);
      Strings asked, all_keys, answers;
      for (const Fact& fact : facts) {
        QVERIFY((uuid_keys ? uuid : word).match(QString::fromStdString(fact.key)).hasMatch());
        QVERIFY((uuid_values ? uuid : number).match(QString::fromStdString(fact.value)).hasMatch());
        all_keys.push_back(fact.key);
        if (last_line(sample.prompt).find(fact.key) == std::string::npos) continue;
        asked.push_back(fact.key);
        answers.push_back(fact.value);
        depths.push_back(static_cast<double>(fact.at) / static_cast<double>(sample.prompt.size()));
      }
      const auto distinct = static_cast<int>(std::set(all_keys.begin(), all_keys.end()).size());
      if (haystack == "needles") {
        QVERIFY(facts.size() >= 10);
        QCOMPARE(distinct, static_cast<int>(facts.size()));
      } else {
        QCOMPARE(static_cast<int>(facts.size()), keys * values);
        QCOMPARE(distinct, keys);
      }
      QCOMPARE(static_cast<int>(std::set(asked.begin(), asked.end()).size()), queries);
      QCOMPARE(static_cast<int>(answers.size()), queries * values);
      QCOMPARE(sorted(answers), sorted(sample.references));
      for (const std::string& reference : sample.references)
        QCOMPARE(occurrences(sample.prompt, reference), std::size_t{1});
      for (const std::string& key : asked) QVERIFY(sample.answer_prefix.find(key) != std::string::npos);
      asked_of_all.insert(asked[0]);
      QCOMPARE(sample.prompt.find("The lamp is on. The cup is full.") != std::string::npos, haystack == "noise");
      if (haystack == "essay") {
        const auto sentences = static_cast<int>(std::count(sample.prompt.begin(), sample.prompt.end(), '.'));
        QVERIFY(sentences > 20);
      }
    }
    QCOMPARE(asked_of_all.size(), std::size_t{60});
    // Depths are spread evenly: each quarter of the text holds its share of the asked needles.
    int quarters[4] = {};
    for (const double depth : depths) ++quarters[std::min(3, static_cast<int>(depth * 4))];
    const double share = static_cast<double>(depths.size()) / 4;
    for (const int count : quarters)
      QVERIFY2(count > share * 0.4 && count < share * 1.8, qPrintable(QString::number(count)));
  }

  // What is asked for is in no fixed place of the order: the first of four as often as the last.
  void the_asked_needle_is_any_of_the_four() {
    int places[4] = {};
    for (std::uint64_t seed = 1; seed <= 80; ++seed) {
      const Sample sample = make("niah_multikey_1", 1000, seed);
      const auto facts = facts_of(sample.prompt);
      QCOMPARE(facts.size(), std::size_t{4});
      for (int i = 0; i < 4; ++i)
        if (facts[static_cast<std::size_t>(i)].value == sample.references[0]) ++places[i];
    }
    for (const int count : places) QVERIFY(count > 8 && count < 36);
  }

  void essays_hardly_repeat_a_sentence() {
    const Sample sample = make("niah_single_2", 400'000, 3);
    std::map<std::string, int> counts;
    int sentences = 0, most = 0;
    const QStringList list = QString::fromStdString(sample.prompt).split(QRegularExpression("(?<=[.])\\s"));
    for (const QString& sentence : list) {
      ++sentences;
      most = std::max(most, ++counts[sentence.toStdString()]);
    }
    const double distinct = static_cast<double>(counts.size()) / sentences;
    qInfo("%d sentences, %.1f %% distinct, one at most %d times", sentences, 100 * distinct, most);
    QVERIFY(sentences > 5000);
    QVERIFY2(distinct > 0.995 && most <= 2, qPrintable(QString::number(distinct)));
    for (const auto& [sentence, count] : counts) QVERIFY2(sentence.find('%') == std::string::npos, sentence.c_str());
  }

  void variables_are_passed_on_four_times() {
    static const QRegularExpression assignment("^SET ([A-Z]+) = ([A-Z0-9]+)$", QRegularExpression::MultilineOption);
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
      const Sample sample = make("vt", 1800, seed);
      std::vector<std::pair<std::string, std::string>> all;
      for (auto it = assignment.globalMatch(QString::fromStdString(sample.prompt)); it.hasNext();) {
        const auto match = it.next();
        all.emplace_back(match.captured(1).toStdString(), match.captured(2).toStdString());
      }
      QCOMPARE(all.size(), std::size_t{10});  // five of the example, five of the chain
      for (std::size_t first : {std::size_t{0}, std::size_t{5}}) {
        QCOMPARE(all[first].second.size(), std::size_t{5});
        QVERIFY(std::all_of(all[first].second.begin(), all[first].second.end(),
                            [](char c) { return c >= '0' && c <= '9'; }));
        Strings names;
        for (std::size_t i = first; i < first + 5; ++i) {
          if (i > first) QCOMPARE(all[i].second, all[i - 1].first);
          QCOMPARE(all[i].first.size(), std::size_t{first == 0 ? 3u : 5u});
          names.push_back(all[i].first);
        }
        QCOMPARE(std::set(names.begin(), names.end()).size(), std::size_t{5});
        if (first == 5) {
          QCOMPARE(sample.references, names);
          QVERIFY(last_line(sample.prompt).find(all[first].second) != std::string::npos);
          QVERIFY(sample.answer_prefix.find(all[first].second) != std::string::npos);
        } else {  // the example shows how to answer
          std::string answer;
          for (const std::string& name : names) answer += " " + name;
          QVERIFY(sample.prompt.find(all[first].second + ":" + answer + "\n") != std::string::npos);
        }
      }
    }
  }

  void common_words_are_the_frequent_ones_data() {
    QTest::addColumn<qint64>("length");
    QTest::addColumn<int>("common");
    QTest::addColumn<int>("uncommon");
    QTest::newRow("short") << qint64{2500} << 6 << 1;
    QTest::newRow("full") << qint64{9000} << 30 << 3;
    QTest::newRow("with pairs") << qint64{40000} << 30 << 3;
  }
  void common_words_are_the_frequent_ones() {
    QFETCH(qint64, length);
    QFETCH(int, common);
    QFETCH(int, uncommon);
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      const Sample sample = make("cwe", length, seed);
      const QStringList lines = QString::fromStdString(sample.prompt).split('\n');
      std::vector<std::map<std::string, int>> lists;
      for (const QString& line : lines)
        if (line.startsWith("1. ")) lists.push_back(numbered(line.toStdString()));
      QCOMPARE(lists.size(), std::size_t{2});  // the example's and the real one
      Strings frequent;
      for (const auto& [word, count] : lists[1]) {
        QVERIFY(count == common || count == uncommon);
        QVERIFY(!lists[0].contains(word));
        if (count == common) frequent.push_back(word);
      }
      QCOMPARE(sorted(sample.references), frequent);  // a map is sorted
      QCOMPARE(frequent.size(), std::size_t{10});
      QVERIFY(lists[1].size() > 100);
      // The example answers itself.
      Strings shown;
      for (const auto& [word, count] : lists[0])
        if (count > 3 || (common == 6 && count == 3)) shown.push_back(word);
      QCOMPARE(shown.size(), std::size_t{10});
      for (const QString& line : lines) {
        if (!line.startsWith("Question") || line.indexOf("Answer") < 0) continue;
        const auto answer = numbered(line.mid(line.indexOf("are 1. ") + 4).toStdString());
        Strings named;
        for (const auto& [word, count] : answer) named.push_back(word);
        QCOMPARE(named, shown);
      }
    }
  }

  void coded_words_follow_the_square_of_their_rank() {
    for (const std::int64_t length : {600, 700, 900, 1500, 6000}) {
      for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        const Sample sample = make("fwe", length, seed);
        const std::string text = sample.prompt.substr(sample.prompt.find("no word.\n") + 9);
        std::map<std::string, int> counts;
        for (const QString& word : QString::fromStdString(text.substr(0, text.find('\n'))).split(' '))
          ++counts[word.toStdString()];
        std::vector<std::pair<int, std::string>> ranked;
        for (const auto& [word, count] : counts) ranked.emplace_back(count, word);
        std::sort(ranked.rbegin(), ranked.rend());
        QCOMPARE(ranked[0].second, std::string("..."));
        QCOMPARE(Strings({ranked[1].second, ranked[2].second, ranked[3].second}), sample.references);
        for (std::size_t rank = 1; rank <= 3; ++rank) QVERIFY(ranked[rank].first > ranked[rank + 1].first);
        // Counts are those of one number of words n: floor(n / (zeta(2) rank²)).
        constexpr double zeta_2 = 1.6449340668482264;
        const double low = ranked[0].first * zeta_2, high = (ranked[0].first + 1) * zeta_2;
        for (std::size_t rank = 5; rank <= ranked.size(); ++rank) {
          const auto square = static_cast<double>(rank * rank);
          QVERIFY(ranked[rank - 1].first >= static_cast<int>(low / zeta_2 / square));
          QVERIFY(ranked[rank - 1].first <= static_cast<int>(high / zeta_2 / square));
        }
        for (const auto& [word, count] : counts)
          QVERIFY(word == "..." || (word.size() == 6 && std::all_of(word.begin(), word.end(),
                                                                    [](char c) { return c >= 'a' && c <= 'z'; })));
      }
    }
  }

  void questions_are_answered_by_one_document() {
    std::set<std::size_t> places;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
      const Sample sample = make("qa_1", 3000, seed);
      const auto documents = documents_of(sample.prompt);
      QVERIFY(documents.size() >= 5);
      const std::string question = last_line(sample.prompt);
      std::size_t asked = 0;
      std::set<std::string> titles;
      for (std::size_t i = 0; i < documents.size(); ++i) {
        titles.insert(documents[i].title);
        if (question.find(documents[i].title + " ") == std::string::npos &&
            question.find(documents[i].title + "?") == std::string::npos)
          continue;
        if (documents[i].text.find(sample.references[0]) == std::string::npos) continue;
        ++asked;
        places.insert(i * 4 / documents.size());
      }
      QVERIFY2(asked == 1, question.c_str());
      QCOMPARE(titles.size(), documents.size());
      QVERIFY(question.find(sample.references[0]) == std::string::npos);
    }
    QCOMPARE(places.size(), std::size_t{4});
  }

  void questions_join_two_documents() {
    std::set<std::string> kinds;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
      const Sample sample = make("qa_2", 3000, seed);
      const auto documents = documents_of(sample.prompt);
      QVERIFY(documents.size() >= 5);
      const std::string question = last_line(sample.prompt);
      kinds.insert(question.substr(0, question.find(' ', 14)));
      // One document is named by the question and names a second one, which holds the answer and is not in the
      // question.
      int joined = 0;
      for (const auto& first : documents) {
        if (question.find(first.title) == std::string::npos) continue;
        for (const auto& second : documents)
          joined += &first != &second && first.text.find(second.title) != std::string::npos &&
                    second.text.find(sample.references[0]) != std::string::npos &&
                    question.find(second.title) == std::string::npos;
      }
      QVERIFY2(joined == 1, question.c_str());
    }
    QVERIFY(kinds.size() >= 3);
  }

  void keys_do_not_repeat() {
    tasks::Keys keys(tasks::Random("keys", 1));
    std::set<std::string> seen;
    for (std::size_t i = 0; i < tasks::Keys::pool(); ++i) QVERIFY(seen.insert(keys.next()).second);
    QVERIFY(tasks::Keys::pool() > 50'000);
    tasks::Keys again(tasks::Random("keys", 1));
    const std::string first = again.next();
    for (std::size_t i = 0; i < 3 * tasks::Keys::pool(); ++i) QVERIFY(keys.next() != first);  // of the others
  }

  void the_filling_line_is_made_of_short_words() {
    QCOMPARE(tasks::filling_line(0), std::string());
    QCOMPARE(tasks::filling_line(3), std::string("So it was.\n"));
    for (const QString& word : QString::fromStdString(tasks::filling_line(200)).split(' ')) QVERIFY(word.size() <= 5);
  }
};

QTEST_GUILESS_MAIN(TestTaskStructure)
#include "test_task_structure.moc"
