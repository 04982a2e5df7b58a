// SPDX-License-Identifier: GPL-3.0-or-later
// A picture holds what it says, at every size, on every machine, and is the same twice; or there is none and exit 3.
#include <QImage>
#include <QProcess>
#include <QTemporaryDir>
#include <QtTest>
#include <filesystem>
#include <fstream>

#include "gui/file_names.h"
#include "record/export.h"
#include "record/opening.h"
#include "record/run_record.h"
#include "support/synthetic_record.h"
#include "views/common/theme.h"

using namespace headroom;

class TestPictures : public QObject {
  Q_OBJECT
  using Environment = QList<QPair<QString, QString>>;
  QTemporaryDir dir_;
  QString record_, damaged_, many_;

  static int run(const QStringList& arguments, QByteArray* errors = nullptr, const Environment& more = {}) {
    QProcess process;
    QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
    for (const char* name : {"DISPLAY", "WAYLAND_DISPLAY", "LC_ALL", "LC_NUMERIC", "LANG", "LANGUAGE"})
      environment.remove(name);
    for (const auto& [name, value] : more) environment.insert(name, value);
    process.setProcessEnvironment(environment);
    process.start(HEADROOM_BINARY_DIR "/headroom-gui", arguments);
    if (!process.waitForFinished(120000)) return -1;
    if (errors) *errors = process.readAllStandardError();
    return process.exitStatus() == QProcess::NormalExit ? process.exitCode() : -2;
  }
  static QByteArray content(const QString& file) {
    QFile stream(file);
    return stream.open(QIODevice::ReadOnly) ? stream.readAll() : QByteArray();
  }
  QString out(const char* name) const { return dir_.filePath(name); }

  /// Pixels of about this colour, alone or laid over the map's.
  static int coloured(const QImage& image, const QColor& colour) {
    int count = 0;
    for (int y = 0; y < image.height(); ++y)
      for (int x = 0; x < image.width(); ++x) {
        const QColor pixel = image.pixelColor(x, y);
        const int hue = std::abs(pixel.hsvHue() - colour.hsvHue());
        count += std::min(hue, 360 - hue) < 12 && pixel.hsvSaturation() > 150 && pixel.value() > 150;
      }
    return count;
  }

 private slots:
  void initTestCase() {
    record_ = dir_.filePath("run.h5");
    test::SyntheticOptions options;
    options.tokens = 600;
    options.layers = 6;
    options.sliding_layers = {0};
    test::write_synthetic_record(record_.toStdString(), options);

    // A byte of every block that opening does not read: summaries stay readable, maps, statistics and curves do not.
    damaged_ = dir_.filePath("damaged.h5");
    QVERIFY(QFile::copy(record_, damaged_));
    QFile damaged(damaged_);
    QVERIFY(damaged.open(QIODevice::ReadWrite | QIODevice::Unbuffered));
    int blocks = 0;
    for (qint64 at = 512 + 1000; at < damaged.size(); at += 65536) {
      char byte = 0;
      const auto flip = [&] {
        damaged.seek(at);
        damaged.read(&byte, 1);
        byte = static_cast<char>(~byte);
        damaged.seek(at);
        damaged.write(&byte, 1);
      };
      flip();
      try {
        record::RunRecord::open(damaged_.toStdString());
        ++blocks;
      } catch (const std::exception&) {
        flip();
      }
    }
    QVERIFY(blocks > 10);

    many_ = dir_.filePath("many.h5");
    options.methods = {"dense"};
    for (const int keys : {8, 16, 24, 32, 48, 64, 96}) {
      options.methods.push_back("oracle-k" + std::to_string(keys) + "-g1");
      options.methods.push_back("indexer-k" + std::to_string(keys) + "-g1");
    }
    options.tokens = 160;
    test::write_synthetic_record(many_.toStdString(), options);
  }

  void cleanupTestCase() {
    std::error_code failed;  // QTemporaryDir does not find names that are not UTF-8
    std::filesystem::remove_all(dir_.path().toStdString(), failed);
  }

  void pictures_do_not_depend_on_the_machine_data() {
    QTest::addColumn<QString>("view");
    for (const char* view : {"timing", "budget", "attention"}) QTest::newRow(view) << QString(view);
  }
  void pictures_do_not_depend_on_the_machine() {
    QFETCH(QString, view);
    const auto draw = [&](const Environment& environment) {
      const QString file = out("picture.svg");
      QFile::remove(file);
      QByteArray errors;
      if (run({"--export", record_, "--view", view, "-o", file}, &errors, environment) != 0)
        qWarning("%s", errors.constData());
      return errors.isEmpty() ? content(file) : QByteArray("noise: " + errors);
    };
    const QByteArray usual = draw({});
    QVERIFY(usual.size() > 1000);
    QVERIFY(!usual.startsWith("noise"));
    QCOMPARE(draw({}), usual);
    QCOMPARE(draw({{"LC_ALL", "de_DE.UTF-8"}, {"QT_SCALE_FACTOR", "2"}}), usual);
    QCOMPARE(draw({{"LANG", "ar_EG.UTF-8"}, {"QT_FONT_DPI", "144"}}), usual);
  }

  void the_overlay_is_drawn_at_every_size_data() {
    QTest::addColumn<QString>("size");
    QTest::addColumn<QString>("file");
    for (const char* size : {"320x240", "400x700", "640x480", "1200x750", "2400x1600"})
      QTest::newRow(size) << QString(size) << QString("map.png");
    QTest::newRow("compare") << QString("1200x750") << QString("compare.png");
  }
  void the_overlay_is_drawn_at_every_size() {
    QFETCH(QString, size);
    QFETCH(QString, file);
    QByteArray errors;
    const QString view = file == "map.png" ? "attention" : "compare";
    QCOMPARE(run({"--export", record_, "--view", view, "--method", "indexer-k64-g1", "--layer", "2", "--size", size,
                  "-o", out("map.png")},
                 &errors),
             0);
    QCOMPARE(QString(errors), QString());
    const QImage image(out("map.png"));
    const QStringList sides = size.split('x');
    QCOMPARE(image.size(), QSize(sides[0].toInt(), sides[1].toInt()) * 2);
    // The map's own colours, from the dark blue of nothing to yellow, over a good part of the picture.
    int dark = 0;
    for (int y = 0; y < image.height(); ++y)
      for (int x = 0; x < image.width(); ++x) {
        const QColor pixel = image.pixelColor(x, y);
        dark += pixel.blue() > pixel.red() + 15 && pixel.lightness() < 110;
      }
    QVERIFY2(dark > image.width() * image.height() / 100, qPrintable(QString::number(dark)));
    if (view == "attention")
      QVERIFY2(coloured(image, views::Theme::instance().missed()) > 40,
               qPrintable(QString::number(coloured(image, views::Theme::instance().missed()))));
  }

  void picture_and_numbers_show_the_same_data() {
    QTest::addColumn<QStringList>("chosen");
    QTest::addColumn<QString>("method");
    QTest::newRow("what it opens with") << QStringList() << QString();
    QTest::newRow("another method") << QStringList{"--method", "oracle-k64-g1"} << QString("oracle-k64-g1");
    QTest::newRow("dense") << QStringList{"--method", "dense", "--head", "group:1"} << QString("dense");
  }
  void picture_and_numbers_show_the_same() {
    QFETCH(QStringList, chosen);
    QFETCH(QString, method);
    for (const char* view : {"attention", "text"}) {
      QCOMPARE(run(QStringList{"--export", record_, "--view", view, "-o", out("same.png")} + chosen), 0);
      const QImage image(out("same.png"));
      const auto opened = record::RunRecord::open(record_.toStdString());
      record::ExportRequest request;
      request.view = view;
      request.method = method.toStdString();
      const auto table = record::export_table(*opened, request);
      const auto fact = [&](const char* key) {
        for (const auto& [name, value] : table.facts)
          if (name == key) return QString::fromStdString(value);
        return QString();
      };
      QCOMPARE(image.text("Method"), fact("method"));
      QCOMPARE(image.text("Layer"), fact("layer"));
      QCOMPARE(image.text("Head"), chosen.contains("group:1") ? QString("KV group 1") : QString("mean of heads"));
    }
  }
  void what_is_chosen_must_be_there_data() {
    QTest::addColumn<QStringList>("chosen");
    QTest::addColumn<int>("code");
    QTest::newRow("method") << QStringList{"--method", "oracle-k9-g1"} << 2;
    QTest::newRow("baseline") << QStringList{"--baseline", "none"} << 2;
    QTest::newRow("group") << QStringList{"--head", "group:7"} << 3;
    QTest::newRow("head") << QStringList{"--head", "99"} << 3;
    QTest::newRow("words") << QStringList{"--head", "all"} << 2;
  }
  void what_is_chosen_must_be_there() {
    QFETCH(QStringList, chosen);
    QFETCH(int, code);
    QByteArray errors;
    const QString file = out("none.png");
    QCOMPARE(run(QStringList{"--export", record_, "--view", "attention", "-o", file} + chosen, &errors), code);
    QVERIFY2(errors.contains(chosen.last().section(':', -1).toUtf8()), errors.constData());
    QVERIFY(!QFile::exists(file));
  }

  void what_cannot_be_shown_is_refused_data() {
    QTest::addColumn<QString>("view");
    QTest::addColumn<QString>("layer");
    QTest::addColumn<bool>("damaged");
    for (const char* view : {"attention", "text", "compare"}) {
      QTest::newRow(qPrintable(QString("sliding ") + view)) << QString(view) << "0" << false;
      QTest::newRow(qPrintable(QString("damaged ") + view)) << QString(view) << "2" << true;
    }
    QTest::newRow("damaged overview") << QString("overview") << "2" << true;
  }
  void what_cannot_be_shown_is_refused() {
    QFETCH(QString, view);
    QFETCH(QString, layer);
    QFETCH(bool, damaged);
    const QString file = damaged ? damaged_ : record_;
    for (const char* format : {"png", "csv"}) {
      const QString picture = dir_.filePath(QString("refused.") + format);
      QByteArray errors;
      QCOMPARE(run({"--export", file, "--view", view, "--layer", layer, "-o", picture}, &errors), 3);
      QVERIFY2(errors.contains(damaged ? "damaged" : "sliding"), errors.constData());
      QVERIFY(!QFile::exists(picture));
    }
  }

  void pages_that_cannot_be_drawn_are_named_and_the_others_written() {
    QByteArray errors;
    QCOMPARE(run({"--render", out("pages"), damaged_, "--size", "1000x700"}, &errors), 3);
    for (const char* page : {"overview", "attention", "compare"}) {
      QVERIFY2(errors.contains(page + QByteArray(".png is not written: ")), errors.constData());
      QVERIFY(!QFile::exists(out("pages") + "/" + page + ".png"));
    }
    QVERIFY(!QImage(out("pages") + "/timing.png").isNull());
  }

  void many_methods_get_the_room_they_need_data() {
    QTest::addColumn<QString>("view");
    QTest::addColumn<int>("least");
    QTest::newRow("timing") << QString("timing") << 15 * 40 + 3 * 10 * 20;
    QTest::newRow("overview") << QString("overview") << 750;
  }
  void many_methods_get_the_room_they_need() {
    QFETCH(QString, view);
    QFETCH(int, least);
    QCOMPARE(run({"--export", many_, "--view", view, "-o", out("many.png")}), 0);
    const QImage image(out("many.png"));
    QCOMPARE(image.width(), 2400);
    QVERIFY2(image.height() >= 2 * least, qPrintable(QString::number(image.height())));
    // A size that is asked for is what one gets.
    QCOMPARE(run({"--export", many_, "--view", view, "--size", "900x600", "-o", out("many.png")}), 0);
    QCOMPARE(QImage(out("many.png")).size(), QSize(1800, 1200));
  }

  void names_keep_their_bytes_data() {
    QTest::addColumn<QByteArray>("name");
    QTest::newRow("ASCII") << QByteArray("plain");
    QTest::newRow("UTF-8") << QByteArray("größe \xf0\x9f\x93\x88");
    QTest::newRow("Latin-1") << QByteArray(
        "gr\xf6\xdf"
        "e");
    QTest::newRow("cut short") << QByteArray("\xf0\x9f\x93");
    QTest::newRow("surrogate") << QByteArray("\xed\xb2\x80x");
  }
  void names_keep_their_bytes() {
    QFETCH(QByteArray, name);
    const std::string bytes = name.toStdString();
    QCOMPARE(gui::bytes_of_name(gui::name_from_bytes(bytes)), bytes);
    QVERIFY(gui::shown_path(gui::name_from_bytes(bytes)).isValidUtf16());
    const std::filesystem::path folder = std::filesystem::path(dir_.path().toStdString()) / bytes;
    std::filesystem::create_directories(folder);
    const std::filesystem::path copy = folder / (bytes + ".h5");
    std::filesystem::copy_file(record_.toStdString(), copy, std::filesystem::copy_options::overwrite_existing);
    // Through a shell: QProcess would mangle the very bytes that this is about.
    const auto script = [&](const QByteArray& arguments) {
      std::ofstream(folder / "call.sh", std::ios::binary)
          << "cd \"$(dirname \"$0\")\"\nexec '" HEADROOM_BINARY_DIR "/headroom-gui' " << arguments.toStdString()
          << "\n";
      QProcess shell;
      shell.setWorkingDirectory(dir_.path());
      std::ofstream(dir_.filePath("start.sh").toStdString(), std::ios::binary) << "exec sh '" << bytes << "/call.sh'\n";
      shell.start("sh", {"start.sh"});
      if (!shell.waitForFinished(60000)) return std::pair{-1, QByteArray()};
      return std::pair{shell.exitCode(), shell.readAllStandardError()};
    };
    const auto [code, errors] = script("--export '" + name + ".h5' --view timing -o '" + name + ".svg'");
    QVERIFY2(code == 0 && errors.isEmpty(), errors.constData());
    QVERIFY(std::filesystem::file_size(folder / (bytes + ".svg")) > 1000);
    const auto [pages, noise] = script("--render '" + name + "-pages' '" + name + ".h5' --size 640x480");
    QVERIFY2(pages == 0 && noise.isEmpty(), noise.constData());
    QVERIFY(std::filesystem::exists(folder / (bytes + "-pages") / "timing.png"));
    const auto [missing, said] = script("--export 'no-" + name + ".h5' --view timing -o x.svg");
    QCOMPARE(missing, 3);
    QVERIFY2(QString::fromUtf8(said).toUtf8() == said && !said.contains("\xef\xbf\xbd"), said.constData());
  }
};

QTEST_MAIN(TestPictures)
#include "test_pictures.moc"
