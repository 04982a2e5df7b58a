// SPDX-License-Identifier: Apache-2.0
// Standard streams that fail, signals, and model files that shrink while they are read.
#include <fcntl.h>
#include <sys/wait.h>

#include <csignal>

#include "command_fixture.h"
#include "record/run_record.h"

using namespace headroom;
using namespace headroom::test;

class TestStandardStreams : public CommandFixture {
  Q_OBJECT

 private slots:
  void initTestCase() { make_inputs(); }

  void standard_output_can_fail_data() {
    QTest::addColumn<QStringList>("arguments");
    const auto row = [](const char* name, const QStringList& arguments) { QTest::newRow(name) << arguments; };
    row("help", {"--help"});
    row("help of a command", {"run", "--help"});
    row("version", {"--version"});
    row("info", {"info", model_});
    row("info, JSON", {"info", model_, "--json"});
    row("a record's info", {"info", record_});
    row("tokenize", {"tokenize", model_});
    row("tokenize, JSON", {"tokenize", model_, "--json"});
    row("tokenize, lines", {"tokenize", model_, "--jsonl"});
    row("run", command("run", path("full.h5")));
    row("run, JSON", command("run", path("full.h5")) + QStringList{"--json"});
    row("bench", {"bench", model_, "--lengths", "32", "--methods", "dense", "--repeats", "1", "--device", "cpu"});
    row("bench, JSON",
        {"bench", model_, "--lengths", "32", "--methods", "dense", "--repeats", "1", "--device", "cpu", "--json"});
    row("distill", command("distill", path("full.safetensors")));
    row("distill, JSON", command("distill", path("full.safetensors")) + QStringList{"--json"});
  }
  void standard_output_can_fail() {
    QFETCH(QStringList, arguments);
    const QString input = "< " + write("input.txt", arguments.contains("--jsonl") ? "\"a\"\n" : "a");
    if (QFile::exists("/dev/full")) {
      const auto full = shell(arguments, input + " > /dev/full");
      QCOMPARE(full.code, 4);
      QVERIFY(says(full, {"standard output", "/dev/full", "the disk is full", "expected", "0 bytes free"}));
    }
    const auto closed = shell(arguments, input + " >&-");
    QCOMPARE(closed.code, 4);
    QVERIFY(says(closed, {"standard output", "cannot be written whole"}));
    const auto limited = shell(arguments, input + " > " + path("limited.txt"), "ulimit -f 0; ");
    QVERIFY2(limited.code == 4, limited.errors);  // not ended by the signal of the limit
    QVERIFY(parts().isEmpty());
  }

  // The reader has gone before the first byte: as any program does, it ends by SIGPIPE without a word.
  void a_closed_pipe_ends_silently() {
    int ends[2], errors[2];
    QVERIFY(::pipe2(ends, O_CLOEXEC) == 0 && ::pipe2(errors, O_CLOEXEC) == 0);
    ::close(ends[0]);
    const std::string name = program().toStdString(), model = model_.toStdString();
    const pid_t child = ::fork();
    if (child == 0) {
      std::signal(SIGPIPE, SIG_IGN);  // as some programs hand it on
      ::dup2(ends[1], 1);
      ::dup2(errors[1], 2);
      ::execl(name.c_str(), name.c_str(), "info", model.c_str(), "--json", nullptr);
      ::_exit(99);
    }
    ::close(ends[1]);
    ::close(errors[1]);
    int status = 0;
    QCOMPARE(::waitpid(child, &status, 0), child);
    QVERIFY(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
    char byte;
    QCOMPARE(::read(errors[0], &byte, 1), ssize_t{0});
    ::close(errors[0]);
  }

  // Whoever listened to messages has gone: the work goes on, and its record is whole.
  void nobody_who_hears_messages_loses_no_record() {
    const QString out = path("deaf.h5");
    int ends[2];
    QVERIFY(::pipe2(ends, O_CLOEXEC) == 0);
    ::close(ends[0]);
    std::vector<std::string> words = {program().toStdString()};
    for (const QString& word : command("run", out)) words.push_back(word.toStdString());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
      ::dup2(::open("/dev/null", O_WRONLY), 1);
      ::dup2(ends[1], 2);
      ::execv(arguments[0], arguments.data());
      ::_exit(99);
    }
    ::close(ends[1]);
    int status = 0;
    QCOMPARE(::waitpid(child, &status, 0), child);
    QVERIFY(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    QVERIFY(record::RunRecord::open(out.toStdString())->meta().complete);
  }

  void standard_input_that_cannot_be_read_data() {
    QTest::addColumn<QStringList>("arguments");
    QTest::addColumn<QString>("redirection");
    for (const char* redirection : {"< /", "<&-"}) {
      const QByteArray name = redirection;
      QTest::newRow("tokenize " + name) << QStringList{"tokenize", model_} << redirection;
      QTest::newRow("tokenize --json " + name) << QStringList{"tokenize", model_, "--json"} << redirection;
      QTest::newRow("tokenize --jsonl " + name) << QStringList{"tokenize", model_, "--jsonl"} << redirection;
      QTest::newRow("serve " + name) << QStringList{"serve", "--device", "cpu"} << redirection;
    }
  }
  void standard_input_that_cannot_be_read() {
    QFETCH(QStringList, arguments);
    QFETCH(QString, redirection);
    const auto result = shell(arguments, redirection);
    QCOMPARE(result.code, 3);
    QVERIFY(says(result, {"standard input"}));
    if (arguments.front() != "serve") QVERIFY(result.output.isEmpty());
  }

  // A descriptor that is closed must not be taken by a file: what is printed would land in it.
  void closed_streams_are_nobodys_files() {
    const QString out = path("all-closed.csv");
    QCOMPARE(shell(command("csv", out), "<&- >&- 2>&-").code, 0);
    QCOMPARE(read(out), [&] {
      headroom(command("csv", path("open.csv")));
      return read(path("open.csv"));
    }());
  }

  void signals_keep_what_was_finished_data() {
    QTest::addColumn<QVector<int>>("signals_sent");
    QTest::newRow("Ctrl+C twice") << QVector<int>{SIGINT, SIGINT};
    QTest::newRow("Ctrl+C five times") << QVector<int>{SIGINT, SIGINT, SIGINT, SIGINT, SIGINT};
    QTest::newRow("the terminal is gone") << QVector<int>{SIGHUP};
    QTest::newRow("terminated, then Ctrl+C") << QVector<int>{SIGTERM, SIGINT};
  }
  void signals_keep_what_was_finished() {
    QFETCH(QVector<int>, signals_sent);
    const QString out = path("stopped.h5");
    QFile::remove(out);
    QByteArray text;
    for (int i = 0; i < 120; ++i) text += "line " + QByteArray::number(i * 7919 % 1000) + "\n";
    QStringList budgets;
    for (int k = 1; k <= 90; ++k) budgets << QString::number(k);
    QProcess process;
    process.start(program(),
                  {"run", model_, "--device", "cpu", "--repeats", "1", "--prompt-file", write("long.txt", text),
                   "--methods", "dense,oracle", "--plan", "none", "--budget", budgets.join(','), "--out", out});
    QByteArray errors;
    const QRegularExpression second_oracle("oracle-k([2-9]|[1-9][0-9])-");
    QTRY_VERIFY_WITH_TIMEOUT(QString::fromUtf8(errors += process.readAllStandardError()).contains(second_oracle),
                             60000);
    const auto pid = static_cast<pid_t>(process.processId());
    for (const int signal : signals_sent) {
      if (process.state() == QProcess::Running) ::kill(pid, signal);
      QTest::qWait(60);
    }
    const auto result = wait_for(process);
    QCOMPARE(result.code, 5);
    QVERIFY(says(result, {"marked incomplete"}));
    const auto opened = record::RunRecord::open(out.toStdString());
    QVERIFY(!opened->meta().complete && opened->methods().size() >= 2);
    QVERIFY(parts().isEmpty());
  }

  // A program that cannot stop can still be killed by hand, some seconds later.
  void a_late_signal_kills() {
    const QString pipe = path("unread.safetensors");
    QCOMPARE(::mkfifo(pipe.toLocal8Bit().constData(), 0600), 0);
    QProcess process;
    process.start(program(), command("logits", pipe));
    // Three tokens take no time: soon it waits for somebody who reads.
    QByteArray errors;
    QTRY_VERIFY_WITH_TIMEOUT((errors += process.readAllStandardError()).contains("prefill"), 60000);
    QTest::qWait(2000);
    QCOMPARE(process.state(), QProcess::Running);
    ::kill(static_cast<pid_t>(process.processId()), SIGINT);
    QTest::qWait(3300);
    QCOMPARE(process.state(), QProcess::Running);
    ::kill(static_cast<pid_t>(process.processId()), SIGINT);
    QVERIFY(process.waitForFinished(5000));
    QCOMPARE(process.exitStatus(), QProcess::CrashExit);
  }

  void an_ignored_signal_stays_ignored() {
    const QString out = path("nohup.h5");
    QFile::remove(out);
    QProcess process;
    process.start("/bin/sh", QStringList{"-c", "trap '' HUP; exec \"$0\" \"$@\"", program()} + command("run", out));
    QByteArray errors;
    QTRY_VERIFY_WITH_TIMEOUT(!(errors += process.readAllStandardError()).isEmpty(),
                             60000);  // the shell has become the program
    for (int i = 0; i < 20 && process.state() == QProcess::Running; ++i) {
      ::kill(static_cast<pid_t>(process.processId()), SIGHUP);
      process.waitForFinished(20);
    }
    QCOMPARE(wait_for(process).code, 0);
    QVERIFY(record::RunRecord::open(out.toStdString())->meta().complete);
  }

  // Whoever reads 64 GB that are holes is still at it when the file shrinks.
  void a_model_that_shrinks_is_told_data() {
    QTest::addColumn<QStringList>("arguments");
    QTest::newRow("info") << QStringList{"info", "%", "--hash"};
    QTest::newRow("run") << QStringList{"run", "%", "--device", "cpu", "--methods", "dense", "--prompt", "a"};
    QTest::newRow("logits") << QStringList{"logits", "%", "--ids", ids_, "--out", path("shrunk.safetensors")};
  }
  void a_model_that_shrinks_is_told() {
    QFETCH(QStringList, arguments);
    const QString model = with_holes();
    QProcess process;
    process.start(program(), arguments.replaceInStrings("%", model));
    QTRY_VERIFY_WITH_TIMEOUT(reads(process, model), 20000);
    QTest::qWait(300);
    QCOMPARE(process.state(), QProcess::Running);
    const qint64 bytes = QFileInfo(model_).size();
    QVERIFY(::truncate(model.toLocal8Bit().constData(), bytes) == 0);
    const auto result = wait_for(process);
    QCOMPARE(result.code, 3);
    QVERIFY(says(result, {model, "shorter", QString::number(holes), QString::number(bytes)}));
    QVERIFY(parts().isEmpty() && !QFile::exists(path("shrunk.safetensors")));
  }

  // Nothing polls while a file is hashed, and nothing is lost: it ends at once, with the code for that.
  void a_signal_before_the_work_ends_at_once_data() {
    QTest::addColumn<QStringList>("arguments");
    QTest::newRow("info") << QStringList{"info", "%", "--hash"};
    QTest::newRow("run") << QStringList{"run",   "%",        "--device", "cpu",   "--methods",
                                        "dense", "--prompt", "a",        "--out", path("never.h5")};
  }
  void a_signal_before_the_work_ends_at_once() {
    QFETCH(QStringList, arguments);
    const QString model = with_holes();
    QProcess process;
    process.start(program(), arguments.replaceInStrings("%", model));
    QTRY_VERIFY_WITH_TIMEOUT(reads(process, model), 20000);
    QTest::qWait(100);
    ::kill(static_cast<pid_t>(process.processId()), SIGINT);
    QVERIFY(process.waitForFinished(2000));
    const auto result = wait_for(process);
    QCOMPARE(result.code, 5);
    QCOMPARE(result.errors, QByteArray("headroom: cancelled\n"));
    QVERIFY(parts().isEmpty() && !QFile::exists(path("never.h5")));
  }
};

QTEST_GUILESS_MAIN(TestStandardStreams)
#include "test_standard_streams.moc"
