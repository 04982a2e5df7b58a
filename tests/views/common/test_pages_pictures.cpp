// SPDX-License-Identifier: GPL-3.0-or-later
// Every page in light and dark at two sizes: something is drawn, follows the theme, and exports to vector files. With
// HEADROOM_PICTURES=FOLDER the pictures are kept (HEADROOM_PICTURE_RECORD names another record to draw).
#include <QBuffer>
#include <QComboBox>
#include <QPainter>
#include <QSvgGenerator>

#include "views/common/page_fixture.h"
#include "views/budget/budget_page.h"
#include "views/compare/compare_maps.h"
#include "views/compare/compare_page.h"
#include "views/overview/overview_page.h"
#include "views/common/theme.h"
#include "views/timing/timing_page.h"

using namespace headroom;
using namespace headroom::views;

class TestPagesPictures : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() {
    const QString other = qEnvironmentVariable("HEADROOM_PICTURE_RECORD");
    record_ = other.isEmpty() ? small_record() : record::RunRecord::open(other.toStdString());
    selection_.open_record(record_);
  }
  void pages_follow_the_theme_data() {
    QTest::addColumn<QString>("page");
    for (const char* page : {"overview", "budget", "timing", "compare"}) QTest::newRow(page) << QString(page);
  }
  void pages_follow_the_theme() {
    QFETCH(QString, page);
    Theme::instance().set_mode(ThemeMode::light);
    const auto widget = make(page);
    for (const QSize size : {QSize(1280, 720), QSize(1600, 1000)}) {
      show_page(*widget, size);
      QTRY_VERIFY(settled());
      QTest::qWait(50);
      QImage light = widget->grab().toImage();
      Theme::instance().set_mode(ThemeMode::dark);
      QTRY_VERIFY(settled());
      QTest::qWait(50);
      QImage dark = widget->grab().toImage();
      Theme::instance().set_mode(ThemeMode::light);
      keep(light, page, "light");
      keep(dark, page, "dark");
      QVERIFY(mean_grey(light) > 150);
      QVERIFY(mean_grey(dark) < mean_grey(light) - 50);
    }
  }
  void timing_draws_the_layers_of_a_method() {
    TimingPage page(&selection_);
    show_page(page, {1280, 720});
    auto* view = page.findChildren<QComboBox*>().first();
    view->setCurrentIndex(view->count() - 1);
    emit view->activated(view->count() - 1);
    QTest::qWait(100);
    keep(page.grab().toImage(), "timing", "layers");
    // A figure has the same parts in the same places at any number of dots an inch.
    const auto draw = [&](int dots) {
      QImage image(800, 600, QImage::Format_ARGB32_Premultiplied);
      image.setDotsPerMeterX(static_cast<int>(dots / 0.0254));
      image.setDotsPerMeterY(static_cast<int>(dots / 0.0254));
      QPainter painter(&image);
      page.render(painter, QRectF(0, 0, 800, 600), {});
      return image;
    };
    const QImage screen = draw(96), fine = draw(288);
    int differ = 0;
    for (int y = 0; y < 600; ++y)
      for (int x = 0; x < 800; ++x) differ += std::abs(qGray(screen.pixel(x, y)) - qGray(fine.pixel(x, y))) > 60;
    QVERIFY2(differ < 800 * 600 / 50, qPrintable(QString::number(differ)));
  }
  void compare_draws_every_mode() {
    ComparePage page(&selection_);
    show_page(page, {1280, 720});
    for (const auto& [mode, name] : {std::pair{CompareMaps::Mode::difference, "difference"},
                                     std::pair{CompareMaps::Mode::diagonal_split, "split"}}) {
      page.maps()->set_mode(mode);
      QTRY_VERIFY(page.settled());
      QTest::qWait(100);
      keep(page.grab().toImage(), "compare", name);
    }
  }
  void pages_export_text_as_text_data() { pages_follow_the_theme_data(); }
  void pages_export_text_as_text() {
    QFETCH(QString, page);
    const auto widget = make(page);
    auto* exportable = dynamic_cast<Exportable*>(widget.get());
    QVERIFY(exportable);
    show_page(*widget, {1280, 720});
    QTRY_VERIFY(settled());
    QBuffer svg;
    {
      QSvgGenerator generator;
      generator.setOutputDevice(&svg);
      generator.setSize({1200, 800});
      generator.setViewBox(QRect(0, 0, 1200, 800));
      QPainter painter(&generator);
      exportable->render(painter, QRectF(0, 0, 1200, 800), {1, "run 5e7a · Synthetic 12M"});
    }
    QVERIFY(svg.data().contains("run 5e7a"));
    QVERIFY(svg.data().contains("600 tokens") || record_ != small_record());
    QVERIFY(svg.data().size() < 3 << 20);
    QVERIFY(!exportable->csv().isEmpty());
    QVERIFY(!exportable->title().isEmpty());
    QImage image(1600, 1000, QImage::Format_RGB32);
    QPainter painter(&image);
    exportable->render(painter, QRectF(0, 0, 1600, 1000), {1, "run 5e7a · Synthetic 12M"});
    painter.end();
    QVERIFY(mean_grey(image) > 150);
    keep(image, page, "figure");
    const QString folder = qEnvironmentVariable("HEADROOM_PICTURES");
    if (!folder.isEmpty()) {
      QFile file(folder + "/" + page + "-figure.svg");
      QVERIFY(file.open(QIODevice::WriteOnly));
      file.write(svg.data());
    }
  }

 private:
  std::unique_ptr<QWidget> make(const QString& page) {
    if (page == "overview") return track(new OverviewPage(&selection_));
    if (page == "compare") return track(new ComparePage(&selection_));
    if (page == "timing") return track(new TimingPage(&selection_));
    return track(new BudgetPage(&selection_));
  }
  std::unique_ptr<QWidget> track(PageBase* page) {
    page_ = page;
    return std::unique_ptr<QWidget>(page);
  }
  bool settled() const { return page_->settled(); }
  static double mean_grey(const QImage& image) {
    double sum = 0;
    const QImage small = image.scaled(80, 50, Qt::IgnoreAspectRatio, Qt::SmoothTransformation);
    for (int y = 0; y < small.height(); ++y)
      for (int x = 0; x < small.width(); ++x) sum += qGray(small.pixel(x, y));
    return sum / (small.width() * small.height());
  }
  static void keep(const QImage& image, const QString& page, const QString& kind) {
    const QString folder = qEnvironmentVariable("HEADROOM_PICTURES");
    if (!folder.isEmpty()) image.save(QStringLiteral("%1/%2-%3-%4.png").arg(folder, page, kind).arg(image.width()));
  }

  Selection selection_;
  RecordPtr record_;
  PageBase* page_ = nullptr;
};

QTEST_MAIN(TestPagesPictures)
#include "test_pages_pictures.moc"
