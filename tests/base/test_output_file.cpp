// SPDX-License-Identifier: Apache-2.0
// Outputs: links, pipes, devices, full disks, two writers of one place, inputs that must not be written over.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <QtTest>
#include <csignal>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/output_file.h"

using namespace headroom;
namespace fs = std::filesystem;

namespace {

std::string read(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

void put(const fs::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

ino_t number(const fs::path& file) {
  struct stat status {};
  return ::lstat(file.c_str(), &status) == 0 ? status.st_ino : 0;
}

mode_t mode(const fs::path& file) {
  struct stat status {};
  return ::lstat(file.c_str(), &status) == 0 ? status.st_mode : 0;
}

}  // namespace

class TestOutputFile : public QObject {
  Q_OBJECT

  std::optional<QTemporaryDir> folder_;
  fs::path at(const std::string& name) const { return fs::path(folder_->path().toStdString()) / name; }
  QStringList parts() const { return QDir(folder_->path()).entryList({"*.part"}, QDir::Files | QDir::Hidden); }

  /// The error that `work` throws.
  template <typename Work>
  static Error error_of(Work&& work) {
    try {
      work();
    } catch (const Error& error) {
      return error;
    }
    return Error(ErrorKind::internal, "nothing was thrown");
  }
  static bool says(const Error& error, std::initializer_list<const char*> words) {
    for (const char* word : words) {
      if (QString(error.what()).contains(word)) continue;
      qWarning("%s does not say: %s", error.what(), word);
      return false;
    }
    return true;
  }

 private slots:
  void init() { folder_.emplace(); }

  void a_file_appears_when_it_is_whole() {
    const fs::path file = at("a.csv");
    OutputPlace place(file);
    {
      OutputFile out(place);
      out.write("1,2\n");
      QVERIFY(!fs::exists(file));
      QCOMPARE(parts().size(), 1);
      QVERIFY(parts().front().startsWith("a.csv."));
      out.write("3,4\n");
      QCOMPARE(out.bytes(), 8);
      QCOMPARE(out.commit(), file);
    }
    QCOMPARE(read(file), std::string("1,2\n3,4\n"));
    QVERIFY(parts().isEmpty());
    const mode_t mask = ::umask(0);
    ::umask(mask);
    QCOMPARE(mode(file) & 0777, 0666 & ~mask);
    // The same place again, by the same owner: over its own file, which keeps its permissions.
    fs::permissions(file, fs::perms(0640));
    QCOMPARE(write_output(place, "new"), file);
    QCOMPARE(read(file), std::string("new"));
    QCOMPARE(mode(file) & 0777, mode_t(0640));
  }

  void what_is_given_up_leaves_nothing() {
    put(at("a"), "old");
    OutputPlace place(at("a"));
    {
      OutputFile out(place);
      out.write("half");
    }
    QCOMPARE(read(at("a")), std::string("old"));
    QVERIFY(parts().isEmpty());
  }

  void places_that_cannot_be_written_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<int>("kind");
    QTest::addColumn<QString>("word");
    QTest::newRow("no name") << "" << 2 << "no name";
    QTest::newRow("no folder") << "none/a" << 3 << "existing folder";
    QTest::newRow("a folder") << "sub" << 3 << "a folder";
    QTest::newRow("a folder's name alone") << "sub/" << 3 << "a folder";
    QTest::newRow("a file as a folder") << "plain/a" << 3 << "existing folder";
    QTest::newRow("links in a circle") << "circle" << 3 << "circle";
    QTest::newRow("a link into nowhere") << "lost" << 3 << "existing folder";
    QTest::newRow("a socket") << "socket" << 3 << "a socket";
  }
  void places_that_cannot_be_written() {
    QFETCH(QString, name);
    QFETCH(int, kind);
    QFETCH(QString, word);
    fs::create_directory(at("sub"));
    put(at("plain"), "x");
    fs::create_symlink("circle", at("circle"));
    fs::create_symlink("none/x", at("lost"));
    QVERIFY(::mknod(at("socket").c_str(), S_IFSOCK | 0600, 0) == 0);
    const auto error = error_of([&] { OutputPlace(name.isEmpty() ? fs::path() : at(name.toStdString())); });
    QCOMPARE(static_cast<int>(error.kind()), kind);
    QVERIFY(says(error, {qPrintable(word)}));
  }

  void a_protected_file_stays() {
    put(at("kept"), "old");
    fs::permissions(at("kept"), fs::perms(0444));
    fs::create_directory(at("shut"));
    fs::permissions(at("shut"), fs::perms(0555));
    fs::permissions(at(""), fs::perms(0777));
    const pid_t child = ::fork();
    if (child == 0) {
      constexpr uid_t nobody = 65534;  // nothing is protected from root
      if (::geteuid() == 0 && (::setgid(nobody) != 0 || ::setuid(nobody) != 0)) ::_exit(2);
      const auto file = error_of([&] { OutputPlace(at("kept")); }),
                 folder = error_of([&] { OutputPlace(at("shut/a")); });
      ::_exit(file.kind() == ErrorKind::input && says(file, {"kept", "may be replaced"}) &&
                      folder.kind() == ErrorKind::input && says(folder, {"shut/a", "folder that may be written"})
                  ? 0
                  : 1);
    }
    int status = -1;
    QCOMPARE(::waitpid(child, &status, 0), child);
    QVERIFY(WIFEXITED(status));
    QCOMPARE(WEXITSTATUS(status), 0);
    QCOMPARE(read(at("kept")), std::string("old"));
  }

  void links_are_followed_data() {
    QTest::addColumn<QString>("to");
    QTest::addColumn<bool>("there");
    QTest::newRow("to a file") << "far/target" << true;
    QTest::newRow("to what is not there yet") << "far/target" << false;
    QTest::newRow("through another link") << "link2" << true;
  }
  void links_are_followed() {
    QFETCH(QString, to);
    QFETCH(bool, there);
    fs::create_directory(at("far"));
    fs::create_symlink("far/target", at("link2"));
    fs::create_symlink(to.toStdString(), at("link"));
    if (there) put(at("far/target"), "old");
    OutputPlace place(at("link"));
    QCOMPARE(place.folder(), at("far"));
    QCOMPARE(write_output(place, "new"), at("link"));
    QVERIFY(fs::is_symlink(at("link")) && fs::is_symlink(at("link2")));
    QVERIFY(!fs::is_symlink(at("far/target")));
    QCOMPARE(read(at("far/target")), std::string("new"));
  }

  // A link that somebody plants where the temporary file might be is not written through.
  void planted_links_are_not_written_through() {
    put(at("precious"), "precious");
    fs::create_symlink("precious", at("a.part"));
    OutputPlace place(at("a"));
    write_output(place, "new");
    QCOMPARE(read(at("precious")), std::string("precious"));
    QVERIFY(fs::is_symlink(at("a.part")) && fs::is_regular_file(fs::symlink_status(at("a"))));
  }

  void a_pipe_is_written_through() {
    const fs::path pipe = at("pipe");
    QCOMPARE(::mkfifo(pipe.c_str(), 0600), 0);
    const std::string long_text(300'000, 'x');
    std::string got;
    std::thread reader([&] { got = read(pipe); });
    OutputPlace place(pipe);
    const auto written = write_output(place, long_text);
    reader.join();
    QCOMPARE(written, pipe);
    QVERIFY(got == long_text);
    QVERIFY(S_ISFIFO(mode(pipe)) && parts().isEmpty());
    const auto refused = error_of([&] { OutputPlace(pipe, OutputKind::file); });
    QCOMPARE(refused.kind(), ErrorKind::input);
    QVERIFY(says(refused, {"pipe", "a file"}));
  }

  void a_device_is_written_through() {
    const ino_t before = number("/dev/null");
    OutputPlace place("/dev/null");
    QCOMPARE(write_output(place, "gone"), fs::path("/dev/null"));
    QVERIFY(S_ISCHR(mode("/dev/null")) && number("/dev/null") == before);
    QCOMPARE(error_of([] { OutputPlace("/dev/null", OutputKind::file); }).kind(), ErrorKind::input);
    // Through a link to it, too.
    fs::create_symlink("/dev/null", at("link"));
    OutputPlace through(at("link"));
    QCOMPARE(write_output(through, "gone"), at("link"));
    QVERIFY(fs::is_symlink(at("link")));
  }

  void a_full_device_is_told() {
    if (!fs::exists("/dev/full")) QSKIP("there is no /dev/full");
    OutputPlace place("/dev/full");
    const auto error = error_of([&] { write_output(place, "four"); });
    QCOMPARE(error.kind(), ErrorKind::device);
    QVERIFY(says(error, {"/dev/full", "the disk is full", "4 bytes", "0 bytes free"}));
  }

  // A limit on the size of files stands in for a full disk; in a process of its own.
  void what_does_not_fit_is_told_and_leaves_nothing() {
    put(at("a"), "old");
    const pid_t child = ::fork();
    if (child == 0) {
      std::signal(SIGXFSZ, SIG_IGN);
      const struct rlimit limit = {1000, 1000};
      ::setrlimit(RLIMIT_FSIZE, &limit);
      OutputPlace place(at("a"));
      const auto error = error_of([&] { write_output(place, std::string(5000, 'x')); });
      ::_exit(error.kind() == ErrorKind::device && says(error, {"a: ", "5000 bytes", "1000 bytes allowed"}) ? 0 : 1);
    }
    int status = -1;
    QCOMPARE(::waitpid(child, &status, 0), child);
    QVERIFY(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    QVERIFY(parts().isEmpty());
    QCOMPARE(read(at("a")), std::string("old"));
  }

  void an_input_is_never_written_over_data() {
    QTest::addColumn<QString>("asked");
    QTest::newRow("the same name") << "input";
    QTest::newRow("another way to write it") << "sub/../input";
    QTest::newRow("a symbolic link") << "soft";
    QTest::newRow("a link to a link") << "softer";
    QTest::newRow("a hard link") << "hard";
  }
  void an_input_is_never_written_over() {
    QFETCH(QString, asked);
    put(at("input"), "precious");
    fs::create_directory(at("sub"));
    fs::create_symlink("input", at("soft"));
    fs::create_symlink("soft", at("softer"));
    fs::create_hard_link(at("input"), at("hard"));
    const OutputPlace place(at(asked.toStdString()));
    const fs::path inputs[] = {at("none"), at("input")};
    const auto error = error_of([&] { place.must_not_be(inputs); });
    QCOMPARE(error.kind(), ErrorKind::input);
    QVERIFY(says(error, {qPrintable(asked), "input", "would destroy"}));
    // And the other way round: the input is named by the link.
    const fs::path linked[] = {at(asked.toStdString())};
    QCOMPARE(error_of([&] { OutputPlace(at("input")).must_not_be(linked); }).kind(), ErrorKind::input);
    OutputPlace(at("new")).must_not_be(inputs);
  }

  void two_writers_of_one_place_lose_nothing_data() {
    QTest::addColumn<bool>("there");
    QTest::newRow("where nothing was") << false;
    QTest::newRow("over an older file") << true;
  }
  void two_writers_of_one_place_lose_nothing() {
    QFETCH(bool, there);
    if (there) put(at("run.h5"), "old");
    OutputPlace first(at("run.h5")), second(at("run.h5")), third(at("run.h5"));
    OutputFile one(first), two(second), three(third);
    QCOMPARE(parts().size(), 3);
    one.write("one");
    two.write("two");
    three.write("three");
    QCOMPARE(two.commit(), at("run.h5"));
    QCOMPARE(one.commit(), at("run-2.h5"));
    QCOMPARE(three.commit(), at("run-3.h5"));
    QCOMPARE(read(at("run.h5")), std::string("two"));
    QCOMPARE(read(at("run-2.h5")), std::string("one"));
    QCOMPARE(read(at("run-3.h5")), std::string("three"));
    QVERIFY(parts().isEmpty());
    // What is saved again goes where it went.
    QCOMPARE(write_output(first, "one again"), at("run-2.h5"));
    QCOMPARE(read(at("run-2.h5")), std::string("one again"));
  }

  void what_changed_in_place_meanwhile_stays() {
    put(at("a.txt"), "old");
    OutputPlace place(at("a.txt"));
    put(at("a.txt"), "somebody else's");
    QCOMPARE(write_output(place, "mine"), at("a-2.txt"));
    QCOMPARE(read(at("a.txt")), std::string("somebody else's"));
    QCOMPARE(read(at("a-2.txt")), std::string("mine"));
  }

  // The result is kept where it cannot get its name.
  void a_finished_file_is_not_thrown_away() {
    OutputPlace place(at("a"));
    OutputFile out(place);
    out.write("result");
    fs::create_directory(at("a"));  // a folder is in its place: beside it is room
    QCOMPARE(out.commit(), at("a-2"));
    QCOMPARE(read(at("a-2")), std::string("result"));
  }

  void long_names_and_odd_ones_data() {
    QTest::addColumn<QByteArray>("name");
    QTest::newRow("as long as names can be") << QByteArray(255, 'n');
    QTest::newRow("not UTF-8") << QByteArray("caf\xe9.csv");
    QTest::newRow("line feed") << QByteArray("a\nb.csv");
  }
  void long_names_and_odd_ones() {
    QFETCH(QByteArray, name);
    OutputPlace place(at(name.toStdString()));
    QCOMPARE(write_output(place, "x"), at(name.toStdString()));
    QCOMPARE(read(at(name.toStdString())), std::string("x"));
  }

  void a_program_that_is_killed_can_clean_up() {
    OutputPlace place(at("a"));
    OutputFile out(place);
    out.write("half");
    QCOMPARE(parts().size(), 1);
    remove_unfinished_outputs();
    QVERIFY(parts().isEmpty());
  }
};

QTEST_GUILESS_MAIN(TestOutputFile)
#include "test_output_file.moc"
