// SPDX-License-Identifier: Apache-2.0
// What is trained on, what is held out and what the tasks ask share nothing: files and blocks by the hash of their
// content, needle prompts by their lists; sequences of both parts.
#include <QTemporaryDir>
#include <QtTest>
#include <algorithm>
#include <fstream>
#include <random>
#include <set>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "experiment/distil/training_text.h"
#include "support/tiny_model.h"
#include "tasks/generator.h"
#include "tasks/task.h"

using namespace headroom;
using namespace headroom::experiment;

namespace {

constexpr Part parts[] = {Part::training, Part::evaluation};

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> list(1);
  for (const char c : text) {
    const char small = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if ((small >= 'a' && small <= 'z') || (small >= '0' && small <= '9') || small == '%')
      list.back() += small;
    else if (!list.back().empty())
      list.emplace_back();
  }
  if (list.back().empty()) list.pop_back();
  return list;
}

using Set = std::set<std::string>;

/// Four words in a row: sentences and wordings that share none are not variations of each other.
void add_runs(std::string_view text, Set& runs) {
  const auto list = words(text);
  for (std::size_t i = 0; i + 4 <= list.size(); ++i)
    runs.insert(list[i] + ' ' + list[i + 1] + ' ' + list[i + 2] + ' ' + list[i + 3]);
}

struct Vocabulary {
  Set keys, all, runs;  ///< words that name needles; all words; runs of four
};

Vocabulary vocabulary(Part part) {
  Vocabulary found;
  const NeedleLists lists = needle_lists(part);
  std::vector<std::string_view> texts(lists.sentences.begin(), lists.sentences.end());
  texts.push_back(lists.introduction);
  for (const Wording& wording : lists.wordings)
    for (const std::string_view text : {wording.fact, wording.question, wording.answer}) texts.push_back(text);
  for (const std::string_view text : texts) {
    add_runs(text, found.runs);
    for (const auto& word : words(text)) found.all.insert(word);
  }
  for (const auto list : {lists.subjects, lists.things}) found.keys.insert(list.begin(), list.end());
  found.all.insert(found.keys.begin(), found.keys.end());
  return found;
}

std::string common(const Set& a, const Set& b) {
  std::string both;
  for (const auto& word : a)
    if (b.contains(word)) both += word + "; ";
  return both;
}

/// Lines of made-up words, `bytes` long at least; another `seed` gives another text.
std::string prose(std::uint64_t seed, std::size_t bytes) {
  std::mt19937_64 random(seed);
  std::string text;
  while (text.size() < bytes) {
    for (int word = 0; word < 9; ++word) {
      for (std::uint64_t i = 2 + random() % 6; i > 0; --i) text += static_cast<char>('a' + random() % 26);
      text += word == 8 ? ".\n" : " ";
    }
  }
  return text;
}

Texts many_files(int count) {
  Texts texts;
  for (int i = 0; i < count; ++i) texts.files.push_back(prose(static_cast<std::uint64_t>(i), 400));
  return texts;
}

}  // namespace

class TestTrainingText : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_;

  std::filesystem::path write(const char* name, const std::string& content) const {
    const std::filesystem::path file = folder_.filePath(name).toStdString();
    std::ofstream(file, std::ios::binary) << content;
    return file;
  }
  std::string decoded(const TrainingText& text, Part part, std::int64_t length, std::uint64_t seed) const {
    return tokenizer_->decode(text.sequence(part, length, seed), true);
  }

 private slots:
  void initTestCase() {
    const auto file = test::write_tiny_model(folder_.filePath("tiny.gguf").toStdString(), {.layers = 1});
    tokenizer_ = tokenizer::make_tokenizer(*checkpoint::open_checkpoint(file));
  }

  void training_evaluation_and_tasks_share_no_sentence_word_or_wording() {
    const Vocabulary training = vocabulary(Part::training), evaluation = vocabulary(Part::evaluation);
    Vocabulary tasks;
    for (const auto word : tasks::key_words()) tasks.keys.emplace(word);
    for (const auto word : tasks::list_words()) tasks.keys.emplace(word);
    for (const auto& task : tasks::task_names()) {
      for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        const auto sample = tasks::make_sample(task, 4000, seed, *tokenizer_, 0, 0);
        for (const std::string& text : {sample.prompt, sample.answer_prefix}) {
          add_runs(text, tasks.runs);
          for (const auto& word : words(text)) tasks.all.insert(word);
        }
      }
    }
    tasks.all.insert(tasks.keys.begin(), tasks.keys.end());
    const std::pair<const Vocabulary*, const Vocabulary*> pairs[] = {
        {&training, &evaluation}, {&training, &tasks}, {&evaluation, &tasks}};
    for (const auto& [a, b] : pairs) {
      QCOMPARE(common(a->runs, b->runs), std::string());
      QCOMPARE(common(a->keys, b->all), std::string());
      QCOMPARE(common(b->keys, a->all), std::string());
    }
    for (const Part part : parts) {
      const NeedleLists lists = needle_lists(part);
      QVERIFY(lists.sentences.size() >= 24 && lists.subjects.size() >= 24);
      QVERIFY(lists.things.size() >= 8 && lists.wordings.size() >= 3);
      QCOMPARE(vocabulary(part).keys.size(), lists.subjects.size() + lists.things.size());
    }
  }

  void files_are_split_by_their_content() {
    const Texts texts = many_files(200);
    const SplitTexts split = split_texts(texts);
    QCOMPARE(split.split.unit, std::string("files"));
    const Set training(split.of(Part::training).begin(), split.of(Part::training).end());
    const Set evaluation(split.of(Part::evaluation).begin(), split.of(Part::evaluation).end());
    QCOMPARE(common(training, evaluation), std::string());
    QCOMPARE(training.size() + evaluation.size(), texts.files.size());
    QCOMPARE(split.split.training.pieces + split.split.evaluation.pieces, std::int64_t{200});
    QVERIFY2(evaluation.size() >= 10 && evaluation.size() <= 45, "about one in eight");
    std::int64_t bytes = 0;
    for (const auto& text : evaluation) bytes += static_cast<std::int64_t>(text.size());
    QCOMPARE(split.split.evaluation.bytes, bytes);
    // Neither order nor company matter, and copies stay together.
    Texts others = texts;
    std::reverse(others.files.begin(), others.files.end());
    QCOMPARE(split_texts(others).split.fingerprint, split.split.fingerprint);
    others.files.resize(150);
    others.files.push_back(others.files.front());
    const SplitTexts fewer = split_texts(others);
    for (const auto& text : fewer.of(Part::training)) QVERIFY(training.contains(text));
    for (const auto& text : fewer.of(Part::evaluation)) QVERIFY(evaluation.contains(text));
    QVERIFY(fewer.split.fingerprint != split.split.fingerprint);
  }

  void bytes_without_a_token_are_counted() {
    const auto file = test::write_tiny_model(folder_.filePath("holes.gguf").toStdString(),
                                             {.layers = 1, .without_bytes = std::string("\x13") + "x"});
    const auto holes = tokenizer::make_tokenizer(*checkpoint::open_checkpoint(file));
    Texts texts = many_files(200);
    for (std::string& text : texts.files) text += "\n\x13\n";
    const auto left_out = [&](const tokenizer::Tokenizer& tokenizer, Texts from, std::int64_t length) {
      const TrainingText text(tokenizer, split_texts(std::move(from)), false);
      text.sequence(Part::training, length, 2);
      return text.left_out_bytes();
    };
    QVERIFY(left_out(*holes, texts, 2000) > 0);
    QCOMPARE(left_out(*tokenizer_, texts, 2000), std::int64_t{0});
    Texts nothing;
    for (std::size_t i = 0; i < 200; ++i) nothing.files.push_back(std::string(500 + i, 'x'));
    QVERIFY_THROWS_EXCEPTION(Error, left_out(*holes, nothing, 8));
  }

  void few_files_are_split_by_blocks() {
    Texts texts;
    texts.files = {prose(1, 60'000), prose(2, 20'000) + std::string(9'000, 'x') + "\xc3\xa4"};
    const std::size_t all = texts.files[0].size() + texts.files[1].size();
    const SplitTexts split = split_texts(texts);
    QCOMPARE(split.split.unit, std::string("blocks"));
    QCOMPARE(static_cast<std::size_t>(split.split.training.bytes + split.split.evaluation.bytes), all);
    QVERIFY(split.split.evaluation.pieces >= 4 && split.split.training.pieces > split.split.evaluation.pieces);
    // Every line of made-up words is in one part alone.
    Set lines[2];
    for (const Part part : parts) {
      std::size_t bytes = 0;
      for (const auto& text : split.of(part)) {
        bytes += text.size();
        for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
          lines[static_cast<std::size_t>(part)].insert(text.substr(at, end - at));
      }
      QCOMPARE(static_cast<std::int64_t>(bytes),
               part == Part::training ? split.split.training.bytes : split.split.evaluation.bytes);
    }
    QCOMPARE(common(lines[0], lines[1]), std::string());
    // Too little is refused: figures of text that was trained on would be none.
    try {
      split_texts({{prose(3, 3000)}, {}, 0});
      QFAIL("was not refused");
    } catch (const Error& error) {
      QCOMPARE(error.kind(), ErrorKind::input);
      QVERIFY2(QString(error.what()).contains("hold a part of it out"), error.what());
    }
    QVERIFY(split_texts({}).split.unit.empty());
  }

  void what_is_no_text_is_passed_over_and_counted() {
    const auto good = write("text.txt", prose(4, 3000) + "and an ä\n");
    const auto broken = write("broken.txt", std::string(500, 'b') + "\n\xff\xfe\n" + std::string(500, 'b'));
    const auto small = write("short.txt", "too short");
    const auto zero = write("zero.bin", std::string(500, '\0'));
    const Texts texts = read_texts({good, broken, small, zero});
    QCOMPARE(texts.files.size(), std::size_t{1});
    QCOMPARE(texts.passed_over, std::int64_t{3});
    QVERIFY_THROWS_EXCEPTION(Error, read_texts({small}));
    QVERIFY(read_texts({}).files.empty());
  }

  void sequences_have_the_length_and_repeat() {
    const TrainingText text(*tokenizer_, split_texts(many_files(100)), true);
    for (const Part part : parts) {
      for (std::uint64_t seed = 0; seed < 12; ++seed)
        for (const std::int64_t length : {64, 300, 1000}) {
          const auto ids = text.sequence(part, length, seed);
          QCOMPARE(static_cast<std::int64_t>(ids.size()), length);
          QCOMPARE(ids, text.sequence(part, length, seed));
        }
      QVERIFY(text.sequence(part, 300, 1) != text.sequence(part, 300, 3));
      // Needle prompts end with an answer that the haystack holds.
      const std::string prompt = decoded(text, part, 1000, 1);
      QVERIFY2(prompt.ends_with("<|im_end|>\n"), prompt.substr(prompt.size() - 40).c_str());
    }
    QVERIFY(text.family(0) == Family::text && text.family(1) == Family::needles);
    const TrainingText needles(*tokenizer_, split_texts({}), true);
    QVERIFY(needles.family(0) == Family::needles);
  }

  void sequences_keep_to_their_part() {
    const SplitTexts split = split_texts(many_files(100));
    const TrainingText text(*tokenizer_, split, true);
    Set lines[2], numbers[2];
    for (const Part part : parts)
      for (const auto& file : split.of(part))
        for (std::size_t at = 0, end; (end = file.find('\n', at)) != std::string::npos; at = end + 1)
          lines[static_cast<std::size_t>(part)].insert(file.substr(at, end - at));
    for (const Part part : parts) {
      const auto own = static_cast<std::size_t>(part);
      const NeedleLists other = needle_lists(parts[1 - own]);
      for (std::uint64_t seed = 0; seed < 40; ++seed) {
        const std::string sequence = decoded(text, part, 1200, seed);
        for (const auto& line : lines[1 - own]) QVERIFY(sequence.find(line) == std::string::npos);
        for (const auto sentence : other.sentences) QVERIFY(sequence.find(sentence) == std::string::npos);
        if (text.family(seed) == Family::text) continue;
        for (const auto& word : words(sequence))
          if (word.size() >= 6 && word.find_first_not_of("0123456789") == std::string::npos) numbers[own].insert(word);
      }
    }
    QVERIFY(!numbers[0].empty() && !numbers[1].empty());
    QCOMPARE(common(numbers[0], numbers[1]), std::string());
  }
};

QTEST_GUILESS_MAIN(TestTrainingText)
#include "test_training_text.moc"
