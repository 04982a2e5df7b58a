// SPDX-License-Identifier: GPL-3.0-or-later
// Orange is missed mass: from a threshold that can be dragged, on by itself only where it says something, and nothing
// else on the page has its colour.
#include <QComboBox>
#include <QSlider>
#include <QToolButton>
#include <cmath>

#include "base/method.h"
#include "views/common/page_fixture.h"
#include "views/common/theme.h"
#include "views/map/attention_controls.h"
#include "views/map/attention_map_widget.h"
#include "views/map/attention_page.h"
#include "views/map/row_mass.h"
#include "views/prompt/prompt_panel.h"
#include "views/prompt/prompt_text.h"

using namespace headroom;
using namespace headroom::views;

namespace {

RecordPtr missed_record() {
  static const RecordPtr record = [] {
    test::SyntheticOptions options;
    options.tokens = 1100;
    options.layers = 2;
    return make_record("missed.h5", options);
  }();
  return record;
}

struct Bench {
  Selection selection;
  AttentionPage page{&selection};
  Bench() {
    selection.open_record(missed_record());
    page.resize(900, 700);
    page.move(40, 40);
    page.show();
    choose("indexer-k64-g1");
  }
  void choose(const QString& method) {
    selection.change([&](ViewState& s) { s.method = method, s.layer = 1; });
    settle();
  }
  void settle() {
    QTest::qWait(5);
    QTRY_VERIFY_WITH_TIMEOUT(
        page.map()->data() && page.map()->data()->source.method == selection.state().method && page.settled(), 20000);
    QTest::qWait(20);
    QTRY_VERIFY_WITH_TIMEOUT(page.settled(), 20000);
  }
  QToolButton* button(const QString& text) const {
    for (auto* one : page.findChildren<QToolButton*>())
      if (one->text() == text) return one;
    return nullptr;
  }
  QSlider* threshold() const { return page.controls()->findChild<QSlider*>(); }
  int orange() const {
    const QRect area = page.map()->plot()->axisRect(1)->rect();
    const QImage picture = page.map()->plot()->grab().toImage();
    int count = 0;
    for (int y = area.top(); y < area.bottom(); ++y)
      for (int x = area.left(); x < area.right(); ++x) {
        const QColor pixel = picture.pixelColor(x, y);
        count += pixel.red() > 150 && pixel.red() > pixel.green() + 50 && pixel.green() > pixel.blue() + 25;
      }
    return count;
  }
};

struct Lab {
  double l, a, b;
};
Lab lab(const QColor& colour) {
  const auto linear = [](double c) { return c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4); };
  const double r = linear(colour.redF()), g = linear(colour.greenF()), b = linear(colour.blueF());
  const double l = std::cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const double m = std::cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const double s = std::cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return {0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
          1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
          0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s};
}
double distance(const QColor& x, const QColor& y) {
  const Lab a = lab(x), b = lab(y);
  return std::sqrt((a.l - b.l) * (a.l - b.l) + (a.a - b.a) * (a.a - b.a) + (a.b - b.b) * (a.b - b.b));
}

}  // namespace

class TestMissed : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() { Theme::instance().set_mode(ThemeMode::light); }

  void the_threshold_decides_what_is_orange() {
    Bench b;
    b.selection.change([](ViewState& s) { s.display.missed = true, s.display.missed_from = 1e-5; });
    b.settle();
    const int nearly_all = b.orange();
    QVERIFY(nearly_all > 500);
    b.threshold()->setValue(12);
    b.settle();
    QCOMPARE(b.selection.state().display.missed_from, 0.01);
    QVERIFY2(b.orange() * 3 < nearly_all, qPrintable(QString("%1 of %2").arg(b.orange()).arg(nearly_all)));
    b.threshold()->setValue(20);  // a whole row's mass in one cell
    b.settle();
    QCOMPARE(b.orange(), 0);
    b.selection.undo();
    b.settle();
    QCOMPARE(b.selection.state().display.missed_from, 1e-5);
    QCOMPARE(b.orange(), nearly_all);
  }

  void it_is_on_by_itself_only_where_it_says_something() {
    Bench b;
    QVERIFY(b.button("missed")->isChecked());
    b.choose("oracle-k64-g1");
    QVERIFY(!b.button("missed")->isChecked());
    b.choose("dense");
    QVERIFY(!b.button("missed")->isEnabled() && !b.button("missed")->isChecked());
    b.choose("indexer-k64-g1");
    QVERIFY(b.button("missed")->isChecked());
    b.button("missed")->click();  // from now on as one has chosen
    b.settle();
    QVERIFY(b.selection.state().display.missed == false);
    QCOMPARE(b.orange(), 0);
    b.choose("oracle-k64-g1");
    b.choose("indexer-k64-g1");
    QVERIFY(!b.button("missed")->isChecked());
    b.selection.undo();
    b.selection.undo();
    b.selection.undo();
    b.settle();
    QVERIFY(b.button("missed")->isChecked());
  }

  void the_text_uses_the_same_threshold_and_says_where_it_samples() {
    Bench b;
    const auto& data = *b.page.map()->data();
    std::int64_t row = -1, weak = -1;
    for (std::int64_t q = 1000; q < 1100 && row < 0; ++q)
      for (std::int64_t k = 0; k <= q; ++k)
        if (data.missed(q, k)) row = q, weak = k;
    QVERIFY(row > 0);
    const float p = record::probability(*data.stream, data.source.head, row, weak);
    QVERIFY(p > 0 && p < 0.5f);
    b.selection.change([&](ViewState& s) {
      s.query_begin = row, s.query_end = row + 1, s.display.missed_from = static_cast<double>(p) * 0.9;
    });
    b.settle();
    QTRY_VERIFY(b.page.prompt()->text()->is_missed(weak));
    b.selection.change([&](ViewState& s) { s.display.missed_from = static_cast<double>(p) * 1.1; });
    b.settle();
    QTRY_VERIFY(!b.page.prompt()->text()->is_missed(weak));
    QVERIFY(!b.page.prompt()->caption().contains("evenly spaced"));
    b.selection.change([](ViewState& s) { s.query_begin = 0, s.query_end = 1100; });
    b.settle();
    QTRY_VERIFY2(b.page.prompt()->caption().contains("of 512 of the 1,100 rows"),
                 qPrintable(b.page.prompt()->caption()));
    const RowMarks marks = row_marks(data, 0, 1100, 1100);
    QCOMPARE(marks.rows_looked_at, std::int64_t{1100});
    QVERIFY(marks.selected[0] || marks.missed[0] > 0);
  }

  void lift_is_a_state_like_any_other() {
    Bench b;
    b.selection.change([](ViewState& s) { s.display.mode = MapMode::lift; });
    b.settle();
    QVERIFY(b.page.map()->style_now().mode == MapMode::lift);
    QVERIFY2(b.page.scale_text().startsWith("lift over uniform, 0.1 to 1,000"), qPrintable(b.page.scale_text()));
    b.selection.undo();
    b.settle();
    QVERIFY(b.page.map()->style_now().mode == MapMode::probability);
    QVERIFY(b.page.scale_text().startsWith("p, "));
  }

  void no_stage_no_method_and_no_scale_is_orange() {
    for (const ThemeMode mode : {ThemeMode::light, ThemeMode::dark}) {
      Theme::instance().set_mode(mode);
      const Theme& theme = Theme::instance();
      std::vector<QColor> stages, methods;
      for (int i = 0; i < 8; ++i) stages.push_back(theme.stage(i));
      for (int look = 0; look < num_method_looks; ++look) methods.push_back(theme.method(look));
      for (const QColor& colour : stages) QVERIFY2(distance(colour, theme.missed()) > 0.15, qPrintable(colour.name()));
      for (const QColor& colour : methods) QVERIFY2(distance(colour, theme.missed()) > 0.1, qPrintable(colour.name()));
      for (const QColor& stage : stages)
        for (const QColor& method : methods)
          QVERIFY2(distance(stage, method) > 0.06, qPrintable(stage.name() + " and " + method.name()));
      for (const QRgb colour : blue_red())
        QVERIFY2(distance(QColor(colour), theme.missed()) > 0.08, qPrintable(QColor(colour).name()));
      QVERIFY(distance(theme.warning(), theme.missed()) > 0.1);
    }
    Theme::instance().set_mode(ThemeMode::light);
  }
};

QTEST_MAIN(TestMissed)
#include "test_missed.moc"
