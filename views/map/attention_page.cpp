// SPDX-License-Identifier: GPL-3.0-or-later
// Wiring of the attention page.
#include "views/map/attention_page.h"

#include <QGuiApplication>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QPainter>
#include <QSplitter>
#include <QVBoxLayout>
#include <algorithm>
#include <cmath>

#include "views/common/elided_label.h"
#include "views/common/give_way.h"
#include "views/common/page_base.h"
#include "views/common/theme.h"
#include "views/map/attention_controls.h"
#include "views/map/attention_map_widget.h"
#include "views/map/map_figure.h"
#include "views/map/map_readout.h"
#include "views/map/tile_cache.h"
#include "views/prompt/prompt_panel.h"
#include "views/prompt/prompt_text.h"

namespace headroom::views {

namespace {

constexpr double narrowest_map = 420;  // in a figure's units: below it the map needs the text's room

constexpr double least_missed = 0.001;  // share of the mass: with less there is nothing to see in orange

}  // namespace

bool missed_matters(const MapData& map) {
  return map.has_overlay() && (map.missed_mass < 0 || map.missed_mass >= least_missed);
}

class AttentionPage::TextFigure : public Exportable {
 public:
  explicit TextFigure(AttentionPage& page) : page_(page) {}
  void render(QPainter& painter, const QRectF& target, const ExportOptions& options) override {
    if (page_.source_stale_) page_.update_source();
    page_.prompt_->render(painter, target, options);
  }
  bool ready() const override { return !page_.source_stale_ && page_.map_->ready() && page_.prompt_->ready(); }
  QString problem() const override { return page_.prompt_->problem(); }
  QString csv() const override { return page_.prompt_->csv(); }
  QString title() const override { return page_.prompt_->title(); }

 private:
  AttentionPage& page_;
};

AttentionPage::AttentionPage(Selection* selection, QWidget* parent)
    : QWidget(parent),
      selection_(selection),
      controls_(new AttentionControls(selection)),
      map_(new AttentionMapWidget(selection)),
      readout_(new MapReadout(map_, selection)),
      prompt_(new PromptPanel(selection)),
      splitter_(new QSplitter(Qt::Horizontal)),
      exact_bar_(new QWidget),
      exact_text_(new QLabel),
      hint_(new ElidedLabel),
      exact_button_(new QPushButton(tr("Record this layer exactly"))) {
  auto* map_side = new QWidget;
  auto* map_column = new QVBoxLayout(map_side);
  map_column->setContentsMargins(0, 0, 0, 0);
  map_column->setSpacing(0);
  auto* exact_row = new QHBoxLayout(exact_bar_);
  exact_row->setContentsMargins(8, 3, 8, 3);
  exact_row->addWidget(exact_text_, 1);
  exact_row->addWidget(exact_button_);
  exact_bar_->setObjectName("exact_bar");
  exact_bar_->setAutoFillBackground(true);
  exact_bar_->hide();
  exact_text_->setWordWrap(true);
  exact_button_->setObjectName("record_exactly");
  hint_->setContentsMargins(8, 0, 8, 3);
  hint_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Fixed);
  hint_->setAccessibleName(tr("How to choose rows and keys"));
  hint_->setObjectName("map_hint");
  map_column->addWidget(exact_bar_);
  map_column->addWidget(map_, 1);
  map_column->addWidget(readout_);
  map_column->addWidget(hint_);
  give_way({controls_, exact_bar_, hint_});
  splitter_->addWidget(map_side);
  splitter_->addWidget(prompt_);
  splitter_->setChildrenCollapsible(false);
  splitter_->setStretchFactor(0, 3);
  splitter_->setStretchFactor(1, 2);
  splitter_->setHandleWidth(5);
  splitter_->setAccessibleName(tr("Map and prompt text"));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  column->addWidget(controls_);
  column->addWidget(splitter_, 1);
  setAccessibleName(tr("Attention"));

  connect(controls_, &AttentionControls::fit_asked, map_, &AttentionMapWidget::fit_view);
  connect(controls_, &AttentionControls::fit_colours_asked, map_, &AttentionMapWidget::fit_colours);
  connect(map_, &AttentionMapWidget::data_changed, this, &AttentionPage::map_data_changed);
  connect(prompt_, &PromptPanel::token_chosen, this, [this](qint64 token, Qt::KeyboardModifiers modifiers) {
    // Plain: the token becomes the query. Ctrl: it is added to the selected keys. Shift: the queries reach to it.
    if (modifiers & Qt::ControlModifier) {
      selection_->change([token](ViewState& state) {
        if (!state.keys.erase(token)) state.keys.insert(token);
      });
    } else if ((modifiers & Qt::ShiftModifier) && selection_->state().query_end > selection_->state().query_begin) {
      selection_->change([token](ViewState& state) {
        state.query_begin = std::min<std::int64_t>(state.query_begin, token);
        state.query_end = std::max<std::int64_t>(state.query_end, token + 1);
      });
    } else {
      map_->show_pair({token, -1});
      selection_->end_merge();
    }
  });
  connect(prompt_, &PromptPanel::found, map_, &AttentionMapWidget::set_find_marks);
  connect(exact_button_, &QPushButton::clicked, this, [this] {
    if (map_->data()) emit exact_layer_asked(map_->data()->source.layer);
  });
  connect(&Theme::instance(), &Theme::changed, this, &AttentionPage::show_hint);
  show_hint();
  connect(selection_, &Selection::changed, this, &AttentionPage::selection_changed);
  show_display();
  setFocusProxy(map_);
}

AttentionPage::~AttentionPage() = default;

Exportable& AttentionPage::text_figure() {
  if (!text_figure_) text_figure_ = std::make_unique<TextFigure>(*this);
  return *text_figure_;
}

void AttentionPage::set_tile_provider(TileProvider* provider) {
  map_->cache()->set_provider(provider);
  if (map_->data()) map_->set_data(map_->data(), map_->second_data());
}

bool AttentionPage::settled() const { return !source_stale_ && map_->settled() && prompt_->settled(); }

void AttentionPage::focus_find() {
  prompt_->focus_find();
}
void AttentionPage::focus_go_to() {
  prompt_->focus_go_to();
}

void AttentionPage::selection_changed(unsigned mask) {
  if (mask & (Selection::Runs | Selection::Method | Selection::Layer | Selection::Head)) {
    source_stale_ = true;
    if (isVisible()) update_source();
  }
  if (mask & Selection::Display) show_display();
}

void AttentionPage::show_display() {
  const DisplayState& display = selection_->state().display;
  map_->set_mode(display.mode);
  map_->set_show_mean(display.show_mean);
  map_->set_hide_bands(display.hide_bands);
  map_->set_minimap_enabled(display.minimap);
  map_->set_missed_from(display.missed_from);
  map_->set_overlay(controls_->overlay());
}

void AttentionPage::update_source() {
  source_stale_ = false;
  const ViewState& state = selection_->state();
  map_->set_source({selection_->record(), state.method, state.layer, state.head});
}

void AttentionPage::map_data_changed() {
  const MapDataPtr& shown = map_->data();
  controls_->set_map_facts(shown && shown->has_overlay(), shown && shown->wasted, shown && missed_matters(*shown),
                           shown ? shown->overlay_note() : QString(), shown ? shown->sink_and_local : -1);
  map_->set_overlay(controls_->overlay());
  fit_controls();
  prompt_->set_data(shown);
  refresh_exact_offer();
}

void AttentionPage::set_exact_offer(std::function<ExactOffer(const RecordPtr&, int)> offer) {
  offer_ = std::move(offer);
  refresh_exact_offer();
}

void AttentionPage::refresh_exact_offer() {
  const MapDataPtr& shown = map_->data();
  const bool coarse = shown && shown->source.record && !shown->stream && shown->problem.isEmpty() &&
                      shown->is_full();
  const ExactOffer before = offered_;
  offered_ = coarse && offer_ ? offer_(shown->source.record, shown->source.layer) : ExactOffer::none;
  exact_bar_->setVisible(coarse);
  if (coarse) {
    const QString layer = QString::number(shown->source.layer);
    exact_text_->setText(
        shown->thumbnail ? tr("◐ Layer %1: largest value and mean of blocks. What each key was given is not in "
                              "this record.")
                               .arg(layer)
        : map_->cache()->can_provide(*shown)
            ? tr("○ Layer %1 is not in this record: its map comes from the engine while that has the run.").arg(layer)
            : tr("○ Layer %1: its map is not in this record.").arg(layer));
    exact_button_->setVisible(offered_ != ExactOffer::none);
    exact_button_->setEnabled(offered_ == ExactOffer::possible);
    exact_button_->setText(offered_ == ExactOffer::recording ? tr("Recording layer %1 …").arg(layer)
                                                             : tr("Record this layer exactly"));
    exact_button_->setToolTip(
        tr("Runs the prompt again with the same model and keeps this layer's q and k: a record of its "
           "own, once the engine is done"));
  }
  if (before != offered_) emit exact_offer_changed();
}

void AttentionPage::show_hint() {
  hint_->setText(
      tr("Click: pair · Shift+drag or Shift+click: rows · Ctrl+drag: keys · Ctrl+click: one key more · drag: pan · "
         "wheel: zoom · M: next missed · P: pin"));
  hint_->setToolTip(tr("In the text: click chooses the query, Ctrl+click adds a key, Shift+click extends the rows"));
  QPalette muted = palette();
  muted.setColor(QPalette::WindowText, Theme::instance().muted_text());
  hint_->setPalette(muted);
  QFont small = font();
  small.setPointSizeF(std::max(7.0, font().pointSizeF() * 0.85));
  hint_->setFont(small);
  QPalette said = exact_bar_->palette();
  said.setColor(QPalette::Window, Theme::instance().info_background());
  said.setColor(QPalette::WindowText, Theme::instance().text());
  exact_bar_->setPalette(said);
}

void AttentionPage::showEvent(QShowEvent* event) {
  QWidget::showEvent(event);
  if (source_stale_) update_source();
}

void AttentionPage::changeEvent(QEvent* event) {
  QWidget::changeEvent(event);
  if (event->type() != QEvent::FontChange || !hint_) return;
  show_hint();
  fit_controls();
}

int AttentionPage::seen_height() const {
  return parentWidget() ? std::min(height(), parentWidget()->height()) : height();
}

void AttentionPage::fit_controls() {
  controls_->fit(width(), seen_height());
}

void AttentionPage::resizeEvent(QResizeEvent* event) {
  QWidget::resizeEvent(event);
  // The map needs the room of a low window. A page that scrolls is higher than what is seen of it, also because of the
  // hint.
  const int room = seen_height();
  hint_->setVisible(room >= 30 * fontMetrics().height());
  fit_controls();
  const Qt::Orientation wanted = width() >= 900 ? Qt::Horizontal : Qt::Vertical;
  if (splitter_->orientation() == wanted && event->oldSize().isValid()) return;
  splitter_->setOrientation(wanted);
  splitter_->setSizes(wanted == Qt::Horizontal ? QList<int>{width() * 61 / 100, width() * 39 / 100}
                                               : QList<int>{height() * 66 / 100, height() * 34 / 100});
}

QVector<PageCommand> AttentionPage::commands() {
  // Keyboards differ in what Shift makes of a bracket: both the shifted character and the modifier count.
  return map_->commands() +
         QVector<PageCommand>{
             {tr("Previous head"), "[", {Qt::Key_BracketLeft}, [this] { controls_->step_head(-1); }},
             {tr("Next head"), "]", {Qt::Key_BracketRight}, [this] { controls_->step_head(1); }},
             {tr("Previous layer"),
              "Shift+[",
              {Qt::SHIFT | Qt::Key_BracketLeft, Qt::SHIFT | Qt::Key_BraceLeft, Qt::Key_BraceLeft},
              [this] { controls_->step_layer(-1); }},
             {tr("Next layer"),
              "Shift+]",
              {Qt::SHIFT | Qt::Key_BracketRight, Qt::SHIFT | Qt::Key_BraceRight, Qt::Key_BraceRight},
              [this] { controls_->step_layer(1); }},
         };
}

void AttentionPage::keyPressEvent(QKeyEvent* event) {
  if (run_command(commands(), *event))
    event->accept();
  else
    QWidget::keyPressEvent(event);
}

void AttentionPage::render(QPainter& painter, const QRectF& target, const ExportOptions& options) {
  if (source_stale_) update_source();  // hidden pages load nothing until then
  // The map takes the left part, the text beside it what it needs; on narrow figures the map stands alone.
  const double map_width = target.width() * 0.62;
  const double least = std::max(1.0, options.least_text / 7);  // large text needs a wider map beside it
  with_text_ = target.width() >= target.height() * 1.25 && map_width >= narrowest_map * least;
  if (!with_text_) {
    map_->render(painter, target, options);
    return;
  }
  // One caption under both.
  ExportOptions plain = options;
  plain.provenance.clear();
  plain.text_size = std::max<double>(map_text_size(map_width), std::ceil(options.least_text));
  QRectF body = target;
  painter.save();
  QFont font = QGuiApplication::font();
  font.setPixelSize(static_cast<int>(plain.text_size));
  painter.setFont(font);
  painter.setPen(Theme::instance().muted_text());
  if (const double height = draw_at_bottom(painter, target, options.provenance); height > 0)
    body.setBottom(body.bottom() - height - plain.text_size * 0.3);
  painter.restore();
  map_->render(painter, QRectF(body.left(), body.top(), map_width, body.height()), plain);
  const double gap = plain.text_size * 1.2;
  prompt_->render(
      painter, QRectF(body.left() + map_width + gap, body.top(), body.width() - map_width - gap, body.height()), plain);
}

double AttentionPage::wanted_height(double width, double least_text) {
  // In a column the map stands alone: a square with its lines above and below.
  const bool alone = least_text > 0 && width * 0.62 < narrowest_map * std::max(1.0, least_text / 7);
  return alone ? width * 0.82 + 14 * least_text : 0;
}

bool AttentionPage::ready() const {
  return !source_stale_ && map_->ready() && prompt_->ready();
}
bool AttentionPage::complete() const {
  return map_->complete();
}
QString AttentionPage::problem() const {
  const QString map = map_->problem();
  return map.isEmpty() && with_text_ ? prompt_->problem() : map;
}
void AttentionPage::exported() {
  map_->exported();
}

QString AttentionPage::csv() const {
  return map_->csv();
}
std::function<QString(std::stop_token)> AttentionPage::csv_work() const {
  return map_->csv_work();
}
QString AttentionPage::title() const {
  return map_->title();
}
QString AttentionPage::scale_text() const {
  return map_->scale_text();
}
QString AttentionPage::aggregation_text() const {
  return map_->aggregation_text();
}

}  // namespace headroom::views
