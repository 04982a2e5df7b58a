// SPDX-License-Identifier: GPL-3.0-or-later
// Windows that a far engine needs: its disk to choose from, and what ssh wants to know.
#include <QDialogButtonBox>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QTemporaryDir>
#include <QTreeWidget>
#include <QtTest>

#include "gui/askpass.h"
#include "gui/remote_browser.h"

using namespace headroom;
using namespace headroom::gui;

class TestRemoteWindows : public QObject {
  Q_OBJECT

  struct Browser {
    EngineClient engine;
    std::unique_ptr<RemoteBrowser> dialog;
    explicit Browser(RemoteBrowser::Wanted wanted, const QStringList& suffixes = {}) {
      qputenv("HEADROOM_FAKE", "normal");
      engine.start({HEADROOM_BINARY_DIR "/tests/fake_engine", {"serve"}, false});
      (void)QTest::qWaitFor([this] { return engine.state() == EngineClient::State::ready; }, 10000);
      dialog = std::make_unique<RemoteBrowser>(engine, "Open model", wanted, suffixes);
      dialog->show();
    }
    QTreeWidget* entries() const { return dialog->findChild<QTreeWidget*>("entries"); }
    QStringList names() const {
      QStringList list;
      for (int i = 0; i < entries()->topLevelItemCount(); ++i) list << entries()->topLevelItem(i)->text(0);
      return list;
    }
    void select(int row) { entries()->setCurrentItem(entries()->topLevelItem(row)); }
    void open(int row) {
      select(row);
      emit entries()->itemActivated(entries()->topLevelItem(row), 0);
    }
    QPushButton* button(const char* name) const { return dialog->findChild<QPushButton*>(name); }
  };

 private slots:
  void a_model_is_found_on_the_far_disk() {
    Browser b(RemoteBrowser::Wanted::file, {"gguf"});
    QTRY_COMPARE(b.names(), (QStringList{"/far/home/", "/far/data/"}));
    QVERIFY(!b.button("up")->isEnabled() && !b.button("choose")->isEnabled());
    b.open(0);
    QTRY_COMPARE(b.names(), (QStringList{"models/", "notes.txt"}));
    b.select(1);
    QVERIFY(!b.button("choose")->isEnabled());  // no model
    b.open(0);
    QTRY_COMPARE(b.names(), (QStringList{"b.gguf", "readme.md"}));
    QVERIFY(b.dialog->findChild<QLabel*>("message")->text().contains("more"));
    b.select(0);
    QCOMPARE(b.dialog->chosen(), QString("/far/home/models/b.gguf"));
    QVERIFY(b.button("choose")->isEnabled());
    b.button("up")->click();
    QTRY_COMPARE(b.names().value(1), QString("notes.txt"));
    b.open(0);
    QTRY_COMPARE(b.names().value(0), QString("b.gguf"));
    b.open(0);
    QCOMPARE(b.dialog->result(), int(QDialog::Accepted));
    QCOMPARE(b.dialog->chosen(), QString("/far/home/models/b.gguf"));
  }

  void a_folder_may_be_the_one_that_is_shown() {
    Browser b(RemoteBrowser::Wanted::folder);
    QTRY_COMPARE(b.names().size(), 2);
    b.open(0);
    QTRY_COMPARE(b.names(), (QStringList{"models/", "notes.txt"}));
    QCOMPARE(b.dialog->chosen(), QString("/far/home"));
    b.select(0);
    QCOMPARE(b.dialog->chosen(), QString("/far/home/models"));
  }

  void what_cannot_be_listed_is_said_and_the_rest_stays() {
    Browser b(RemoteBrowser::Wanted::file);
    QTRY_COMPARE(b.names().size(), 2);
    b.open(1);
    auto* message = b.dialog->findChild<QLabel*>("message");
    QTRY_VERIFY2(message->text().contains("/far/data"), qPrintable(message->text()));
    QCOMPARE(b.names().size(), 2);
  }

  void ssh_s_questions_have_windows() {
    AskpassDialog secret("Enter passphrase for key '/home/a/.ssh/id': ");
    auto* field = secret.findChild<QLineEdit*>("askpass_field");
    QVERIFY(field && field->echoMode() == QLineEdit::Password);
    field->setText("open sesame");
    QCOMPARE(secret.answer(), QString("open sesame"));
    const QString question =
        "The authenticity of host '<b>far</b>' can't be established.\nED25519 key fingerprint is SHA256:abc.\n"
        "Are you sure you want to continue connecting (yes/no/[fingerprint])? ";
    AskpassDialog host(question);
    QVERIFY(!host.findChild<QLineEdit*>("askpass_field"));
    QCOMPARE(host.findChild<QLabel*>("askpass_prompt")->textFormat(), Qt::PlainText);
    QVERIFY(host.findChild<QLabel*>("askpass_prompt")->text().contains("SHA256:abc"));
    QVERIFY(host.findChild<QPushButton*>("askpass_no")->isDefault());
    host.findChild<QPushButton*>("askpass_yes")->click();
    QCOMPARE(host.answer(), QString("yes"));
    AskpassDialog refused(question);
    refused.findChild<QPushButton*>("askpass_no")->click();
    QCOMPARE(refused.answer(), QString("no"));
  }

  // As ssh starts it: the question as its argument, the answer on standard output.
  void the_program_itself_answers_ssh() {
    const QProcessEnvironment environment = askpass_environment("/some/program");
    QCOMPARE(environment.value("SSH_ASKPASS"), QString("/some/program"));
    QCOMPARE(environment.value("SSH_ASKPASS_REQUIRE"), QString("force"));
    QProcess process;
    QProcessEnvironment offscreen = environment;
    offscreen.insert("QT_QPA_PLATFORM", "offscreen");
    process.setProcessEnvironment(offscreen);
    process.start(HEADROOM_BINARY_DIR "/headroom-gui", {"Enter passphrase for key: "});
    QVERIFY(process.waitForStarted());
    QVERIFY(!process.waitForFinished(1500));  // it waits for the reader, and is no usage error
    QVERIFY(!process.readAllStandardError().contains("headroom-gui:"));
    process.kill();
    process.waitForFinished();
  }
};

QTEST_MAIN(TestRemoteWindows)
#include "test_remote_windows.moc"
