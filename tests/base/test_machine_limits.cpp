// SPDX-License-Identifier: Apache-2.0
// Memory and processors of made-up machines: containers of both cgroup versions, nested, unlimited, and nonsense.
#include <QtTest>
#include <filesystem>
#include <fstream>

#include "base/machine_limits.h"

using namespace headroom;
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t mib = 1 << 20;

/// A machine of 16,000 MiB, 12,000 available, 8 processors, without groups or limits.
class Machine {
 public:
  Machine() {
    write("proc/meminfo", "MemTotal:       16384000 kB\nMemFree:  1 kB\nMemAvailable:   12288000 kB\n");
    write("proc/self/status", "Name:\theadroom\nVmSize:\t  102400 kB\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\n");
    write("proc/self/limits",
          "Limit                     Soft Limit           Hard Limit           Units     \n"
          "Max address space         unlimited            unlimited            bytes     \n");
  }
  void write(const std::string& name, const std::string& text) const {
    const fs::path file = root() / name;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  /// A group of version 2, mounted where it is today.
  void unified(const std::string& path) const {
    write("proc/self/cgroup", "0::" + path + "\n");
    write("proc/self/mountinfo",
          "24 1 0:21 / /proc rw shared:1 - proc proc rw\n"
          "31 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
  }
  /// Groups of version 1; `mounted`: which of them the mounts show.
  void separate(const std::string& path, const std::string& mounted = "/") const {
    write("proc/self/cgroup", "4:memory:" + path + "\n3:cpuacct,cpu:" + path + "\n0::/\n");
    write("proc/self/mountinfo", "35 31 0:32 " + mounted +
                                     " /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                                     "36 31 0:33 " +
                                     mounted + " /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
  }
  MachineLimits limits() const { return machine_limits(root()); }
  fs::path root() const { return folder_.path().toStdString(); }

 private:
  QTemporaryDir folder_;
};

std::string bytes(std::int64_t in_mib) {
  return std::to_string(in_mib * mib) + "\n";
}

}  // namespace

class TestMachineLimits : public QObject {
  Q_OBJECT
 private slots:
  void a_machine_without_limits() {
    const auto limits = Machine().limits();
    QCOMPARE(limits.total_bytes, 16000 * mib);
    QCOMPARE(limits.free_bytes, 12000 * mib);
    QCOMPARE(limits.threads, 8);
  }

  void a_container_data() {
    QTest::addColumn<bool>("unified");
    QTest::addColumn<QByteArray>("quota");
    QTest::addColumn<int>("threads");
    for (const bool unified : {true, false}) {
      const QByteArray version = unified ? "version 2, " : "version 1, ";
      const auto row = [&](const char* processors, const char* micros, int threads) {
        QTest::newRow(version + processors + " processors") << unified << QByteArray(micros) << threads;
      };
      row("2.5", "250000", 2);
      row("1", "100000", 1);
      row("0.5", "50000", 1);
      row("1.99", "199000", 1);
      row("20", "2000000", 8);
      row("no limit of", unified ? "max" : "-1", 8);
    }
  }
  void a_container() {
    QFETCH(bool, unified);
    QFETCH(QByteArray, quota);
    Machine machine;
    const std::string memory = unified ? "sys/fs/cgroup/" : "sys/fs/cgroup/memory/";
    unified ? machine.unified("/") : machine.separate("/");
    machine.write(memory + (unified ? "memory.max" : "memory.limit_in_bytes"), bytes(4000));
    machine.write(memory + (unified ? "memory.current" : "memory.usage_in_bytes"), bytes(3000));
    const std::string of = unified ? "" : "total_";
    machine.write(memory + "memory.stat",
                  "anon 1\n" + of + "inactive_file " + bytes(500) + of + "active_file " + bytes(100));
    if (unified) {
      machine.write("sys/fs/cgroup/cpu.max", quota.toStdString() + " 100000\n");
    } else {
      machine.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", quota.toStdString() + "\n");
      machine.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    }
    const auto limits = machine.limits();
    QCOMPARE(limits.total_bytes, 4000 * mib);
    QCOMPARE(limits.free_bytes, 1600 * mib);
    QTEST(limits.threads, "threads");
  }

  // A refusal names it.
  void the_limit_that_counts_has_a_name_data() {
    QTest::addColumn<int>("group");
    QTest::addColumn<int>("address_space");
    QTest::addColumn<QString>("name");
    QTest::newRow("the machine") << 14000 << 15000 << "this machine's memory";
    QTest::newRow("its group") << 4000 << 5000 << "/sys/fs/cgroup/job/memory.max";
    QTest::newRow("ulimit") << 4000 << 3000 << "ulimit -v";
  }
  void the_limit_that_counts_has_a_name() {
    QFETCH(int, group);
    QFETCH(int, address_space);
    QFETCH(QString, name);
    Machine machine;
    machine.unified("/job");
    machine.write("sys/fs/cgroup/job/memory.max", bytes(group));
    machine.write("sys/fs/cgroup/job/memory.current", bytes(100));
    machine.write("proc/self/limits", "Max address space         " + std::to_string(address_space * mib) +
                                          "           unlimited            bytes     \n");
    const auto limits = machine.limits();
    QVERIFY2(QString::fromStdString(limits.memory_limit).contains(name), limits.memory_limit.c_str());
    QCOMPARE(limits.is_address_space, name.contains("ulimit"));
  }

  void the_tightest_group_above_counts() {
    Machine machine;
    machine.unified("/system.slice/job.service/worker");
    machine.write("sys/fs/cgroup/system.slice/job.service/worker/memory.max", "max\n");
    machine.write("sys/fs/cgroup/system.slice/job.service/worker/memory.current", bytes(100));
    machine.write("sys/fs/cgroup/system.slice/job.service/worker/cpu.max", "400000 100000\n");
    machine.write("sys/fs/cgroup/system.slice/job.service/memory.max", bytes(2000));
    machine.write("sys/fs/cgroup/system.slice/job.service/memory.current", bytes(500));
    machine.write("sys/fs/cgroup/system.slice/memory.max", bytes(3000));
    machine.write("sys/fs/cgroup/system.slice/memory.current", bytes(2900));
    machine.write("sys/fs/cgroup/system.slice/cpu.max", "300000 100000\n");
    const auto limits = machine.limits();
    QCOMPARE(limits.total_bytes, 2000 * mib);
    QCOMPARE(limits.free_bytes, 100 * mib);
    QCOMPARE(limits.threads, 3);
  }

  void max_limits_nothing() {
    Machine machine;
    machine.unified("/a");
    machine.write("sys/fs/cgroup/a/memory.max", "max\n");
    machine.write("sys/fs/cgroup/a/memory.current", bytes(9000));
    machine.write("sys/fs/cgroup/a/cpu.max", "max 100000\n");
    QCOMPARE(machine.limits().free_bytes, 12000 * mib);
    QCOMPARE(machine.limits().threads, 8);
  }

  void groups_of_version_1() {
    Machine machine;
    machine.separate("/batch/job7");
    machine.write("sys/fs/cgroup/memory/batch/job7/memory.limit_in_bytes", "9223372036854771712\n");
    machine.write("sys/fs/cgroup/memory/batch/job7/memory.usage_in_bytes", bytes(700));
    machine.write("sys/fs/cgroup/memory/batch/memory.limit_in_bytes", bytes(5000));
    machine.write("sys/fs/cgroup/memory/batch/memory.usage_in_bytes", bytes(1500));
    machine.write("sys/fs/cgroup/memory/batch/memory.stat",
                  "inactive_file 1\ntotal_inactive_file " + bytes(200) + "total_active_file " + bytes(300));
    machine.write("sys/fs/cgroup/cpu,cpuacct/batch/job7/cpu.cfs_quota_us", "-1\n");
    machine.write("sys/fs/cgroup/cpu,cpuacct/batch/job7/cpu.cfs_period_us", "100000\n");
    machine.write("sys/fs/cgroup/cpu,cpuacct/batch/cpu.cfs_quota_us", "50000\n");
    machine.write("sys/fs/cgroup/cpu,cpuacct/batch/cpu.cfs_period_us", "100000\n");
    const auto limits = machine.limits();
    QCOMPARE(limits.total_bytes, 5000 * mib);
    QCOMPARE(limits.free_bytes, 4000 * mib);
    QCOMPARE(limits.threads, 1);  // half a processor is one thread
  }

  // The mount shows the container's own group as its root; /proc names it as the host does.
  void a_container_that_is_the_root_of_its_mount() {
    Machine machine;
    machine.separate("/docker/f00", "/docker/f00");
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", bytes(1000));
    machine.write("sys/fs/cgroup/memory/memory.usage_in_bytes", bytes(400));
    QCOMPARE(machine.limits().free_bytes, 600 * mib);
    machine.separate("/docker/f00", "/");  // or does not show it at all
    QCOMPARE(machine.limits().free_bytes, 600 * mib);
  }

  void a_full_container_is_known_to_be_full() {
    Machine machine;
    machine.unified("/");
    machine.write("sys/fs/cgroup/memory.max", bytes(1000));
    machine.write("sys/fs/cgroup/memory.current", bytes(1200));
    QCOMPARE(machine.limits().free_bytes, std::int64_t{1});
  }

  void address_space_and_affinity() {
    Machine machine;
    machine.write("proc/self/limits",
                  "Max address space         1048576000           unlimited            bytes     \n");
    machine.write("proc/self/status", "VmSize:\t  102400 kB\nCpus_allowed_list:\t1,4-6\n");
    const auto limits = machine.limits();
    QCOMPARE(limits.total_bytes, 1000 * mib);
    QCOMPARE(limits.free_bytes, 900 * mib);
    QCOMPARE(limits.threads, 4);
  }

  void nonsense_limits_nothing() {
    Machine machine;
    machine.unified("/x");
    for (const char* text : {"", "\n", "many\n", "-5\n", "99999999999999999999999\n", "12 MB\n", "\xff\xfe"}) {
      machine.write("sys/fs/cgroup/x/memory.max", text);
      machine.write("sys/fs/cgroup/x/memory.current", text);
      machine.write("sys/fs/cgroup/x/cpu.max", text);
      QCOMPARE(machine.limits().total_bytes, 16000 * mib);
      QCOMPARE(machine.limits().free_bytes, 12000 * mib);
      QCOMPARE(machine.limits().threads, 8);
    }
    machine.write("sys/fs/cgroup/x/cpu.max", "100000 0\n");
    QCOMPARE(machine.limits().threads, 8);
    for (const char* file : {"proc/self/cgroup", "proc/self/mountinfo", "proc/self/limits"})
      machine.write(file, "::-\n- -\n");
    QCOMPARE(machine.limits().free_bytes, 12000 * mib);
    machine.write("proc/self/status", "Cpus_allowed_list:\t7-3\n");
    QVERIFY(machine.limits().threads >= 1);
  }

  void nothing_there_is_nothing_known() {
    QTemporaryDir empty;
    const auto limits = machine_limits(empty.path().toStdString());
    QCOMPARE(limits.total_bytes, std::int64_t{0});
    QCOMPARE(limits.free_bytes, std::int64_t{0});
    QVERIFY(limits.threads >= 1);
  }
};

QTEST_GUILESS_MAIN(TestMachineLimits)
#include "test_machine_limits.moc"
