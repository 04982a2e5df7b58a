// SPDX-License-Identifier: Apache-2.0
// tokenizer.json that contradicts itself, asks for what is not there, or means harm: one message naming file and path.
// And the files beside it: ids that begin and end texts, flags of added tokens.
#include <QtTest>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "support/gguf_writer.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/regex.h"
#include "tokenizer/tokenizer.h"

using namespace headroom;
using Json = nlohmann::json;

namespace {

Json good() {
  return Json::parse(R"({
    "added_tokens": [{"id": 4, "content": "<s>", "special": true, "normalized": false, "lstrip": false, "rstrip": false,
                      "single_word": false}],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "<unk>": 3}, "merges": ["a b"], "unk_token": "<unk>"}})");
}

}  // namespace

class TestJsonTokenizer : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;

  std::filesystem::path home() const { return folder_.filePath("model").toStdString(); }
  std::unique_ptr<tokenizer::Tokenizer> read(const std::string& text) const {
    test::write_file(home() / "tokenizer.json", text);
    return tokenizer::make_tokenizer(*checkpoint::open_checkpoint(home()));
  }
  std::string refusal(const std::string& text) const {
    try {
      read(text);
    } catch (const Error& error) {
      return error.kind() == ErrorKind::input ? error.what() : "wrong kind";
    }
    return "nothing was refused";
  }
  void remove_settings() const {
    for (const char* name : {"tokenizer_config.json", "generation_config.json", "special_tokens_map.json"})
      std::filesystem::remove(home() / name);
    test::write_file(home() / "config.json", "{}");
  }

 private slots:
  void init() {
    std::filesystem::create_directories(home());
    test::ByteWriter weights;
    weights.string(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})").raw(std::string(4, '\0'));
    test::write_file(home() / "model.safetensors", weights.bytes());
    remove_settings();
  }

  void refusals_name_their_path_data() {
    QTest::addColumn<QString>("patch");
    QTest::addColumn<QString>("words");
    const auto row = [](const char* patch, const char* words) { QTest::newRow(words) << patch << words; };
    row(R"({"model":{"type":"WordPiece"}})", "model.type|'WordPiece'|BPE or Unigram");
    row(R"({"model":{"vocab":{"c":1}}})", "model.vocab|two tokens have the same id");
    row(R"({"model":{"vocab":{"c":9}}})", "model.vocab|an id has no token|no token 5");
    row(R"({"model":{"vocab":{"c":-1}}})", "model.vocab['c']|an id below");
    row(R"({"model":{"vocab":{"c":99999999}}})", "model.vocab['c']|an id below");
    row(R"({"model":{"vocab":["a"]}})", "model.vocab|an object");
    row(R"({"model":{"merges":["a c"]}})", "model.merges[0]|'c'");
    row(R"({"model":{"merges":["a b", ["b", 1]]}})", "model.merges[1]|pair of strings");
    row(R"({"model":{"merges":["ab"]}})", "model.merges[0]|one space");
    row(R"({"model":{"dropout":0.1}})", "model.dropout|by chance");
    row(R"({"model":{"end_of_word_suffix":"</w>"}})", "model.end_of_word_suffix|'</w>'");
    row(R"({"model":{"unk_token":"?"}})", "model.unk_token|not in the vocabulary");
    row(R"({"model":{"byte_fallback":1}})", "model.byte_fallback|true or false");
    row(R"({"added_tokens":[{"id":4,"content":"a"}]})", "added_tokens[0]|two ids");
    row(R"({"added_tokens":[{"id":1,"content":"x"}]})", "added_tokens[0]|same id");
    row(R"({"added_tokens":[{"id":4}]})", "added_tokens[0]|'content'");
    row(R"({"added_tokens":[{"id":4,"content":"x"},{"id":4,"content":"x"}]})", "added_tokens[1]|same id");
    row(R"({"normalizer":{"type":"Precompiled"}})", "normalizer.type|'Precompiled'|NFKD");
    row(R"({"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Nmt"}]}})",
        "normalizer.normalizers[1].type|'Nmt'");
    row(R"({"pre_tokenizer":{"type":"UnicodeScripts"}})", "pre_tokenizer.type|'UnicodeScripts'");
    row(R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"[z-a]"},"behavior":"Isolated"}})",
        "pre_tokenizer.pattern.Regex|not understood");
    row(R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"\\bx"},"behavior":"Isolated"}})",
        "pre_tokenizer.pattern.Regex|'\\b'");
    row(R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"[a&&b]"},"behavior":"Isolated"}})",
        "class inside a class|&&");
    row("{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?R)\"},\"behavior\":\"Isolated\"}}",
        "group of a kind|(?R");
    row(R"({"pre_tokenizer":{"type":"Split","pattern":{"String":"a"},"behavior":"Random"}})",
        "pre_tokenizer.behavior|Isolated");
    row(R"({"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]}})",
        "pretokenizers[1]|ByteLevel last");
    row(R"({"post_processor":{"type":"BertProcessing"}})", "post_processor.type|'BertProcessing'");
    row(R"({"post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},{"SpecialToken":{"id":"<s>"}}],"special_tokens":{}}})",
        "post_processor.single[1].SpecialToken.id|behind every text");
    row(R"({"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[5]}}}})",
        "special_tokens.<s>.ids[0]|0 to 4");
    row(R"({"decoder":{"type":"CTC"}})", "decoder.type|'CTC'");
    row(R"({"decoder":{"type":"ByteLevel"}})", "decoder|ByteLevel in both");
    row(R"({"truncation":{"max_length":5}})", "truncation|null");
  }
  void refusals_name_their_path() {
    QFETCH(QString, patch);
    QFETCH(QString, words);
    Json json = good();
    QVERIFY(read(json.dump()));
    json.merge_patch(Json::parse(patch.toStdString()));
    const std::string error = refusal(json.dump());
    QVERIFY2(error.find("tokenizer.json: ") != std::string::npos, error.c_str());
    for (const QString& word : words.split('|'))
      QVERIFY2(error.find(word.toStdString()) != std::string::npos, error.c_str());
  }

  void what_is_no_tokenizer_is_refused() {
    QVERIFY(refusal("").find("not valid JSON") != std::string::npos);
    QVERIFY(refusal("[]").find("an object") != std::string::npos);
    QVERIFY(refusal("{}").find("'model'") != std::string::npos);
    QVERIFY(refusal(R"({"model":)" + std::string(100, '[') + std::string(100, ']') + "}").find("too deeply") !=
            std::string::npos);
    QVERIFY(refusal(R"({"model":{"type":"BPE","vocab":{"a":0,"a":1}}})").find("twice") != std::string::npos);
    QVERIFY(refusal(R"({"model":{"type":"Unigram","vocab":[["a",-1],["b","x"]]}})").find("model.vocab[1]") !=
            std::string::npos);
    std::filesystem::remove(home() / "tokenizer.json");
    test::write_file(home() / "tokenizer.model", "x");
    try {
      tokenizer::make_tokenizer(*checkpoint::open_checkpoint(home()));
      QFAIL("nothing was refused");
    } catch (const Error& error) {
      QVERIFY2(std::string(error.what()).find("tokenizer.model") != std::string::npos, error.what());
    }
    std::filesystem::remove(home() / "tokenizer.model");
  }

  void settings_beside_it_count() {
    const auto ids = [](const tokenizer::Tokenizer& model, const tokenizer::EncodeOptions& options) {
      std::vector<std::int32_t> list;
      for (const auto& token : model.encode("ab", options)) list.push_back(token.id);
      return list;
    };
    using Ids = std::vector<std::int32_t>;
    const std::string text = good().dump();
    QCOMPARE(ids(*read(text), {}), (Ids{2}));
    test::write_file(home() / "tokenizer_config.json",
                     R"({"bos_token": "<s>", "eos_token": {"content": "b"}, "add_bos_token": true})");
    test::write_file(home() / "generation_config.json", R"({"eos_token_id": [4, 2]})");
    const auto model = read(text);
    QCOMPARE(ids(*model, {}), (Ids{4, 2}));
    QCOMPARE(ids(*model, {.add_bos = false}), (Ids{2}));
    QCOMPARE(model->end_tokens(), (Ids{4, 2, 1}));
    test::write_file(home() / "tokenizer_config.json",
                     R"({"bos_token": "<s>", "add_bos_token": false, "add_eos_token": true})");
    QVERIFY(refusal(text).find("tokenizer_config.json: add_eos_token") != std::string::npos);
    test::write_file(home() / "tokenizer_config.json", R"({"add_prefix_space": true})");
    QVERIFY(refusal(text).find("tokenizer_config.json: add_prefix_space") != std::string::npos);
    test::write_file(home() / "tokenizer_config.json", R"({"added_tokens_decoder": {"4": {"content": "x"}}})");
    QVERIFY(refusal(text).find("added_tokens_decoder['4']") != std::string::npos);
    test::write_file(home() / "tokenizer_config.json",
                     R"({"added_tokens_decoder": {"5": {"content": "[X]", "special": true}}})");
    QCOMPARE(read(text)->vocabulary(), 6);
    remove_settings();
    // Embeddings may have more rows than there are tokens, never fewer.
    const auto checkpoint = checkpoint::open_checkpoint(home());
    QCOMPARE(tokenizer::make_tokenizer(*checkpoint, 64)->vocabulary(), 64);
    QCOMPARE(tokenizer::make_tokenizer(*checkpoint, 64)->piece(63), std::string());
    QVERIFY_THROWS_EXCEPTION(Error, tokenizer::make_tokenizer(*checkpoint, 4));
  }

  void a_text_that_normalisers_blow_up_is_refused() {
    Json json = good();
    json["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(1000, 'b')}};
    const auto model = read(json.dump());
    QCOMPARE(model->encode("aa", {.add_bos = false}).size(), std::size_t{2000});
    const auto error_of = [](const tokenizer::Tokenizer& of, const std::string& text) -> std::string {
      try {
        of.encode(text);
      } catch (const Error& error) {
        return error.kind() == ErrorKind::input ? error.what() : "wrong kind";
      }
      return "nothing was refused";
    };
    const std::string error = error_of(*model, std::string(100'000, 'a'));
    QVERIFY2(error.find("normaliser") != std::string::npos, error.c_str());
    QVERIFY2(error.find("3200000 bytes from 100000") != std::string::npos, error.c_str());
    // Step by step: each doubles the text.
    Json twice = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
    json["normalizer"] = {{"type", "Sequence"}, {"normalizers", Json::array()}};
    for (int i = 0; i < 40; ++i) json["normalizer"]["normalizers"].push_back(twice);
    QVERIFY(error_of(*read(json.dump()), "aaaa").find("at most 1048576 bytes from 4") != std::string::npos);
  }

  void patterns_have_limits() {
    const auto time_of = [&](const char* pattern, const std::string& text) -> std::int64_t {
      QElapsedTimer clock;
      clock.start();
      std::vector<tokenizer::Match> found;
      try {
        tokenizer::regex_matcher(pattern, "test")->find(text, found);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::input) return 1'000'000;
      }
      return clock.elapsed();
    };
    QVERIFY(time_of("(?:a+)+b", std::string(200'000, 'a')) < 60'000);
    QVERIFY(time_of("(?:a|aa|aaa)*c", std::string(50'000, 'a')) < 60'000);
    QVERIFY(time_of(".*x", std::string(300'000, 'a')) < 60'000);
  }

  // Patterns that a scanner knows are cut as PCRE2 cuts them.
  void scanners_equal_the_patterns() {
    const std::string spaces = R"(|\s*[\r\n]+|\s+(?!\S)|\s+)", lead = R"([^\r\n\p{L}\p{N}]?)",
                      contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)", upper = R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])",
                      lower = R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])";
    const std::string patterns[] = {
        R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
        contractions + "|" + lead + R"(\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)" + spaces,
        contractions + "|" + lead + R"(\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)" + spaces,
        contractions + "|" + lead + R"([\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*)" + spaces,
        lead + upper + "*" + lower + "+" + contractions + "?|" + lead + upper + "+" + lower + "*" + contractions +
            R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" + spaces,
        lead + upper + "*" + lower + "+|" + lead + upper + "+" + lower + R"(*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" +
            spaces};
    const char* const parts[] = {"a",
                                 "Z",
                                 "b's",
                                 "'RE",
                                 "'\xc5\xbf",
                                 " ",
                                 "  ",
                                 "\n",
                                 "\r",
                                 "\t",
                                 "1",
                                 "23",
                                 "!",
                                 "/",
                                 "'",
                                 "\xc3\xa9",
                                 "\xcc\x81",
                                 "\xe4\xb8\xad",
                                 "\xca\xb0",
                                 "\xc7\x85",
                                 "\xd0\x81",
                                 "\xc2\xa0",
                                 "\xe3\x80\x80",
                                 "\xe1\xa0\x8e",
                                 "\xf0\x9f\x98\x80",
                                 "\xc2\xbd",
                                 "_",
                                 "\xc2\x85"};
    std::uint64_t state = 7;
    const auto below = [&](std::size_t limit) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      return static_cast<std::size_t>(state >> 33) % limit;
    };
    for (const std::string& pattern : patterns) {
      QVERIFY2(tokenizer::known_pattern(pattern) != nullptr, pattern.c_str());
      const auto scanner = tokenizer::pattern_matcher(pattern, "test"),
                 regex = tokenizer::regex_matcher(pattern, "test");
      for (int i = 0; i < 20'000; ++i) {
        std::string text;
        for (std::size_t n = 1 + below(12); n > 0; --n) text += parts[below(std::size(parts))];
        std::vector<tokenizer::Match> a, b;
        scanner->find(text, a);
        regex->find(text, b);
        QVERIFY2(
            std::ranges::equal(a, b, [](const auto& x, const auto& y) { return x.begin == y.begin && x.end == y.end; }),
            qPrintable(QString::fromStdString(pattern + " on " + text)));
      }
    }
  }
};

QTEST_MAIN(TestJsonTokenizer)
#include "test_json_tokenizer.moc"
