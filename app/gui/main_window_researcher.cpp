// SPDX-License-Identifier: GPL-3.0-or-later
// What a researcher asks of the window: missed keys, readers of a token, why an answer changed, one layer more exactly.
#include <QDockWidget>
#include <QFileInfo>

#include "base/error.h"
#include "gui/actions.h"
#include "gui/main_window.h"
#include "gui/new_run_dialog.h"
#include "protocol/messages.h"
#include "views/common/banner_bar.h"
#include "views/common/format.h"
#include "views/docks/inspector_dock.h"
#include "views/map/attention_page.h"
#include "views/missed/missed_panel.h"

namespace headroom::gui {

void MainWindow::build_missed_dock() {
  missed_ = new views::MissedPanel(&selection_);
  missed_dock_ = new QDockWidget(tr("Missed keys"), this);
  missed_dock_->setObjectName("dock_missed");
  missed_dock_->setWidget(missed_);
  missed_dock_->setFeatures(QDockWidget::DockWidgetClosable | QDockWidget::DockWidgetMovable);
  QAction* toggle = missed_dock_->toggleViewAction();
  toggle->setText(tr("%1 dock").arg(missed_dock_->windowTitle()));
  toggle->setShortcut(QKeySequence("Ctrl+Shift+M"));
  addAction(toggle);
  actions_->add_dock(toggle);
  addDockWidget(Qt::RightDockWidgetArea, missed_dock_);
  tabifyDockWidget(docks_[1], missed_dock_);  // beside the Inspector
  docks_.append(missed_dock_);
  docks_[1]->raise();
}

void MainWindow::connect_researcher() {
  Actions& a = *actions_;
  using views::MissedQuestion;
  connect(a.missed_keys, &QAction::triggered, this, [this] { ask_missed(MissedQuestion::missed); });
  connect(a.readers, &QAction::triggered, this, [this] { ask_missed(MissedQuestion::readers); });
  connect(a.why_changed, &QAction::triggered, this, [this] { ask_missed(MissedQuestion::why); });
  connect(a.record_exactly, &QAction::triggered, this, [this] { record_layer_exactly(selection_.state().layer); });
  // A list leads to the map: where no map is shown, the Attention page comes forward.
  const auto to_the_map = [this] {
    const int compare = page_index(pages_, "compare");
    if (current_page() != compare) show_page(page_index(pages_, "attention"));
  };
  connect(missed_, &views::MissedPanel::place_chosen, this, to_the_map);
  if (auto* inspector = qobject_cast<views::InspectorDock*>(docks_[1]->widget()))
    connect(inspector, &views::InspectorDock::place_chosen, this, to_the_map);
  auto* page = static_cast<views::AttentionPage*>(pages_[page_index(pages_, "attention")].widget);
  const auto can_record = [this](const views::RecordPtr& record, int layer) {
    using Offer = views::AttentionPage::ExactOffer;
    if (!options_.use_engine || !record) return Offer::none;
    if (exact_layers_.recording(*record, layer)) return Offer::recording;
    return spec_with_exact_layer(*record, layer) ? Offer::possible : Offer::none;
  };
  page->set_exact_offer(can_record);
  connect(page, &views::AttentionPage::exact_layer_asked, this, &MainWindow::record_layer_exactly);
  const auto enable = [this, page] {
    actions_->record_exactly->setEnabled(selection_.record() && page->exact_offer_stands());
  };
  connect(page, &views::AttentionPage::exact_offer_changed, this, enable);
  enable();
  connect(&engine_, &EngineClient::notified, this, [this](const QString& method, const nlohmann::json& params) {
    if (method != protocol::method::job_prepared) return;
    try {
      const auto prepared = protocol::job_prepared_from_json(params);
      const QString job = exact_layers_.job_of(prepared.meta);
      const auto* wanted = exact_layers_.find(job);
      if (!wanted) return;
      const QString other = other_run_text(*wanted->record, prepared.meta, prepared.tokens);
      if (other.isEmpty()) return;
      views::Banner banner;
      banner.kind = views::Banner::Kind::warning;
      banner.key = "exact";
      banner.title = tr("Layer %1 was not recorded.").arg(wanted->layer);
      banner.text = other;
      exact_layers_.take(job);
      exact_offer_changed();
      jobs_.cancel(job);
      banners_->show_banner(banner);
    } catch (const Error&) {
      // Whoever reads the message for what it says complains of it.
    }
  });
  connect(&jobs_, &JobTracker::failed, this, [this](const QString& job) {
    if (exact_layers_.take(job)) exact_offer_changed();
  });
}

void MainWindow::ask_missed(views::MissedQuestion question) {
  missed_dock_->show();
  missed_dock_->raise();
  selection_.change([question](views::ViewState& state) {
    if (state.display.missed_question != question) state.display.answer_position = -1;
    state.display.missed_question = question;
  });
  missed_->setFocus(Qt::OtherFocusReason);
}

void MainWindow::record_layer_exactly(int layer) {
  const views::RecordPtr record = selection_.record();
  if (!record) return;
  auto spec = spec_with_exact_layer(*record, layer);
  if (spec) place_on_engine(*spec, engine_);
  views::Banner banner;
  banner.kind = views::Banner::Kind::warning;
  banner.key = "exact";
  if (!spec) {
    banner.title = tr("Layer %1 cannot be recorded from here.").arg(layer);
    banner.text =
        record->meta().is_full(layer)
            ? tr("The record does not say what job it came of: record the run again with --keep-layers %1.").arg(layer)
            : tr("It has no full attention: it runs unchanged and has no map.");
    return banners_->show_banner(banner);
  }
  if (exact_layers_.recording(*record, layer)) return;
  if (engine_.state() !=
      EngineClient::State::ready) {  // the dialog says what is missing, and starts it once it is there
    NewRunRequest request;
    request.spec = spec;
    return new_run(request);
  }
  banners_->remove("exact");
  const QString job = jobs_.start_run(*spec);
  exact_layers_.add(job, {record, layer, *spec->out});
  exact_offer_changed();
}

void MainWindow::exact_offer_changed() {
  static_cast<views::AttentionPage*>(pages_[page_index(pages_, "attention")].widget)->refresh_exact_offer();
}

void MainWindow::exact_run_done(const views::RecordPtr& record, const ExactLayers::Wanted& wanted) {
  const QString other = other_run_text(*wanted.record, record->meta(), record->length(), &record->tokens().ids);
  const bool kept = std::any_of(record->methods().begin(), record->methods().end(), [&](const auto& method) {
    return record->availability(method.id, wanted.layer).stream;
  });
  views::Banner banner;
  banner.key = "exact";
  if (!other.isEmpty() || !kept || !record->meta().complete) {
    banner.kind = views::Banner::Kind::warning;
    banner.title = tr("Layer %1 of the open run was not recorded.").arg(wanted.layer);
    banner.text = !other.isEmpty() ? other
                  : !record->meta().complete ? tr("The run was stopped; what was finished is kept.")
                                             : QString::fromStdString(record->meta().kept_note);
  } else {
    banner.title = tr("Layer %1 is recorded exactly.").arg(wanted.layer);
    banner.text = tr("Same model (SHA-256 %1…), same %2 tokens. A record of its own: %3")
                      .arg(QString::fromStdString(record->meta().model_sha256).left(12),
                           views::format_count(record->length()),
                           QFileInfo(QString::fromStdString(record->path().string())).fileName());
  }
  banner.buttons = {{tr("Show"), [this, record, layer = wanted.layer] {
                       selection_.open_record(record);
                       selection_.change([layer](views::ViewState& state) {
                         if (layer >= 0) state.layer = layer;
                       });
                       show_page(page_index(pages_, "attention"));
                     }}};
  banners_->show_banner(banner);
}

}  // namespace headroom::gui
