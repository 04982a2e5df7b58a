// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/compare/compare_maps.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QPushButton>
#include <QSignalBlocker>
#include <QVBoxLayout>
#include <algorithm>

#include "views/map/attention_map_widget.h"
#include "views/common/flow_layout.h"
#include "views/common/format.h"
#include "views/common/page_base.h"
#include "views/common/theme.h"
#include "views/map/tile_cache.h"

namespace headroom::views {

CompareMaps::CompareMaps(Selection* selection, QWidget* parent) : QWidget(parent), selection_(selection) {
  setFocusPolicy(Qt::StrongFocus);
  cache_ = new TileCache(std::size_t{192} << 20, this);
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(6);
  auto* bar = new FlowLayout(nullptr, 8, 6);
  bar->addWidget(make_heading(tr("Map"), this));
  mode_box_ = new QComboBox(this);
  mode_box_->addItems({tr("Side by side"), tr("Difference"), tr("Diagonal split"), tr("Flicker (hold X)")});
  mode_box_->setAccessibleName(tr("How the two maps are compared"));
  layer_box_ = new QComboBox(this);
  layer_box_->setAccessibleName(tr("Layer of the maps"));
  head_box_ = new QComboBox(this);
  head_box_->setAccessibleName(tr("Head of the maps"));
  for (QComboBox* box : {mode_box_, layer_box_, head_box_}) {
    box->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    bar->addWidget(box);
  }
  hold_button_ = new QPushButton(tr("Hold for the candidate"), this);
  hold_button_->setFocusPolicy(Qt::NoFocus);
  bar->addWidget(hold_button_);
  column->addLayout(bar);
  refusal_label_ = new QLabel(this);
  refusal_label_->setWordWrap(true);
  refusal_label_->setMargin(8);
  refusal_label_->setAutoFillBackground(true);
  column->addWidget(refusal_label_);

  auto* maps = new QHBoxLayout;
  maps->setSpacing(8);
  const auto pane = [&](QWidget*& widget, QLabel*& title, QLabel*& note, AttentionMapWidget*& map) {
    widget = new QWidget(this);
    auto* inner = new QVBoxLayout(widget);
    inner->setContentsMargins(0, 0, 0, 0);
    inner->setSpacing(2);
    title = make_heading(QString(), widget);
    inner->addWidget(title);
    note = make_note(QString(), widget);
    note->setWordWrap(false);
    inner->addWidget(note);
    // Long names must not widen one map at the other's cost.
    for (QLabel* label : {title, note}) label->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Fixed);
    map = new AttentionMapWidget(selection, cache_, widget);
    map->plot()->setMinimumSize(170, 140);  // beside it there is the colour bar
    map->set_minimap_enabled(false);
    map->set_marginals_visible(false);
    map->set_mask_unattended(true);  // else a map shows probability on keys that its method never read
    inner->addWidget(map, 1);
    maps->addWidget(widget, 1);
  };
  pane(first_pane_, first_title_, first_note_, first_);
  pane(second_pane_, second_title_, second_note_, second_);
  column->addLayout(maps, 1);

  connect(mode_box_, &QComboBox::activated, this, [this](int index) {
    set_mode(static_cast<Mode>(index));
    if (mode_ == Mode::flicker) setFocus();
  });
  connect(hold_button_, &QPushButton::pressed, this, [this] { hold(true); });
  connect(hold_button_, &QPushButton::released, this, [this] { hold(false); });
  connect(layer_box_, &QComboBox::activated, this,
          [this](int index) { selection_->change([&](ViewState& state) { state.layer = index; }); });
  connect(head_box_, &QComboBox::activated, this, [this](int index) {
    selection_->change([&](ViewState& state) {
      state.head.kind = index == 0 ? record::HeadSelector::Kind::mean : record::HeadSelector::Kind::head;
      state.head.index = std::max(0, index - 1);
    });
  });
  const auto recolour = [this] {
    QPalette palette = refusal_label_->palette();
    palette.setColor(QPalette::Window, Theme::instance().warning_background());
    palette.setColor(QPalette::WindowText, Theme::instance().text());
    refusal_label_->setPalette(palette);
  };
  connect(&Theme::instance(), &Theme::changed, this, recolour);
  recolour();
  arrange();
}

void CompareMaps::set_tile_provider(TileProvider* provider) {
  cache_->set_provider(provider);
}

void CompareMaps::set_sides(const CompareSide& baseline, const CompareSide& candidate) {
  baseline_ = baseline;
  candidate_ = candidate;
  fill_places();
  update_maps();
}

void CompareMaps::set_place(int layer, record::HeadSelector head) {
  layer_ = layer;
  head_ = head;
  fill_places();
  update_maps();
}

void CompareMaps::set_mode(Mode mode) {
  if (mode == mode_) return;
  selection_->change([mode](ViewState& state) { state.display.compare_mode = mode; });
  mode_ = mode;
  held_ = false;
  mode_box_->setCurrentIndex(static_cast<int>(mode));
  update_maps();
}

void CompareMaps::fill_places() {
  const QSignalBlocker block_layer(layer_box_), block_head(head_box_);
  if (!baseline_.run) return;
  const auto& meta = baseline_.run->meta();
  if (layer_box_->count() != meta.num_layers()) {
    layer_box_->clear();
    for (int layer = 0; layer < meta.num_layers(); ++layer) layer_box_->addItem(tr("Layer %1").arg(layer));
  }
  const std::int64_t heads = meta.has_layer(layer_) ? meta.layer(layer_).num_q_heads : 0;  // layers may differ
  if (head_box_->count() != heads + 1) {
    head_box_->clear();
    head_box_->addItem(tr("Head mean"));
    for (int head = 0; head < heads; ++head) head_box_->addItem(tr("Head %1").arg(head));
  }
  layer_box_->setCurrentIndex(layer_);
  using Kind = record::HeadSelector::Kind;
  // A GQA group, chosen on another page, has no entry here; its maps are shown all the same.
  head_box_->setCurrentIndex(head_.kind == Kind::head ? head_.index + 1 : head_.kind == Kind::mean ? 0 : -1);
}

QString CompareMaps::shown_keys(const CompareSide& side) const {
  if (!side.run || !side.method || side.method->is_dense() || !side.run->meta().has_layer(layer_)) return {};
  const auto& layer = side.run->meta().layer(layer_);
  if (!layer.is_full()) return {};
  const bool known = side.run->availability(side.method->id, layer_).supports &&
                     record::support_group(*side.method, layer, head_).has_value();
  return known ? tr("grey: not attended to") : tr("of all keys, attended to or not");
}

QString CompareMaps::refusal() const {
  if (mode_ == Mode::side_by_side) return {};
  return map_refusal(baseline_, candidate_, layer_);
}

QString CompareMaps::side_title(const CompareSide& side) const {
  if (!side.method) return {};
  const QString run = baseline_.run != candidate_.run ? QStringLiteral(" · ") + run_label(*side.run) : QString();
  return method_label(*side.run, *side.method) + run;
}

void CompareMaps::update_maps() {
  if (!baseline_.run || !candidate_.run || !baseline_.method || !candidate_.method) return;
  const MapSource a{baseline_.run, QString::fromStdString(baseline_.method->id), layer_, head_};
  const MapSource b{candidate_.run, QString::fromStdString(candidate_.method->id), layer_, head_};
  first_->set_source(a);
  const bool combine = refusal().isEmpty();
  if (combine && mode_ == Mode::difference) {
    first_->set_second_source(b, MapLayout::difference);
  } else if (combine && mode_ == Mode::diagonal_split) {
    first_->set_second_source(b, MapLayout::diagonal_split);
  } else {
    first_->clear_second_source();
  }
  if (mode_ == Mode::side_by_side || mode_ == Mode::flicker) second_->set_source(b);
  const QString base = side_title(baseline_), other = side_title(candidate_);
  second_title_->setText(tr("Candidate: %1").arg(other));
  second_note_->setText(shown_keys(candidate_));
  QString note = shown_keys(baseline_);
  switch (mode_) {
    case Mode::difference:
      first_title_->setText(tr("%1 minus %2").arg(other, base));
      note = layer_ == 0 ? tr("equal: the first layer sees the same input in every method")
                         : tr("of all keys, those that were not attended to as well");
      break;
    case Mode::diagonal_split:
      first_title_->setText(tr("below the diagonal %1, above it %2 mirrored").arg(base, other));
      if (note.isEmpty()) note = shown_keys(candidate_);
      break;
    default:
      first_title_->setText(tr("Baseline: %1").arg(base));
  }
  first_note_->setText(note);
  for (QLabel* label : {first_title_, second_title_, first_note_, second_note_}) label->setToolTip(label->text());
  arrange();
}

void CompareMaps::arrange() {
  const QString why = refusal();
  refusal_label_->setText(why.isEmpty() ? QString() : tr("<b>Not combined.</b> %1").arg(why.toHtmlEscaped()));
  refusal_label_->setVisible(!why.isEmpty());
  const bool flicker = mode_ == Mode::flicker;
  hold_button_->setVisible(flicker);
  hold_button_->setEnabled(why.isEmpty());
  const bool only_second = flicker && held_ && why.isEmpty();
  first_pane_->setVisible(why.isEmpty() && !only_second);
  second_pane_->setVisible(why.isEmpty() && (mode_ == Mode::side_by_side || only_second));
  first_->set_colour_bar_visible(mode_ != Mode::side_by_side);  // both maps have the range of the second one's
}

void CompareMaps::hold(bool candidate) {
  if (mode_ != Mode::flicker || held_ == candidate) return;
  held_ = candidate;
  arrange();
}

bool CompareMaps::shows_candidate() const {
  return !second_pane_->isHidden();
}

bool CompareMaps::settled() const {
  const auto ready = [&](const AttentionMapWidget* map, const QWidget* pane) {
    return pane->isHidden() ||
           (map->data() && map->data()->source.layer == layer_ && map->data()->source.head == head_ && map->settled());
  };
  const bool second_needed = first_->style_now().layout == MapLayout::single &&
                             (mode_ == Mode::difference || mode_ == Mode::diagonal_split) && refusal().isEmpty();
  return ready(first_, first_pane_) && ready(second_, second_pane_) && !second_needed && !cache_->busy();
}

void CompareMaps::keyPressEvent(QKeyEvent* event) {
  if (event->key() == Qt::Key_X && mode_ == Mode::flicker && event->modifiers() == Qt::NoModifier) {
    if (!event->isAutoRepeat()) hold(true);
    return;
  }
  QWidget::keyPressEvent(event);
}

void CompareMaps::keyReleaseEvent(QKeyEvent* event) {
  if (event->key() == Qt::Key_X && mode_ == Mode::flicker) {
    if (!event->isAutoRepeat()) hold(false);
    return;
  }
  QWidget::keyReleaseEvent(event);
}

void CompareMaps::focusOutEvent(QFocusEvent* event) {
  hold(false);
  QWidget::focusOutEvent(event);
}

}  // namespace headroom::views
