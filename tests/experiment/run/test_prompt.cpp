// SPDX-License-Identifier: Apache-2.0
// From a specification to token ids: who writes control tokens, what is said of a prompt, what is read and what
// refused.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <QtTest>
#include <thread>

#include "base/error.h"
#include "experiment/run/preflight.h"
#include "experiment/run/prepared_run.h"
#include "experiment/run/prompt_text.h"
#include "experiment/run/run.h"
#include "record/run_record.h"
#include "support/gguf_writer.h"
#include "support/tiny_model.h"
#include "tokenizer/chat_template.h"

using namespace headroom;
using namespace headroom::experiment;

namespace {

constexpr std::int32_t im_start = 1;
constexpr const char* unknown_template = "{{ bos_token }}{% for m in messages %}[INST] {{ m['content'] }}{% endfor %}";

std::string refusal_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.kind() == ErrorKind::input ? error.what() : std::string("of another kind: ") + error.what();
  }
  return "nothing was refused";
}

}  // namespace

class TestPrompt : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;

  std::string path(const char* name) const { return folder_.filePath(name).toStdString(); }
  std::string write(const char* name, const std::string& bytes) const {
    test::write_file(path(name), bytes);
    return path(name);
  }
  std::string model(test::TinyModelOptions options = {}) const {
    options.layers = 2;
    options.width = 32;
    return test::write_tiny_model(path("model.gguf"), options).string();
  }
  static protocol::RunSpec spec_of(const std::string& model) {
    protocol::RunSpec spec;
    spec.model = model;
    spec.methods = {"dense"};
    spec.repeats = 1;
    spec.device = "cpu";
    spec.dtype = "f32";
    spec.max_new_tokens = 1;
    return spec;
  }
  static protocol::RunSpec task_of(const std::string& model) {
    auto spec = spec_of(model);
    spec.task = "niah_single_1";
    spec.length = 900;
    return spec;
  }
  static PreparedPrompt prepare(const protocol::RunSpec& spec) {
    Session session(spec.model);
    return prepare_prompt(spec, session);
  }
  static std::string joined(const std::vector<std::string>& sentences) {
    std::string text;
    for (const std::string& sentence : sentences) text += sentence + "\n";
    return text;
  }

 private slots:
  void what_is_said_of_a_prompt_data() {
    using namespace std::string_literals;
    QTest::addColumn<std::string>("bytes");
    QTest::addColumn<std::string>("words");  // of the only sentence; empty: none
    const auto row = [](const char* name, const std::string& bytes, const std::string& words) {
      QTest::newRow(name) << bytes << words;
    };
    row("nothing", "the river\n", "");
    row("byte order mark", "\xef\xbb\xbfthe river", "prompt.txt begins with a byte order mark");
    row("carriage returns", "a\r\nb\r\nc\n", "prompt.txt has 2 lines that end in CR LF");
    row("one carriage return", "a\r\nb", "1 line that ends in CR LF");
    row("bytes without a token", "a\x13 b\x04",
        "2 bytes of the prompt without a token in this model's vocabulary, left out: the first is 0x13 at byte 1");
  }
  void what_is_said_of_a_prompt() {
    QFETCH(std::string, bytes);
    QFETCH(std::string, words);
    auto spec = spec_of(model({.without_bytes = "\x04\x13"}));
    spec.prompt_file = write("prompt.txt", bytes);
    const auto prepared = prepare_run(spec);
    const auto& warnings = prepared.prompt.warnings;
    QCOMPARE(warnings.size(), words.empty() ? std::size_t{0} : std::size_t{1});
    QCOMPARE(prepared.prompt.table.text, bytes);  // whatever is said of it
    QCOMPARE(preflight(prepared).warnings, warnings);
    if (words.empty()) return;
    QVERIFY2(warnings[0].find(words) != std::string::npos, warnings[0].c_str());
    QVERIFY(warnings[0].find(folder_.path().toStdString()) == std::string::npos);  // records are passed on

    spec.out = path("said.h5");
    run(spec, {});
    QCOMPARE(record::RunRecord::open(*spec.out)->meta().warnings, warnings);
  }

  void what_is_said_of_a_system_message() {
    auto spec = spec_of(model({.without_bytes = "\x04"}));
    spec.prompt = "Hello";
    spec.chat = true;
    const auto own = prepare(spec);
    QCOMPARE(own.warnings.size(), std::size_t{1});
    QVERIFY2(own.warnings[0].find("--system replaces it): \"You are a tiny model\"") != std::string::npos,
             own.warnings[0].c_str());
    spec.system_file = write("system.txt",
                             "\xef\xbb\xbf"
                             "Be brief.\r\n\x04");
    const std::string said = joined(prepare(spec).warnings);
    for (const char* word : {"system.txt begins with a byte order mark", "system.txt has 1 line",
                             "1 byte of the rendered prompt without a token"})
      QVERIFY2(said.find(word) != std::string::npos, said.c_str());
    QVERIFY2(said.find("tiny model") == std::string::npos, said.c_str());
    spec.system_file = write("system.txt", "");
    QVERIFY(prepare(spec).warnings.empty());
  }

  // The model decides whether a task is a chat; what is recorded says what it was.
  void a_task_is_a_chat_where_there_is_a_template_data() {
    QTest::addColumn<bool>("has");
    QTest::addColumn<std::string>("source");
    QTest::addColumn<bool>("chat");
    QTest::addColumn<std::string>("words");
    QTest::newRow("understood") << true << std::string() << true << std::string("system message of its own");
    // Rendered by jinja2, where there is one.
    const bool python = tokenizer::can_render_templates();
    QTest::newRow("unknown") << true << std::string(unknown_template) << python
                             << std::string(python ? "" : "jinja2, which is not there: the task runs as a bare prompt");
    QTest::newRow("none") << false << std::string() << false
                          << std::string("no chat template: the task runs as a bare prompt");
  }
  void a_task_is_a_chat_where_there_is_a_template() {
    QFETCH(bool, has);
    QFETCH(std::string, source);
    QFETCH(bool, chat);
    QFETCH(std::string, words);
    auto spec = task_of(model({.chat = has, .chat_template = source}));
    spec.out = path("task.h5");
    const auto prepared = prepare_run(spec);
    QCOMPARE(prepared.prompt.chat, chat);
    QVERIFY2(joined(prepared.prompt.warnings).find(words) != std::string::npos,
             joined(prepared.prompt.warnings).c_str());
    run(prepared, {});
    const auto opened = record::RunRecord::open(*spec.out);
    QVERIFY(opened->meta().chat == chat);
    QVERIFY(opened->meta().spec_json.find(chat ? "\"chat\":true" : "\"chat\":false") != std::string::npos);
    QCOMPARE(opened->tokens().ids[0] == im_start, chat);

    spec.system_file = write("system.txt", "Be brief.");
    if (chat) {
      QVERIFY(prepare(spec).table.text.find("Be brief.") != std::string::npos);
    } else {
      const std::string error = refusal_of([&] { prepare(spec); });
      QVERIFY2(error.starts_with("--system: ") && error.find("template") != std::string::npos, error.c_str());
      spec.system_file.reset();
      spec.chat = true;
      QVERIFY2(refusal_of([&] { prepare(spec); }).find("template") != std::string::npos, "asked for, not there");
    }
  }

  void a_prompt_of_a_set_is_run_as_a_task_is() {
    const std::string set = write(
        "set.jsonl",
        "{\"input\": \"Where is it?\", \"outputs\": [\"there\"], \"answer_prefix\": \" It is\", "
        "\"max_new_tokens\": 3}\n"
        "{\"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, {\"role\": \"user\", \"content\": "
        "\"One?\"}, {\"role\": \"assistant\", \"content\": \"Yes.\"}, {\"role\": \"user\", \"content\": \"Two?\"}]}\n");
    auto spec = spec_of(model());
    spec.prompts = set;
    spec.max_new_tokens.reset();
    const auto first = prepare(spec);
    QVERIFY(first.chat && first.table.text.find("user\nWhere is it?<|im_end|>") != std::string::npos);
    QVERIFY(first.table.text.ends_with(" It is"));
    QCOMPARE(first.max_new_tokens, std::int64_t{3});
    QCOMPARE(first.sample->references, std::vector<std::string>{"there"});
    spec.index = 1;
    const auto second = prepare(spec);
    for (const char* part : {"system\nBe brief.<|im_end|>", "user\nOne?<|im_end|>", "assistant\nYes.<|im_end|>",
                             "user\nTwo?<|im_end|>"})
      QVERIFY2(second.table.text.find(part) != std::string::npos, second.table.text.c_str());
    QCOMPARE(second.max_new_tokens, std::int64_t{64});
    spec.system_file = write("system.txt", "Be long.");
    QVERIFY(refusal_of([&] { prepare(spec); }).find("a system message of its own") != std::string::npos);
    spec.system_file.reset();
    spec.index = 2;
    const std::string missing = refusal_of([&] { prepare(spec); });
    QVERIFY2(missing.find("set.jsonl: has no prompt of this index") != std::string::npos, missing.c_str());

    // Without a template a text is a bare prompt, and a conversation is none.
    spec.model = model({.chat = false});
    spec.index = 0;
    const auto bare = prepare(spec);
    QCOMPARE(bare.table.text, std::string("Where is it? It is"));
    QVERIFY(joined(bare.warnings).find("the prompt runs as a bare prompt") != std::string::npos);
    spec.index = 1;
    QVERIFY(refusal_of([&] { prepare(spec); }).find("is a conversation, and the model has no chat template") !=
            std::string::npos);

    // A record of one without references has no score; of one with them it has.
    spec.index = 0;
    spec.out = path("set.h5");
    run(spec, {});
    QVERIFY(record::RunRecord::open(*spec.out)->methods()[0].task_score.has_value());
    write("set.jsonl", "{\"input\": \"Where is it?\", \"max_new_tokens\": 2}");
    run(spec, {});
    QVERIFY(!record::RunRecord::open(*spec.out)->methods()[0].task_score.has_value());
  }

  void a_text_of_the_users_is_a_tasks_haystack() {
    auto spec = task_of(model());
    spec.task = "niah_single_2";
    spec.haystack = write("own.txt", "Seven bells rang over the empty square. Nobody counted them.");
    const auto prepared = prepare(spec);
    QVERIFY(prepared.table.text.find("Seven bells rang over the empty square.") != std::string::npos);
    QVERIFY(prepared.length() <= spec.length - 1 && prepared.length() > spec.length - 12);
    spec.haystack = path("none");
    QVERIFY(refusal_of([&] { prepare(spec); }).find("none: is not there") != std::string::npos);
  }

  void bos_is_written_once_data() {
    QTest::addColumn<bool>("add_bos");
    QTest::newRow("the file wants none") << false;
    QTest::newRow("the file wants one") << true;
  }
  void bos_is_written_once() {
    QFETCH(bool, add_bos);
    auto spec = spec_of(model({.add_bos = add_bos}));
    spec.prompt = "Hello";
    const auto plain = prepare(spec);
    QCOMPARE(plain.table.ids[0] == im_start, add_bos);  // BOS of the tiny model
    spec.chat = true;
    const auto chat = prepare(spec);
    QCOMPARE(chat.table.ids[0], im_start);
    QVERIFY(chat.table.ids[1] != im_start);
    QCOMPARE(chat.table.end[0], std::int64_t{12});  // the template's own: it has a text
    // A task fills the same length either way.
    auto task = task_of(spec.model);
    const auto filled = prepare(task);
    QVERIFY(filled.table.ids[1] != im_start);
    QVERIFY(filled.length() <= task.length - 1 && filled.length() > task.length - 40);
  }

  void a_vocabulary_that_is_too_short_is_found_before_the_work() {
    auto spec = spec_of(model({.tokens_missing = 3}));
    spec.prompt = "Hello";
    const std::string error = refusal_of([&] { prepare_run(spec); });
    QVERIFY2(error.find("tokenizer.ggml.tokens") != std::string::npos, error.c_str());
  }

  // Each gives its bytes once: they are read once, whatever the specification needs them for.
  void pipes_are_read() {
    auto spec = spec_of(model());
    spec.chat = true;
    const auto fifo = [&](const char* name) {
      const std::string file = path(name);
      if (::mkfifo(file.c_str(), 0600) != 0) qFatal("no FIFO");
      return file;
    };
    spec.prompt_file = fifo("prompt.fifo");
    spec.system_file = fifo("system.fifo");
    std::thread writer([&] {
      for (const auto& [file, text] : {std::pair{*spec.system_file, "Be brief."}, {*spec.prompt_file, "The river?"}}) {
        std::this_thread::sleep_for(std::chrono::milliseconds(80));  // it is waited for
        const int out = ::open(file.c_str(), O_WRONLY);
        if (::write(out, text, 5) != 5) qFatal("cannot write");
        std::this_thread::sleep_for(std::chrono::milliseconds(80));  // and not taken for finished
        if (::write(out, text + 5, std::strlen(text) - 5) < 0) qFatal("cannot write");
        ::close(out);
      }
    });
    const auto prepared = prepare(spec);
    writer.join();
    QVERIFY(prepared.table.text.find("system\nBe brief.<|im_end|>") != std::string::npos);
    QVERIFY(prepared.table.text.find("user\nThe river?<|im_end|>") != std::string::npos);
    QVERIFY2(refusal_of([&] { require_regular_files(spec); }).find("prompt.fifo") != std::string::npos, "twice");

    // A pipe whose writer has gone before anybody looked, as <(printf …) leaves it.
    int ends[2];
    QVERIFY(::pipe(ends) == 0 && ::write(ends[1], "all of it", 9) == 9);
    ::close(ends[1]);
    const std::string open_file = "/proc/self/fd/" + std::to_string(ends[0]);
    QCOMPARE(read_prompt_file(open_file, {}), std::string("all of it"));
    QVERIFY(joined(prompt_text_notes("a\r\n", "/dev/fd/63")).starts_with("the text from /dev/fd/63 has 1 line"));
    QCOMPARE(read_prompt_file(open_file, {}), std::string());
    ::close(ends[0]);
  }

  void a_pipe_without_a_writer_is_left_at_a_stop() {
    const std::string file = path("silent.fifo");
    QVERIFY(::mkfifo(file.c_str(), 0600) == 0);
    std::stop_source stop;
    std::thread later([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(120));
      stop.request_stop();
    });
    bool cancelled = false;
    try {
      read_prompt_file(file, {stop.get_token(), {}});
    } catch (const Error& error) {
      cancelled = error.kind() == ErrorKind::cancelled;
    }
    later.join();
    QVERIFY(cancelled);
  }

  void what_is_no_text_is_called_by_its_name_data() {
    using namespace std::string_literals;
    QTest::addColumn<std::string>("bytes");
    QTest::addColumn<std::string>("words");
    const auto row = [](const char* name, const std::string& bytes, const std::string& words) {
      QTest::newRow(name) << bytes << words;
    };
    row("UTF-16", "\xff\xfeh\0e\0"s, "iconv -f UTF-16 -t UTF-8 (expected UTF-8 text, found UTF-16 (little-endian))");
    row("UTF-16 without a mark", "\0h\0e\0l\0l\0o"s, "found UTF-16 (big-endian)");
    row("UTF-32", "\xff\xfe\0\0h\0\0\0"s, "iconv -f UTF-32");
    row("archive", "PK\x03\x04\0\0"s, "a zero byte at offset 4: a ZIP archive");
    row("Latin-1", "caf\xe9 noir", "an invalid byte at offset 3)");
    row("nothing", "", "is empty");
  }
  void what_is_no_text_is_called_by_its_name() {
    QFETCH(std::string, bytes);
    QFETCH(std::string, words);
    auto spec = spec_of(model());
    spec.prompt_file = write("no.txt", bytes);
    const std::string error = refusal_of([&] { prepare(spec); });
    QVERIFY2(error.find(words) != std::string::npos && error.find("no.txt") != std::string::npos, error.c_str());
    if (bytes.empty()) return;  // an empty system message is one
    spec.system_file = spec.prompt_file;
    spec.prompt_file.reset();
    spec.prompt = "Hello";
    spec.chat = true;
    QCOMPARE(refusal_of([&] { prepare(spec); }), error);
  }

  void what_cannot_be_read_is_refused() {
    QVERIFY(refusal_of([&] { read_prompt_file(path("none"), {}); }).find("no such file") != std::string::npos);
    QVERIFY(refusal_of([&] { read_prompt_file(folder_.path().toStdString(), {}); }).find("a folder") !=
            std::string::npos);
    QVERIFY(refusal_of([&] { read_prompt_file("/dev/zero", {}); }).find("too large") != std::string::npos);
    QCOMPARE(read_prompt_file("/dev/null", {}), std::string());
  }
};

QTEST_GUILESS_MAIN(TestPrompt)
#include "test_prompt.moc"
