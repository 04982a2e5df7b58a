// SPDX-License-Identifier: Apache-2.0
// Every task fills every length to within 1 %, answer included, by three tokenizers; the least length is named; what a
// sample costs; samples are the same bytes everywhere.
#include <QElapsedTimer>
#include <QtTest>
#include <map>

#include "base/error.h"
#include "base/sha256.h"
#include "support/tiny_model.h"
#include "task_tokenizers.h"
#include "tasks/haystack.h"
#include "tasks/task.h"

using namespace headroom;
using tasks::Sample;

class TestTaskLengths : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::map<std::string, std::unique_ptr<tokenizer::Tokenizer>> tokenizers_;

  static constexpr std::int64_t overhead = 37;
  static std::int64_t used(const Sample& sample, const tokenizer::Tokenizer& tokenizer) {
    const auto count = [&](const std::string& text) {
      return static_cast<std::int64_t>(tokenizer.encode(text, {.add_bos = false}).size());
    };
    return count(sample.prompt) + count(sample.answer_prefix) + overhead + sample.max_new_tokens;
  }
  /// The least length, as the error says it.
  static std::int64_t least(const std::string& task, std::uint64_t seed, const tokenizer::Tokenizer& tokenizer) {
    try {
      tasks::make_sample(task, 1, seed, tokenizer, overhead);
    } catch (const Error& error) {
      const QString said = error.what();
      return said.mid(said.indexOf("it needs ") + 9).section(' ', 0, 0).toLongLong();
    }
    return -1;
  }

 private slots:
  void initTestCase() {
    const std::filesystem::path home = folder_.path().toStdString();
    tokenizers_["llama3"] = test::family_tokenizer(home, "llama3");
    tokenizers_["gemma"] = test::family_tokenizer(home, "gemma");
    tokenizers_["smollm2"] = test::smollm2_tokenizer();
    const auto tiny = test::write_tiny_model(home / "tiny.gguf", {.layers = 1});
    tokenizers_["tiny"] = tokenizer::make_tokenizer(*checkpoint::open_checkpoint(tiny));
    QVERIFY(tokenizers_["llama3"] && tokenizers_["gemma"]);
  }

  void prompts_fill_the_length_data() {
    QTest::addColumn<std::string>("name");
    QTest::addColumn<std::string>("task");
    for (const char* name : {"llama3", "gemma", "smollm2"})
      for (const std::string& task : tasks::task_names())
        QTest::addRow("%s %s", name, task.c_str()) << std::string(name) << task;
  }
  void prompts_fill_the_length() {
    QFETCH(std::string, name);
    QFETCH(std::string, task);
    if (!tokenizers_[name]) QSKIP("the model was not fetched");
    const tokenizer::Tokenizer& tokenizer = *tokenizers_[name];
    const std::int64_t first = least(task, 1, tokenizer);
    QVERIFY2(first > 60 && first < 2000, qPrintable(QString::number(first)));
    for (const std::int64_t length :
         {first, first + 1, first + 40, std::int64_t{512}, std::int64_t{700}, std::int64_t{1024}, std::int64_t{2048},
          std::int64_t{4096}, std::int64_t{8192}, std::int64_t{32768}}) {
      if (length < first) continue;
      for (std::uint64_t seed = 1; seed <= (length > 8192 ? 1u : 2u); ++seed) {
        if (seed > 1 && length < least(task, seed, tokenizer)) continue;
        const Sample sample = tasks::make_sample(task, length, seed, tokenizer, overhead);
        const std::int64_t tokens = used(sample, tokenizer);
        QVERIFY2(tokens <= length && (tokens * 100 >= length * 99 || length - tokens <= 4),
                 qPrintable(QString("%1 of %2 tokens").arg(tokens).arg(length)));
      }
    }
  }

  void one_token_less_than_the_least_is_refused() {
    for (const std::string& task : tasks::task_names()) {
      const std::int64_t length = least(task, 3, *tokenizers_["tiny"]);
      QCOMPARE(tasks::make_sample(task, length, 3, *tokenizers_["tiny"], overhead).task, task);
      try {
        tasks::make_sample(task, length - 1, 3, *tokenizers_["tiny"], overhead);
        QFAIL(task.c_str());
      } catch (const Error& error) {
        QCOMPARE(error.kind(), ErrorKind::usage);
        QVERIFY2(
            QString(error.what()).contains(QString("is too small for %1: it needs %2").arg(task.c_str()).arg(length)),
            error.what());
      }
    }
  }

  // The text is tokenised a handful of times, whatever its length.
  void long_samples_are_made_quickly() {
    class Counting : public tokenizer::Tokenizer {
     public:
      explicit Counting(const tokenizer::Tokenizer& inner) : inner_(inner) {}
      std::vector<tokenizer::Token> encode(std::string_view text, const tokenizer::EncodeOptions& o) const override {
        bytes += text.size();
        return inner_.encode(text, o);
      }
      std::string decode(std::span<const std::int32_t> ids, bool s, bool c) const override {
        return inner_.decode(ids, s, c);
      }
      std::string piece(std::int32_t id) const override { return inner_.piece(id); }
      std::int32_t vocabulary() const override { return inner_.vocabulary(); }
      const std::vector<std::int32_t>& end_tokens() const override { return inner_.end_tokens(); }
      std::string kind() const override { return inner_.kind(); }
      std::string split_name() const override { return inner_.split_name(); }
      mutable std::size_t bytes = 0;

     private:
      const tokenizer::Tokenizer& inner_;
    };
    for (const std::string& task : tasks::task_names()) {
      const Counting counting(*tokenizers_["llama3"]);
      QElapsedTimer timer;
      timer.start();
      const Sample sample = tasks::make_sample(task, 65536, 5, counting, overhead);
      const double times = static_cast<double>(counting.bytes) / static_cast<double>(sample.prompt.size());
      qInfo("%s: 65536 tokens, %zu bytes, tokenised %.1f times, %lld ms", task.c_str(), sample.prompt.size(), times,
            static_cast<long long>(timer.elapsed()));
      QVERIFY2(times < 6.5, task.c_str());
    }
  }

  void samples_are_the_same_bytes_everywhere() {
    const std::map<std::string, std::string> pinned = {
#include "pinned_samples.inc"
    };
    std::string found;
    bool same = true;
    for (const std::string& task : tasks::task_names()) {
      const Sample sample = tasks::make_sample(task, 2500, 7, *tokenizers_["tiny"], overhead);
      std::string all = sample.prompt + '\0' + sample.answer_prefix;
      for (const std::string& reference : sample.references) all += '\0' + reference;
      const std::string hash = sha256({reinterpret_cast<const std::uint8_t*>(all.data()), all.size()});
      found += "{\"" + task + "\", \"" + hash + "\"},\n";
      const auto it = pinned.find(task);
      same = same && it != pinned.end() && it->second == hash;
    }
    QVERIFY2(same && pinned.size() == tasks::task_names().size(), found.c_str());
  }

  void a_text_of_the_users_is_the_haystack() {
    test::write_file(
        folder_.filePath("own.txt").toStdString(),
        "Seven herons stood in the reeds. Nobody spoke!\n\nA  heading without an end\n\nDid it rain?  It did.");
    const auto own = tasks::read_haystack(folder_.filePath("own.txt").toStdString());
    for (const tasks::TaskInfo& info : tasks::task_infos()) {
      if (!info.takes_haystack) {
        try {
          tasks::make_sample(info.name, 2000, 1, *tokenizers_["tiny"], 0, {}, &own);
          QFAIL(info.name.c_str());
        } catch (const Error& error) {
          QCOMPARE(error.kind(), ErrorKind::usage);
          QVERIFY2(QString(error.what()).contains("niah_single_2"), error.what());
        }
        continue;
      }
      const Sample ours = tasks::make_sample(info.name, 2000, 1, *tokenizers_["tiny"], 0);
      const Sample theirs = tasks::make_sample(info.name, 2000, 1, *tokenizers_["tiny"], 0, {}, &own);
      QCOMPARE(theirs.references, ours.references);
      QVERIFY(theirs.prompt.find("Seven herons stood in the reeds. Nobody spoke!") != std::string::npos ||
              theirs.prompt.find("reeds. The pass") != std::string::npos);
      QVERIFY(ours.prompt.find("herons") == std::string::npos);
    }
  }
};

QTEST_GUILESS_MAIN(TestTaskLengths)
#include "test_task_lengths.moc"
