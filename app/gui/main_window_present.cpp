// SPDX-License-Identifier: GPL-3.0-or-later
// The window as a stage: the Talk dock and its actions, the chrome that goes and comes back, and text as large as fits.
#include <QApplication>
#include <QDockWidget>
#include <QGuiApplication>
#include <QMenuBar>
#include <QScreen>
#include <QScrollArea>
#include <QScrollBar>
#include <QStackedWidget>
#include <QStatusBar>
#include <QToolBar>
#include <QToolButton>
#include <QToolTip>
#include <QVBoxLayout>
#include <QWindow>
#include <algorithm>

#include "gui/actions.h"
#include "gui/hint_bar.h"
#include "gui/main_window.h"
#include "gui/screen_choice.h"
#include "gui/talk_desk.h"
#include "gui/talk_stage.h"
#include "views/common/banner_bar.h"
#include "views/common/page_base.h"
#include "views/map/attention_page.h"
#include "views/prompt/prompt_panel.h"
#include "views/prompt/prompt_text.h"
#include "views/talk/stage.h"
#include "views/talk/talk_panel.h"

namespace headroom::gui {
namespace {

constexpr double presented_text = 1.75, fit_step = 12.5;
// A page is laid out for so many pixels of usual text at least: with fewer, words are cut and labels meet.
constexpr double least_page_width = 820, least_page_height = 480;
// In a talk choices and notes have given way.
constexpr double least_talk_width = 728, least_talk_height = 350;
constexpr int leave_hint_ms = 4000;
constexpr int settled_ms = 30;

/// Fonts reach layouts through posted events: sizes are right only behind these.
void settle_layouts(QWidget& window) {
  for (int i = 0; i < 3; ++i) QCoreApplication::sendPostedEvents(nullptr, QEvent::LayoutRequest);
  if (window.layout()) window.layout()->activate();
}

/// What of a page scrolls as a whole where its room is short; null where nothing of it does, or where it is hidden.
QScrollArea* whole_page(const QWidget& page) {
  auto* area = page.findChild<QScrollArea*>("whole_page");
  return area && area->isVisible() && area->widget() ? area : nullptr;
}

}  // namespace

void MainWindow::build_talks(QVBoxLayout* column) {
  stage_bar_ = new views::StageBar(centralWidget());
  column->insertWidget(2, stage_bar_);  // below the pages
  TalkSurroundings around;
  around.window = this;
  around.settings = &settings_;
  around.selection = &selection_;
  around.banners = banners_;
  around.pages = &pages_;
  around.tiles = &tiles_;
  around.current_page = [this] { return current_page(); };
  around.show_page = [this](int index) { show_page(index); };
  around.show_dock = [this] { show_talk_dock(); };
  around.present = [this] { present(); };
  talks_ = new TalkDesk(around);
  stage_ = new TalkStage(*talks_, selection_, engine_, jobs_, stage_bar_, this);
  leave_hint_ = new views::FadingHint(centralWidget());
  // A page that is not shown must not widen the window: some ask for more once they were shown wide.
  const auto only_shown = [this] {
    for (int i = 0; i < stack_->count(); ++i) {
      const auto policy = i == stack_->currentIndex() ? QSizePolicy::Preferred : QSizePolicy::Ignored;
      stack_->widget(i)->setSizePolicy(policy, policy);
    }
  };
  connect(stack_, &QStackedWidget::currentChanged, this, only_shown);
  shrink_timer_.setSingleShot(true);
  shrink_timer_.setInterval(settled_ms);
  connect(&shrink_timer_, &QTimer::timeout, this, &MainWindow::shrink_presented_text);
  // Each page is presented as large as it fits, once it has drawn what it is to show.
  connect(stack_, &QStackedWidget::currentChanged, this, [this] {
    QTimer::singleShot(0, this, [this] {
      if (presenting_) fit_presented_text();
    });
  });
}

void MainWindow::connect_talks() {
  Actions& a = *actions_;
  const auto on = [this](QAction* action, auto handler) { connect(action, &QAction::triggered, this, handler); };
  on(a.present, [this](bool checked) {
    if (checked)
      present();
    else
      set_presenting(false);
  });
  on(a.new_talk, [this] { talks_->new_talk(); });
  on(a.open_talk, [this] { talks_->choose_and_open(); });
  on(a.save_talk, [this] { talks_->save(); });
  on(a.save_talk_as, [this] { talks_->save_as(); });
  on(a.add_to_talk, [this] { talks_->add_view(); });
  on(a.update_talk_step, [this] { talks_->update_step(); });
  on(a.previous_step, [this] { talks_->show_step(std::max(0, talks_->book().current() - 1)); });
  on(a.next_step, [this] { talks_->show_step(std::min(talks_->book().count() - 1, talks_->book().current() + 1)); });
  on(a.undo_talk, [this] { talks_->book().undo_stack().undo(); });
  on(a.redo_talk, [this] { talks_->book().undo_stack().redo(); });
  on(a.check_talk, [this] { talks_->check(); });
  on(a.pack_talk, [this] { talks_->pack(); });
  on(a.export_talk, [this] { talks_->export_talk(); });
  connect(talks_, &TalkDesk::changed, this, &MainWindow::refresh_talk_actions);
  connect(stage_, &TalkStage::leave_requested, this, [this] { set_presenting(false); });
  refresh_talk_actions();
}

void MainWindow::refresh_talk_actions() {
  Actions& a = *actions_;
  const bool steps = talks_->has_steps(), idle = !talks_->busy();
  a.save_talk->setEnabled(talks_->book().is_open() && idle);
  a.save_talk_as->setEnabled(talks_->book().is_open() && idle);
  const bool shown = selection_.record() || selection_.sweep();
  a.add_to_talk->setEnabled(shown);
  a.update_talk_step->setEnabled(steps && shown);
  for (QAction* action : {a.previous_step, a.next_step}) action->setEnabled(steps);
  for (QAction* action : {a.check_talk, a.pack_talk, a.export_talk}) action->setEnabled(steps && idle);
  a.undo_talk->setEnabled(talks_->book().undo_stack().canUndo());
  a.redo_talk->setEnabled(talks_->book().undo_stack().canRedo());
}

void MainWindow::show_talk_dock() {
  if (presenting_) return;
  for (QDockWidget* dock : docks_) {
    if (dock->objectName() != "dock_talk") continue;
    dock->show();
    dock->raise();
  }
}

void MainWindow::present() {
  if (presenting_) return;
  const QList<QScreen*> screens = QGuiApplication::screens();
  if (screens.size() < 2) return present_on(screen(), nullptr);
  actions_->present->setChecked(false);  // until it is chosen
  auto* choice = new ScreenChoice(screens, screen(), this);
  choice->setAttribute(Qt::WA_DeleteOnClose);
  connect(choice, &ScreenChoice::chosen, this, &MainWindow::present_on);
  choice->open();
}

void MainWindow::present_on(QScreen* stage, QScreen* notes) {
  if (!talks_->has_steps()) return begin_presenting(stage, nullptr);
  talks_->with_records([this, stage, notes] { begin_presenting(stage, notes); });
}

void MainWindow::set_presenting(bool on) {
  if (on == presenting_) return;
  if (on)
    present_on(screen(), nullptr);
  else
    leave_presenting();
}

void MainWindow::begin_presenting(QScreen* stage, QScreen* notes) {
  if (presenting_) return;
  state_before_presenting_ = saveState(LayoutStore::layout_version);
  geometry_before_presenting_ = saveGeometry();
  place_before_presenting_ = geometry();
  shown_before_presenting_ = windowState();
  presenting_ = true;
  for (QWidget* chrome : std::initializer_list<QWidget*>{menuBar(), toolbar_, statusBar(), rail_bar_}) chrome->hide();
  hints_->hide();
  banners_->setMaximumHeight(0);  // messages wait until the audience is gone
  for (QDockWidget* dock : docks_) dock->hide();
  if (stage && stage != screen()) {
    // A window goes full screen where it lies.
    if (windowState() & (Qt::WindowMaximized | Qt::WindowFullScreen)) setWindowState(Qt::WindowNoState);
    move(stage->geometry().topLeft() + QPoint(20, 20));
    if (windowHandle()) windowHandle()->setScreen(stage);
  }
  setWindowState(windowState() | Qt::WindowFullScreen);
  actions_->present->setChecked(true);
  stage_->begin(notes);
  // A talk speaks for itself; without one the page stays one to work with.
  if (stage_->active()) fold_pages_for_talk(pages_, true);
  fit_presented_text();
  leave_hint_->show_for(stage_->active() ? tr("Esc leaves · ← → step · N notes") : tr("Esc leaves"), leave_hint_ms);
}

void MainWindow::leave_presenting() {
  stage_->end();
  fold_pages_for_talk(pages_, false);
  presenting_ = false;
  leave_hint_->hide();
  banners_->setMaximumHeight(QWIDGETSIZE_MAX);
  // Text first: with large text the window could not be as small as it was.
  refresh_scale();
  // All of them now: places come back at the sizes that they had.
  for (QDockWidget* dock : docks_) page_fonts_.catch_up(dock);
  for (int i = 0; i < stack_->count(); ++i) page_fonts_.catch_up(stack_->widget(i));
  // Hidden pages would go on asking for the room that large text took.
  for (const Page& page : pages_)
    if (auto* base = qobject_cast<views::PageBase*>(page.widget)) base->refresh_now();
  for (QWidget* chrome : std::initializer_list<QWidget*>{menuBar(), toolbar_, statusBar(), rail_bar_}) chrome->show();
  hints_->setVisible(hints_->shown() > 0 && !options_.quiet);
  settle_layouts(*this);
  setWindowState(shown_before_presenting_);
  if (!(shown_before_presenting_ & (Qt::WindowMaximized | Qt::WindowFullScreen))) {
    setGeometry(place_before_presenting_);
    // A window manager answers later, and may have asked for another size on the way.
    QTimer::singleShot(0, this, [this, place = place_before_presenting_] {
      if (presenting_ || windowState() & (Qt::WindowMaximized | Qt::WindowFullScreen)) return;
      settle_layouts(*this);
      if (geometry() != place) setGeometry(place);
      restoreState(state_before_presenting_, LayoutStore::layout_version);
    });
  }
  restoreState(state_before_presenting_, LayoutStore::layout_version);
  if (jobs_dock_opened_ && !jobs_.anything_running()) jobs_dock_timer_.start(0);
  actions_->present->setChecked(false);
  QTimer::singleShot(1000, this, [this] {
    if (!presenting_) geometry_before_presenting_.clear();
  });
}

void MainWindow::fit_presented_text() {
  const QSize room = (windowHandle() && windowHandle()->screen() ? windowHandle()->screen() : screen())->size();
  const bool talk = stage_->active();
  // Of the page that is seen: hidden ones still ask for what they needed when they were shown last.
  const QWidget* page = pages_[stack_->currentIndex()].widget;
  const auto fits = [&] {
    settle_layouts(*this);
    const int bar = stage_bar_->isHidden()            ? 0
                    : stage_bar_->hasHeightForWidth() ? stage_bar_->heightForWidth(room.width())
                                                      : stage_bar_->sizeHint().height();
    const QSize least = page->minimumSizeHint().expandedTo(page->minimumSize());
    int height = least.height();
    if (QLayout* inside = page->layout(); inside && inside->hasHeightForWidth())
      height = std::max(height, inside->minimumHeightForWidth(room.width()));
    // Nobody scrolls before an audience.
    if (const auto* area = whole_page(*page)) height = std::max(height, area->widget()->heightForWidth(room.width()));
    return least.width() <= room.width() && height + bar <= room.height();
  };
  const double most = 100 * (talk ? std::min(room.width() / least_talk_width, room.height() * 0.9 / least_talk_height)
                                  : std::min(room.width() / least_page_width, room.height() / least_page_height));
  double percent = std::max(100.0, std::min(settings_.text_scale() * presented_text, most));
  for (set_font_percent(percent); percent > 100 && !fits(); set_font_percent(percent))
    percent = std::max(100.0, percent - fit_step);
  // Texts may come later, and labels count their lines when they are painted.
  shrink_timer_.start();
  if (const auto* area = whole_page(*page))
    connect(area->verticalScrollBar(), &QScrollBar::rangeChanged, &shrink_timer_, qOverload<>(&QTimer::start),
            Qt::UniqueConnection);
}

void MainWindow::shrink_presented_text() {
  const double percent = 100 * QApplication::font().pointSizeF() / base_point_size_;
  const auto* area = whole_page(*pages_[stack_->currentIndex()].widget);
  if (!presenting_ || percent < 100.5 || !area || area->verticalScrollBar()->maximum() == 0) return;
  if (size() != screen()->size()) return;  // still on its way there
  set_font_percent(std::max(100.0, percent - fit_step));
  shrink_timer_.start();
}

void MainWindow::set_font_percent(double percent) {
  QFont font = QApplication::font();
  font.setPointSizeF(base_point_size_ * percent / 100.0);
  QApplication::setFont(font);
  // Platforms may have given these fonts of their own.
  QApplication::setFont(font, "QHeaderView");
  // The text of a long prompt is laid out in a turn of its own, with the docks: not with the page around it.
  QList<QWidget*> others{
      static_cast<views::AttentionPage*>(pages_[page_index(pages_, "attention")].widget)->prompt()->text()};
  for (QDockWidget* dock : docks_) others << dock;
  for (int i = 0; i < stack_->count(); ++i)
    if (i != stack_->currentIndex()) others << stack_->widget(i);
  page_fonts_.set(font, stack_->currentWidget(), others);
  QToolTip::setFont(font);
  const int side = std::max(16, QFontMetrics(font).height());
  toolbar_->setIconSize({side, side});
}

void MainWindow::refresh_scale() {
  const int percent = settings_.text_scale();
  if (presenting_)
    fit_presented_text();
  else
    set_font_percent(percent);
  scale_button_->setText(tr("%1 %").arg(percent));
  actions_->text_larger->setEnabled(percent < 200);
  actions_->text_smaller->setEnabled(percent > 75);
}

}  // namespace headroom::gui
