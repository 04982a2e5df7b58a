// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/main_window.h"

#include <QApplication>
#include <QCloseEvent>
#include <QDockWidget>
#include <QFileInfo>
#include <QLabel>
#include <QLocale>
#include <QMenu>
#include <QMenuBar>
#include <QMimeData>
#include <QScreen>
#include <QStackedWidget>
#include <QStatusBar>
#include <QTimer>
#include <QToolBar>
#include <QToolButton>
#include <QToolTip>
#include <QVBoxLayout>
#include <filesystem>

#include "base/paths.h"
#include "gui/actions.h"
#include "gui/connect_dialog.h"
#include "gui/export_dialog.h"
#include "gui/file_names.h"
#include "gui/hint_bar.h"
#include "gui/icons.h"
#include "gui/new_run_dialog.h"
#include "gui/page_keys.h"
#include "gui/page_rail.h"
#include "gui/talk_desk.h"
#include "gui/talk_stage.h"
#include "gui/page_scroll.h"
#include "gui/window_dialogs.h"
#include "views/common/banner_bar.h"
#include "views/common/elided_label.h"
#include "views/common/theme.h"
#include "views/docks/inspector_dock.h"
#include "views/docks/jobs_dock.h"
#include "views/docks/runs_dock.h"
#include "views/talk/talk_panel.h"

namespace headroom::gui {

namespace {

void open_dialog(QDialog* dialog) {
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->open();
}

}  // namespace

MainWindow::MainWindow(SettingsStore& settings, StartOptions options)
    : settings_(settings), options_(std::move(options)), jobs_(engine_), tiles_(engine_), layout_(*this, settings),
      session_(settings.file()) {
  setObjectName("main_window");
  setWindowTitle("Headroom");
  setAcceptDrops(true);
  setDockNestingEnabled(true);
  setAnimated(false);  // else pages are laid out anew at each step of a dock on its way
  base_point_size_ = QApplication::font().pointSizeF();
  views::Theme::instance().set_mode(settings_.theme());

  auto* centre = new QWidget(this);
  auto* column = new QVBoxLayout(centre);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  banners_ = new views::BannerBar(centre);
  stack_ = new QStackedWidget(centre);
  hints_ = new HintBar(settings_, centre);
  column->addWidget(banners_);
  column->addWidget(stack_, 1);
  column->addWidget(hints_);
  setCentralWidget(centre);

  PageRequests requests;
  requests.run_budget = [this](int tokens) { run_budget(tokens); };
  requests.show_page = [this](int index) { show_page(index); };
  requests.new_sweep = [this] { new_sweep({}); };
  requests.confirm_sweep = [this] { confirm_sweep(); };
  requests.record_sample = [this](int row) { record_sample(row); };
  requests.write_budgets = [this](const QByteArray& json, const QString& name) { write_budgets(json, name); };
  requests.run_layer_budgets = [this](const LayerBudgets& budgets) { run_layer_budgets(budgets); };
  requests.tiles = &tiles_;
  requests.why = [this](const QString& method) {
    selection_.change([&](views::ViewState& state) {
      state.method = method;
      state.display.answer_position = -1;
    });
    ask_missed(views::MissedQuestion::why);
  };
  pages_ = make_pages(&selection_, stack_, requests);
  QStringList ids, titles, page_hints;
  for (const Page& page : pages_) {
    auto* room = new PageScroll(stack_);
    room->set_page(page.widget);
    stack_->addWidget(room);
    ids << page.id;
    titles << page.title;
    page_hints << page.hint;
  }
  actions_ = new Actions(*this, ids, titles, page_hints);
  if (!options_.quiet) add_samples();
  build_talks(column);

  toolbar_ = addToolBar(tr("Toolbar"));
  toolbar_->setObjectName("toolbar");
  toolbar_->setMovable(false);
  toolbar_->setContextMenuPolicy(Qt::PreventContextMenu);
  actions_->fill_toolbar(*toolbar_);
  // The rail is a toolbar so that it stands left of the docks.
  rail_bar_ = new QToolBar(tr("Pages"), this);
  rail_bar_->setObjectName("rail");
  rail_bar_->setMovable(false);
  rail_bar_->setContextMenuPolicy(Qt::PreventContextMenu);
  rail_bar_->setContentsMargins(0, 0, 0, 0);
  rail_bar_->layout()->setContentsMargins(0, 0, 0, 0);
  rail_ = new PageRail(rail_bar_);
  for (QAction* action : actions_->pages) rail_->add_page(action);
  rail_bar_->addWidget(rail_);
  addToolBar(Qt::LeftToolBarArea, rail_bar_);
  build_docks();
  build_status_bar();
  connect_actions();
  connect_researcher();
  new PageKeys(*this, [this] {
    const Page& page = pages_[current_page()];
    return page.commands ? page.commands() : QVector<views::PageCommand>();
  });
  connect_engine();
  connect_sweeps();
  connect(&selection_, &views::Selection::changed, this, &MainWindow::follow_selection);
  connect(&opener_, &RecordOpener::opened, this, &MainWindow::record_opened);
  connect(&opener_, &RecordOpener::failed, this, &MainWindow::record_failed);
  if (!options_.quiet) connect(&watch_, &RecordWatch::changed, this, &MainWindow::record_changed);

  const QSize screen = this->screen() && !options_.quiet ? this->screen()->availableSize() : options_.size;
  resize(options_.size.boundedTo(screen));
  if (width() < 1400) {  // the page needs the width more than a second dock does
    tabifyDockWidget(docks_[0], docks_[1]);
    tabifyDockWidget(docks_[0], docks_[3]);
    tabifyDockWidget(docks_[0], docks_[4]);
    docks_[0]->raise();
  }
  layout_.remember_default();
  if (options_.quiet) {
    hints_->hide();
  } else {
    layout_.restore();
  }
  watch_session();
  set_text_scale(settings_.text_scale());
  show_page(0);
  follow_selection(views::Selection::Everything);
}

MainWindow::~MainWindow() {
  // While the selection is still there: a field that loses the focus and a map that loses the mouse tell it so.
  if (QWidget* focus = focusWidget()) focus->clearFocus();
  hide();
  delete stage_;
  delete talks_;
  // Pages and docks go after the members: what they still say while they go must not reach the session's timer.
  stack_->disconnect(this);
  for (QDockWidget* dock : docks_) dock->disconnect(this);
  engine_.disconnect(this);
  engine_.disconnect(&jobs_);
}

void MainWindow::build_docks() {
  const auto add = [this](const QString& name, const QString& title, QWidget* content, Qt::DockWidgetArea area,
                          const char* key) {
    auto* dock = new QDockWidget(title, this);
    dock->setObjectName("dock_" + name);
    dock->setWidget(content);
    dock->setFeatures(QDockWidget::DockWidgetClosable | QDockWidget::DockWidgetMovable);
    addDockWidget(area, dock);
    dock->toggleViewAction()->setText(tr("%1 dock").arg(title));
    dock->toggleViewAction()->setShortcut(QKeySequence(key));
    addAction(dock->toggleViewAction());
    actions_->add_dock(dock->toggleViewAction());
    docks_.append(dock);
    return dock;
  };
  runs_ = new views::RunsDock(&selection_);
  auto* inspector = new views::InspectorDock(&selection_);
  jobs_view_ = new views::JobsDock;
  QDockWidget* left = add("runs", tr("Runs"), runs_, Qt::LeftDockWidgetArea, "Ctrl+Shift+R");
  QDockWidget* right = add("inspector", tr("Inspector"), inspector, Qt::RightDockWidgetArea, "Ctrl+Shift+I");
  QDockWidget* bottom = add("jobs", tr("Jobs"), jobs_view_, Qt::BottomDockWidgetArea, "Ctrl+Shift+J");
  setCorner(Qt::BottomLeftCorner, Qt::LeftDockWidgetArea);
  setCorner(Qt::BottomRightCorner, Qt::RightDockWidgetArea);
  resizeDocks({left, right}, {215, 300}, Qt::Horizontal);
  resizeDocks({bottom}, {170}, Qt::Vertical);
  build_missed_dock();
  bottom->hide();  // appears with the first job
  QDockWidget* talk = add("talk", tr("Talk"), &talks_->panel(), Qt::RightDockWidgetArea, "Ctrl+Shift+T");
  tabifyDockWidget(right, talk);
  right->raise();
  talk->hide();  // appears with the first step; the Jobs dock is docks_[2]
}

void MainWindow::build_status_bar() {
  summary_ = new views::ElidedLabel(this);  // long: it must not widen the window
  summary_->setTextFormat(Qt::PlainText);
  summary_->setContentsMargins(8, 0, 8, 0);
  summary_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
  statusBar()->addWidget(summary_, 1);
  scale_button_ = new QToolButton(this);
  scale_button_->setAutoRaise(true);
  scale_button_->setAccessibleName(tr("Text size"));
  scale_button_->setIcon(icon("text_size"));
  scale_button_->setToolButtonStyle(Qt::ToolButtonTextBesideIcon);
  scale_button_->setPopupMode(QToolButton::InstantPopup);
  scale_button_->setToolTip(tr("Text size (Ctrl++, Ctrl+-, Ctrl+0)"));
  auto* scales = new QMenu(scale_button_);
  for (const int percent : {75, 90, 100, 110, 125, 150, 175, 200}) {
    scales->addAction(tr("%1 %").arg(percent), this, [this, percent] { set_text_scale(percent); });
  }
  scale_button_->setMenu(scales);

  chip_ = new QToolButton(this);
  chip_->setObjectName("engine_chip");
  chip_->setAutoRaise(true);
  chip_->setIcon(icon("chip"));
  chip_->setToolButtonStyle(Qt::ToolButtonTextBesideIcon);
  chip_->setPopupMode(QToolButton::InstantPopup);
  auto* menu = new QMenu(chip_);
  menu->addAction(actions_->restart_engine);
  menu->addAction(actions_->connect_engine);
  chip_->setMenu(menu);
  statusBar()->addPermanentWidget(chip_);
  chip_->setVisible(options_.use_engine);

  auto* spacer = new QWidget(toolbar_);
  spacer->setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Preferred);
  toolbar_->addWidget(spacer);
  toolbar_->addWidget(scale_button_);
  toolbar_->addAction(actions_->dark);
  toolbar_->addAction(actions_->present);
}

void MainWindow::connect_actions() {
  Actions& a = *actions_;
  const auto on = [this](QAction* action, auto handler) { connect(action, &QAction::triggered, this, handler); };
  on(a.open_run, [this] {
    const QString start = QFileInfo(settings_.last_record()).absolutePath();
    for (const QString& file : choose_records(this, start)) open_record(file);
  });
  on(a.new_run, [this] { new_run({}); });
  on(a.new_sweep, [this] { new_sweep({}); });
  on(a.runs_table, [this] { show_runs_table(); });
  on(a.close_run, [this] { runs_->close_current(); });
  on(a.export_figure, [this] {
    open_dialog(new ExportDialog(pages_, current_page(), selection_, &tiles_, settings_, this));
  });
  on(a.copy_figure, [this] {
    const QString problem = copy_page(pages_, current_page(), selection_, &tiles_);
    if (!problem.isEmpty())
      banners_->show_banner(
          {views::Banner::Kind::warning, "copy", tr("The figure was not copied."), problem, {}, {}, {}});
  });
  on(a.quit, [this] { close(); });
  on(a.undo, [this] { selection_.undo(); });
  on(a.redo, [this] { selection_.redo(); });
  on(a.find, [this] {
    show_page(page_index(pages_, "attention"));
    show_find(pages_);
  });
  on(a.go_to_token, [this] {
    show_page(page_index(pages_, "attention"));
    show_go_to(pages_);
  });
  for (int i = 0; i < a.pages.size(); ++i) on(a.pages[i], [this, i] { show_page(i); });
  on(a.dark, [this](bool dark) {
    const auto mode = dark ? views::ThemeMode::dark : views::ThemeMode::light;
    settings_.set_theme(mode);
    views::Theme::instance().set_mode(mode);
  });
  a.dark->setChecked(views::Theme::instance().mode() == views::ThemeMode::dark);
  on(a.text_larger, [this] { set_text_scale(settings_.text_scale() + 10); });
  on(a.text_smaller, [this] { set_text_scale(settings_.text_scale() - 10); });
  on(a.text_normal, [this] { set_text_scale(100); });
  connect_talks();
  on(a.reset_layout, [this] { layout_.reset(); });
  on(a.connect_engine, [this] {
    options_.engine.clear();  // what is chosen here takes the place of --engine
    open_dialog(new ConnectDialog(
        engine_, settings_, [this] { return engine_.keeps_jobs() ? 0 : jobs_.count_running(); }, this));
  });
  on(a.restart_engine, [this] { restart_engine(); });
  on(a.palette, [this] { show_palette(); });
  on(a.keys, [this] { show_keys(); });
  on(a.budget_slider, [this] {
    show_page(page_index(pages_, "budget"));
    show_budget_slider(pages_);
  });
  on(a.hints, [this] {
    settings_.restore_notices();
    hints_->reload();
    show_notices();
  });
  on(a.about, [this] { show_about(this); });
  connect(runs_, &views::RunsDock::sweep_chosen, this, [this] { show_page(page_index(pages_, "budget")); });
  connect(runs_, &views::RunsDock::table_requested, a.runs_table, &QAction::trigger);
  connect(runs_, &views::RunsDock::open_requested, a.open_run, &QAction::trigger);
  connect(jobs_view_, &views::JobsDock::new_run_requested, a.new_run, &QAction::trigger);
  connect(jobs_view_, &views::JobsDock::cancel_requested, &jobs_, &JobTracker::cancel);
  connect(jobs_view_, &views::JobsDock::open_requested, this, &MainWindow::open_record);
  connect(jobs_view_, &views::JobsDock::kill_requested, this,
          [this] { engine_.kill(tr("The engine was stopped by you")); });
  connect(a.recent, &QMenu::aboutToShow, this, &MainWindow::refresh_recent);
  refresh_recent();
}

void MainWindow::connect_engine() {
  connect(&engine_, &EngineClient::state_changed, this, &MainWindow::refresh_chip);
  connect(&engine_, &EngineClient::died, this, &MainWindow::engine_died);
  connect(&engine_, &EngineClient::state_changed, this, [this] {
    // Whatever becomes of this window, the next one comes back to what was left.
    if (engine_.state() == EngineClient::State::ready && !engine_.remote() && !options_.quiet)
      settings_.set_engine_left(engine_.keeps_jobs());
  });
  connect(&jobs_, &JobTracker::changed, this, &MainWindow::job_changed);
  jobs_dock_timer_.setSingleShot(true);
  connect(&jobs_dock_timer_, &QTimer::timeout, this, &MainWindow::put_jobs_dock_away);
  // Whoever opens or closes the dock has decided.
  connect(docks_[2]->toggleViewAction(), &QAction::triggered, this, [this] { jobs_dock_opened_ = false; });
  connect(&jobs_, &JobTracker::finished, this, [this](const QString& job, const QString& path) {
    auto exact = exact_layers_.take(job);
    if (exact) exact_offer_changed();
    if (path.isEmpty() || stage_->owns_job(job)) return;
    if (exact) exact_runs_[path] = std::move(*exact);
    finished_runs_.insert(path);
    open_record(path);
  });
  connect(&jobs_, &JobTracker::part_found, this, &MainWindow::ask_about_part);
  connect(&jobs_, &JobTracker::failed, this,
          [this](const QString& id, const Problem& problem, const std::optional<protocol::RunSpec>& spec) {
            if (!stage_->owns_job(id)) job_failed(problem, spec);
          });
  connect(&jobs_, &JobTracker::indexer_ready, this,
          [this](const QString&, const QString& path) { indexer_ready(path); });
  refresh_chip();
}

void MainWindow::showEvent(QShowEvent* event) {
  QMainWindow::showEvent(event);
  if (std::exchange(shown_once_, true)) return;
  // Everything that is not needed for the first paint waits until after it.
  QTimer::singleShot(0, this, [this] {
    open_first_record();
    if (!options_.quiet) show_notices();
    if (options_.use_engine) QTimer::singleShot(150, this, &MainWindow::start_engine);
  });
}

void MainWindow::closeEvent(QCloseEvent* event) {
  if (!may_close()) return event->ignore();
  const QByteArray place = geometry_before_presenting_;  // of a window that is still on its way back
  if (presenting_) set_presenting(false);
  if (jobs_dock_opened_) docks_[2]->hide();  // it would stand open next time with nothing in it
  session_timer_.stop();
  save_session();
  session_.finish();
  if (!options_.quiet) layout_.save(place);
  settings_.sync();
  QMainWindow::closeEvent(event);
}

void MainWindow::keyPressEvent(QKeyEvent* event) {
  if (event->key() == Qt::Key_Escape && event->modifiers() == Qt::NoModifier)
    escape();
  else
    QMainWindow::keyPressEvent(event);
}

void MainWindow::changeEvent(QEvent* event) {
  QMainWindow::changeEvent(event);
  if (event->type() == QEvent::ActivationChange && isActiveWindow()) watch_.look();
}

void MainWindow::dragEnterEvent(QDragEnterEvent* event) {
  const QList<QUrl> urls = event->mimeData()->urls();
  if (std::any_of(urls.begin(), urls.end(), [](const QUrl& url) { return url.isLocalFile(); }))
    event->acceptProposedAction();
}

void MainWindow::dropEvent(QDropEvent* event) {
  event->acceptProposedAction();
  for (const QUrl& url : event->mimeData()->urls().mid(0, 16)) {
    if (!url.isLocalFile()) continue;
    // Not inside the drop: a dialog here would hold up the program that one drags from.
    QTimer::singleShot(0, this, [this, path = url.toLocalFile()] { open_path(path); });
  }
}

void MainWindow::show_page(int index) {
  if (index < 0 || index >= pages_.size()) return;
  const bool another = index != stack_->currentIndex();
  page_fonts_.catch_up(stack_->widget(index));
  stack_->setCurrentIndex(index);
  if (another) pages_[index].widget->setFocus();  // its keys, and Tab goes on from there
  rail_->set_current(index);
  for (int i = 0; i < actions_->pages.size(); ++i) actions_->pages[i]->setChecked(i == index);
}

int MainWindow::current_page() const {
  return stack_->currentIndex();
}

void MainWindow::follow_selection(unsigned mask) {
  Actions& a = *actions_;
  a.undo->setEnabled(selection_.can_undo());
  a.redo->setEnabled(selection_.can_redo());
  const views::RecordPtr record = selection_.record();
  for (QAction* action : {a.close_run, a.find, a.go_to_token, a.budget_slider, a.missed_keys, a.readers, a.why_changed})
    action->setEnabled(record != nullptr);
  const bool shown = record || selection_.sweep() || selection_.bench();
  for (QAction* action : {a.export_figure, a.copy_figure}) action->setEnabled(shown);
  refresh_talk_actions();
  summary_->setText(selection_summary(selection_));
  if (mask & views::Selection::Runs) {
    setWindowTitle(record ? tr("%1 – Headroom").arg(shown_path(name_from_path(record->path().filename())))
                          : "Headroom");
    if (!options_.quiet) watch_.set_records(selection_.state().runs);
    // Everything changes: the page is painted once all has followed (the prompt's text does in the next turn), in a turn
    // of its own. The page and not the window: Qt forgets that a window wanted painting if it could not paint then.
    QWidget* page = centralWidget();
    page->setUpdatesEnabled(false);
    QTimer::singleShot(1, page, [page] { QTimer::singleShot(1, page, [page] { page->setUpdatesEnabled(true); }); });
  }
}

void MainWindow::refresh_chip() {
  chip_->setText(engine_.summary());
  chip_->setToolTip(
      engine_.state() == EngineClient::State::ready
          ? tr("Engine %1: %2").arg(QString::fromStdString(engine_.hello().engine_version), engine_.command().program)
          : tr("The engine computes new runs; records need none"));
  actions_->restart_engine->setText(engine_.state() == EngineClient::State::stopped ? tr("&Start engine")
                                                                                    : tr("&Restart engine"));
  if (engine_.state() == EngineClient::State::ready) banners_->remove("engine");
}

void MainWindow::refresh_recent() {
  QMenu* menu = actions_->recent;
  menu->clear();
  for (const QString& file : settings_.recent_files()) {
    std::error_code failed;
    if (std::filesystem::exists(path_of(file), failed))
      menu->addAction(shown_path(file), this, [this, file] { open_path(file); });
  }
  menu->menuAction()->setVisible(!menu->isEmpty() || !settings_.recent_files().isEmpty());
  menu->setEnabled(!menu->isEmpty());
}

void MainWindow::set_text_scale(int percent) {
  settings_.set_text_scale(percent);
  refresh_scale();
}

}  // namespace headroom::gui
