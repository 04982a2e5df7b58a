// SPDX-License-Identifier: GPL-3.0-or-later
// Pictures: five pages without a display, and figures of every format that say what they show.
#include <QDir>
#include <QFileInfo>
#include <QImage>
#include <QProcess>
#include <QSet>
#include <QTemporaryDir>
#include <QXmlStreamReader>
#include <QtTest>
#include <string_view>

#include "gui/exporter.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "support/synthetic_record.h"

using namespace headroom;
using namespace headroom::gui;

class TestWindowExport : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;
  QString record_;

  int run(const QStringList& arguments, QByteArray* errors = nullptr) {
    QProcess process;
    QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
    environment.remove("DISPLAY");
    environment.remove("WAYLAND_DISPLAY");
    process.setProcessEnvironment(environment);
    process.start(HEADROOM_BINARY_DIR "/headroom-gui", arguments);
    if (!process.waitForFinished(60000)) return -1;
    if (errors) *errors = process.readAllStandardError();
    return process.exitStatus() == QProcess::NormalExit ? process.exitCode() : -2;
  }
  static int colours(const QImage& image) {
    QSet<QRgb> seen;
    for (int y = 0; y < image.height(); y += 3) {
      for (int x = 0; x < image.width(); x += 3) seen.insert(image.pixel(x, y));
    }
    return static_cast<int>(seen.size());
  }

 private slots:
  void initTestCase() {
    load_resources();
    record_ = dir_.filePath("run.h5");
    test::SyntheticOptions options;
    options.tokens = 300;
    options.layers = 4;
    test::write_synthetic_record(record_.toStdString(), options);
  }

  void render_writes_five_pages() {
    const QString out = dir_.filePath("pages");
    QCOMPARE(run({"--render", out, record_, "--size", "1280x720", "--theme", "dark"}), 0);
    for (const char* page : {"overview", "attention", "budget", "timing", "compare"}) {
      const QImage image(out + "/" + page + ".png");
      QCOMPARE(image.size(), QSize(1280, 720));
      // Not blank in the page's own place either: right of the rail and the runs, left of the inspector.
      QVERIFY2(colours(image.copy(420, 120, 480, 480)) > 8, page);
    }
  }

  void a_bad_record_is_exit_3_with_a_sentence() {
    const QString bad = dir_.filePath("bad.h5");
    QFile file(bad);
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.write(QByteArray(4000, 'x'));
    file.close();
    QByteArray errors;
    QCOMPARE(run({"--render", dir_.filePath("none"), bad}, &errors), 3);
    QVERIFY(errors.contains("bad.h5"));
    QCOMPARE(run({"--export", record_, "--view", "sundial", "-o", dir_.filePath("x.png")}), 2);
    QCOMPARE(run({"--export", record_, "--view", "attention", "--layer", "99", "-o", dir_.filePath("x.png")}), 3);
  }

  // Never over the record that is drawn, under whatever name; through links and into devices, which stay.
  void pictures_spare_what_is_there() {
    QFile record(record_);
    QVERIFY(record.open(QIODevice::ReadOnly));
    const QByteArray before = record.readAll();
    const QString linked = dir_.filePath("linked.png"), device = dir_.filePath("device.png"),
                  target = dir_.filePath("target.png"), link = dir_.filePath("link.png");
    QVERIFY(QFile::link(record_, linked));
    QVERIFY(QFile::link("/dev/null", device));
    QVERIFY(QFile::link(target, link));
    const auto draw = [&](const QString& to, QByteArray* errors = nullptr) {
      return run({"--export", record_, "--view", "budget", "-o", to}, errors);
    };
    QByteArray errors;
    QCOMPARE(draw(linked, &errors), 3);
    QVERIFY2(errors.contains("would destroy"), errors);
    QCOMPARE(draw(device), 0);
    QVERIFY(QFileInfo(device).isSymLink());
    QCOMPARE(draw(link), 0);
    QVERIFY(QFileInfo(link).isSymLink() && !QImage(target).isNull());
    QCOMPARE(draw("/dev/full/x.png", &errors), 3);
    // A page of a folder of pictures, too.
    QVERIFY(QDir(dir_.path()).mkdir("rendered"));
    QVERIFY(QFile::link(record_, dir_.filePath("rendered/overview.png")));
    QCOMPARE(run({"--render", dir_.filePath("rendered"), record_}, &errors), 3);
    QVERIFY2(errors.contains("would destroy"), errors);
    QVERIFY(record.seek(0) && record.readAll() == before);
  }

  void a_page_that_was_never_shown_is_drawn_whole_data() {
    QTest::addColumn<QString>("page");
    for (const char* page : {"attention", "compare"}) QTest::newRow(page) << QString(page);
  }
  void a_page_that_was_never_shown_is_drawn_whole() {
    // The Export dialog writes any page while another one is looked at: nothing of it has been loaded.
    QFETCH(QString, page);
    SettingsStore settings(dir_.filePath("settings.ini"));
    StartOptions options;
    options.use_engine = false;
    options.quiet = true;
    MainWindow window(settings, options);
    window.move(40, 40);
    window.show();
    window.selection().open_record(record::RunRecord::open(record_.toStdString()), 2);
    QTRY_VERIFY(window.selection().record());
    QCOMPARE(window.current_page(), 0);
    FigureOptions figure;
    figure.scale = 1;
    const QString file = dir_.filePath(page + "-hidden.png");
    QCOMPARE(write_figure(exportable_view(window.pages(), page), window.selection(), file, figure), QString());
    const QImage image(file);
    int map = 0;  // the scale's dark blues
    for (int y = 0; y < image.height(); ++y)
      for (int x = 0; x < image.width(); ++x) {
        const QColor pixel = image.pixelColor(x, y);
        map += pixel.blue() > pixel.red() + 15 && pixel.lightness() < 110;
      }
    QVERIFY2(map > 3000, qPrintable(QString::number(map)));
    // What cannot be drawn leaves the file as it was.
    window.selection().change([](views::ViewState& state) { state.method = "dense"; });
    bool stop = true;
    FigureOptions other = figure;
    other.size = {1000, 640};
    const QString why =
        write_figure(exportable_view(window.pages(), page), window.selection(), file, other, [&] { return stop; });
    QCOMPARE(QImage(file).size() == QSize(1000, 640), why.isEmpty());
  }

  void figures_are_valid_and_say_what_they_show() {
    for (const char* view : {"overview", "attention", "budget", "timing", "compare"}) {
      const QString base = dir_.filePath(view);
      QCOMPARE(run({"--export", record_, "--view", view, "--layer", "1", "--head", "2", "-o", base + ".png"}), 0);
      const QImage image(base + ".png");
      QVERIFY2(!image.isNull() && colours(image) > 8, view);
      QVERIFY(!image.text("Run").isEmpty());
      QCOMPARE(image.text("Layer"), QString("1"));
      QVERIFY(image.text("Software").startsWith("Headroom"));

      QCOMPARE(run({"--export", record_, "--view", view, "-o", base + ".svg"}), 0);
      QFile svg(base + ".svg");
      QVERIFY(svg.open(QIODevice::ReadOnly));
      QXmlStreamReader xml(&svg);
      bool has_text = false, described = false;
      while (!xml.atEnd()) {
        xml.readNext();
        if (xml.isStartElement() && xml.name() == u"text") has_text = true;
        if (xml.isStartElement() && xml.name() == u"desc") described = xml.readElementText().contains("Run: ");
      }
      QVERIFY2(!xml.hasError(), qPrintable(xml.errorString()));
      QVERIFY2(has_text, view);
      QVERIFY(described);
      QVERIFY2(svg.size() <= 3 << 20, view);

      QCOMPARE(run({"--export", record_, "--view", view, "-o", base + ".pdf"}), 0);
      QFile pdf(base + ".pdf");
      QVERIFY(pdf.open(QIODevice::ReadOnly));
      const QByteArray bytes = pdf.readAll();
      QVERIFY(bytes.startsWith("%PDF-"));
      QVERIFY(bytes.contains("/Title") && bytes.contains("/Creator"));
      QVERIFY2(bytes.contains("/Font"), view);  // text stays text
      // Fonts that do not fit the page's unit leave no room for the map, which is then not drawn.
      if (view == std::string_view("attention")) QVERIFY2(bytes.contains("/Subtype /Image"), view);
      QVERIFY2(bytes.size() <= 3 << 20, view);

      QCOMPARE(run({"--export", record_, "--view", view, "-o", base + ".csv"}), 0);
      QFile csv(base + ".csv");
      QVERIFY(csv.open(QIODevice::ReadOnly));
      QVERIFY2(csv.readAll().count('\n') >= 2, view);
    }
  }
};

QTEST_MAIN(TestWindowExport)
#include "test_window_export.moc"
