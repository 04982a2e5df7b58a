// SPDX-License-Identifier: GPL-3.0-or-later
// The researcher's way through the window, with the real engine and a tiny model: from "the answer changed" to the
// token that was missed, who else reads it, and one layer more exactly. With HEADROOM_WALK_PICTURES=FOLDER every
// station is grabbed, in two sizes, light and dark, at 100 and 150 % text.
#include <QAction>
#include <QComboBox>
#include <QDir>
#include <QLabel>
#include <QPushButton>
#include <QTableView>
#include <QTemporaryDir>
#include <QtTest>

#include "gui/actions.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "support/tiny_model.h"
#include "views/common/banner_bar.h"
#include "views/common/theme.h"
#include "views/map/attention_map_widget.h"
#include "views/map/attention_page.h"
#include "views/missed/missed_panel.h"

using namespace headroom;
using namespace headroom::gui;

class TestWalkResearcher : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;
  std::unique_ptr<SettingsStore> settings_;
  std::unique_ptr<MainWindow> window_;
  int station_ = 0;

  views::Selection& selection() { return window_->selection(); }
  views::MissedPanel& panel() { return window_->missed_panel(); }
  views::AttentionPage* attention() {
    return static_cast<views::AttentionPage*>(window_->pages()[page_index(window_->pages(), "attention")].widget);
  }
  void settle() {
    QTest::qWait(10);
    QTRY_VERIFY_WITH_TIMEOUT(panel().settled() && window_->pages()[window_->current_page()].settled(), 20000);
    QTest::qWait(10);
    QTRY_VERIFY_WITH_TIMEOUT(panel().settled() && window_->pages()[window_->current_page()].settled(), 20000);
  }
  void picture(const QString& name) {
    ++station_;
    const QString folder = qEnvironmentVariable("HEADROOM_WALK_PICTURES");
    if (folder.isEmpty()) return;
    QVERIFY(QDir().mkpath(folder));
    const QSize before = window_->size();
    for (const QSize size : {QSize(1600, 1000), QSize(1280, 720)})
      for (const auto mode : {views::ThemeMode::light, views::ThemeMode::dark})
        for (const int scale : {100, 150}) {
          window_->resize(size);
          views::Theme::instance().set_mode(mode);
          window_->set_text_scale(scale);
          settle();
          QVERIFY(window_->grab().save(QString("%1/researcher-%2-%3-%4x%5-%6-%7.png")
                                           .arg(folder)
                                           .arg(station_)
                                           .arg(name)
                                           .arg(size.width())
                                           .arg(size.height())
                                           .arg(mode == views::ThemeMode::light ? "light" : "dark")
                                           .arg(scale)));
        }
    window_->resize(before);
    views::Theme::instance().set_mode(views::ThemeMode::light);
    window_->set_text_scale(100);
    settle();
  }
  bool press(const QString& banner_text) {
    for (auto* button : window_->banners().findChildren<QPushButton*>())
      if (button->text() == banner_text && button->isVisible()) return button->click(), true;
    return false;
  }
  views::RecordPtr record() { return selection().record(); }

 private slots:
  void initTestCase() {
    load_resources();
    qputenv("XDG_DATA_HOME", dir_.filePath("data").toUtf8());
    qputenv("XDG_CACHE_HOME", dir_.filePath("cache").toUtf8());
    test::TinyModelOptions tiny;
    tiny.query_scale = 8;
    const QString model =
        QString::fromStdString(test::write_tiny_model(dir_.filePath("tiny.gguf").toStdString(), tiny).string());
    settings_ = std::make_unique<SettingsStore>(dir_.filePath("walk.ini"));
    StartOptions options;
    options.engine = HEADROOM_BINARY_DIR "/headroom";
    options.size = {1600, 1000};
    options.quiet = true;
    window_ = std::make_unique<MainWindow>(*settings_, options);
    window_->move(40, 40);
    window_->show();
    QVERIFY(QTest::qWaitForWindowExposed(window_.get()));
    QTRY_COMPARE_WITH_TIMEOUT(window_->engine().state(), EngineClient::State::ready, 20000);
    protocol::RunSpec spec;
    spec.model = model.toStdString();
    spec.prompt = QString("The keeper of the lighthouse at Skerry wrote that the harbour light burns green, and nobody "
                          "asked him why. ")
                      .repeated(3)
                      .toStdString();
    spec.methods = {"dense", "sink_window", "random"};
    spec.budgets = {{BudgetKind::tokens, 12}};
    spec.repeats = 1;
    spec.max_new_tokens = 8;
    spec.keep_layers = {0, 1};
    spec.record_limit = 1 << 20;
    spec.out = dir_.filePath("first.h5").toStdString();
    window_->jobs().start_run(spec);
    QTRY_COMPARE_WITH_TIMEOUT(selection().state().runs.size(), std::size_t{1}, 60000);
    settle();
  }
  void cleanupTestCase() { window_.reset(); }

  void the_answer_changed() {
    // Some method's answer is another one: the tiny model's are nonsense, but always the same nonsense.
    QLabel* why = nullptr;
    for (const auto& method : record()->methods()) {
      if (!method.forced || !method.forced->first_difference) continue;
      const auto& at = *method.forced->first_difference;
      QVERIFY(at.candidates.size() >= 10 && at.candidates.size() <= 20);
      double dense = 0, sparse = 0;
      for (const auto& choice : at.candidates) dense += choice.dense, sparse += choice.method;
      QVERIFY(dense > 0 && dense <= 1.0001 && sparse > 0 && sparse <= 1.0001);
      const auto& answer = record()->find_method("dense")->answer_ids;
      if (at.position < std::ssize(answer)) QCOMPARE(at.by_dense()->id, answer[static_cast<std::size_t>(at.position)]);
      const auto all = record()->answer_choices(method.id);
      QVERIFY(all && std::ssize(*all) == method.forced->positions);
      QCOMPARE((*all)[static_cast<std::size_t>(at.position)], at);
      window_->show_page(page_index(window_->pages(), "overview"));
      settle();
      why = window_->findChild<QLabel*>("why_" + QString::fromStdString(method.id));
      if (why) break;
    }
    QVERIFY(why);
    QVERIFY2(why->text().contains("At answer token") && why->text().contains("Why?"), qPrintable(why->text()));
    picture("overview");
    why = nullptr;  // scaling has built the cards anew
    for (QLabel* label : window_->findChildren<QLabel*>(QRegularExpression("^why_")))
      if (label->isVisible()) why = label;
    QVERIFY(why);
    emit why->linkActivated("why");
    settle();
    QVERIFY(panel().isVisible());
    QVERIFY(selection().state().display.missed_question == views::MissedQuestion::why);
    QVERIFY2(panel().headline().contains("At answer token"), qPrintable(panel().headline()));
    QVERIFY(panel().table()->model()->rowCount() >= 10);
    picture("why");
  }

  void the_rows_that_produced_it() {
    auto* show = panel().findChild<QPushButton*>("show_last_row");
    QVERIFY(show->isVisible());
    show->click();
    settle();
    QCOMPARE(window_->current_page(), page_index(window_->pages(), "attention"));
    QCOMPARE(selection().state().query_begin, record()->length() - 1);
    QVERIFY(panel().missed().rowCount() > 0);
    picture("row");
  }

  void the_missed_token() {
    const views::MissedPlace place = panel().missed().place(0);
    panel().go_to_line(0);
    settle();
    QCOMPARE(selection().state().keys, std::set<std::int64_t>{place.key});
    QVERIFY(attention()->map()->data()->missed(place.query, place.key));
    selection().change([&](views::ViewState& s) {
      const double at = static_cast<double>(place.key), row = static_cast<double>(place.query);
      const double length = static_cast<double>(record()->length());
      const double k = std::clamp(at - 8, 0.0, length - 16), q = std::clamp(row - 8, 0.0, length - 16);
      s.viewport = {q, q + 16, k, k + 16};
    });
    settle();
    picture("missed");
    // Who else reads it.
    window_->actions().readers->trigger();
    settle();
    QVERIFY(panel().missed().of_readers());
    QCOMPARE(panel().missed().rowCount(), static_cast<int>(record()->length() - place.key));
    picture("readers");
  }

  void one_layer_more_exactly() {
    const views::RecordPtr first = record();
    int coarse = -1;
    for (int layer = 0; layer < first->meta().num_layers(); ++layer)
      if (!first->availability("dense", layer).stream) coarse = layer;
    QVERIFY(coarse >= 0);
    selection().change([&](views::ViewState& s) {
      s.layer = coarse;
      s.viewport = {0, static_cast<double>(first->length()), 0, static_cast<double>(first->length())};
    });
    settle();
    auto* button = attention()->findChild<QPushButton*>("record_exactly");
    QVERIFY(button->isVisible() && button->isEnabled());
    QVERIFY(window_->actions().record_exactly->isEnabled());
    picture("coarse");
    button->click();
    QVERIFY(!button->isEnabled());
    QTRY_VERIFY_WITH_TIMEOUT(window_->banners().contains("exact"), 60000);
    QCOMPARE(record(), first);  // what is looked at stays
    picture("recorded");
    QVERIFY(press("Show"));
    settle();
    QVERIFY(record() != first);
    QCOMPARE(record()->tokens().ids, first->tokens().ids);
    QCOMPARE(record()->meta().model_sha256, first->meta().model_sha256);
    QCOMPARE(selection().state().layer, coarse);
    QVERIFY(attention()->map()->data()->stream);
    for (const auto& method : first->methods())  // nothing that was exact is lost
      for (int layer = 0; layer < first->meta().num_layers(); ++layer)
        if (first->availability(method.id, layer).stream) QVERIFY(record()->availability(method.id, layer).stream);
    QVERIFY(!button->isVisible());
    window_->actions().missed_keys->trigger();
    selection().change([&](views::ViewState& s) { s.display.missed_scope = views::MissedScope::layer; });
    settle();
    QVERIFY(panel().missed().result().mass > 0 || !panel().missed().result().problem.isEmpty());
    picture("exact");
  }
};

QTEST_MAIN(TestWalkResearcher)
#include "test_walk_researcher.moc"
