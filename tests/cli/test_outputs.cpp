// SPDX-License-Identifier: Apache-2.0
// Outputs of every command: links, pipes, devices, full disks, inputs, two writers of one place.
#include <fcntl.h>

#include <nlohmann/json.hpp>

#include "command_fixture.h"
#include "record/run_record.h"

using namespace headroom;
using namespace headroom::test;

class TestOutputs : public CommandFixture {
  Q_OBJECT

 private slots:
  void initTestCase() { make_inputs(); }

  void outputs_data() {
    QTest::addColumn<QString>("name");
    for (const char* name : {"run", "logits", "csv", "plan", "distill"}) QTest::newRow(name) << name;
  }

  void links_are_followed_data() { outputs_data(); }
  void links_are_followed() {
    QFETCH(QString, name);
    QDir(folder_.path()).mkdir("far");
    const QString target = path("far/" + name + suffix(name)), link = path("link-" + name + suffix(name));
    QVERIFY(QFile::link(target, link));
    for (int round = 0; round < 2; ++round) {  // to nothing yet, then to a file
      const auto result = headroom(command(name, link));
      QVERIFY2(result.code == 0, result.errors);
      QVERIFY(QFileInfo(link).isSymLink() && QFileInfo(target).size() > 0 && !QFileInfo(target).isSymLink());
    }
    QVERIFY(parts().isEmpty());
  }

  void pipes_and_devices_stay_what_they_are_data() { outputs_data(); }
  void pipes_and_devices_stay_what_they_are() {
    QFETCH(QString, name);
    const bool by_parts = name == "run" || name == "distill";
    const QString pipe = path("pipe-" + name + suffix(name)), device = path("device-" + name + suffix(name));
    QCOMPARE(::mkfifo(pipe.toLocal8Bit().constData(), 0600), 0);
    QVERIFY(QFile::link("/dev/null", device));
    // Opened for both directions, this end never waits for the other and sees no end.
    const int held = ::open(pipe.toLocal8Bit().constData(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    QByteArray got, block(1 << 16, '\0');
    const auto drain = [&] {
      for (ssize_t n; (n = ::read(held, block.data(), static_cast<std::size_t>(block.size()))) > 0;)
        got.append(block.constData(), static_cast<qsizetype>(n));
    };
    QProcess process;
    process.start(program(), command(name, pipe));
    while (!process.waitForFinished(10) && process.state() != QProcess::NotRunning) drain();
    drain();
    const auto result = wait_for(process);
    if (by_parts) {
      QCOMPARE(result.code, 3);
      QVERIFY(says(result, {pipe, "a pipe"}));
    } else {
      QVERIFY2(result.code == 0, result.errors);
      const QString plain = path("plain-" + name + suffix(name));
      QCOMPARE(headroom(command(name, plain)).code, 0);
      QVERIFY(got == read(plain) && !got.isEmpty());
    }
    ::close(held);
    struct stat status {};
    QVERIFY(::lstat(pipe.toLocal8Bit().constData(), &status) == 0 && S_ISFIFO(status.st_mode));
    QCOMPARE(headroom(command(name, device)).code, by_parts ? 3 : 0);
    QVERIFY(QFileInfo(device).isSymLink());
    QVERIFY(::stat("/dev/null", &status) == 0 && S_ISCHR(status.st_mode));
  }

  void a_full_disk_is_told_and_leaves_nothing_data() { outputs_data(); }
  void a_full_disk_is_told_and_leaves_nothing() {
    QFETCH(QString, name);
    const QString out = write("small-" + name + suffix(name), "old");
    const auto result = shell(command(name, out), "", "ulimit -f 0; ");
    QCOMPARE(result.code, 4);
    QVERIFY(says(result, {out, "cannot be written whole", "ulimit -f", "expected", "0 bytes allowed"}));
    QCOMPARE(read(out), QByteArray("old"));
    QVERIFY(parts().isEmpty());
  }

  void an_output_without_a_name_is_refused_at_once_data() { outputs_data(); }
  void an_output_without_a_name_is_refused_at_once() {
    QFETCH(QString, name);
    const auto result = headroom(command(name, ""));
    QCOMPARE(result.code, 2);
    QVERIFY(result.errors.count('\n') == 1 && result.output.isEmpty());
  }

  void inputs_are_never_written_over_data() {
    QTest::addColumn<QString>("input");
    QTest::addColumn<QString>("name");
    QTest::addColumn<QStringList>("more");
    const auto row = [](const char* title, const QString& input, const QString& name, const QStringList& more = {}) {
      QTest::newRow(title) << input << name << more;
    };
    row("run: model", model_, "run");
    row("run: prompt", prompt_, "run");
    row("run: system message", write("system.txt", "be brief"), "run", {"--chat", "--system", path("system.txt")});
    headroom(command("plan", path("plan.json")));
    row("run: plan", path("plan.json"), "run", {"--methods", "random", "--budget", "8", "--plan", path("plan.json")});
    headroom(command("distill", path("indexer.safetensors")));
    row("run: indexer", path("indexer.safetensors"), "run",
        {"--methods", "indexer", "--budget", "8", "--indexer", path("indexer.safetensors")});
    row("logits: model", model_, "logits");
    row("logits: ids", ids_, "logits");
    row("csv: record", record_, "csv");
    row("plan: record", record_, "plan");
    row("distill: model", model_, "distill");
    QDir(folder_.path()).mkpath("texts");
    for (int i = 0; i < 40; ++i) {
      QByteArray text;
      for (int line = 0; line < 200; ++line) text += "line " + QByteArray::number(line * 7919 + i) + " of a text\n";
      write("texts/" + QString::number(i) + ".txt", text);
    }
    row("distill: a text of the folder", path("texts/7.txt"), "distill", {"--text", path("texts")});
  }
  void inputs_are_never_written_over() {
    QFETCH(QString, input);
    QFETCH(QString, name);
    QFETCH(QStringList, more);
    const QByteArray before = read(input);
    const QString soft = path("soft" + suffix(name)), hard = path("hard" + suffix(name));
    QFile::remove(soft);
    QFile::remove(hard);
    QVERIFY(QFile::link(input, soft));
    QVERIFY(::link(input.toLocal8Bit().constData(), hard.toLocal8Bit().constData()) == 0);
    QStringList outs = {soft, hard};
    // An export's suffix says what is written: a record's own name is none.
    if (name == "run" || name == "logits" || name == "distill") outs << input;
    for (const QString& out : outs) {
      const auto result = headroom(command(name, out) + more);
      QVERIFY2(result.code == 3, result.errors);
      QVERIFY(says(result, {out, "would destroy", "the same file"}));
      QVERIFY(read(input) == before && QFileInfo(soft).isSymLink());
      QVERIFY(parts().isEmpty());
    }
  }

  void two_runs_of_one_place_keep_both() {
    const QString out = path("both.h5");
    QProcess first, second;
    for (QProcess* process : {&first, &second}) process->start(program(), command("run", out) << "--json");
    const Finished results[] = {wait_for(first), wait_for(second)};
    QSet<QString> records;
    for (const Finished& result : results) {
      QVERIFY2(result.code == 0, result.errors);
      const auto name = nlohmann::json::parse(result.output.toStdString())["record"].get<std::string>();
      QVERIFY(record::RunRecord::open(name)->meta().complete);
      records << QString::fromStdString(name);
      if (QString::fromStdString(name) != out)
        QVERIFY(says(result, {"was written by another program meanwhile", name.c_str()}));
    }
    QVERIFY(QFile::exists(out));
    // Where one began after the other had ended they do not meet: then it has replaced the first's.
    if (records.size() == 2) QVERIFY(records.contains(out) && records.contains(path("both-2.h5")));
    QVERIFY(parts().isEmpty());
  }
};

QTEST_GUILESS_MAIN(TestOutputs)
#include "test_outputs.moc"
