// SPDX-License-Identifier: Apache-2.0
// What other work took of the processors: from made-up /proc files, and beside a process that is busy.
#include <unistd.h>

#include <QtTest>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/machine_load.h"

using namespace headroom;
namespace fs = std::filesystem;

namespace {

/// user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice of processors 0 to 3; `more` ticks on each
/// of them.
std::string stat_text(int more) {
  const auto line = [&](int processor) {
    const auto n = [&](int ticks) { return std::to_string(ticks) + " "; };
    return "cpu" + std::to_string(processor) + " " + n(100 + more * processor) + "7 50 9000 70 3 2 1 5 0\n";
  };
  return "cpu  1000 2 3 4 5 6 7 8 9 0\n" + line(0) + line(1) + line(2) + line(3) + "intr 12 34\nctxt 5\n";
}

MachineLoad load_of(double seconds, double others, int cpus, int threads) {
  return {.seconds = seconds, .other_cpus = others, .cpus = cpus, .threads = threads};
}

}  // namespace

class TestMachineLoad : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  fs::path root() const { return folder_.path().toStdString(); }
  void write(const char* name, const std::string& text) const {
    fs::create_directories((root() / name).parent_path());
    std::ofstream(root() / name) << text;
  }

 private slots:
  void init() {
    write("proc/stat", stat_text(0));
    write("proc/self/status", "Name:\theadroom\nCpus_allowed_list:\t1,3\n");
  }

  void only_processors_of_the_affinity_mask_count() {
    const auto before = cpu_times(root());
    write("proc/stat", stat_text(100));
    const auto after = cpu_times(root());
    QVERIFY(before && after);
    QCOMPARE(after->busy.size(), std::size_t{2});
    const double tick = 1.0 / static_cast<double>(::sysconf(_SC_CLK_TCK));
    QVERIFY(std::abs(before->busy[0] - 163 * tick) < 1e-9);  // not idle, not waiting, not a guest's twice
    QVERIFY(std::abs(after->busy[0] - before->busy[0] - 100 * tick) < 1e-9);
    QVERIFY(std::abs(after->busy[1] - before->busy[1] - 300 * tick) < 1e-9);
  }

  // Some containers show their processors under other numbers.
  void where_none_of_them_is_listed_all_count() {
    write("proc/self/status", "Cpus_allowed_list:\t40-47\n");
    QCOMPARE(cpu_times(root())->busy.size(), std::size_t{4});
    write("proc/self/status", "Cpus_allowed_list:\tmany\n");
    QCOMPARE(cpu_times(root())->busy.size(), std::size_t{4});
  }

  void what_is_not_understood_is_no_load_data() {
    QTest::addColumn<QByteArray>("text");
    QTest::newRow("nothing") << QByteArray();
    QTest::newRow("no processors") << QByteArray("cpu 1 2 3 4 5 6 7 8\n");
    QTest::newRow("zeros, as sandboxes have it") << QByteArray("cpu0 0 0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\n");
    QTest::newRow("an old kernel's short lines") << QByteArray("cpu0 1 2 3 4\n");
    QTest::newRow("nonsense") << QByteArray("cpu0 one 2 3 4 5 6 7 8\n");
  }
  void what_is_not_understood_is_no_load() {
    QFETCH(QByteArray, text);
    write("proc/stat", text.toStdString());
    QVERIFY(!cpu_times(root()));
    QVERIFY(!load_between(cpu_times(root()), cpu_times(root()), 2));
  }

  void own_work_is_not_other_work() {
    CpuTimes before, after;
    before.busy = {10, 20};
    after.busy = {11.5, 21.75};
    before.own = 5;
    after.own = 7.75;
    after.now = before.now + std::chrono::seconds(2);
    const auto load = load_between(before, after, 2);
    QVERIFY(load);
    QVERIFY(std::abs(load->other_cpus - 0.25) < 1e-9 && std::abs(load->seconds - 2) < 1e-9);
    QCOMPARE(load->cpus, 2);
    after.own = 9;  // ticks can be behind what the process's own clock says
    QCOMPARE(load_between(before, after, 2)->other_cpus, 0.0);
    after.busy.push_back(1);
    QVERIFY(!load_between(before, after, 2));
  }

  void disturbed_data() {
    QTest::addColumn<double>("seconds");
    QTest::addColumn<double>("others");
    QTest::addColumn<int>("cpus");
    QTest::addColumn<int>("threads");
    QTest::addColumn<bool>("disturbed");
    QTest::newRow("idle") << 3.0 << 0.04 << 2 << 2 << false;
    QTest::newRow("busy") << 3.0 << 0.5 << 2 << 2 << true;
    QTest::newRow("a tenth is the bound") << 3.0 << 0.11 << 2 << 2 << true;
    QTest::newRow("shorter than ticks can tell") << 0.03 << 0.5 << 2 << 2 << false;
    QTest::newRow("one thread leaves a processor idle") << 3.0 << 0.9 << 2 << 1 << false;
    QTest::newRow("more than that processor") << 3.0 << 1.4 << 2 << 1 << true;
  }
  void disturbed() {
    QFETCH(double, seconds);
    QFETCH(double, others);
    QFETCH(int, cpus);
    QFETCH(int, threads);
    QTEST(load_of(seconds, others, cpus, threads).disturbed(), "disturbed");
  }

  void pieces_of_time_are_added() {
    std::optional<MachineLoad> sum;
    add_load(sum, {});
    QVERIFY(!sum);
    add_load(sum, load_of(1, 0.2, 2, 2));
    add_load(sum, {});
    add_load(sum, load_of(3, 1.0, 2, 2));
    QVERIFY(std::abs(sum->seconds - 4) < 1e-9 && std::abs(sum->other_cpus - 0.8) < 1e-9);
    QCOMPARE(QString::fromStdString(sum->text()), QString("other work took 0.8 of 2 processors"));
  }

  void a_busy_process_beside_this_one_shows() {
    QProcess busy;
    busy.start("sh", {"-c", "echo go; while :; do :; done"});
    QVERIFY(busy.waitForReadyRead(10000));
    const auto before = cpu_times();
    if (!before) QSKIP("this system does not say what its processors do");
    QTest::qSleep(1500);
    const auto load = load_between(before, cpu_times(), 2);
    busy.kill();
    busy.waitForFinished();
    QVERIFY(load && load->seconds > 1.4);
    // One process of its own: half a processor at the least, however busy the machine is beside it.
    QVERIFY2(load->other_cpus > 0.5, load->text().c_str());
  }
};

QTEST_GUILESS_MAIN(TestMachineLoad)
#include "test_machine_load.moc"
