// SPDX-License-Identifier: GPL-3.0-or-later
// Settings: versions, migrations, bounds; layout; the command line.
#include <QFile>
#include <QMainWindow>
#include <QTemporaryDir>
#include <QtTest>

#include "gui/commands.h"
#include "gui/engine_client.h"
#include "gui/layout_store.h"
#include "gui/render_driver.h"
#include "gui/settings_store.h"

using namespace headroom::gui;
using headroom::views::ThemeMode;

class TestSettings : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;
  QString file(const char* name) { return dir_.filePath(name); }

 private slots:
  void a_fresh_file_gets_the_newest_version() {
    SettingsStore settings(file("fresh.ini"));
    QCOMPARE(settings.version(), static_cast<int>(SettingsStore::default_migrations().size()));
    QCOMPARE(settings.text_scale(), 100);
    QVERIFY(settings.theme() == ThemeMode::light);
  }

  void old_settings_are_brought_forward() {
    {
      QSettings old(file("old.ini"), QSettings::IniFormat);
      old.setValue("version", 1);
      old.setValue("dark", true);
      old.setValue("text_scale", 125);
    }
    SettingsStore settings(file("old.ini"));
    QVERIFY(settings.theme() == ThemeMode::dark);
    QCOMPARE(settings.text_scale(), 125);
    settings.sync();
    QVERIFY(!QSettings(file("old.ini"), QSettings::IniFormat).contains("dark"));
  }

  void migrations_run_once_each_and_in_order() {
    QStringList ran;
    const std::vector<SettingsStore::Migration> steps = {
        [&](QSettings&) { ran << "0"; }, [&](QSettings&) { ran << "1"; }, [&](QSettings&) { ran << "2"; }};
    { SettingsStore settings(file("steps.ini"), {steps[0]}); }
    ran.clear();
    { SettingsStore settings(file("steps.ini"), steps); }
    QCOMPARE(ran, (QStringList{"1", "2"}));
    { SettingsStore settings(file("steps.ini"), steps); }
    QCOMPARE(ran.size(), 2);
  }

  void settings_of_a_newer_program_are_set_aside() {
    {
      QSettings newer(file("newer.ini"), QSettings::IniFormat);
      newer.setValue("version", 42);
      newer.setValue("theme", "sepia");
    }
    SettingsStore settings(file("newer.ini"));
    QVERIFY(settings.theme() == ThemeMode::light);
    QVERIFY(QFile::exists(file("newer.ini") + ".v42"));
    QCOMPARE(QSettings(file("newer.ini") + ".v42", QSettings::IniFormat).value("theme").toString(), QString("sepia"));
  }

  void values_are_bounded() {
    {
      QSettings wild(file("wild.ini"), QSettings::IniFormat);
      wild.setValue("version", -7);
      wild.setValue("text_scale", 100000);
      wild.setValue("layout/state", QByteArray(1000, '\xff'));
    }
    SettingsStore settings(file("wild.ini"));
    QCOMPARE(settings.text_scale(), 200);
    for (int i = 0; i < 30; ++i) settings.add_recent_file(file("x") + QString::number(i));
    QCOMPARE(settings.recent_files().size(), 10);
    QVERIFY(settings.recent_files().first().endsWith("x29"));
    settings.set_last_spec(QString(100000, 'x'));
    QVERIFY(settings.last_spec().isEmpty());
    QMainWindow window;
    LayoutStore layout(window, settings);
    layout.remember_default();
    QVERIFY(!layout.restore());  // garbage is refused, the default stays
  }

  void ssh_never_takes_a_host_for_an_option() {
    EngineSettings settings;
    settings.remote = true;
    settings.host = "-oProxyCommand=touch /tmp/owned";
    settings.options = {"-p", "2222"};
    const EngineCommand command = engine_command(settings);
    QCOMPARE(command.program, QString("ssh"));
    QVERIFY(command.arguments.indexOf("--") < command.arguments.indexOf(settings.host));
    QVERIFY(command.remote);
    QCOMPARE(engine_command(settings, "/x/headroom").arguments, QStringList{"serve"});
  }

  void command_lines_are_read_strictly_data() {
    QTest::addColumn<QStringList>("arguments");
    QTest::addColumn<bool>("good");
    QTest::newRow("empty") << QStringList{} << true;
    QTest::newRow("records") << QStringList{"a.h5", "b.h5"} << true;
    QTest::newRow("render") << QStringList{"--render", "d", "a.h5", "--size", "1280x720", "--theme", "dark"} << true;
    QTest::newRow("render without record") << QStringList{"--render", "d"} << false;
    QTest::newRow("bad size") << QStringList{"--render", "d", "a.h5", "--size", "1280"} << false;
    QTest::newRow("huge size") << QStringList{"--render", "d", "a.h5", "--size", "999999x999999"} << false;
    QTest::newRow("export") << QStringList{"--export", "a.h5", "--view", "budget", "-o", "f.svg"} << true;
    QTest::newRow("export to what") << QStringList{"--export", "a.h5", "--view", "budget", "-o", "f.doc"} << false;
    QTest::newRow("layer of what") << QStringList{"--export", "a.h5", "--view", "budget", "-o", "f.svg", "--layer", "x"}
                                   << false;
    QTest::newRow("unknown") << QStringList{"--frobnicate"} << false;
    QTest::newRow("value missing") << QStringList{"--engine"} << false;
  }
  void command_lines_are_read_strictly() {
    QFETCH(QStringList, arguments);
    QFETCH(bool, good);
    QCOMPARE(read_command_line(arguments).problem.isEmpty(), good);
  }

  void the_palette_prefers_word_starts() {
    QCOMPARE(match_score("zzz", "Open run"), 0);
    QVERIFY(match_score("or", "Open run") > match_score("or", "Show records... for"));
    QVERIFY(match_score("open", "Open run") > match_score("open", "Copy figure on pen"));
  }
};

QTEST_MAIN(TestSettings)
#include "test_settings.moc"
