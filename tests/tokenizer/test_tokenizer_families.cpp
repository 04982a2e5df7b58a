// SPDX-License-Identifier: Apache-2.0
// Every family's tokenizer on up to 100,000 strings: ids equal to those of `tokenizers` (tokenizer.json) and llama.cpp
// (GGUF), as hashes of 1,000 strings each (families.json). Strings and tokenizers come from support/make_tokenizers.py,
// which also shows the strings that differ (--check).
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QtTest>
#include <map>

#include "base/utf8.h"
#include "checkpoint/checkpoint.h"
#include "support/gguf_writer.h"
#include "tokenizer/reference_strings.h"
#include "tokenizer/tokenizer.h"

using namespace headroom;
using test::whole;

class TestTokenizerFamilies : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  QJsonObject tokenizers_, hashes_;
  std::vector<std::string> strings_;

  std::filesystem::path folder_of(const QString& name, const std::string& text) const {
    const std::filesystem::path home = folder_.filePath(name).toStdString();
    std::filesystem::create_directories(home);
    test::write_file(home / "tokenizer.json", text);
    test::write_file(home / "config.json", "{}");
    test::ByteWriter weights;
    const std::string header = R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
    weights.string(header).raw(std::string(4, '\0'));
    test::write_file(home / "model.safetensors", weights.bytes());
    return home;
  }

  /// gguf_of() of make_tokenizers.py.
  std::filesystem::path gguf_of(const QString& name, const std::string& text) const {
    static const std::map<std::string, std::string> pre = {
        {"llama3", "llama-bpe"}, {"qwen2", "qwen2"},   {"qwen35", "qwen35"}, {"gpt_oss", "gpt-4o"},
        {"tekken", "tekken"},    {"smollm", "smollm"}, {"gpt2", "gpt-2"}};
    const QJsonObject data = QJsonDocument::fromJson(QByteArray::fromStdString(text)).object();
    const QJsonObject vocabulary = data["model"]["vocab"].toObject();
    const QJsonArray added = data["added_tokens"].toArray();
    std::vector<std::string> texts(static_cast<std::size_t>(vocabulary.size() + added.size()));
    std::size_t size = 0;
    const auto put = [&](const QString& token, int id) {
      texts[static_cast<std::size_t>(id)] = whole(token);
      size = std::max(size, static_cast<std::size_t>(id) + 1);
    };
    for (auto it = vocabulary.begin(); it != vocabulary.end(); ++it) put(it.key(), it.value().toInt());
    for (const auto& token : added) put(token.toObject()["content"].toString(), token.toObject()["id"].toInt());
    texts.resize(size);
    std::vector<std::int32_t> types(size, 1);
    for (const auto& token : added) {
      const QJsonObject object = token.toObject();
      types[static_cast<std::size_t>(object["id"].toInt())] = object["special"].toBool() ? 3 : 4;
    }
    test::GgufWriter gguf;
    const QJsonArray merges = data["model"]["merges"].toArray();
    const auto known = pre.find(name.toStdString());
    if (known != pre.end()) {
      std::vector<std::string> list;
      for (const auto& merge : merges) list.push_back((merge[0].toString() + " " + merge[1].toString()).toStdString());
      gguf.add("tokenizer.ggml.model", "gpt2");
      gguf.add("tokenizer.ggml.pre", known->second);
      gguf.add("tokenizer.ggml.merges", list);
    } else {
      std::map<std::string, float> by_text;
      for (int rank = 0; rank < merges.size(); ++rank)
        by_text.emplace(whole(merges[rank][0].toString()) + whole(merges[rank][1].toString()),
                        -static_cast<float>(rank));
      auto& out = gguf.begin("tokenizer.ggml.scores", 9).number<std::uint32_t>(6).number<std::uint64_t>(size);
      for (std::size_t id = 0; id < size; ++id) {
        const auto score = by_text.find(texts[id]);
        out.number(score == by_text.end() ? -1000.0f : score->second);
        if (texts[id].size() == 6 && texts[id].starts_with("<0x")) types[id] = 6;
      }
      const auto unknown = static_cast<std::uint32_t>(vocabulary["<unk>"].toInt());
      types[unknown] = 2;
      gguf.add("tokenizer.ggml.model", "llama");
      gguf.add_bool("tokenizer.ggml.add_space_prefix", name != "gemma");
      gguf.add("tokenizer.ggml.unknown_token_id", unknown);
      for (std::size_t id = 0; id < size && name == "gemma"; ++id)
        if (types[id] == 4) texts[id] = QString::fromStdString(texts[id]).replace("▁", " ").toStdString();
    }
    gguf.add("tokenizer.ggml.tokens", texts);
    gguf.add("tokenizer.ggml.token_type", types);
    gguf.add("tokenizer.ggml.bos_token_id", 0u);
    gguf.add("tokenizer.ggml.eos_token_id", 1u);
    gguf.add_bool("tokenizer.ggml.add_bos_token", false);
    const std::filesystem::path file = folder_.filePath(name + ".gguf").toStdString();
    test::write_file(file, gguf.bytes() + std::string(64, '\0'));
    return file;
  }

 private slots:
  void initTestCase() {
    const QJsonObject data = test::fixture("families.qz");
    tokenizers_ = data["tokenizers"].toObject();
    hashes_ = test::fixture("families.json")["hashes"].toObject();
    QVERIFY(!tokenizers_.isEmpty() && !hashes_.isEmpty());
    test::ReferenceStrings strings(data, 20260607);
    for (std::size_t i = 0; i < test::reference_count; ++i) strings_.push_back(strings.next());
  }

  void ids_equal_the_references_data() {
    QTest::addColumn<QString>("key");
    for (const QString& key : hashes_.keys()) QTest::newRow(qPrintable(key)) << key;
  }
  void ids_equal_the_references() {
    QFETCH(QString, key);
    const QStringList words = key.split(' ');
    const std::string text = tokenizers_[words[0]].toString().toStdString();
    const bool json = words[1] == "tokenizers", special = words[2] == "special";
    const auto path = json ? folder_of(words[0], text) : gguf_of(words[0], text);
    const auto model = tokenizer::make_tokenizer(*checkpoint::open_checkpoint(path));
    const QJsonArray expected = hashes_[key].toArray();
    const auto blocks = static_cast<std::size_t>(expected.size());  // as many as the fixture has of the reference
    QVERIFY(blocks >= 5 && blocks <= test::reference_count / test::reference_block);
    for (std::size_t block = 0; block < blocks; ++block) {
      const std::size_t first = block * test::reference_block;
      test::IdHash hash;
      for (std::size_t i = first; i < first + test::reference_block; ++i)
        hash.add(model->encode(strings_[i], {.parse_special = special, .add_bos = false}));
      QVERIFY2(hash.text() == expected[static_cast<qsizetype>(block)].toString().toStdString(),
               qPrintable(QString("strings %1 to %2 differ").arg(first).arg(first + test::reference_block - 1)));
    }
  }

  // What is streamed token by token is the text as a whole, in whole characters.
  void streams_are_whole_characters_data() {
    QTest::addColumn<QString>("name");
    for (const QString& name : tokenizers_.keys()) QTest::newRow(qPrintable(name)) << name;
  }
  void streams_are_whole_characters() {
    QFETCH(QString, name);
    const auto path = folder_of(name, tokenizers_[name].toString().toStdString());
    const auto model = tokenizer::make_tokenizer(*checkpoint::open_checkpoint(path));
    for (std::size_t i = 0; i < 3000; ++i) {
      std::vector<std::int32_t> ids;
      for (const auto& token : model->encode(strings_[i])) ids.push_back(token.id);
      tokenizer::StreamDecoder stream(*model);
      std::string out;
      for (const std::int32_t id : ids) {
        const std::string part = stream.take(id);
        QVERIFY(!first_invalid_utf8(part));
        out += part;
      }
      out += stream.finish();
      QCOMPARE(out, model->decode(ids));
    }
  }

  // Bytes [begin, end) of tokens share out the text, and none is outside.
  void places_ascend() {
    for (const QString& name : tokenizers_.keys()) {
      const auto path = folder_of(name, tokenizers_[name].toString().toStdString());
      const auto model = tokenizer::make_tokenizer(*checkpoint::open_checkpoint(path));
      for (std::size_t i = 0; i < 2000; ++i) {
        std::int64_t last = 0;
        for (const auto& token : model->encode(strings_[i], {.parse_special = true})) {
          QVERIFY(token.begin >= last && token.end >= token.begin &&
                  token.end <= static_cast<std::int64_t>(strings_[i].size()));
          last = token.end;
        }
      }
    }
  }

  void long_words_double_data() {
    QTest::addColumn<QString>("name");
    for (const QString& name : tokenizers_.keys()) QTest::newRow(qPrintable(name)) << name;
  }
  void long_words_double() {
    QFETCH(QString, name);
    const auto path = folder_of(name, tokenizers_[name].toString().toStdString());
    const auto model = tokenizer::make_tokenizer(*checkpoint::open_checkpoint(path));
    for (const std::string& text : test::long_words()) {
      const auto [half, whole] = test::processor_seconds(*model, text);
      QVERIFY2(whole < 2.6 * half && whole < 5, qPrintable(QString("%1 s, %2 s").arg(half).arg(whole)));
    }
  }
};

QTEST_MAIN(TestTokenizerFamilies)
#include "test_tokenizer_families.moc"
