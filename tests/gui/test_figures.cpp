// SPDX-License-Identifier: GPL-3.0-or-later
// Figures for print: text of at least 7 points in a column, curves that end where their axes end, facts in numbers; and
// the Export dialog with its preview, what it says and what it remembers.
#include <qcustomplot.h>

#include <QBuffer>
#include <QCheckBox>
#include <QComboBox>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QRegularExpression>
#include <QSpinBox>
#include <QSvgGenerator>
#include <QTemporaryDir>
#include <QXmlStreamReader>
#include <QtTest>
#include <cmath>

#include "gui/actions.h"
#include "gui/clipped_device.h"
#include "gui/export_dialog.h"
#include "gui/exporter.h"
#include "gui/figure_preview.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "support/synthetic_record.h"
#include "support/window_bench.h"
#include "views/common/page_base.h"

using namespace headroom;
using namespace headroom::gui;

class TestFigures : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;
  QString record_;

  struct Bench : test::WindowBench {
    Bench(const QString& settings_file, const QString& record) : WindowBench(settings_file, without_engine({record})) {}
  };
  QString ini() { return test::fresh_settings(dir_); }
  static QByteArray content(const QString& file) {
    QFile in(file);
    return in.open(QIODevice::ReadOnly) ? in.readAll() : QByteArray();
  }
  static QTransform matrix(const QString& text) {
    static const QRegularExpression number("-?[0-9.]+(?:[eE][-+]?[0-9]+)?");
    QList<double> v;
    for (auto match = number.globalMatch(text); match.hasNext();) v << match.next().captured().toDouble();
    return text.startsWith("matrix") && v.size() == 6 ? QTransform(v[0], v[1], v[2], v[3], v[4], v[5]) : QTransform();
  }

  struct Drawn {
    double least_points = 1e9;  ///< smallest text
    QString least_words;
    int texts = 0;
    QVector<QPolygonF> lines;  ///< of polylines, in units of the picture
  };
  static Drawn read_svg(const QByteArray& bytes) {
    Drawn drawn;
    QXmlStreamReader xml(bytes);
    struct Level {
      QTransform to_picture;
      double size = 0;
    };
    QVector<Level> levels{{}};
    while (!xml.atEnd()) {
      xml.readNext();
      if (xml.isEndElement()) levels.removeLast();
      if (!xml.isStartElement()) continue;
      Level level = levels.last();
      const auto attributes = xml.attributes();
      if (attributes.hasAttribute("transform"))
        level.to_picture = matrix(attributes.value("transform").toString()) * level.to_picture;
      if (attributes.hasAttribute("font-size")) level.size = attributes.value("font-size").toDouble();
      levels << level;
      if (xml.name() == u"polyline") {
        QPolygonF line;
        for (const QString& pair : attributes.value("points").toString().split(' ', Qt::SkipEmptyParts))
          line << QPointF(pair.section(',', 0, 0).toDouble(), pair.section(',', 1, 1).toDouble());
        drawn.lines << level.to_picture.map(line);
      }
      if (xml.name() != u"text") continue;
      const double points = level.size * std::sqrt(std::abs(level.to_picture.determinant())) * 72 / 96;
      const QString words = xml.readElementText();
      levels.removeLast();
      ++drawn.texts;
      if (words.trimmed().isEmpty() || points >= drawn.least_points) continue;
      drawn.least_points = points;
      drawn.least_words = words;
    }
    return drawn;
  }
  /// Font sizes of a PDF's pages as they come out on paper.
  static Drawn read_pdf(const QByteArray& bytes) {
    Drawn drawn;
    for (qsizetype at = bytes.indexOf("stream\n"); at >= 0; at = bytes.indexOf("stream\n", at + 1)) {
      if (at >= 3 && bytes.mid(at - 3, 3) == "end") continue;
      const qsizetype from = at + 7, to = bytes.indexOf("endstream", from);
      QByteArray packed = bytes.mid(from, to - from);
      const QByteArray text = qUncompress(QByteArray("\x00\x40\x00\x00", 4) + packed);
      if (!text.contains(" Tf")) continue;
      QVector<QTransform> stack{{}};
      QTransform now, letters;
      double size = 0;
      QList<double> numbers;
      for (const QByteArray& word : text.simplified().split(' ')) {
        bool number = false;
        const double value = word.toDouble(&number);
        if (number) {
          numbers << value;
          continue;
        }
        const auto six = [&] {
          const auto v = numbers.mid(numbers.size() - 6);
          return v.size() == 6 ? QTransform(v[0], v[1], v[2], v[3], v[4], v[5]) : QTransform();
        };
        if (word == "q") stack << now;
        if (word == "Q" && !stack.isEmpty()) now = stack.takeLast();
        if (word == "cm") now = six() * now;
        if (word == "Tf" && !numbers.isEmpty()) size = numbers.last();
        if (word == "Tm") letters = six();
        if (word == "Tj" || word == "TJ") {
          ++drawn.texts;
          drawn.least_points = std::min(drawn.least_points, size * std::sqrt(std::abs((letters * now).determinant())));
        }
        if (!word.startsWith('/')) numbers.clear();
      }
    }
    return drawn;
  }

 private slots:
  void initTestCase() {
    load_resources();
    qputenv("XDG_DATA_HOME", dir_.filePath("data").toUtf8());
    record_ = dir_.filePath("run.h5");
    headroom::test::SyntheticOptions options;
    options.tokens = 300;
    options.layers = 6;
    headroom::test::write_synthetic_record(record_.toStdString(), options);
  }

  void text_in_print_is_large_enough_data() {
    QTest::addColumn<QString>("view");
    QTest::addColumn<QString>("preset");
    for (const char* view : {"overview", "attention", "text", "budget", "timing", "compare"})
      for (const char* preset : {"slide", "two-columns", "column"})
        QTest::newRow(qPrintable(QString("%1, %2").arg(view, preset))) << QString(view) << QString(preset);
  }
  void text_in_print_is_large_enough() {
    QFETCH(QString, view);
    QFETCH(QString, preset);
    Bench b(ini(), record_);
    b.window.show_page(page_index(b.window.pages(), view));
    for (const char* suffix : {"svg", "pdf"}) {
      FigureOptions options;
      options.format = *figure_format(QString("x.") + suffix);
      for (const FigurePreset& one : figure_presets())
        if (preset == one.name) apply_preset(options, one, b.view(view));
      QVERIFY(options.least_text > 9);
      const QString folder = qEnvironmentVariable("HEADROOM_PICTURES", dir_.path());
      const QString file = QString("%1/%2-%3.%4").arg(folder, view, preset, suffix);
      QCOMPARE(write_figure(b.view(view), b.window.selection(), file, options), QString());
      if (qEnvironmentVariableIsSet("HEADROOM_PICTURES"))
        figure_image(b.view(view), b.window.selection(), options).save(file + ".png");
      const Drawn drawn = suffix == QString("svg") ? read_svg(content(file)) : read_pdf(content(file));
      QVERIFY(drawn.texts > 3);
      QVERIFY2(drawn.least_points >= 6.95,
               qPrintable(QString("%1: %2 pt: %3").arg(suffix).arg(drawn.least_points).arg(drawn.least_words)));
    }
  }

  void curves_end_where_their_axes_end() {
    QCustomPlot plot;
    plot.resize(400, 300);
    auto* graph = plot.addGraph();
    graph->setData({0, 1, 2, 3, 4}, {0, 5, -5, 9, 0}, true);
    graph->setPen(QPen(Qt::red, 2));
    plot.xAxis->setRange(0.5, 3.5);
    plot.yAxis->setRange(-1, 1);
    plot.replot();
    const auto reach = [&](bool clipped) {
      QBuffer bytes;
      QSvgGenerator generator;
      generator.setOutputDevice(&bytes);
      generator.setSize({400, 300});
      generator.setViewBox(QRectF(0, 0, 400, 300));
      generator.setResolution(96);
      QPainter target(&generator);
      ClippedDevice device(target, {400, 300});
      {
        std::unique_ptr<QPainter> over = clipped ? std::make_unique<QPainter>(&device) : nullptr;
        views::Figure figure(over ? *over : target, QRectF(0, 0, 400, 300), {});
        figure.plot(&plot, QRectF(0, 0, 400, 300));
      }
      target.end();
      double most = 0;
      for (const QPolygonF& line : read_svg(bytes.data()).lines) most = std::max(most, line.boundingRect().height());
      return most;
    };
    QVERIFY2(reach(false) > 400, qPrintable(QString::number(reach(false))));  // what is mended is really so
    QVERIFY2(reach(true) <= 300 && reach(true) > 100, qPrintable(QString::number(reach(true))));
  }

  void clipping_cuts_lines_areas_and_images() {
    QBuffer bytes;
    QSvgGenerator generator;
    generator.setOutputDevice(&bytes);
    generator.setViewBox(QRectF(0, 0, 100, 100));
    QPainter target(&generator);
    ClippedDevice device(target, {100, 100});
    {
      QPainter painter(&device);
      painter.save();
      painter.translate(10, 10);
      painter.setClipRect(QRect(10, 10, 20, 20));  // 20 to 40 in the picture
      painter.drawPolyline(QPolygonF({{-100, 20}, {100, 20}, {100, 25}, {-100, 25}}));
      painter.drawText(QPointF(80, 80), "outside");
      painter.drawText(QPointF(12, 24), "inside");
      painter.restore();
      painter.drawPolyline(QPolygonF({{0, 90}, {100, 90}}));  // not clipped any more
    }
    target.end();
    const Drawn drawn = read_svg(bytes.data());
    QVERIFY(bytes.data().contains("inside") && !bytes.data().contains("outside"));
    double widest_inside = 0, widest = 0;
    for (const QPolygonF& line : drawn.lines) {
      const QRectF box = line.boundingRect();
      widest = std::max(widest, box.width());
      if (box.top() > 80) continue;
      widest_inside = std::max(widest_inside, box.width());
      QVERIFY(box.left() >= 19.9 && box.right() <= 40.1);
    }
    QVERIFY(std::abs(widest_inside - 20) < 0.2 && widest > 99);
  }

  void numbers_say_what_they_are_of() {
    Bench b(ini(), record_);
    b.window.show_page(page_index(b.window.pages(), "attention"));
    b.window.selection().change([](views::ViewState& state) {
      state.layer = 1;
      state.viewport = {200, 220, 10, 30};
    });
    QTest::qWait(5);
    FigureOptions options;
    options.format = FigureFormat::csv;
    const QString file = dir_.filePath("zoomed.csv");
    QCOMPARE(write_figure(b.view("attention"), b.window.selection(), file, options), QString());
    QStringList lines = QString::fromUtf8(content(file)).split("\r\n", Qt::SkipEmptyParts), facts;
    while (!lines.isEmpty() && lines.first().startsWith("# ")) facts << lines.takeFirst();
    QVERIFY(facts.filter("# Run: ").size() == 1 && facts.filter("# Layer: 1").size() == 1);
    QCOMPARE(facts.filter("# Aggregation: one pair per cell").size(), 1);
    QVERIFY(lines.takeFirst().startsWith("query,key,p,"));
    QCOMPARE(lines.size(), 20 * 20);  // of what is zoomed, and of nothing else
    for (const QString& line : lines) {
      const int query = line.section(',', 0, 0).toInt(), key = line.section(',', 1, 1).toInt();
      QVERIFY(query >= 200 && query < 220 && key >= 10 && key < 30);
    }
  }

  void the_dialog_shows_saves_and_remembers() {
    const QString settings = ini(), folder = dir_.filePath("saved");
    QVERIFY(QDir().mkpath(folder));
    Bench b(settings, record_);
    b.window.show_page(page_index(b.window.pages(), "budget"));
    const auto open = [&] {
      b.window.actions().export_figure->trigger();
      QCoreApplication::processEvents();
      ExportDialog* dialog = nullptr;
      for (auto* one : b.window.findChildren<ExportDialog*>())
        if (one->isVisible()) dialog = one;
      return dialog;
    };
    const auto choice = [](ExportDialog* dialog, const QString& name) {
      for (auto* box : dialog->findChildren<QComboBox*>())
        if (box->accessibleName() == name) return box;
      return static_cast<QComboBox*>(nullptr);
    };
    ExportDialog* dialog = open();
    QVERIFY(dialog);
    QTRY_VERIFY_WITH_TIMEOUT(!dialog->preview().image().isNull(), 20000);
    const QSize wide = dialog->preview().image().size();
    choice(dialog, "Size")->setCurrentIndex(3);
    QTRY_VERIFY_WITH_TIMEOUT(!dialog->preview().image().isNull() && dialog->preview().image().size() != wide, 20000);
    QVERIFY(dialog->preview().text().startsWith("88 × "));
    choice(dialog, "View")->setCurrentIndex(5);  // the text
    choice(dialog, "Format")->setCurrentIndex(1);
    dialog->findChildren<QSpinBox*>().first()->setValue(3);
    QLineEdit* file = nullptr;
    for (auto* field : dialog->findChildren<QLineEdit*>())
      if (field->accessibleName() == "File") file = field;
    QVERIFY(file && file->text().endsWith("-text.pdf"));
    file->setText(folder + "/first.pdf");
    dialog->findChild<QPushButton*>("save")->click();
    QTRY_VERIFY_WITH_TIMEOUT(dialog->message().contains("Saved"), 20000);
    QVERIFY(dialog->message().contains("href=\"open\"") && dialog->message().contains("href=\"folder\""));
    QVERIFY(content(folder + "/first.pdf").startsWith("%PDF-"));
    dialog->close();
    QTRY_VERIFY(b.window.findChildren<ExportDialog*>().isEmpty());
    dialog = open();
    QVERIFY(dialog);
    QCOMPARE(choice(dialog, "Format")->currentIndex(), 1);
    QCOMPARE(choice(dialog, "Size")->currentIndex(), 3);
    QCOMPARE(dialog->findChildren<QSpinBox*>().first()->value(), 3);
    QVERIFY2(dialog->file().startsWith(folder + "/"), qPrintable(dialog->file()));
    QVERIFY(dialog->file().endsWith("-budget.pdf"));
    choice(dialog, "Format")->setCurrentIndex(3);
    QTRY_VERIFY_WITH_TIMEOUT(dialog->preview().text().contains("# Run: "), 20000);
    dialog->reject();
  }
};

QTEST_MAIN(TestFigures)
#include "test_figures.moc"
