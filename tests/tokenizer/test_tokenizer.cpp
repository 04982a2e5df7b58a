// SPDX-License-Identifier: Apache-2.0
// Token ids against llama.cpp's on varied strings (smollm2_ids.qz, made by support/make_tokenizer_fixture.py), byte
// offsets, decoding, long words, refusals.
#include <QJsonArray>
#include <QJsonDocument>
#include <QtTest>

#include "base/error.h"
#include "base/paths.h"
#include "checkpoint/checkpoint.h"
#include "support/gguf_writer.h"
#include "support/tiny_model.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"

using namespace headroom;
using tokenizer::EncodeOptions;
using tokenizer::Token;

namespace {

std::vector<std::int32_t> ids_of(const std::vector<Token>& tokens) {
  std::vector<std::int32_t> ids;
  for (const Token& token : tokens) ids.push_back(token.id);
  return ids;
}

std::string first_error(const auto& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.kind() == ErrorKind::input ? error.what() : "wrong kind";
  }
  return "nothing was refused";
}

/// Words of the pre-tokenizer of that name, joined by '|'.
std::string words(std::string_view name, std::string_view text) {
  for (const tokenizer::PreTokenizer& pre : tokenizer::pretokenizers()) {
    if (std::find(pre.names.begin(), pre.names.end(), name) == pre.names.end()) continue;
    const tokenizer::CodePoints decoded = tokenizer::decode_utf8(text, "test");
    std::vector<std::size_t> ends;
    pre.split(decoded.points, ends);
    std::string out;
    std::size_t begin = 0;
    for (const std::size_t end : ends) {
      const auto from = static_cast<std::size_t>(decoded.offsets[begin]);
      if (begin != 0) out += '|';
      out += text.substr(from, static_cast<std::size_t>(decoded.offsets[end]) - from);
      begin = end;
    }
    return out;
  }
  return "no such pre-tokenizer";
}

}  // namespace

class TestTokenizer : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::unique_ptr<tokenizer::Tokenizer> tiny_;

  std::unique_ptr<tokenizer::Tokenizer> from_gguf(const test::GgufWriter& gguf) const {
    const auto file = folder_.filePath("vocabulary.gguf").toStdString();
    test::write_file(file, gguf.bytes() + std::string(64, '\0'));
    return tokenizer::make_tokenizer(*checkpoint::open_checkpoint(file));
  }

 private slots:
  void initTestCase() {
    const auto file = test::write_tiny_model(folder_.filePath("tiny.gguf").toStdString(), {.layers = 1});
    tiny_ = tokenizer::make_tokenizer(*checkpoint::open_checkpoint(file));
  }

  void ids_equal_llama_cpp() {
    std::filesystem::path file;
    try {
      file = resolve_model("smollm2");
    } catch (const Error& error) {
      QSKIP(error.what());
    }
    const auto model = tokenizer::make_tokenizer(*checkpoint::open_checkpoint(file));
    QFile fixture(HEADROOM_SOURCE_DIR "/tests/tokenizer/smollm2_ids.qz");
    QVERIFY(fixture.open(QIODevice::ReadOnly));
    const QJsonArray rows = QJsonDocument::fromJson(qUncompress(fixture.readAll())).array();
    QCOMPARE(rows.size(), 1500);
    for (const auto& row : rows) {
      const std::string text = row[0].toString().toStdString();
      for (const bool special : {false, true}) {
        const QJsonArray expected = row[special && row.toArray().size() == 3 ? 2 : 1].toArray();
        const std::vector<Token> tokens = model->encode(text, {.parse_special = special});
        std::vector<std::int32_t> ids;
        for (const auto& id : expected) ids.push_back(id.toInt());
        QVERIFY2(ids_of(tokens) == ids, qPrintable("differs on: " + row[0].toString()));
        for (const Token& token : tokens) {
          const auto size = static_cast<std::size_t>(token.end - token.begin);
          QCOMPARE(text.substr(static_cast<std::size_t>(token.begin), size), model->piece(token.id));
        }
      }
    }
    QCOMPARE(model->vocabulary(), 49152);
    const auto& ends = model->end_tokens();
    QVERIFY(std::find(ends.begin(), ends.end(), 2) != ends.end() &&
            std::find(ends.begin(), ends.end(), 0) != ends.end());
  }

  void every_text_survives() {
    constexpr char raw[] = "a\0b \xc3\xa9 \xf0\x9f\x98\x80\r\n\t the and<|im_end|>";
    const std::string text(raw, sizeof raw - 1);
    for (const bool special : {false, true}) {
      const auto tokens = tiny_->encode(text, {.parse_special = special});
      QCOMPARE(tiny_->decode(ids_of(tokens), true), text);
      std::int64_t at = 0;
      for (const Token& token : tokens) {
        QCOMPARE(token.begin, at);
        at = token.end;
      }
      QCOMPARE(at, static_cast<std::int64_t>(text.size()));
      QCOMPARE(tokens.back().id == 2, special);
    }
    QCOMPARE(tiny_->decode(ids_of(tiny_->encode(text, {.parse_special = true}))), text.substr(0, text.size() - 10));
    QVERIFY(tiny_->encode("").empty());
    const auto with_bos = tiny_->encode("x", {.add_bos = true});
    QCOMPARE(with_bos.size(), std::size_t{2});
    QVERIFY(with_bos[0].id == 1 && with_bos[0].begin == 0 && with_bos[0].end == 0);
  }

  void control_tokens_in_literal_bytes_stay_text() {
    // "<|im_end|>" stands at 1, 14 and 24.
    const std::string text = "a<|im_end|> b <|im_end|><|im_end|>";
    const auto ends = [&](std::vector<tokenizer::ByteRange> literal) {
      std::vector<std::int64_t> places;
      const auto tokens = tiny_->encode(text, {.parse_special = true, .literal = std::move(literal)});
      for (const Token& token : tokens)
        if (token.id == 2) places.push_back(token.begin);
      return places;
    };
    using Places = std::vector<std::int64_t>;
    QCOMPARE(ends({}), (Places{1, 14, 24}));
    QCOMPARE(ends({{0, 11}}), (Places{14, 24}));
    QCOMPARE(ends({{10, 11}, {14, 15}}), (Places{24}));       // one byte is enough
    QCOMPARE(ends({{11, 14}, {5, 5}}), (Places{1, 14, 24}));  // none of theirs
    QCOMPARE(ends({{0, 34}}), Places{});
    QCOMPARE(ids_of(tiny_->encode(text, {.parse_special = true, .literal = {{0, 34}}})), ids_of(tiny_->encode(text)));
    // The token behind one that begins in literal bytes is still found.
    const std::string cut = "<|im_end<|im_end|>";
    const auto tokens = tiny_->encode(cut, {.parse_special = true, .literal = {{0, 8}}});
    QVERIFY(tokens.back().id == 2 && tokens.back().begin == 8);
  }

  // A user-defined token is part of any text, but where a template writes it to mark turns: then a text cannot.
  void tokens_that_mark_turns_come_from_the_template_alone() {
    test::GgufWriter gguf;
    gguf.add("tokenizer.ggml.model", "gpt2");
    gguf.add("tokenizer.ggml.pre", "gpt-2");
    gguf.add("tokenizer.ggml.tokens", std::vector<std::string>{"<s>", "<|turn|>", "<b>", "user", "<", "|", "t", "u",
                                                               "r", "n", ">", "b", "s", "e"});
    std::vector<std::int32_t> types(14, 1);
    types[0] = 3;
    types[1] = types[2] = types[3] = 4;
    gguf.add("tokenizer.ggml.token_type", types);
    gguf.add("tokenizer.ggml.merges", std::vector<std::string>{"x x"});
    const auto model = from_gguf(gguf);
    const std::string text = "<|turn|>user<b>user<|turn|>";  // the template's are the first two
    const auto ids = [&](std::vector<tokenizer::ByteRange> literal) {
      return ids_of(model->encode(text, {.parse_special = true, .literal = std::move(literal)}));
    };
    QCOMPARE(ids({}), (std::vector<std::int32_t>{1, 3, 2, 3, 1}));
    QCOMPARE(ids({{12, 27}}), (std::vector<std::int32_t>{1, 3, 2, 3, 4, 5, 6, 7, 8, 9, 5, 10}));
    QCOMPARE(ids({{0, 27}}), (std::vector<std::int32_t>{1, 3, 2, 3, 1}));  // no template is there
  }

  void bytes_without_a_token_are_counted() {
    const auto file = folder_.filePath("holes.gguf").toStdString();
    test::write_tiny_model(file, {.layers = 1, .without_bytes = "\x04\x13"});
    const auto model = tokenizer::make_tokenizer(*checkpoint::open_checkpoint(file));
    const auto note = [&](const std::string& text, bool bos = false) {
      return tokenizer::left_out_note(model->encode(text, {.parse_special = true, .add_bos = bos}), text, "the text");
    };
    QCOMPARE(note("the end"), std::string());
    QCOMPARE(note("", true), std::string());
    QCOMPARE(note("<|im_end|>a", true), std::string());
    QCOMPARE(note("ab\x13"),
             std::string("1 byte of the text without a token in this model's vocabulary, left out: 0x13 "
                         "at byte 2"));
    QCOMPARE(
        note("\x04\x04 and \x13x<|im_end|>\x13"),
        std::string("4 bytes of the text without a token in this model's vocabulary, left out: the first is 0x04 at "
                    "byte 0"));
    const std::string text =
        "a\x13\x04"
        "b\x04";
    const auto found = tokenizer::left_out(model->encode(text), text);
    QCOMPARE(found.bytes, std::int64_t{3});
    QCOMPARE(found.first, std::int64_t{1});
  }

  // Tokens of the text itself are taken token by token, the longest first, each from left to right: written down here
  // as plainly as that, and compared on texts in which they overlap in every way.
  void added_tokens_are_taken_longest_first() {
    const std::vector<std::string> added = {"aa",   "aaa", "ab",   "aba", "baab", "bb",
                                            "abab", "b",   "aabb", "cab", "aaaaa"};
    std::vector<std::string> tokens = {"<unk>", "a", "c"};
    std::vector<std::int32_t> types = {2, 1, 1};
    for (const std::string& token : added) {
      tokens.push_back(token);
      types.push_back(4);
    }
    test::GgufWriter gguf;
    gguf.add("tokenizer.ggml.model", "llama");
    gguf.begin("tokenizer.ggml.scores", 9).number<std::uint32_t>(6).number<std::uint64_t>(tokens.size()).raw(
        std::string(tokens.size() * 4, '\0'));
    gguf.add_bool("tokenizer.ggml.add_space_prefix", false);
    gguf.add_bool("tokenizer.ggml.add_bos_token", false);
    gguf.add("tokenizer.ggml.unknown_token_id", 0u);
    gguf.add("tokenizer.ggml.tokens", tokens);
    gguf.add("tokenizer.ggml.token_type", types);
    const auto model = from_gguf(gguf);
    std::vector<std::string> longest = added;
    std::ranges::stable_sort(longest, std::ranges::greater(), &std::string::size);
    std::uint32_t state = 7;
    for (int round = 0; round < 3000; ++round) {
      std::string text;
      for (int i = 0; i < 1 + round % 24; ++i) text += "aaabbc"[((state = state * 1664525 + 1013904223) >> 16) % 6];
      std::vector<std::pair<std::size_t, std::string>> expected;
      std::string left = text;  // what is taken becomes '.'
      for (const std::string& token : longest) {
        for (std::size_t at; (at = left.find(token)) != std::string::npos;) {
          expected.emplace_back(at, token);
          left.replace(at, token.size(), token.size(), '.');
        }
      }
      for (std::size_t at = 0; at < left.size(); ++at)
        if (left[at] != '.') expected.emplace_back(at, left.substr(at, 1));
      std::ranges::sort(expected);
      std::vector<std::pair<std::size_t, std::string>> found;
      for (const Token& token : model->encode(text))
        found.emplace_back(static_cast<std::size_t>(token.begin), model->piece(token.id));
      QVERIFY2(found == expected, text.c_str());
    }
  }

  // Work in proportion to the text, however many of the vocabulary's tokens stand in it.
  void many_added_tokens_take_no_longer() {
    std::vector<std::string> tokens = {"<unk>", "a"};
    for (int i = 0; i < 8000; ++i) tokens.push_back("<t" + std::to_string(i) + ">");
    std::vector<std::int32_t> types(tokens.size(), 4);
    types[0] = 2, types[1] = 1;
    test::GgufWriter gguf;
    gguf.add("tokenizer.ggml.model", "llama");
    gguf.begin("tokenizer.ggml.scores", 9).number<std::uint32_t>(6).number<std::uint64_t>(tokens.size()).raw(
        std::string(tokens.size() * 4, '\0'));
    gguf.add_bool("tokenizer.ggml.add_space_prefix", false);
    gguf.add_bool("tokenizer.ggml.add_bos_token", false);
    gguf.add("tokenizer.ggml.tokens", tokens);
    gguf.add("tokenizer.ggml.token_type", types);
    const auto model = from_gguf(gguf);
    std::string text;
    for (int i = 0; text.size() < 2'000'000; ++i) text += tokens[2 + static_cast<std::size_t>(i) % 8000] + "a";
    // A template's text around it, as a chat has: each token is asked for whether the template writes it.
    const std::vector<tokenizer::ByteRange> literal = {{4, static_cast<std::int64_t>(text.size()) - 4}};
    QElapsedTimer clock;
    clock.start();
    QVERIFY(model->encode(text).size() > 400'000);
    QVERIFY(!model->encode(text, {.parse_special = true, .literal = literal}).empty());
    QVERIFY2(clock.elapsed() < 20'000, std::to_string(clock.elapsed()).c_str());
  }

  void a_vocabulary_fits_the_embedding() {
    const auto file = folder_.filePath("short.gguf").toStdString();
    test::write_tiny_model(file, {.layers = 1, .tokens_missing = 5});
    const auto checkpoint = checkpoint::open_checkpoint(file);
    const auto rows = checkpoint->find("token_embd.weight")->shape[0];
    QCOMPARE(tokenizer::make_tokenizer(*checkpoint)->vocabulary(), rows - 5);
    const std::string error = first_error([&] { tokenizer::make_tokenizer(*checkpoint, rows); });
    for (const std::string& word :
         {std::string("tokenizer.ggml.tokens"), std::to_string(rows), std::to_string(rows - 5)})
      QVERIFY2(error.find(word) != std::string::npos, error.c_str());
    QCOMPARE(tokenizer::make_tokenizer(*checkpoint, rows - 5)->vocabulary(), rows - 5);
  }

  void other_steps_are_refused_data() {
    QTest::addColumn<QString>("key");
    for (const char* name : {"add_eos_token", "add_sep_token", "add_space_prefix", "normalizer.lowercase"})
      QTest::newRow(name) << QString("tokenizer.ggml.%1").arg(name);
  }
  void other_steps_are_refused() {
    QFETCH(QString, key);
    const auto with = [&](bool value) {
      const auto file = folder_.filePath("steps.gguf").toStdString();
      test::write_tiny_model(
          file, {.layers = 1, .more = [&](test::GgufWriter& gguf) { gguf.add_bool(key.toStdString(), value); }});
      return tokenizer::make_tokenizer(*checkpoint::open_checkpoint(file));
    };
    QVERIFY(with(false));
    const std::string error = first_error([&] { with(true); });
    QVERIFY2(error.find(key.toStdString()) != std::string::npos &&
                 error.find("expected false, found true") != std::string::npos,
             error.c_str());
  }

  void patterns_split_as_published() {
    QCOMPARE(words("gpt-2", "I'll don'T  12345 x\n\ny!!'s"), std::string("I|'ll| don|'|T| | 12345| x|\n|\n|y|!!'|s"));
    QCOMPARE(words("smollm", "a 12b"), std::string("a| |1|2|b"));
    QCOMPARE(words("qwen2", "don'T 123 (x)\n\n  y"), std::string("don|'T| |1|2|3| (|x|)\n\n| | y"));
    QCOMPARE(words("llama-bpe", "1234567 \n \n z"), std::string("123|456|7| \n \n| z"));
  }

  void long_words_end_soon() {
    for (const char* unit : {"a", " ", "1", "\n", "!", "an", "\xe3\x81\x82"}) {
      std::string text;
      while (text.size() < 1'000'000) text += unit;
      QElapsedTimer clock;
      clock.start();
      const auto tokens = tiny_->encode(text);
      QCOMPARE(tokens.back().end, static_cast<std::int64_t>(text.size()));
      QVERIFY2(clock.elapsed() < 20'000, unit);
    }
  }

  void invalid_utf8_is_refused_with_its_place() {
    for (const auto& [bad, byte] :
         std::vector<std::pair<std::string, std::string>>{{"ab\xff", "0xff at byte offset 2"},
                                                          {"\xc3", "0xc3 at byte offset 0"},
                                                          {"x\xc0\xaf", "0xc0 at byte offset 1"},
                                                          {"\xc3\xa9\xed\xa0\x80", "0xed at byte offset 2"},
                                                          {"\xf4\x90\x80\x80", "0xf4 at byte offset 0"},
                                                          {"\xe2\x82", "0xe2 at byte offset 0"}}) {
      for (const bool special : {false, true}) {
        const std::string error = first_error([&, &text = bad] { tiny_->encode(text, {.parse_special = special}); });
        QVERIFY2(error.find(byte) != std::string::npos, error.c_str());
      }
    }
  }

  void wrong_vocabularies_are_refused() {
    const auto error_of = [&](const test::GgufWriter& gguf) { return first_error([&] { from_gguf(gguf); }); };
    test::GgufWriter none;
    QVERIFY(error_of(none).find("tokenizer.ggml.model") != std::string::npos);
    test::GgufWriter kind;
    kind.add("tokenizer.ggml.model", "rwkv");
    QVERIFY(error_of(kind).find("expected gpt2, llama, found 'rwkv'") != std::string::npos);
    test::GgufWriter gguf;
    gguf.add("tokenizer.ggml.model", "gpt2");
    test::GgufWriter pre = gguf;
    pre.add("tokenizer.ggml.pre", "tomorrow");
    QVERIFY(error_of(pre).find("found 'tomorrow'") != std::string::npos);
    gguf.add("tokenizer.ggml.pre", "gpt-2");
    QVERIFY(error_of(gguf).find("tokenizer.ggml.tokens") != std::string::npos);
    gguf.add("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "ab"});
    QVERIFY(error_of(gguf).find("tokenizer.ggml.merges") != std::string::npos);
    test::GgufWriter merges = gguf;
    merges.add("tokenizer.ggml.merges", std::vector<std::string>{"ab"});
    QVERIFY(error_of(merges).find("entry 0") != std::string::npos);
    gguf.add("tokenizer.ggml.merges", std::vector<std::string>{"a b"});
    QCOMPARE(ids_of(from_gguf(gguf)->encode("abba")), (std::vector<std::int32_t>{2, 1, 0}));
    QVERIFY(first_error([&] { from_gguf(gguf)->piece(3); }).find("0 to 2") != std::string::npos);
    QVERIFY(first_error([&] { from_gguf(gguf)->encode("a", {.add_bos = true}); }).find("BOS") != std::string::npos);
    gguf.add("tokenizer.ggml.eos_token_id", 3u);
    QVERIFY(error_of(gguf).find("expected 0 to 2, found 3") != std::string::npos);
  }

  // What a file that leaves keys out stands for, as in llama.cpp.
  void sentence_piece_without_keys() {
    const auto file_of = [](const std::vector<std::pair<const char*, bool>>& said) {
      test::GgufWriter gguf;
      gguf.add("tokenizer.ggml.model", "llama");
      gguf.add("tokenizer.ggml.tokens",
               std::vector<std::string>{"<unk>", "B", "E", "\u2581", "a", "b", "ab", "\u2581ab"});
      gguf.add("tokenizer.ggml.token_type", std::vector<std::int32_t>{2, 3, 3, 1, 1, 1, 1, 1});
      test::ByteWriter& scores = gguf.begin("tokenizer.ggml.scores", 9);
      scores.number<std::uint32_t>(6).number<std::uint64_t>(8);
      for (const float score : {0, 0, 0, -5, -5, -5, -1, -2}) scores.number(score);
      for (const auto& [key, value] : said) gguf.add_bool(std::string("tokenizer.ggml.") + key, value);
      return gguf;
    };
    using Ids = std::vector<std::int32_t>;
    const auto model = from_gguf(file_of({}));
    QCOMPARE(ids_of(model->encode("ab")), (Ids{1, 7}));      // BOS is 1, and there is a space before the text
    QCOMPARE(ids_of(model->encode(" ab")), (Ids{1, 3, 7}));  // one more, not one alone
    QCOMPARE(ids_of(model->encode("q")), (Ids{1, 3, 0}));    // unknown: 0
    QCOMPARE(model->end_tokens(), (Ids{2}));
    QCOMPARE(model->decode(Ids{1, 7, 7}), std::string("ab ab"));
    QCOMPARE(ids_of(from_gguf(file_of({{"add_space_prefix", false}}))->encode("ab")), (Ids{1, 6}));
    QCOMPARE(ids_of(from_gguf(file_of({{"add_bos_token", false}}))->encode("ab")), (Ids{7}));
    QCOMPARE(ids_of(from_gguf(file_of({{"add_space_prefix", true}, {"add_bos_token", true}}))->encode("ab")),
             (Ids{1, 7}));
  }
  void byte_level_bpe_without_keys() {
    const auto file_of = [](const char* pre, const std::vector<std::pair<const char*, std::uint32_t>>& said) {
      test::GgufWriter gguf;
      gguf.add("tokenizer.ggml.model", "gpt2");
      gguf.add("tokenizer.ggml.pre", pre);
      gguf.add("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "ab", "d", "e", "f", "g", "h", "i", "j", "k",
                                                                 "Z", "Y", "\u0120"});
      gguf.add("tokenizer.ggml.merges", std::vector<std::string>{"a b"});
      for (const auto& [key, value] : said) gguf.add(std::string("tokenizer.ggml.") + key, value);
      return gguf;
    };
    using Ids = std::vector<std::int32_t>;
    const auto plain = from_gguf(file_of("gpt-2", {}));
    QCOMPARE(ids_of(plain->encode("ab")), (Ids{2}));  // no space before it, and no BOS unless it is asked for: then 11
    QCOMPARE(ids_of(plain->encode("ab", {.add_bos = true})), (Ids{11, 2}));
    QCOMPARE(plain->end_tokens(), (Ids{11}));
    QCOMPARE(ids_of(from_gguf(file_of("llama-bpe", {}))->encode("ab")), (Ids{11, 2}));
    const auto named = from_gguf(file_of("gpt-2", {{"bos_token_id", 12}, {"eos_token_id", 3}}));
    QCOMPARE(ids_of(named->encode("ab", {.add_bos = true})), (Ids{12, 2}));
    QCOMPARE(named->end_tokens(), (Ids{3}));
  }

  void whole_words_come_before_merges_for_llama3() {
    test::GgufWriter gguf;
    gguf.add("tokenizer.ggml.model", "gpt2");
    gguf.add("tokenizer.ggml.pre", "llama-bpe");
    gguf.add("tokenizer.ggml.tokens", std::vector<std::string>{"<s>", "a", "b", "abab"});
    gguf.add("tokenizer.ggml.merges", std::vector<std::string>{"b a"});
    gguf.add("tokenizer.ggml.bos_token_id", 0u);
    const auto model = from_gguf(gguf);
    QCOMPARE(ids_of(model->encode("abab")), (std::vector<std::int32_t>{0, 3}));  // BOS is this family's default
    QCOMPARE(ids_of(model->encode("aba", {.add_bos = false})), (std::vector<std::int32_t>{1, 2, 1}));
  }
};

QTEST_MAIN(TestTokenizer)
#include "test_tokenizer.moc"
