// SPDX-License-Identifier: Apache-2.0
// Prompts of the user's and RULER's layout: what is read, what goes out and comes back, what is refused and how; texts
// as haystacks.
#include <QtTest>
#include <functional>

#include "base/error.h"
#include "support/gguf_writer.h"
#include "tasks/haystack.h"
#include "tasks/prompt_file.h"

using namespace headroom;
using tasks::FilePrompt;
using tasks::Metric;
using tasks::Sample;

class TestPromptFile : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;

  std::string write(const std::string& name, const std::string& bytes) const {
    const std::filesystem::path file = std::filesystem::path(folder_.path().toStdString()) / name;
    std::filesystem::create_directories(file.parent_path());
    test::write_file(file, bytes);
    return file.string();
  }
  tasks::PromptSet read(const std::string& bytes, const tasks::PromptFileOptions& options = {}) const {
    return tasks::read_prompts(write("prompts.jsonl", bytes), options);
  }
  static std::string refusal_of(const std::function<void()>& work) {
    try {
      work();
    } catch (const Error& error) {
      return error.kind() == ErrorKind::input ? error.what() : std::string("of another kind: ") + error.what();
    }
    return "nothing was refused";
  }

 private slots:
  void prompts_are_read() {
    const auto set = read(
        "\xef\xbb\xbf{\"input\": \"What is in the café?\"}\r\n"
        "\n"
        "{\"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, {\"role\": \"user\", \"content\": "
        "\"Why?\"}],"
        " \"outputs\": [\"so\", \"thus\"], \"metric\": \"string_match_part\", \"max_new_tokens\": 5}\n"
        "{\"input\": \"a\", \"outputs\": \"b\", \"task\": \"qa_1\", \"index\": 7, \"answer_prefix\": \" It is\"}");
    QCOMPARE(set.prompts.size(), std::size_t{3});
    const auto& [plain, chat, qa] = std::tie(set.prompts[0], set.prompts[1], set.prompts[2]);
    QCOMPARE(plain.name, std::string("prompts.jsonl:1"));
    QCOMPARE(plain.sample.prompt, std::string("What is in the café?"));
    QVERIFY(plain.sample.references.empty() && plain.sample.messages.empty() && !plain.length);
    QCOMPARE(plain.sample.max_new_tokens, std::int64_t{64});
    QCOMPARE(plain.index, std::int64_t{0});
    QCOMPARE(chat.name, std::string("prompts.jsonl:3"));
    QCOMPARE(chat.sample.messages.size(), std::size_t{2});
    QCOMPARE(chat.sample.messages[1].content, std::string("Why?"));
    QVERIFY(chat.sample.prompt.empty() && chat.sample.metric == Metric::match_part);
    QCOMPARE(chat.sample.references, (std::vector<std::string>{"so", "thus"}));
    QCOMPARE(chat.sample.max_new_tokens, std::int64_t{5});
    QCOMPARE(qa.index, std::int64_t{7});
    QVERIFY(qa.sample.metric == Metric::match_part && qa.sample.max_new_tokens == 32);  // the task's
    QCOMPARE(qa.sample.references, std::vector<std::string>{"b"});
    QCOMPARE(qa.sample.answer_prefix, std::string(" It is"));
  }

  void rulers_files_are_read() {
    const std::string line =
        "{\"index\": 3, \"input\": \"x\", \"outputs\": [\"1\"], \"length\": 4090, \"length_w_model_temp\": 4096, "
        "\"answer_prefix\": \"p\", \"token_position_answer\": 12}\n";
    const auto set = read(line, {.metric = Metric::match_part, .default_new_tokens = 9});
    QCOMPARE(set.prompts[0].index, std::int64_t{3});
    QCOMPARE(set.prompts[0].length, std::optional<std::int64_t>(4090));
    QVERIFY(set.prompts[0].sample.metric == Metric::match_part && set.prompts[0].sample.max_new_tokens == 9);
  }

  void what_is_written_comes_back() {
    Sample sample;
    sample.task = "niah_multivalue";
    sample.prompt = "line\n\"quoted\" \\ \xe2\x80\xa8 é \x07";
    sample.answer_prefix = " are";
    sample.references = {"1", "2"};
    sample.max_new_tokens = 128;
    const std::string line = tasks::ruler_line(sample, 4, 1000);
    QVERIFY(line.starts_with("{\"index\":4,\"input\":\"line\\n") && line.ends_with("}\n"));
    QCOMPARE(std::count(line.begin(), line.end(), '\n'), 1);
    QVERIFY(line.find("\"outputs\":[\"1\",\"2\"],\"length\":1000,") != std::string::npos);
    const auto set = read(line);
    const Sample& back = set.prompts[0].sample;
    QCOMPARE(set.prompts[0].index, std::int64_t{4});
    QCOMPARE(set.prompts[0].length, std::optional<std::int64_t>(1000));
    QCOMPARE(back.task, sample.task);
    QCOMPARE(back.prompt, sample.prompt);
    QCOMPARE(back.answer_prefix, sample.answer_prefix);
    QCOMPARE(back.references, sample.references);
    QCOMPARE(back.max_new_tokens, sample.max_new_tokens);
    QVERIFY(back.metric == sample.metric);
  }

  void fingerprints_follow_the_contents() {
    const std::string one = read("{\"input\": \"a\"}\n{\"input\": \"b\"}").fingerprint;
    QCOMPARE(read("{ \"input\":\"a\" }\n\n{\"input\": \"\\u0062\"}\n").fingerprint, one);
    for (const char* other : {"{\"input\": \"b\"}\n{\"input\": \"a\"}", "{\"input\": \"a\"}",
                              "{\"input\": \"a\"}\n{\"input\": \"b\", \"outputs\": [\"c\"]}",
                              "{\"input\": \"a\"}\n{\"input\": \"b\", \"max_new_tokens\": 1}"})
      QVERIFY(read(other).fingerprint != one);
  }

  void what_is_wrong_is_said_with_its_line_data() {
    using namespace std::string_literals;
    QTest::addColumn<std::string>("bytes");
    QTest::addColumn<std::string>("words");
    const auto row = [](const char* name, const std::string& bytes, const std::string& words) {
      QTest::newRow(name) << bytes << words;
    };
    const std::string good = "{\"input\": \"a\"}\n";
    row("no JSON", good + "hello there\n", "prompts.jsonl:2: is not valid JSON");
    row("cut", good + "{\"input\": \"a", "prompts.jsonl:2: is not valid JSON");
    row("two objects", "{\"input\": \"a\"} {\"input\": \"b\"}", "prompts.jsonl:1: is not valid JSON");
    row("a list", "[1]", "prompts.jsonl:1: must be an object");
    row("number", "5", "prompts.jsonl:1: must be an object");
    row("neither", good + good + "{\"outputs\": [\"a\"]}", "prompts.jsonl:3: the prompt needs one source");
    row("both", "{\"input\": \"a\", \"messages\": []}", "the prompt needs one source");
    row("unknown field", "{\"input\": \"a\", \"temperature\": 1}", "temperature");
    row("twice", "{\"input\": \"a\", \"input\": \"b\"}", "field \"input\" comes twice");
    row("twice in a message", "{\"messages\": [{\"role\": \"user\", \"content\": \"a\", \"role\": \"user\"}]}",
        "field \"role\" comes twice");
    row("input no text", "{\"input\": 3}", "field \"input\" is not valid (expected a text, found 3)");
    row("empty input", "{\"input\": \"\"}", "field \"input\": is empty");
    row("zero byte", "{\"input\": \"a\\u0000b\"}", "a zero byte at offset 1");
    row("no UTF-8", "{\"input\": \"caf\xe9\"}", "an invalid byte at offset 14");
    row("half a surrogate", "{\"input\": \"\\ud800\"}", "is not valid JSON");
    row("UTF-16", "\xff\xfe{\0\"\0"s, "iconv -f UTF-16");
    row("binary", "PK\x03\x04\0\0"s, "a ZIP archive");
    row("outputs", "{\"input\": \"a\", \"outputs\": [1]}", "a list of texts");
    row("empty output", "{\"input\": \"a\", \"outputs\": [\"\"]}", "texts of at least one character");
    row("metric", "{\"input\": \"a\", \"metric\": \"f1\"}", "string_match_all or string_match_part");
    row("negative index", "{\"input\": \"a\", \"index\": -1}", "field \"index\"");
    row("index twice", "{\"input\": \"a\", \"index\": 1}\n{\"input\": \"a\"}",
        "prompts.jsonl:2: the index comes twice");
    row("large room", "{\"input\": \"a\", \"max_new_tokens\": 1e9}", "max_new_tokens");
    row("no messages", "{\"messages\": []}", "the last message is not the user's");
    row("assistant last", "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}", "found assistant");
    row("role", "{\"messages\": [{\"role\": \"<|im_start|>\", \"content\": \"a\"}]}", "messages[0]: field \"role\"");
    row("content parts", "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\"}]}]}",
        "messages[0]: field \"content\"");
    row("name", "{\"messages\": [{\"role\": \"user\", \"content\": \"a\", \"name\": \"b\"}]}", "name");
    row("nothing", "", "has no prompts");
    row("blank lines", "\n  \r\n\n", "has no prompts");
    row("deep", "{\"input\": " + std::string(5000, '[') + std::string(5000, ']') + "}", "nested too deeply");
    row(
        "many values",
        "{\"outputs\": [" +
            [] {
              std::string list = "0";
              for (int i = 0; i < 100'000; ++i) list += ",0";
              return list;
            }() +
            "]}",
        "JSON is too large");
    row("long", "{\"input\": \"" + std::string((16u << 20) + 1, 'a') + "\"}", "16777216 bytes");
  }
  void what_is_wrong_is_said_with_its_line() {
    QFETCH(std::string, bytes);
    QFETCH(std::string, words);
    const std::string error = refusal_of([&] { read(bytes); });
    QVERIFY2(error.find(words) != std::string::npos && error.find("prompts.jsonl") != std::string::npos, error.c_str());
  }

  void bytes_that_are_flipped_are_read_or_refused() {
    const std::string good =
        "{\"index\": 3, \"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"outputs\": [\"1\"], \"length\": "
        "40}\n"
        "{\"input\": \"y\\u00e9\", \"task\": \"vt\"}\n";
    QCOMPARE(read(good).prompts.size(), std::size_t{2});
    for (std::size_t i = 0; i < good.size(); ++i) {
      for (const int flip : {1, 2, 32, 128}) {
        std::string bad = good;
        bad[i] = static_cast<char>(bad[i] ^ flip);
        const std::string said = refusal_of([&] { read(bad); });
        QVERIFY2(!said.starts_with("of another kind"), said.c_str());
      }
      refusal_of([&] { read(good.substr(0, i)); });
    }
  }

  void a_folder_is_a_set_of_plain_prompts() {
    const std::string home = folder_.filePath("set").toStdString();
    write("set/b.txt", "second\r\n");
    write("set/a/z.md", "first");
    write("set/.hidden/c.txt", "not there");
    write("set/.git", "not there");
    const auto set = tasks::read_prompts(home);
    QCOMPARE(set.prompts.size(), std::size_t{2});
    QCOMPARE(set.prompts[0].name, std::string("a/z.md"));
    QCOMPARE(set.prompts[0].sample.prompt, std::string("first"));
    QCOMPARE(set.prompts[1].index, std::int64_t{1});
    QCOMPARE(set.warnings.size(), std::size_t{1});
    QVERIFY(set.warnings[0].find("CR LF") != std::string::npos);
    write("set/photo.bin", std::string("\x89PNG\0", 5));
    std::string said = refusal_of([&] { tasks::read_prompts(home); });
    QVERIFY2(said.find("photo.bin") != std::string::npos, said.c_str());
    write("set/photo.bin", "");
    said = refusal_of([&] { tasks::read_prompts(home); });
    QVERIFY2(said.find("photo.bin: is empty") != std::string::npos, said.c_str());
    write("set/photo.bin", "now a text");
    write("set/more.jsonl", "{\"input\": \"a\"}");
    said = refusal_of([&] { tasks::read_prompts(home); });
    QVERIFY2(said.find("more.jsonl: is a set of prompts") != std::string::npos, said.c_str());
    const std::string empty = folder_.filePath("empty").toStdString();
    std::filesystem::create_directories(empty);
    QVERIFY(refusal_of([&] { tasks::read_prompts(empty); }).find("has no prompts") != std::string::npos);
    said = refusal_of([&] { tasks::read_prompts(empty + "/none.jsonl"); });
    QVERIFY2(said.find("none.jsonl") != std::string::npos && said.find("no such file") != std::string::npos,
             said.c_str());
  }

  void texts_become_sentences() {
    const std::string file = write("own.txt", "\xef\xbb\xbfOne  two\nthree. \"Is it?\" he said!  \n\nA heading\n\n" +
                                                  std::string(500, 'x') + " end.");
    const auto haystack = tasks::read_haystack(file);
    const std::vector<std::string> expected = {"One two three.",
                                               "\"Is it?\"",
                                               "he said!",
                                               "A heading",
                                               std::string(240, 'x'),
                                               std::string(240, 'x'),
                                               std::string(20, 'x') + " end."};
    QCOMPARE(haystack.sentences, expected);
    QVERIFY(haystack.files == 1 && haystack.passed_over == 0 && haystack.fingerprint.size() == 64);

    // Characters stay whole; a folder's files that are no text are passed over.
    std::string accents;
    for (int i = 0; i < 400; ++i) accents += "é";
    write("texts/a.txt", accents);
    write("texts/b/c.txt", "Another. One");
    write("texts/d.bin", std::string("\0\1", 2));
    const auto folder = tasks::read_haystack(folder_.filePath("texts").toStdString());
    QVERIFY(folder.files == 2 && folder.passed_over == 1);
    QCOMPARE(folder.sentences.front(), accents.substr(0, 240));
    QCOMPARE(folder.sentences.back(), std::string("One"));

    const auto said = [&](const std::string& path) { return refusal_of([&] { tasks::read_haystack(path); }); };
    QVERIFY(said(folder_.filePath("none").toStdString()).find("no such file") != std::string::npos);
    QVERIFY(said(write("blank.txt", " \n\n ")).find("has no text for a haystack") != std::string::npos);
    QVERIFY(said(write("latin.txt", "caf\xe9")).find("is not valid UTF-8") != std::string::npos);
    QVERIFY(said("/dev/zero").find("too large for a haystack") != std::string::npos);
  }
};

QTEST_GUILESS_MAIN(TestPromptFile)
#include "test_prompt_file.moc"
