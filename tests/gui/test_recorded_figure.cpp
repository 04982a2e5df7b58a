// SPDX-License-Identifier: GPL-3.0-or-later
// What is recorded on the window's thread and painted again on another is the same picture: lines, areas, text, images,
// clips, transforms, plots.
#include <qcustomplot.h>

#include <QAbstractTextDocumentLayout>
#include <QPainter>
#include <QPainterPath>
#include <QTextDocument>
#include <QtConcurrent>
#include <QtTest>
#include <functional>

#include "gui/recorded_figure.h"
#include "views/common/page_base.h"

using namespace headroom;

class TestRecordedFigure : public QObject {
  Q_OBJECT

  using Paint = std::function<void(QPainter& painter)>;
  static constexpr QSize size{320, 240};

  static QImage blank() {
    QImage image(size, QImage::Format_ARGB32_Premultiplied);
    image.fill(Qt::white);
    image.setDotsPerMeterX(3780);
    image.setDotsPerMeterY(3780);
    return image;
  }
  static QImage direct(const Paint& paint) {
    QImage image = blank();
    QPainter painter(&image);
    paint(painter);
    return image;
  }
  static QImage recorded(const Paint& paint) {
    gui::RecordedFigure figure(size);
    QPainter painter(&figure);
    paint(painter);
    painter.end();
    return QtConcurrent::run([&figure] {
             QImage image = blank();
             QPainter target(&image);
             figure.play(target);
             return image;
           })
        .result();
  }
  /// Pixels that differ by more than rounding.
  static int apart(const QImage& a, const QImage& b) {
    int count = 0;
    for (int y = 0; y < a.height(); ++y)
      for (int x = 0; x < a.width(); ++x) {
        const QColor one = a.pixelColor(x, y), two = b.pixelColor(x, y);
        count += std::abs(one.red() - two.red()) + std::abs(one.green() - two.green()) +
                     std::abs(one.blue() - two.blue()) > 24;
      }
    return count;
  }

 private slots:
  void painting_is_the_same_data() {
    QTest::addColumn<int>("what");
    const char* names[] = {"lines and areas", "text", "images", "clips that end", "transforms", "a plot", "rich text"};
    for (int i = 0; i < 7; ++i) QTest::newRow(names[i]) << i;
  }
  void painting_is_the_same() {
    QFETCH(int, what);
    QCustomPlot plot;
    plot.resize(size);
    plot.addGraph()->setData({0, 1, 2, 3, 4}, {0, 5, -5, 9, 0}, true);
    plot.xAxis->setRange(0.5, 3.5);
    plot.yAxis->setRange(-1, 1);
    plot.replot();
    QImage picture(40, 30, QImage::Format_ARGB32_Premultiplied);
    for (int y = 0; y < 30; ++y)
      for (int x = 0; x < 40; ++x) picture.setPixel(x, y, qRgba(x * 6, y * 8, 128, 255));
    QPixmap stamp(8, 8);
    stamp.fill(Qt::darkGreen);
    const Paint paints[] = {
        [](QPainter& p) {
          p.setRenderHint(QPainter::Antialiasing);
          p.setPen(QPen(Qt::red, 3, Qt::DashLine));
          p.drawLine(10, 10, 300, 200);
          p.drawLine(QPointF(10.5, 200), QPointF(300, 20.5));
          p.setBrush(QColor(0, 0, 255, 90));
          p.drawEllipse(QRectF(80, 40, 120, 90));
          p.drawRect(20, 150, 60, 40);
          p.fillRect(QRectF(200, 150, 80, 60), QBrush(Qt::darkGray, Qt::BDiagPattern));
          p.drawPolygon(QPolygonF{{150, 100}, {220, 130}, {160, 190}});
          p.setOpacity(0.4);
          QPainterPath path;
          path.moveTo(20, 20);
          path.cubicTo(100, 200, 200, -50, 300, 120);
          p.drawPath(path);
          p.drawPoints(QPolygon{{5, 5}, {6, 8}, {300, 230}});
        },
        [](QPainter& p) {
          QFont font;
          font.setPixelSize(17);
          font.setUnderline(true);
          p.setFont(font);
          p.drawText(QRectF(10, 10, 200, 80), Qt::AlignCenter | Qt::TextWordWrap, "Mass that 512 keys keep");
          font.setPointSizeF(9);
          font.setUnderline(false);
          p.setFont(font);
          p.setPen(Qt::blue);
          p.drawText(20, 150, "Wide: ½ ≥ 97 %");
        },
        [&](QPainter& p) {
          p.drawImage(QRectF(20, 20, 200, 150), picture);
          p.drawImage(QPointF(230, 20), picture);
          p.drawPixmap(QPoint(250, 100), stamp);
          p.drawTiledPixmap(QRectF(230, 130, 60, 40), stamp);
        },
        [](QPainter& p) {
          p.save();
          p.setClipRect(QRectF(50, 50, 60.5, 60));
          p.fillRect(0, 0, 320, 240, Qt::red);
          p.save();
          p.setClipRect(QRect(80, 80, 100, 100), Qt::IntersectClip);
          p.fillRect(0, 0, 320, 240, Qt::green);
          p.restore();
          p.fillRect(55, 55, 10, 10, Qt::blue);
          p.restore();
          p.fillRect(200, 20, 40, 40, Qt::blue);  // outside the clip that has ended
        },
        [](QPainter& p) {
          p.translate(160, 120);
          p.save();
          p.rotate(-90);
          p.drawText(-40, 0, "upwards");
          p.restore();
          p.scale(2, 0.5);
          p.setClipRect(QRect(-40, -40, 60, 60));
          p.fillRect(-100, -100, 200, 200, Qt::darkCyan);
          p.setClipping(false);
          p.drawRect(30, 0, 20, 20);
        },
        [&](QPainter& p) {
          views::Figure figure(p, QRectF(0, 0, 320, 240), {});
          figure.title("A plot", "with a caption");
          figure.plot(&plot, figure.rest());
        },
        [](QPainter& p) {
          QTextDocument document;
          QFont font;
          font.setPixelSize(19);  // of the document alone: the words' formats say nothing of it
          document.setDefaultFont(font);
          document.setTextWidth(300);
          document.setHtml("On this prompt <b>128 keys</b> keep <i>91 %</i> of the <b style=\"color:red\">mass</b>; the answer");
          QAbstractTextDocumentLayout::PaintContext context;
          document.documentLayout()->draw(&p, context);
        }};
    const QImage expected = direct(paints[what]), found = recorded(paints[what]);
    QVERIFY(apart(expected, blank()) > 100);
    QVERIFY2(apart(expected, found) <= 4, qPrintable(QString::number(apart(expected, found))));
  }
};

QTEST_MAIN(TestRecordedFigure)
#include "test_recorded_figure.moc"
