// SPDX-License-Identifier: Apache-2.0
// The tokenizers of the real models, where they have been fetched, on 100,000 strings: ids equal to llama.cpp's, as
// hashes of 1,000 strings each (real_models.json, made by support/real_tokenizers.py, which also shows the strings that
// differ); what streams is whole characters; long words and how fast a text goes.
#include <QtTest>
#include <algorithm>

#include "base/error.h"
#include "base/paths.h"
#include "base/sha256.h"
#include "base/utf8.h"
#include "checkpoint/checkpoint.h"
#include "tokenizer/reference_strings.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/word_model.h"

using namespace headroom;

namespace {

/// A real model's tokenizer, and the texts that strings are made of.
struct RealModel {
  std::unique_ptr<tokenizer::Tokenizer> tokenizer;
  std::vector<std::string> vocabulary;  ///< texts of its tokens, "" where one is no text by itself
  std::vector<std::string> control;     ///< texts of its control tokens
  QJsonObject expected;                 ///< its entry of real_models.json
};

/// SentencePiece's "▁" as the space that it stands for. (QString would drop a byte order mark.)
std::string with_spaces(std::string_view token) {
  constexpr std::string_view space = "▁";
  std::string out;
  for (std::size_t at; (at = token.find(space)) != std::string_view::npos; token.remove_prefix(at + space.size())) {
    out += token.substr(0, at);
    out += ' ';
  }
  return out.append(token);
}

/// vocabulary_of() of real_tokenizers.py.
RealModel open_real_model(const std::string& name) {
  const auto path = resolve_model(name);
  const auto checkpoint = checkpoint::open_checkpoint(path);
  RealModel model;
  model.tokenizer = tokenizer::make_tokenizer(*checkpoint);
  model.expected = test::fixture("real_models.json")[QString::fromStdString(name)].toObject();
  const auto tokens = checkpoint->get_strings("tokenizer.ggml.tokens");
  const auto types = checkpoint->get_numbers("tokenizer.ggml.token_type");
  const bool bytes = checkpoint->get_string("tokenizer.ggml.model") == "gpt2";
  for (std::size_t id = 0; id < tokens->size(); ++id) {
    const std::string& raw = (*tokens)[id];
    if ((*types)[id] == 3) model.control.push_back(raw);
    std::string text = bytes ? tokenizer::from_byte_characters(raw) : with_spaces(raw);
    if (first_invalid_utf8(text)) text.clear();
    model.vocabulary.push_back(std::move(text));
  }
  return model;
}

}  // namespace

class TestTokenizerReal : public QObject {
  Q_OBJECT

  std::map<std::string, RealModel> models_;
  QJsonObject data_;

 private slots:
  void initTestCase() {
    data_ = test::fixture("families.qz");
    QVERIFY(!data_.isEmpty());
  }

  void init() {
    const QString tag = QTest::currentDataTag();
    const std::string name = tag.section(',', 0, 0).toStdString();
    try {
      if (!models_.contains(name)) models_.emplace(name, open_real_model(name));
    } catch (const Error& error) {
      QSKIP(error.what());
    }
  }

  void ids_equal_llama_cpp_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<QString>("way");
    for (const char* name : {"smollm2", "gemma3-270m"})
      for (const char* way : {"plain", "special"}) QTest::addRow("%s, %s", name, way) << QString(name) << QString(way);
  }
  void ids_equal_llama_cpp() {
    QFETCH(QString, name);
    QFETCH(QString, way);
    const RealModel& model = models_.at(name.toStdString());
    const bool special = way == "special";
    const QJsonArray expected = model.expected["hashes"].toObject()[way].toArray();
    QVERIFY(expected.size() > 90);
    test::ReferenceStrings strings(data_, 20261130, model.vocabulary);
    qsizetype block = 0;
    std::size_t in_block = 0, compared = 0;
    test::IdHash hash;
    const auto close_block = [&] {
      if (in_block == 0) return true;
      const bool same = block < expected.size() && hash.text() == expected[block].toString().toStdString();
      ++block;
      in_block = 0;
      hash = {};
      return same;
    };
    for (std::size_t i = 0; i < test::reference_count; ++i) {
      const std::string text = strings.next();
      const auto holds = [&](const std::string& token) { return text.find(token) != std::string::npos; };
      if (!special && std::ranges::any_of(model.control, holds)) continue;
      hash.add(model.tokenizer->encode(text, {.parse_special = special, .add_bos = false}));
      ++compared;
      if (++in_block == test::reference_block)
        QVERIFY2(close_block(), qPrintable(QString("strings %1 to %2 differ").arg(compared - 1000).arg(compared - 1)));
    }
    QVERIFY2(close_block(), "the last strings differ");
    QCOMPARE(block, expected.size());
    qInfo("%zu strings compared", compared);
  }

  // Also where bytes stand for characters that the vocabulary has not.
  void streams_are_whole_characters_data() {
    QTest::addColumn<QString>("name");
    for (const char* name : {"smollm2", "gemma3-270m"}) QTest::newRow(name) << QString(name);
  }
  void streams_are_whole_characters() {
    QFETCH(QString, name);
    const RealModel& model = models_.at(name.toStdString());
    test::ReferenceStrings strings(data_, 5, model.vocabulary);
    std::size_t waited = 0;
    for (int i = 0; i < 5000; ++i) {
      std::vector<std::int32_t> ids;
      for (const auto& token : model.tokenizer->encode(strings.next(), {.add_bos = false})) ids.push_back(token.id);
      tokenizer::StreamDecoder stream(*model.tokenizer);
      std::string out;
      for (const std::int32_t id : ids) {
        const std::string part = stream.take(id);
        QVERIFY(!first_invalid_utf8(part));
        waited += part.empty();
        out += part;
      }
      out += stream.finish();
      QCOMPARE(out, replace_invalid_utf8(model.tokenizer->decode(ids)));  // bytes that SmolLM2 has no token for
    }
    QVERIFY(waited > 1000);  // characters did come in parts
  }

  void long_words_double_data() { streams_are_whole_characters_data(); }
  void long_words_double() {
    QFETCH(QString, name);
    for (const std::string& text : test::long_words()) {
      const auto [half, whole] = test::processor_seconds(*models_.at(name.toStdString()).tokenizer, text);
      qInfo("a million of '%c…': %.2f MB/s, doubling costs %.2fx", text[0], 1 / whole, whole / half);
      QVERIFY2(whole < 2.6 * half && whole < 5, qPrintable(QString("%1 s, %2 s").arg(half).arg(whole)));
    }
  }

  void speed_data() { streams_are_whole_characters_data(); }
  /// Says how many MB of prose and code one core encodes in a second: a figure, since other tests run beside this one.
  void speed() {
    QFETCH(QString, name);
    std::string text;
    for (const char* file : {"sample_data/prompts/garden-handbook.txt", "docs/measurements.md",
                             "docs/window-and-engine.md", "core/tokenizer/tokenizer.cpp", "core/model/decoder.cpp"}) {
      QFile part(QString(HEADROOM_SOURCE_DIR "/") + file);
      QVERIFY2(part.open(QIODevice::ReadOnly), file);
      text += part.readAll().toStdString();
    }
    while (text.size() < 2'000'000) text += text;
    const auto [half, whole] = test::processor_seconds(*models_.at(name.toStdString()).tokenizer, text);
    const double megabytes = static_cast<double>(text.size()) / 1e6;
    qInfo("%.1f MB of text: %.1f MB/s", megabytes, megabytes / whole);
    QVERIFY(whole < 2.6 * half);
  }
};

QTEST_GUILESS_MAIN(TestTokenizerReal)
#include "test_tokenizer_real.moc"
