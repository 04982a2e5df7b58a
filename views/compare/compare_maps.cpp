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
#include "views/common/elided_label.h"
#include "views/common/flow_layout.h"
#include "views/common/format.h"
#include "views/common/page_base.h"
#include "views/common/theme.h"
#include "views/map/tile_cache.h"

namespace headroom::views {

CompareMaps::CompareMaps(Selection* selection, QWidget* parent) : QWidget(parent), selection_(selection) {
  setFocusPolicy(Qt::StrongFocus);
  cache_ = new TileCache(this);
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(6);
  build_bar(column);
  refusal_label_ = new QLabel(this);
  refusal_label_->setWordWrap(true);
  refusal_label_->setMargin(8);
  refusal_label_->setAutoFillBackground(true);
  column->addWidget(refusal_label_);
  grid_ = new CompareGrid(this);
  column->addWidget(grid_, 1);
  add_pane();
  add_pane();
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

void CompareMaps::build_bar(QLayout* column) {
  auto* bar = new FlowLayout(nullptr, 8, 6);
  bar->addWidget(make_heading(tr("Map"), this));
  const auto choice = [&](const QString& name) {
    auto* box = new QComboBox(this);
    box->setAccessibleName(name);
    box->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    bar->addWidget(box);
    return box;
  };
  mode_box_ = choice(tr("How the maps are compared"));
  mode_box_->addItems({tr("Side by side"), tr("Difference"), tr("Diagonal split"), tr("Flicker (hold X)")});
  chosen_box_ = choice(tr("Which candidates' maps are shown"));
  layer_box_ = choice(tr("Layer of the maps"));
  head_box_ = choice(tr("Head of the maps"));
  hold_button_ = new QPushButton(tr("Hold for the candidate"), this);
  hold_button_->setFocusPolicy(Qt::NoFocus);
  bar->addWidget(hold_button_);
  static_cast<QVBoxLayout*>(column)->addLayout(bar);
  connect(mode_box_, &QComboBox::activated, this, [this](int index) {
    set_mode(static_cast<Mode>(index));
    if (mode_ == Mode::flicker) setFocus();
  });
  connect(chosen_box_, &QComboBox::activated, this, &CompareMaps::set_chosen);
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
}

void CompareMaps::add_pane() {
  MapPane pane;
  pane.widget = new QWidget(grid_);
  pane.title = new ElidedLabel(pane.widget);
  pane.note = new ElidedLabel(pane.widget);
  const auto restyle = [title = pane.title, note = pane.note] {
    QFont bold;  // says its weight alone
    bold.setWeight(QFont::DemiBold);
    title->setFont(bold);
    set_text_colour(note, Theme::instance().muted_text());
  };
  connect(&Theme::instance(), &Theme::changed, pane.title, restyle);
  restyle();
  auto* map = pane.map = new AttentionMapWidget(selection_, cache_, pane.widget);
  map->set_minimap_enabled(false);
  map->set_marginals_visible(false);
  map->set_mask_unattended(true);  // else a map shows probability on keys that its method never read
  map->setMinimumSize(0, 0);
  map->plot()->setMinimumSize(40, 40);
  pane.widget->hide();
  grid_->add_pane(pane);
  panes_.push_back(pane);
}

void CompareMaps::set_tile_provider(TileProvider* provider) {
  cache_->set_provider(provider);
}

void CompareMaps::set_sides(const CompareSide& baseline, const std::vector<CompareSide>& candidates) {
  baseline_ = baseline;
  candidates_ = candidates;
  if (chosen_ > static_cast<int>(candidates_.size())) chosen_ = 0;
  while (panes_.size() < candidates_.size() + 1) add_pane();
  fill_places();
  fill_chosen();
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

void CompareMaps::set_chosen(int candidate) {
  if (candidate < 0 || candidate > static_cast<int>(candidates_.size())) candidate = 0;
  if (candidate == chosen_) return;
  selection_->change([candidate](ViewState& state) { state.display.compare_chosen = candidate; });
  chosen_ = candidate;
  held_ = false;
  chosen_box_->setCurrentIndex(candidate);
  update_maps();
}

void CompareMaps::fill_chosen() {
  const QSignalBlocker block(chosen_box_);
  chosen_box_->clear();
  chosen_box_->addItem(tr("All candidates"));
  for (const CompareSide& one : candidates_) chosen_box_->addItem(tr("Only %1").arg(side_title(one)));
  chosen_box_->setCurrentIndex(chosen_);
  chosen_box_->setVisible(candidates_.size() > 1);
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

const CompareSide& CompareMaps::side(int index) const {
  return index == 0 ? baseline_ : candidates_[static_cast<std::size_t>(index - 1)];
}

std::vector<int> CompareMaps::compared() const {
  std::vector<int> list;
  for (int i = 1; i <= static_cast<int>(candidates_.size()); ++i)
    if (chosen_ == 0 || chosen_ == i) list.push_back(i);
  return list;
}

QString CompareMaps::refusal_of(int candidate) const {
  return mode_ == Mode::side_by_side ? QString() : map_refusal(baseline_, side(candidate), layer_);
}

QString CompareMaps::refusal() const {
  QString first;
  for (const int candidate : compared()) {
    const QString why = refusal_of(candidate);
    if (why.isEmpty()) return {};
    if (first.isEmpty()) first = why;
  }
  return first;
}

std::vector<CompareMaps::Shown> CompareMaps::wanted() const {
  std::vector<Shown> list;
  if (!combines()) list.push_back({0, false});
  for (const int candidate : compared())
    if (refusal_of(candidate).isEmpty()) list.push_back({candidate, combines()});
  return mode_ == Mode::flicker && list.size() == 1 ? std::vector<Shown>() : list;
}

QString CompareMaps::side_title(const CompareSide& side) const {
  if (!side.method) return {};
  const bool runs = std::any_of(candidates_.begin(), candidates_.end(),
                                [&](const CompareSide& one) { return one.run != baseline_.run; });
  return method_label(*side.run, *side.method) + (runs ? QStringLiteral(" · ") + run_label(*side.run) : QString());
}

void CompareMaps::update_maps() {
  if (!baseline_.run || !baseline_.method || candidates_.empty()) return;
  const auto source = [&](const CompareSide& of) {
    return MapSource{of.run, QString::fromStdString(of.method->id), layer_, head_};
  };
  shown_ = wanted();
  if (flickers_ >= static_cast<int>(shown_.size())) {
    held_ = false;
    flickers_ = 0;
  }
  for (std::size_t i = 0; i < shown_.size(); ++i) {
    const Shown& what = shown_[i];
    const MapPane& pane = panes_[i];
    const CompareSide& other = side(what.side);
    pane.map->set_source(source(what.combined ? baseline_ : other));
    const QString base = side_title(baseline_), name = side_title(other);
    QString note = shown_keys(what.combined ? baseline_ : other);
    if (!what.combined) {
      pane.map->clear_second_source();
      pane.title->setText(what.side == 0             ? tr("Baseline: %1").arg(base)
                          : candidates_.size() == 1 ? tr("Candidate: %1").arg(name)
                                                    : tr("Candidate %1: %2").arg(what.side).arg(name));
    } else if (mode_ == Mode::difference) {
      pane.map->set_second_source(source(other), MapLayout::difference);
      pane.title->setText(tr("%1 minus %2").arg(name, base));
      note = layer_ == 0 ? tr("equal: the first layer sees the same input in every method")
                         : tr("of all keys, those that were not attended to as well");
    } else {
      pane.map->set_second_source(source(other), MapLayout::diagonal_split);
      pane.title->setText(tr("below the diagonal %1, above it %2 mirrored").arg(base, name));
      if (note.isEmpty()) note = shown_keys(other);
    }
    pane.note->setText(note);
    for (QLabel* label : {pane.title, pane.note}) label->setToolTip(label->text());
  }
  arrange();
}

void CompareMaps::arrange() {
  QStringList refused;
  for (const int candidate : compared())
    if (const QString why = refusal_of(candidate); !why.isEmpty())
      refused << (compared().size() > 1 ? tr("%1: %2").arg(side_title(side(candidate)), why) : why).toHtmlEscaped();
  refusal_label_->setText(refused.isEmpty() ? QString()
                                            : tr("<b>Not combined.</b> %1").arg(refused.join(QStringLiteral("<br>"))));
  refusal_label_->setVisible(!refused.isEmpty());
  const bool flicker = mode_ == Mode::flicker;
  hold_button_->setVisible(flicker);
  hold_button_->setEnabled(!shown_.empty());
  hold_button_->setText(compared().size() > 1 ? tr("Hold for the next candidate") : tr("Hold for the candidate"));
  const std::size_t shown = shown_.size(), in_sight = flicker && held_ ? static_cast<std::size_t>(flickers_) : 0;
  for (std::size_t i = 0; i < panes_.size(); ++i) {
    panes_[i].widget->setVisible(i < shown && (!flicker || i == in_sight));
    // Side by side all have one range: the last one's scale stands for all. Differences are each on their own.
    panes_[i].map->set_colour_bar_visible(flicker || combines() || i + 1 == shown);
  }
  grid_->place();
}

void CompareMaps::hold(bool candidate) {
  if (mode_ != Mode::flicker || held_ == candidate || shown_.size() < 2) return;
  held_ = candidate;
  if (candidate) flickers_ = flickers_ + 1 < static_cast<int>(shown_.size()) ? flickers_ + 1 : 1;
  arrange();
}

bool CompareMaps::shows_candidate() const {
  return mode_ == Mode::flicker ? held_ : mode_ == Mode::side_by_side && shown_.size() > 1;
}

std::vector<AttentionMapWidget*> CompareMaps::pictured() const {
  std::vector<AttentionMapWidget*> maps;
  for (std::size_t i = 0; i < shown_.size(); ++i) maps.push_back(panes_[i].map);
  return maps;
}

bool CompareMaps::settled() const {
  for (std::size_t i = 0; i < shown_.size(); ++i) {
    if (panes_[i].widget->isHidden()) continue;
    const AttentionMapWidget* map = panes_[i].map;
    const bool here = map->data() && map->data()->source.layer == layer_ && map->data()->source.head == head_;
    if (!here || !map->settled() || (shown_[i].combined && map->style_now().layout == MapLayout::single)) return false;
  }
  return !cache_->busy();
}

QVector<PageCommand> CompareMaps::commands() {
  QVector<PageCommand> list = first()->commands().mid(0, 7);  // what moves the view: pan, zoom, the whole map
  list.prepend({tr("Flicker: a candidate in the baseline's place while the key is held; of several the next each time"),
                "X",
                {Qt::Key_X},
                [this] { hold(true); },
                [this] { hold(false); }});
  return list;
}

void CompareMaps::keyPressEvent(QKeyEvent* event) {
  if (!run_command(commands(), *event)) QWidget::keyPressEvent(event);
}

void CompareMaps::keyReleaseEvent(QKeyEvent* event) {
  if (!end_command(commands(), *event)) QWidget::keyReleaseEvent(event);
}

void CompareMaps::focusOutEvent(QFocusEvent* event) {
  hold(false);
  QWidget::focusOutEvent(event);
}

}  // namespace headroom::views
