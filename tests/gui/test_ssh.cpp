// SPDX-License-Identifier: GPL-3.0-or-later
// The far engine for real: ssh to a daemon of this test on loopback, with keys of its own. Host key and pass phrase are
// asked for, noisy and odd login shells survived, and a cut link loses neither job nor transfer. Sweeps grow in the
// window while they run there.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <QCheckBox>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QTemporaryDir>
#include <QtTest>
#include <csignal>
#include <nlohmann/json.hpp>

#include "gui/actions.h"
#include "gui/engine_client.h"
#include "gui/file_names.h"
#include "gui/icons.h"
#include "gui/job_tracker.h"
#include "gui/new_sweep_dialog.h"
#include "gui/record_download.h"
#include "support/tiny_model.h"
#include "support/window_bench.h"
#include "views/budget/budget_page.h"
#include "views/budget/sweep_panel.h"
#include "views/budget/sweep_plot.h"
#include "views/common/banner_bar.h"

using namespace headroom;
using namespace headroom::gui;

class TestSsh : public QObject {
  Q_OBJECT
  using State = views::JobInfo::State;
  QTemporaryDir dir_;
  QProcess sshd_;
  int port_ = 0;
  QString why_not_;

  QString path(const QString& name) const { return dir_.filePath(name); }
  static int free_port() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    const bool good = ::bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                      ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    ::close(socket);
    return good ? ntohs(address.sin_port) : 0;
  }
  static bool run(const QString& program, const QStringList& arguments) {
    QProcess process;
    process.start(program, arguments);
    return process.waitForFinished(20000) && process.exitStatus() == QProcess::NormalExit && process.exitCode() == 0;
  }
  void write(const QString& name, const QByteArray& text, bool program = false) const {
    QFile file(path(name));
    QVERIFY(file.open(QIODevice::WriteOnly | QIODevice::Truncate));
    file.write(text);
    file.close();
    file.setPermissions(QFile::ReadOwner | QFile::WriteOwner | (program ? QFile::ExeOwner : QFile::Permission()));
  }
  QByteArray read(const QString& name) const {
    QFile file(path(name));
    return file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray();
  }

  /// `shell`: what stands for the login shell, given the command in SSH_ORIGINAL_COMMAND; empty: this user's own.
  void start_sshd(const QString& shell = {}) {
    stop_sshd();
    QString config = QString(
                         "Port %1\nListenAddress 127.0.0.1\nHostKey %2\nAuthorizedKeysFile %3\nStrictModes no\n"
                         "UsePAM no\nPidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
                         "PermitRootLogin prohibit-password\nSetEnv XDG_CACHE_HOME=%4\n")
                         .arg(port_)
                         .arg(path("host_key"), path("authorized"), path("far_cache"));
    if (!shell.isEmpty()) config += "ForceCommand " + shell + "\n";
    write("sshd_config", config.toUtf8());
    sshd_.setProcessChannelMode(QProcess::MergedChannels);
    sshd_.start("/usr/sbin/sshd", {"-D", "-e", "-f", path("sshd_config")});
    sshd_.waitForStarted();
    QElapsedTimer clock;
    clock.start();
    QByteArray said;
    while (clock.elapsed() < 5000 && !said.contains("listening")) {
      sshd_.waitForReadyRead(100);
      said += sshd_.readAll();
      if (sshd_.state() == QProcess::NotRunning) break;
    }
    if (!said.contains("listening")) why_not_ = "sshd does not start: " + QString::fromUtf8(said).simplified();
  }
  void stop_sshd() {
    if (sshd_.state() == QProcess::NotRunning) return;
    sshd_.terminate();
    sshd_.waitForFinished(5000);
  }

  /// What the reader would type: written by a program of the test, which also notes what was asked.
  void answer_with(const QByteArray& pass_phrase) const {
    write("askpass",
          "#!/bin/sh\necho \"$1\" >> '" + path("asked").toUtf8() + "'\ncase $1 in *yes/no*) echo yes;; *) echo '" +
              pass_phrase + "';; esac\n",
          true);
    QFile::remove(path("asked"));
  }

  EngineCommand far(const QString& key = "key") const {
    EngineSettings settings;
    settings.remote = true;
    settings.host = "127.0.0.1";
    settings.remote_path = HEADROOM_BINARY_DIR "/headroom";
    settings.options = QStringList{"-F", "none",
                                   "-p", QString::number(port_),
                                   "-i", path(key),
                                   "-o", "IdentitiesOnly=yes",
                                   "-o", "UserKnownHostsFile=" + path("known"),
                                   "-o", "IdentityAgent=none"};
    EngineCommand command = engine_command(settings);
    command.askpass = path("askpass");
    return command;
  }

  struct Window {
    EngineClient engine;
    JobTracker jobs{engine};
    views::JobInfo last;
    QList<Problem> deaths;
    QStringList steps, finished;
    Window() {
      connect(&jobs, &JobTracker::changed, &jobs, [this](const views::JobInfo& job) { last = job; });
      connect(&jobs, &JobTracker::finished, &jobs, [this](const QString&, const QString& file) { finished << file; });
      connect(&engine, &EngineClient::died, &jobs, [this](const Problem& problem) { deaths << problem; });
      connect(&engine, &EngineClient::step, &jobs, [this](const QString& step) { steps << step; });
    }
    bool reach(const EngineCommand& command) {
      engine.start(command);
      return QTest::qWaitFor([this] { return engine.state() != EngineClient::State::starting; }, 30000) &&
             engine.state() == EngineClient::State::ready;
    }
    QString words() const { return deaths.isEmpty() ? steps.join('\n') : deaths.last().details(); }
  };

  protocol::RunSpec spec(const QString& out, int repeats, int words) const {
    protocol::RunSpec s;
    s.model = path("tiny.gguf").toStdString();
    s.prompt = QString("seven ").repeated(words).toStdString();
    s.methods = {"dense", "oracle"};
    s.budgets = {{BudgetKind::tokens, 16}};
    s.repeats = repeats;
    s.max_new_tokens = 2;
    s.out = path(out).toStdString();
    return s;
  }

  /// A window that is connected over ssh.
  struct FarWindow : test::WindowBench {
    views::JobInfo last;
    explicit FarWindow(const QString& file) : WindowBench(file, without_engine({}), {1280, 720}, false) {
      connect(&window.jobs(), &JobTracker::changed, &window, [this](const views::JobInfo& job) { last = job; });
    }
    bool reach(const EngineCommand& command) {
      window.engine().start(command);
      return QTest::qWaitFor([this] { return window.engine().state() == EngineClient::State::ready; }, 30000);
    }
    views::SweepPtr sweep() { return state().sweeps.empty() ? nullptr : state().sweeps.front(); }
    /// Rows of the open sweep while it is at work.
    std::size_t growing() { return sweep() && sweep()->growing ? sweep()->record.rows.size() : 0; }
    views::SweepPanel* panel() { return page<views::BudgetPage>("budget")->sweep_panel(); }
    QString panel_words() {
      QStringList words;
      for (const QLabel* label : panel()->findChildren<QLabel*>()) words << label->text();
      return words.join('\n');
    }
    bool press(const QString& banner, const QString& text) {
      auto* holder = window.banners().findChild<QWidget*>("banner:" + banner);
      for (auto* button : holder ? holder->findChildren<QPushButton*>() : QList<QPushButton*>())
        if (button->text() == text) return button->click(), true;
      return false;
    }
  };
  static NewSweepDialog* open_dialog() {
    for (QWidget* widget : QApplication::topLevelWidgets())
      if (auto* found = qobject_cast<NewSweepDialog*>(widget); found && found->isVisible()) return found;
    return nullptr;
  }

  /// Some seconds of work, in rows that take so long that one can look on.
  protocol::SweepSpec sweep_spec(const QString& out) const {
    protocol::SweepSpec s;
    s.model = path("tiny.gguf").toStdString();
    s.tasks = {"niah_single_1"};
    s.lengths = {1500};
    s.samples = far_samples;
    s.calibration = 0;
    s.methods = {"oracle"};
    s.budgets = {{BudgetKind::tokens, 16}};
    s.max_new_tokens = 2;
    s.out = path(out).toStdString();
    return s;
  }
  static constexpr int far_samples = 30;

 private slots:
  void initTestCase() {
    load_resources();
    qputenv("XDG_CACHE_HOME", path("near_cache").toUtf8());
    if (!QFile::exists("/usr/sbin/sshd")) QSKIP("no /usr/sbin/sshd: install openssh-server to try the far engine");
    if (QStandardPaths::findExecutable("ssh").isEmpty()) QSKIP("no ssh");
    // A daemon of root wants this folder; the service makes it where it runs.
    if (::geteuid() == 0 && !QDir().mkpath("/run/sshd")) QSKIP("/run/sshd cannot be made");
    port_ = free_port();
    QVERIFY(port_ > 0);
    QVERIFY(run("ssh-keygen", {"-q", "-t", "ed25519", "-N", "", "-f", path("host_key")}));
    QVERIFY(run("ssh-keygen", {"-q", "-t", "ed25519", "-N", "", "-f", path("key")}));
    QVERIFY(run("ssh-keygen", {"-q", "-t", "ed25519", "-N", "open sesame", "-f", path("locked_key")}));
    write("authorized", read("key.pub") + read("locked_key.pub"));
    answer_with("wrong");
    test::TinyModelOptions options;
    options.context = 8192;  // for a record of several pieces
    test::write_tiny_model(path("tiny.gguf").toStdString(), options);
    start_sshd();
    if (!why_not_.isEmpty()) QSKIP(qPrintable(why_not_));
  }
  void cleanupTestCase() { stop_sshd(); }

  void an_unknown_host_key_is_asked_about_and_remembered() {
    Window w;
    QVERIFY2(w.reach(far()), qPrintable(w.words()));
    QVERIFY2(read("asked").contains("authenticity of host"), read("asked").constData());
    QVERIFY(read("known").contains("ssh-ed25519"));
    const QString steps = w.steps.join('\n');
    for (const char* part :
         {"Reaching 127.0.0.1", "Reached 127.0.0.1", "Engine ", "GB free", "Jobs go on there", "Ready"})
      QVERIFY2(steps.contains(part), qPrintable(steps));
    QVERIFY(w.engine.keeps_jobs());
    QFile::remove(path("asked"));
    Window again;
    QVERIFY2(again.reach(far()), qPrintable(again.words()));
    QVERIFY2(read("asked").isEmpty(), read("asked").constData());  // nothing is asked twice
  }

  void a_pass_phrase_is_asked_for() {
    answer_with("open sesame");
    Window w;
    QVERIFY2(w.reach(far("locked_key")), qPrintable(w.words()));
    QVERIFY2(read("asked").contains("passphrase"), read("asked").constData());
    answer_with("wrong");
    Window refused;
    QVERIFY(!refused.reach(far("locked_key")));
    QCOMPARE(refused.deaths.size(), 1);
    QVERIFY2(refused.deaths[0].message.contains("ssh did not reach the engine on 127.0.0.1") &&
                 refused.deaths[0].message.contains("Permission denied"),
             qPrintable(refused.words()));
  }

  void login_shells_survive_data() {
    QTest::addColumn<QString>("program");
    QTest::addColumn<QString>("shell");
    QTest::addColumn<QString>("noise");
    QTest::newRow("bash") << "bash"
                          << "exec bash -c \"$SSH_ORIGINAL_COMMAND\""
                          << "";
    QTest::newRow("fish") << "fish"
                          << "exec fish -c \"$SSH_ORIGINAL_COMMAND\""
                          << "";
    QTest::newRow("noisy bash") << "bash"
                                << "echo 'Welcome to loopback'; echo; exec bash -c \"$SSH_ORIGINAL_COMMAND\""
                                << "Welcome to loopback";
  }
  void login_shells_survive() {
    QFETCH(QString, program);
    QFETCH(QString, shell);
    QFETCH(QString, noise);
    if (QStandardPaths::findExecutable(program).isEmpty()) QSKIP(qPrintable("no " + program));
    start_sshd(shell);
    QVERIFY2(why_not_.isEmpty(), qPrintable(why_not_));
    Window w;
    QVERIFY2(w.reach(far()), qPrintable(w.words()));
    if (!noise.isEmpty()) QVERIFY2(w.steps.join('\n').contains(noise), qPrintable(w.steps.join('\n')));
    start_sshd();
  }

  void a_program_that_is_not_there_is_said() {
    EngineCommand command = far();
    command.arguments.last().replace(HEADROOM_BINARY_DIR "/headroom", "/no/such/headroom");
    Window w;
    QVERIFY(!w.reach(command));
    QVERIFY2(w.deaths[0].message.contains("127.0.0.1 cannot run the engine"), qPrintable(w.words()));
  }

  void a_link_cut_in_mid_job_loses_nothing() {
    Window w;
    QVERIFY2(w.reach(far()), qPrintable(w.words()));
    w.jobs.start_run(spec("cut.h5", 30, 250));
    QTRY_VERIFY_WITH_TIMEOUT(!w.last.phase.isEmpty() && w.last.done > 0, 30000);
    QCOMPARE(::kill(static_cast<pid_t>(w.engine.process_id()), SIGKILL), 0);
    QTRY_COMPARE_WITH_TIMEOUT(w.last.state, State::away, 10000);
    QVERIFY(!w.jobs.anything_running());
    QCOMPARE(w.deaths.size(), 1);
    QVERIFY2(w.reach(far()), qPrintable(w.words()));
    QTRY_COMPARE_WITH_TIMEOUT(w.last.state, State::running, 10000);
    QTRY_COMPARE_WITH_TIMEOUT(w.last.state, State::done, 60000);
    QCOMPARE(w.finished.size(), 1);
    QVERIFY(QFileInfo(w.finished[0]).size() > 10000);
    QVERIFY(w.finished[0].startsWith(path("near_cache")));
  }

  void a_link_cut_in_mid_transfer_goes_on_where_it_was() {
    Window w;
    QVERIFY2(w.reach(far()), qPrintable(w.words()));
    w.jobs.start_run(spec("large.h5", 1, 700));
    bool cut = false, again = false;
    qint64 after = -1, before = 0;
    connect(&w.jobs, &JobTracker::changed, this, [&](const views::JobInfo& job) {
      if (!job.phase.startsWith("Transferring") || job.state != State::running) return;
      if (!cut && job.done > 0) {
        cut = true;
        before = job.done;
        ::kill(static_cast<pid_t>(w.engine.process_id()), SIGKILL);
      }
      if (w.deaths.isEmpty()) return;
      again = again || job.done == 0;  // asked for anew
      if (again && after < 0 && job.done > 0) after = job.done;
    });
    QTRY_VERIFY_WITH_TIMEOUT(w.deaths.size() == 1 || w.last.state == State::failed, 90000);
    QVERIFY2(cut, qPrintable(w.last.message));
    QCOMPARE(w.last.state, State::away);
    QVERIFY2(w.reach(far()), qPrintable(w.words()));
    QTRY_COMPARE_WITH_TIMEOUT(w.last.state, State::done, 60000);
    QCOMPARE(w.finished.size(), 1);
    QVERIFY2(after > before, qPrintable(QString("%1 after %2").arg(after).arg(before)));
    QFile far_file(path("large.h5")), near_file(w.finished[0]);
    QVERIFY(far_file.open(QIODevice::ReadOnly) && near_file.open(QIODevice::ReadOnly));
    QVERIFY(far_file.readAll() == near_file.readAll());
    QVERIFY(QDir(RecordDownload::folder()).entryList({"*.partial*"}).isEmpty());
  }

  void a_sweep_is_started_there_and_grows_here() {
    FarWindow far_window(path("grows.ini"));
    QVERIFY(far_window.reach(far()));
    const protocol::SweepSpec wanted = sweep_spec("grows.h5");
    far_window.settings.set_blob("last_sweep", QByteArray::fromStdString(protocol::to_json(wanted).dump()));
    far_window.window.actions().new_sweep->trigger();
    QTRY_VERIFY(open_dialog());
    NewSweepDialog* dialog = open_dialog();
    // The dialog's own file lies there, in a folder of the engine.
    auto* out = dialog->findChild<QLineEdit*>("sweep_out");
    QVERIFY(out->text().startsWith(QString::fromStdString(far_window.window.engine().hello().folders.front())));
    out->setText(path("grows.h5"));
    auto* start = dialog->findChild<QPushButton*>("start_sweep");
    auto* needs = dialog->findChild<QLabel*>("sweep_needs");
    QTRY_VERIFY2_WITH_TIMEOUT(needs->text().contains("60 rows"),
                              qPrintable(needs->text() + dialog->findChild<QLabel*>("sweep_message")->text()), 20000);
    start->click();
    // The first rows are said, and shown when one asks.
    const QString here = RecordDownload::place_of(far_window.window.engine(), path("grows.h5"));
    QTRY_VERIFY2_WITH_TIMEOUT(far_window.growing() > 0, qPrintable(far_window.last.message), 20000);
    QVERIFY(QTest::qWaitFor([&] { return far_window.press("sweep:" + here, "Show"); }, 10000));
    QTRY_VERIFY2(far_window.panel_words().contains("at work"), qPrintable(far_window.panel_words()));
    const std::size_t first = far_window.growing();
    QTRY_VERIFY2_WITH_TIMEOUT(far_window.growing() > first || !far_window.sweep()->growing,
                              qPrintable(far_window.last.message), 20000);
    QVERIFY2(far_window.growing() > first, "the sweep is over before it was seen to grow");
    QTRY_COMPARE(far_window.panel()->plot()->picture().points.size(), std::size_t{1});
    // The file comes when it is whole, and takes the place of what was shown.
    QTRY_VERIFY_WITH_TIMEOUT(!far_window.sweep()->growing, 30000);
    QCOMPARE(far_window.last.state, State::done);
    QCOMPARE(name_from_path(far_window.sweep()->path), here);
    QCOMPARE(far_window.state().sweeps.size(), std::size_t{1});
    QCOMPARE(far_window.sweep()->record.rows.size(), std::size_t{2 * far_samples});
    QVERIFY(far_window.sweep()->record.meta.complete);
    QVERIFY(far_window.window.banners().contains("sweep:" + here));
    QTRY_VERIFY2(!far_window.panel_words().contains("at work"), qPrintable(far_window.panel_words()));
    QFile far_file(path("grows.h5")), near_file(here);
    QVERIFY(far_file.open(QIODevice::ReadOnly) && near_file.open(QIODevice::ReadOnly));
    QVERIFY(far_file.readAll() == near_file.readAll());
    QVERIFY(!QFile::exists(here + ".rows.jsonl"));
  }

  void a_link_cut_in_mid_sweep_loses_nothing_data() {
    QTest::addColumn<bool>("another_window");
    QTest::newRow("the same window connects again") << false;
    QTest::newRow("another window comes") << true;
  }
  void a_link_cut_in_mid_sweep_loses_nothing() {
    QFETCH(bool, another_window);
    const QString name = another_window ? "other.h5" : "same.h5";
    auto window = std::make_unique<FarWindow>(path(name + ".ini"));
    QVERIFY(window->reach(far()));
    const QString here = RecordDownload::place_of(window->window.engine(), path(name));
    window->window.jobs().start_sweep(sweep_spec(name));
    QTRY_VERIFY2_WITH_TIMEOUT(window->growing() > 0, qPrintable(window->last.message), 20000);
    QCOMPARE(::kill(static_cast<pid_t>(window->window.engine().process_id()), SIGKILL), 0);
    QTRY_COMPARE_WITH_TIMEOUT(window->last.state, State::away, 10000);
    // What has come stays on the page, and the banner says what happened.
    QVERIFY(window->growing() > 0);
    QVERIFY(window->window.banners().contains("engine"));
    QVERIFY(!window->window.banners().contains("job"));
    const std::size_t before = window->growing();
    if (another_window) window = std::make_unique<FarWindow>(path("another.ini"));
    QVERIFY(window->reach(far()));
    QTRY_COMPARE_WITH_TIMEOUT(window->last.state, State::running, 10000);
    QTRY_VERIFY2_WITH_TIMEOUT(window->growing() > before, qPrintable(window->last.message), 20000);
    QTRY_VERIFY_WITH_TIMEOUT(!window->sweep()->growing, 30000);
    QCOMPARE(window->last.state, State::done);
    QCOMPARE(window->state().sweeps.size(), std::size_t{1});
    QCOMPARE(window->sweep()->record.rows.size(), std::size_t{2 * far_samples});
    QCOMPARE(name_from_path(window->sweep()->path), here);
    QVERIFY(!QFile::exists(here + ".rows.jsonl"));
  }

  void a_far_sweep_that_failed_is_gone_on_with_where_it_is() {
    FarWindow far_window(path("failed.ini"));
    QVERIFY(far_window.reach(far()));
    protocol::SweepSpec wanted = sweep_spec("failed.h5");
    wanted.samples = 2;
    far_window.window.jobs().start_sweep(wanted);
    QTRY_VERIFY_WITH_TIMEOUT(far_window.last.done > 0, 20000);
    emit far_window.window.jobs().sweep_failed("1", {"It ran out of memory", {}, {}, {}}, wanted);
    QVERIFY(far_window.press("job", "Change and go on…"));
    QTRY_VERIFY(open_dialog());
    QCOMPARE(open_dialog()->findChild<QLineEdit*>("sweep_out")->text(), path("failed.h5"));
    QVERIFY(open_dialog()->findChild<QCheckBox*>("sweep_resume")->isChecked());
    open_dialog()->close();
    QTRY_VERIFY_WITH_TIMEOUT(!far_window.window.jobs().anything_running(), 20000);
  }
};

QTEST_MAIN(TestSsh)
#include "test_ssh.moc"
