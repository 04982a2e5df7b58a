// SPDX-License-Identifier: GPL-3.0-or-later
// Building, sources, style and notices of the map widget. Mouse and keys: attention_map_input.cpp.
#include "views/map/attention_map_widget.h"

#include <QFutureWatcher>
#include <QHBoxLayout>
#include <QLabel>
#include <algorithm>
#include <cmath>
#include <utility>

#include "views/common/colour_bar.h"
#include "views/common/theme.h"
#include "views/common/workers.h"
#include "views/map/map_axis.h"
#include "views/map/map_figure.h"
#include "views/map/map_marginal.h"
#include "views/map/map_scan.h"
#include "views/map/minimap.h"

namespace headroom::views {
namespace {

constexpr int strip_height = 27;  // pixels, without the line above it
constexpr int arrivals_ms = 33;   // between pictures that only bring new tiles

}  // namespace

AttentionMapWidget::AttentionMapWidget(Selection* selection, TileCache* cache, QWidget* parent)
    : QWidget(parent), selection_(selection), cache_(cache ? cache : new TileCache(this)) {
  setFocusPolicy(Qt::StrongFocus);
  setAccessibleName(tr("Attention map, queries down, keys right"));
  plot_ = new QCustomPlot(this);
  plot_->setFocusProxy(this);
  plot_->setAccessibleName(tr("Attention map"));
  plot_->setMinimumSize(220, 180);
  colour_bar_ = new ColourBar(this);
  auto* row = new QHBoxLayout(this);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(2);
  row->addWidget(plot_, 1);
  row->addWidget(colour_bar_);
  minimap_ = new Minimap(selection, plot_);
  minimap_->hide();
  notice_ = new QLabel(plot_);
  notice_->setWordWrap(true);
  notice_->setMargin(12);
  notice_->setAlignment(Qt::AlignCenter);
  notice_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  stale_ = new QLabel(plot_);
  stale_->setAlignment(Qt::AlignCenter);
  stale_->setAutoFillBackground(true);
  stale_->setMargin(6);
  stale_->hide();
  build_plot();
  plot_->installEventFilter(this);
  plot_->setMouseTracking(true);

  connect(selection_, &Selection::changed, this, &AttentionMapWidget::selection_changed);
  connect(selection_, &Selection::hover_changed, this, [this] {
    const MapPoint hover = selection_->hover();
    if (hover.query >= 0 || hover.key >= 0) stepping_ = false;  // over the text, say
    marks_layer_->replot();
  });
  connect(cache_, &TileCache::ready, this, &AttentionMapWidget::tiles_arrived);
  arrivals_.setSingleShot(true);
  arrivals_.setTimerType(Qt::PreciseTimer);
  connect(&arrivals_, &QTimer::timeout, this, [this] { plot_->replot(QCustomPlot::rpQueuedReplot); });
  connect(cache_, &TileCache::idle, this, [this] {
    if (!minimap_complete_) update_minimap();
    emit drawn();
  });
  connect(plot_, &QCustomPlot::beforeReplot, this, &AttentionMapWidget::fit_ticks);
  since_drawn_.start();
  connect(plot_, &QCustomPlot::afterReplot, this, [this] {
    since_drawn_.restart();
    if (!map_->stale()) arrivals_.stop();
    place_overlays();
    follow_pointer();
    emit drawn();
  });
  connect(&Theme::instance(), &Theme::changed, this, &AttentionMapWidget::follow_theme);
  connect(colour_bar_, &ColourBar::range_dragged, this, [this](double low, double high) {
    const bool lift = map_->style().mode == MapMode::lift, ranks = shows_ranks();
    selection_->change(
        [=](ViewState& state) {
          if (ranks) {  // the best place stays at the top
            state.display.rank_to = std::clamp(1 / low, 10.0, 1e6);
            return;
          }
          (lift ? state.display.lift_min : state.colour_min) = low;
          (lift ? state.display.lift_max : state.colour_max) = high;
        },
        QStringLiteral("colours"));
  });
  connect(colour_bar_, &ColourBar::drag_finished, selection_, &Selection::end_merge);
  connect(colour_bar_, &ColourBar::reset_asked, this, [this] {
    const ViewState standard;
    selection_->change([&](ViewState& state) {
      state.colour_min = standard.colour_min, state.colour_max = standard.colour_max;
      state.display.lift_min = standard.display.lift_min, state.display.lift_max = standard.display.lift_max;
      state.display.rank_to = standard.display.rank_to;
    });
  });
  apply_theme();
  apply_ranges();
  update_notice();
}

AttentionMapWidget::~AttentionMapWidget() {
  fitting_.request_stop();
  searching_.request_stop();
}

void AttentionMapWidget::build_plot() {
  plot_->plotLayout()->clear();
  plot_->setNoAntialiasingOnDrag(true);
  // Painted with whatever else has changed in the window, once: not at once after each replot, with all of that.
  plot_->setPlottingHint(QCP::phImmediateRefresh, false);
  plot_->setInteractions(QCP::Interactions());
  marginal_rect_ = new QCPAxisRect(plot_);
  auto* main = new QCPAxisRect(plot_);
  plot_->plotLayout()->addElement(0, 0, marginal_rect_);
  plot_->plotLayout()->addElement(1, 0, main);
  plot_->plotLayout()->setRowSpacing(4);
  auto* group = new QCPMarginGroup(plot_);
  for (auto* rect : {marginal_rect_, main}) {
    rect->setMarginGroup(QCP::msLeft | QCP::msRight, group);
    rect->setRangeDrag(Qt::Orientations());
    rect->setRangeZoom(Qt::Orientations());
  }
  main->setAutoMargins(QCP::msLeft | QCP::msBottom);
  main->setMargins(QMargins(0, 0, 6, 0));
  marginal_rect_->setAutoMargins(QCP::msLeft);

  QCPAxis* keys = main->axis(QCPAxis::atBottom);
  QCPAxis* queries = main->axis(QCPAxis::atLeft);
  queries->setRangeReversed(true);
  keys->setLabel(tr("key position"));
  queries->setLabel(tr("query position"));
  build_map_axes(keys, queries);
  for (auto* axis : {marginal_rect_->axis(QCPAxis::atBottom), marginal_rect_->axis(QCPAxis::atLeft)}) {
    axis->setTicks(false);
    axis->setTickLabels(false);
    axis->grid()->setVisible(false);
  }
  marginal_rect_->axis(QCPAxis::atLeft)->setRange(0, 1);

  map_ = new AttentionMap(keys, queries, cache_);
  marginal_ = new MapMarginal(marginal_rect_->axis(QCPAxis::atBottom), marginal_rect_->axis(QCPAxis::atLeft));
  plot_->addLayer(QStringLiteral("marks"), plot_->layer(QStringLiteral("overlay")), QCustomPlot::limBelow);
  marks_layer_ = plot_->layer(QStringLiteral("marks"));
  marks_layer_->setMode(QCPLayer::lmBuffered);
  marks_ = new MapMarks(keys, queries, selection_);
  marks_->setLayer(marks_layer_);
}

void AttentionMapWidget::apply_theme() {
  const Theme& theme = Theme::instance();
  fit_strip();
  plot_->setBackground(theme.panel());
  for (auto* rect : plot_->axisRects()) {
    rect->setBackground(QBrush(theme.background()));
    for (auto* axis : rect->axes()) {
      axis->setBasePen(QPen(theme.border()));
      axis->setTickPen(QPen(theme.border()));
      axis->setSubTickPen(QPen(theme.border()));
      axis->setTickLabelColor(theme.text());
      axis->setLabelColor(theme.muted_text());
      axis->setTickLabelFont(font());
      axis->setLabelFont(font());
    }
  }
  QPalette noted = notice_->palette();
  noted.setColor(QPalette::WindowText, theme.text());
  notice_->setPalette(noted);
  QPalette said = stale_->palette();
  said.setColor(QPalette::Window, theme.warning_background());
  said.setColor(QPalette::WindowText, theme.text());
  stale_->setPalette(said);
  map_->invalidate();
  update_minimap();
  plot_->replot(QCustomPlot::rpQueuedReplot);
}

void AttentionMapWidget::fit_ticks() {
  fit_map_axes(map_->keyAxis(), map_->valueAxis(), plot_->size(), font(), primary_ ? primary_->source.record : nullptr);
}

void AttentionMapWidget::changeEvent(QEvent* event) {
  QWidget::changeEvent(event);
  if (event->type() == QEvent::FontChange && map_) follow_theme();
}

void AttentionMapWidget::follow_theme() {
  theme_stale_ = !isVisible();
  if (!theme_stale_) apply_theme();
}

void AttentionMapWidget::showEvent(QShowEvent* event) {
  QWidget::showEvent(event);
  if (std::exchange(theme_stale_, false)) apply_theme();
}

void AttentionMapWidget::set_source(const MapSource& source) {
  if (wanted_ == source && (primary_ || loading_)) return;
  wanted_ = source;
  if (!source.record) {
    loading_ = false;
    loader_.cancel();
    set_data(nullptr, secondary_);
    return;
  }
  loading_ = true;
  // Another record's map must not stand under this one's name, however short.
  if (primary_ && primary_->source.record != source.record) set_data(nullptr, nullptr);
  loader_.load(source, [this](MapDataPtr data) {
    loading_ = false;
    set_data(std::move(data), secondary_);
  });
  update_notice();
}

void AttentionMapWidget::set_second_source(const MapSource& source, MapLayout layout) {
  layout_ = layout;
  if (second_wanted_ == source && secondary_) return set_data(primary_, secondary_);
  second_wanted_ = source;
  second_loader_.load(source, [this](MapDataPtr data) { set_data(primary_, std::move(data)); });
}

void AttentionMapWidget::set_layout(MapLayout layout) {
  layout_ = layout;
  set_data(primary_, secondary_);
}

void AttentionMapWidget::clear_second_source() {
  second_wanted_ = {};
  second_loader_.cancel();
  layout_ = MapLayout::single;
  set_data(primary_, nullptr);
}

void AttentionMapWidget::set_data(MapDataPtr primary, MapDataPtr secondary) {
  fitting_.request_stop();
  searching_.request_stop();
  primary_ = std::move(primary);
  secondary_ = std::move(secondary);
  ranks_ = ranked(primary_);
  is_pictured_ = false;
  refusal_.clear();
  if (primary_ && secondary_) {
    const auto &a = primary_->source.record, &b = secondary_->source.record;
    if (primary_->length != secondary_->length || (a && b && a->tokens().ids != b->tokens().ids))
      refusal_ =
          tr("The two runs have different tokens: a pair in one is not the same pair in the other, so the maps cannot "
             "be combined. Show them side by side.");
  }
  const MapDataPtr second = refusal_.isEmpty() ? secondary_ : nullptr;
  map_->set_data(primary_, second);
  drawn_ranks_ = false;
  marginal_->set_data(primary_);
  apply_style(map_->style());
  apply_ranges();
  update_minimap();
  update_notice();
  plot_->replot(QCustomPlot::rpQueuedReplot);
  emit data_changed();
}

void AttentionMapWidget::apply_style(MapStyle style) {
  const bool second = secondary_ && refusal_.isEmpty();
  style.layout = second ? layout_ : MapLayout::single;
  const bool lift = style.mode == MapMode::lift && style.layout != MapLayout::difference;
  const ViewState& state = selection_->state();
  const bool ranks = style.mode == MapMode::rank && style.layout == MapLayout::single && ranks_;
  if (ranks != drawn_ranks_) {
    drawn_ranks_ = ranks;
    map_->set_data(ranks ? ranks_ : primary_, second ? secondary_ : nullptr);
  }
  style.colour_min = ranks ? 1 / state.display.rank_to : lift ? state.display.lift_min : state.colour_min;
  style.colour_max = ranks ? 1 : lift ? state.display.lift_max : state.colour_max;
  style.ranks = ranks;
  const bool another = !(map_->style() == style);
  map_->set_style(style);
  if (another) update_minimap();
  colour_bar_->set_symmetric(style.layout == MapLayout::difference);
  colour_bar_->set_ranks(ranks);
  colour_bar_->set_range(style.colour_min, style.colour_max);
  colour_bar_->set_caption(style.layout == MapLayout::difference ? tr("difference of p")
                           : ranks                               ? tr("rank of p in its row")
                           : lift                                ? tr("p × visible keys")
                                                                 : tr("probability p"));
  plot_->replot(QCustomPlot::rpQueuedReplot);
}

void AttentionMapWidget::set_mode(MapMode mode) {
  MapStyle style = map_->style();
  style.mode = mode;
  apply_style(style);
}

void AttentionMapWidget::set_find_marks(std::vector<std::int64_t> tokens, std::int64_t current) {
  marks_->set_found(std::move(tokens), current);
  marks_layer_->replot();
}

void AttentionMapWidget::set_show_mean(bool mean) {
  MapStyle style = map_->style();
  style.show_mean = mean;
  apply_style(style);
}

void AttentionMapWidget::set_hide_bands(bool hide) {
  MapStyle style = map_->style();
  style.hide_bands = hide;
  apply_style(style);
}

void AttentionMapWidget::set_overlay(OverlayFlags flags) {
  MapStyle style = map_->style();
  style.overlay = flags;
  apply_style(style);
}

void AttentionMapWidget::set_missed_from(double mass) {
  MapStyle style = map_->style();
  style.missed_from = mass;
  apply_style(style);
}

void AttentionMapWidget::set_mask_unattended(bool mask) {
  MapStyle style = map_->style();
  style.mask_unattended = mask;
  apply_style(style);
}

void AttentionMapWidget::fit_strip() {
  const int line = QFontMetrics(MapMarginal::label_font(font())).height() + 2;
  const int height = marginal_rect_->visible() ? strip_height + line : 0;
  marginal_rect_->setMargins(QMargins(0, line, 6, 0));
  marginal_rect_->setMinimumSize(0, height);
  marginal_rect_->setMaximumSize(QWIDGETSIZE_MAX, height);
}

void AttentionMapWidget::set_marginals_visible(bool visible) {
  marginal_rect_->setVisible(visible);
  fit_strip();
  plot_->replot(QCustomPlot::rpQueuedReplot);
}

void AttentionMapWidget::set_colour_bar_visible(bool visible) {
  colour_bar_->setVisible(visible);
}

void AttentionMapWidget::set_minimap_enabled(bool enabled) {
  minimap_enabled_ = enabled;
  place_overlays();
}

void AttentionMapWidget::fit_colours() {
  if (!primary_ || map_->style().layout == MapLayout::difference || shows_ranks()) return;
  const bool mean = map_->style().show_mean, lift = map_->style().mode == MapMode::lift;
  fitting_.request_stop();
  fitting_ = std::stop_source();
  auto* watcher = new QFutureWatcher<std::optional<ValueRange>>(this);
  connect(watcher, &QFutureWatcherBase::finished, this, [this, watcher, stop = fitting_.get_token()] {
    watcher->deleteLater();
    if (const auto range = watcher->result(); range && !stop.stop_requested())
      set_colour_range(range->low, range->high);
  });
  watcher->setFuture(in_worker([grids = map_->visible_grids(), view = selection_->state().viewport, mean, lift,
                                stop = fitting_.get_token()] { return fitting_range(grids, view, mean, lift, stop); }));
}

void AttentionMapWidget::set_colour_range(double low, double high) {
  const bool lift = map_->style().mode == MapMode::lift;
  selection_->change([=](ViewState& state) {
    (lift ? state.display.lift_min : state.colour_min) = low;
    (lift ? state.display.lift_max : state.colour_max) = high;
  });
}

void AttentionMapWidget::apply_ranges() {
  const Viewport& view = selection_->state().viewport;
  if (!(view.key_end > view.key_begin) || !(view.query_end > view.query_begin)) return;
  map_->keyAxis()->setRange(view.key_begin, view.key_end);
  map_->valueAxis()->setRange(view.query_begin, view.query_end);
  marginal_->keyAxis()->setRange(view.key_begin, view.key_end);
}

void AttentionMapWidget::selection_changed(unsigned mask) {
  if ((mask & (Selection::Queries | Selection::Keys)) && !is_where_search_began()) searching_.request_stop();
  if (mask & (Selection::Colours | Selection::Display)) {
    apply_style(map_->style());
    if (mask & Selection::Colours) update_minimap();
  }
  if (mask & (Selection::View | Selection::Runs)) {
    apply_ranges();
    follow_pointer();
    plot_->replot(QCustomPlot::rpQueuedReplot);
  } else if (mask & (Selection::Queries | Selection::Keys | Selection::Pins)) {
    marks_layer_->replot();
  }
  if (mask & Selection::View) minimap_->update();
}

void AttentionMapWidget::tiles_arrived() {
  map_->invalidate();
  if (!minimap_complete_ && !cache_->busy()) update_minimap();  // another cache has made them: nothing ends here
  // While a reader zooms or pans, the next step draws them anyway; and the processors are needed for the tiles.
  if (!arrivals_.isActive())
    arrivals_.start(static_cast<int>(std::clamp<qint64>(arrivals_ms - since_drawn_.elapsed(), 0, arrivals_ms)));
}

void AttentionMapWidget::update_minimap() {
  minimap_complete_ = false;
  if (!primary_ || primary_->length <= 0) {
    minimap_->set_image({}, 0);
    return;
  }
  if (minimap_->isHidden()) return cache_->want(minimap_, {});  // costs nothing; composed when it comes
  const double length = static_cast<double>(primary_->length), ratio = devicePixelRatioF();
  const int side = static_cast<int>(std::lround(126 * ratio));
  // Composed at 256 cells a side or more, since a cell below one pixel would lose columns, then shrunk.
  const Composition whole = map_->compose(QSize(256, 256), 1, {0, length, 0, length}, minimap_);
  minimap_complete_ = !whole.coarse && whole.missing.empty();
  minimap_->set_image(whole.image.scaled(side, side, Qt::IgnoreAspectRatio, Qt::SmoothTransformation),
                      primary_->length);
}

void AttentionMapWidget::update_notice() {
  notice_->setText(notice());
  notice_->setVisible(!notice_->text().isEmpty());
  stale_->setText(stale_note());
  if (stale_->text().isEmpty()) stale_->hide();
  // Most are read before anyone could read the words: the line below the map says so at once, the map a little later.
  if (!stale_->text().isEmpty())
    QTimer::singleShot(100, stale_, [this] { stale_->setVisible(!stale_->text().isEmpty()); });
  place_overlays();
  emit drawn();
}

void AttentionMapWidget::place_overlays() {
  const QRect area = map_->keyAxis()->axisRect()->rect();
  const QRect inner = area.adjusted(8, 8, -8, -8);
  const bool band = primary_ && primary_->has_band();
  if (band) {  // above the diagonal, where no key is
    const int width = std::max(inner.width() * 11 / 20, std::min(inner.width(), fontMetrics().averageCharWidth() * 30));
    const int height = std::min(inner.height(), notice_->heightForWidth(width));
    notice_->setGeometry(inner.right() + 1 - width, inner.top(), width, height);
  } else {
    notice_->setGeometry(inner);
  }
  stale_->adjustSize();
  stale_->move(area.left() + std::max(0, (area.width() - stale_->width()) / 2), area.top() + 8);
  minimap_->move(area.right() - minimap_->width() - 7, area.top() + 8);
  const Viewport& view = selection_->state().viewport;
  const double length = primary_ ? static_cast<double>(primary_->length) : 0;
  const bool part =
      length > 0 && (view.key_end - view.key_begin < 0.9 * length || view.query_end - view.query_begin < 0.9 * length);
  const bool hidden = minimap_->isHidden();
  minimap_->setVisible(minimap_enabled_ && part && notice_->text().isEmpty() && area.width() > 360 &&
                       area.height() > 260);
  if (hidden && !minimap_->isHidden()) update_minimap();
}

bool AttentionMapWidget::settled() const {
  return !loading_ && !cache_->busy() && (!isVisible() || !primary_ || !map_->stale());
}

}  // namespace headroom::views
