// SPDX-License-Identifier: Apache-2.0
// Samples: the same for the same seed, as long as fits, the needle inside; scores.
#include <QtTest>
#include <optional>
#include <set>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "support/tiny_model.h"
#include "tasks/generator.h"
#include "tasks/task.h"

using namespace headroom;
using tasks::Sample;

class TestTasks : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_;

  std::int64_t tokens(const Sample& sample) const {
    return static_cast<std::int64_t>(tokenizer_->encode(sample.prompt).size() +
                                     tokenizer_->encode(sample.answer_prefix).size());
  }

 private slots:
  void initTestCase() {
    const auto file = test::write_tiny_model(folder_.filePath("tiny.gguf").toStdString(), {.layers = 1});
    tokenizer_ = tokenizer::make_tokenizer(*checkpoint::open_checkpoint(file));
  }

  void numbers_are_the_same_everywhere() {
    tasks::Random random("niah_single_1", 1);
    const std::uint64_t first = random.next();
    QCOMPARE(first, tasks::Random("niah_single_1", 1).next());
    QVERIFY(first != tasks::Random("niah_single_1", 2).next() && first != tasks::Random("vt", 1).next());
    QCOMPARE(first, std::uint64_t{14883841145814314220u});
  }

  void samples_fill_the_length() {
    std::set<std::string> prompts;
    std::vector<double> depths;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      const Sample sample = tasks::make_sample("niah_single_1", 1500, seed, *tokenizer_, 40);
      QCOMPARE(sample.max_new_tokens, std::int64_t{128});
      const std::int64_t used = tokens(sample) + 40 + sample.max_new_tokens;  // the answer is part of the length
      QVERIFY2(used <= 1500 && used > 1500 - 20, std::to_string(used).c_str());
      QCOMPARE(tasks::make_sample("niah_single_1", 1500, seed, *tokenizer_, 40).prompt, sample.prompt);
      prompts.insert(sample.prompt);
      QCOMPARE(sample.references.size(), std::size_t{1});
      QCOMPARE(sample.references[0].size(), std::size_t{7});
      const std::size_t needle = sample.prompt.find(" is " + sample.references[0] + ".\n");
      QVERIFY(needle != std::string::npos);
      depths.push_back(static_cast<double>(needle) / static_cast<double>(sample.prompt.size()));
      QVERIFY(sample.prompt.find("The lamp is on. The cup is full.") != std::string::npos);
    }
    QCOMPARE(prompts.size(), std::size_t{20});
    std::sort(depths.begin(), depths.end());
    QVERIFY(depths.front() < 0.3 && depths.back() > 0.7);
    // One seed keeps key, number and relative depth at every length.
    const Sample small = tasks::make_sample("niah_single_1", 500, 7, *tokenizer_, 0);
    const Sample large = tasks::make_sample("niah_single_1", 3000, 7, *tokenizer_, 0);
    QCOMPARE(small.references, large.references);
    QCOMPARE(small.answer_prefix, large.answer_prefix);
  }

  void the_room_for_the_answer_can_be_given() {
    const auto used = [&](std::optional<std::int64_t> room) {
      return tokens(tasks::make_sample("niah_single_1", 1000, 1, *tokenizer_, 0, room));
    };
    QVERIFY(used({}) <= 1000 - 128 && used({}) > 1000 - 128 - 20);
    QCOMPARE(used(128), used({}));
    QVERIFY(used(0) <= 1000 && used(0) > 1000 - 20);
    QCOMPARE(tasks::make_sample("niah_single_1", 1000, 1, *tokenizer_, 0, 7).max_new_tokens, std::int64_t{7});
    // What leaves no room is refused with both numbers.
    QVERIFY(used(700) <= 300);
    try {
      tasks::make_sample("niah_single_1", 1000, 1, *tokenizer_, 0, 950);
      QFAIL("was not refused");
    } catch (const Error& error) {
      QCOMPARE(error.kind(), ErrorKind::usage);
      const QString said = error.what();
      QVERIFY2(said.contains("1000 tokens") && said.contains("950 of them for the answer"), error.what());
    }
  }

  void wrong_requests_are_usage_errors() {
    const auto kind = [&](const std::string& task, std::int64_t length) {
      try {
        tasks::make_sample(task, length, 1, *tokenizer_, 0);
      } catch (const Error& error) {
        return error.kind();
      }
      return ErrorKind::internal;
    };
    QCOMPARE(kind("niah_double_9", 1000), ErrorKind::usage);
    QCOMPARE(kind("niah_single_1", 20), ErrorKind::usage);
    QCOMPARE(kind("niah_single_1", -1), ErrorKind::usage);
    QCOMPARE(kind("niah_single_1", std::int64_t{1} << 40), ErrorKind::usage);
  }

  void answers_are_scored() {
    // By hand: the share of references found, the case of ASCII letters aside; any of them for match_part.
    const auto of = [](std::vector<std::string> references, const char* answer, tasks::Metric metric) {
      Sample sample;
      sample.references = std::move(references);
      sample.metric = metric;
      return tasks::score(sample, answer);
    };
    constexpr auto all = tasks::Metric::match_all, part = tasks::Metric::match_part;
    QCOMPARE(of({"1234567", "Blue"}, "it is 1234567 and bLUE", all), 100.0);
    QCOMPARE(of({"1234567", "Blue"}, "it is 1234567", all), 50.0);
    QCOMPARE(of({"1234567", "Blue"}, "", all), 0.0);
    QCOMPARE(of({"a1", "b2", "c3", "d4"}, "D4, then c3; no a 1", all), 50.0);
    QCOMPARE(of({"AAAAA", "BBBBB", "CCCCC"}, "bbbbb", all), 100.0 / 3);
    QCOMPARE(of({"123"}, "91234", all), 100.0);  // a substring, as RULER has it
    QCOMPARE(of({"12 3"}, "123", all), 0.0);
    QCOMPARE(of({"x", "x"}, "x", all), 100.0);
    QCOMPARE(of({"1234567", "Blue"}, "blue", part), 100.0);
    QCOMPARE(of({"1234567", "Blue"}, "red", part), 0.0);
    QCOMPARE(of({"É"}, "é", part), 0.0);  // ASCII alone
    QCOMPARE(of({}, "anything", all), 0.0);
    QCOMPARE(of({}, "anything", part), 0.0);
    for (const auto metric : {all, part}) QVERIFY(tasks::parse_metric(tasks::to_string(metric)) == metric);
  }
};

QTEST_MAIN(TestTasks)
#include "test_tasks.moc"
