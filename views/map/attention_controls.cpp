// SPDX-License-Identifier: GPL-3.0-or-later
// The control rows of the attention page.
#include "views/map/attention_controls.h"

#include <QCheckBox>
#include <QComboBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QPainter>
#include <QPixmap>
#include <QSignalBlocker>
#include <QSlider>
#include <QToolButton>
#include <algorithm>
#include <cmath>
#include <iterator>

#include "views/common/flow_layout.h"
#include "views/common/format.h"
#include "views/common/theme.h"

namespace headroom::views {
namespace {

using Kind = record::HeadSelector::Kind;

// The threshold of missed mass on the slider: round values from 1e-5 to 1.
constexpr double thresholds[] = {1e-5,  2e-5, 3e-5, 5e-5, 1e-4, 2e-4, 3e-4, 5e-4, 0.001, 0.002, 0.003,
                                 0.005, 0.01, 0.02, 0.03, 0.05, 0.1,  0.2,  0.3,  0.5,   1};
double threshold_at(int step) {
  return thresholds[std::clamp(step, 0, static_cast<int>(std::size(thresholds)) - 1)];
}
int step_of(double threshold) {
  return static_cast<int>(std::lower_bound(std::begin(thresholds), std::end(thresholds), threshold * 0.999) -
                          std::begin(thresholds));
}

QString missed_tip() {
  return QObject::tr(
      "Orange: keys among the true top-k of this stream that were not selected, where a cell misses at least this much "
      "mass (1: all that one query reads)");
}

/// A caption and its control, kept together when the row wraps.
QWidget* labelled(const QString& caption, QWidget* control) {
  auto* box = new QWidget;
  auto* row = new QHBoxLayout(box);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(5);
  auto* label = new QLabel(caption);
  label->setBuddy(control);
  row->addWidget(label);
  row->addWidget(control);
  return box;
}

QToolButton* overlay_button(const QString& caption, const QString& tip) {
  auto* button = new QToolButton;
  button->setText(caption);
  button->setCheckable(true);
  button->setToolButtonStyle(Qt::ToolButtonTextBesideIcon);
  button->setIconSize(QSize(16, 16));
  button->setAccessibleName(QObject::tr("Overlay: %1").arg(caption));
  button->setToolTip(tip);
  return button;
}

/// The class as it is drawn on the map, on a piece of the map's own colour.
QIcon overlay_icon(int kind) {
  const Theme& theme = Theme::instance();
  QPixmap pixmap(32, 32);
  pixmap.setDevicePixelRatio(2);
  pixmap.fill(QColor(cividis()[70]));
  QPainter painter(&pixmap);
  const QRectF box(3.5, 3.5, 9, 9);
  if (kind == 0) {
    painter.setPen(QPen(theme.map_outline(), 1.5));
    painter.drawRect(box);
  } else if (kind == 1) {
    painter.fillRect(box, theme.missed());
  } else {
    painter.setClipRect(box);
    painter.setPen(QPen(theme.wasted().lighter(130), 1.6));
    for (int i = -16; i < 32; i += 4) painter.drawLine(QPointF(i, 16), QPointF(i + 16, 0));
  }
  return pixmap;
}

}  // namespace

AttentionControls::AttentionControls(Selection* selection, QWidget* parent)
    : QWidget(parent),
      selection_(selection),
      method_(new QComboBox),
      layer_(new QComboBox),
      head_(new QComboBox),
      mode_(new QComboBox),
      cell_(new QComboBox) {
  auto* flow = new FlowLayout(this, 14, 5);
  flow->setContentsMargins(8, 6, 8, 6);
  method_->setAccessibleName(tr("Method whose map is shown"));
  method_->setSizeAdjustPolicy(QComboBox::AdjustToContents);
  layer_->setAccessibleName(tr("Layer"));
  const QString kept_tip = tr(
      "●: the record holds q and k, so every pair is exact · ◐: it holds the largest value and the mean of blocks · ○: "
      "it holds no map · –: no full attention. Shift+[ and Shift+] step.");
  layer_->setToolTip(kept_tip);
  layer_legend_ = new QLabel;
  layer_legend_->setToolTip(kept_tip);
  layer_legend_->setAccessibleName(tr("What the marks of layers mean"));
  layer_legend_->setObjectName("layer_legend");
  layer_->setMaxVisibleItems(24);
  layer_->setSizeAdjustPolicy(QComboBox::AdjustToContents);
  head_->setAccessibleName(tr("Heads"));
  head_->setToolTip(tr("One head, the mean over all, or one GQA group. [ and ] step."));
  head_->setMaxVisibleItems(24);
  head_->setSizeAdjustPolicy(QComboBox::AdjustToContents);
  mode_->setAccessibleName(tr("Colour shows"));
  mode_->addItem(tr("probability (log)"), static_cast<int>(MapMode::probability));
  mode_->addItem(tr("lift over uniform"), static_cast<int>(MapMode::lift));
  mode_->setItemData(1, tr("p times the number of visible keys: 1 = as if spread evenly"), Qt::ToolTipRole);
  mode_->addItem(tr("rank in row"), static_cast<int>(MapMode::rank));
  mode_->setItemData(2,
                     tr("The key's place in its row by p: 1 has the most. Zoomed out, the best place in the cell. For "
                        "layers that are kept exactly"),
                     Qt::ToolTipRole);
  cell_->setAccessibleName(tr("Zoomed out, a cell shows"));
  cell_->addItem(tr("max"));
  cell_->addItem(tr("mean"));
  cell_->setToolTip(
      tr("What a cell shows where it covers more than one pair. The maximum keeps single pairs visible."));
  hit_ = overlay_button(tr("hit"), tr("Outlined: selected, and among the true top-k"));
  missed_ = overlay_button(tr("missed"), missed_tip());
  missed_from_ = new QSlider(Qt::Horizontal);
  missed_from_->setRange(0, static_cast<int>(std::size(thresholds)) - 1);
  missed_from_->setPageStep(4);
  missed_from_->setFixedWidth(70);
  missed_from_->setAccessibleName(tr("Missed mass of a cell from which it is orange"));
  missed_from_->setToolTip(missed_tip());
  missed_from_text_ = new QLabel;
  missed_from_text_->setToolTip(missed_tip());
  wasted_ = overlay_button(tr("wasted"), tr("Hatched: selected, but with almost no mass"));
  hide_ = new QCheckBox(tr("hide sinks + local band"));
  hide_->setToolTip(tr("Hides cells that touch the first 4 keys or the last 64 before the query"));
  hidden_mass_ = new QLabel;
  hidden_mass_->setToolTip(tr("Share of the mass that is hidden, mean over rows"));
  minimap_ = new QCheckBox(tr("minimap"));
  minimap_->setChecked(true);
  minimap_->setToolTip(tr("Shown in the corner while only a part of the map is visible"));
  fit_ = new QToolButton;
  fit_->setText(tr("Fit"));
  fit_->setToolTip(tr("Show the whole context (F)"));
  fit_colours_ = new QToolButton;
  fit_colours_->setText(tr("Fit colours"));
  fit_colours_->setToolTip(tr("Colour range from what is visible; double-click the scale to reset"));

  // In parts, so that they wrap where the window is narrow.
  const auto row_of = [](std::initializer_list<QWidget*> parts) {
    auto* box = new QWidget;
    auto* row = new QHBoxLayout(box);
    row->setContentsMargins(0, 0, 0, 0);
    row->setSpacing(3);
    for (QWidget* part : parts) row->addWidget(part);
    return box;
  };
  QWidget* overlay = row_of({hit_, missed_});
  auto* hide = new QWidget;
  auto* hide_row = new QHBoxLayout(hide);
  hide_row->setContentsMargins(0, 0, 0, 0);
  hide_row->setSpacing(5);
  hide_row->addWidget(hide_);
  hide_row->addWidget(hidden_mass_);
  more_ = new QToolButton;
  more_->setText(QStringLiteral("…"));
  more_->setAccessibleName(tr("More: colour, cell, threshold, hidden keys, minimap"));
  more_->setToolTip(more_->accessibleName());
  more_->setCheckable(true);
  more_->hide();
  QWidget* colour = labelled(tr("Colour"), mode_);
  QWidget* cell = labelled(tr("Cell"), cell_);
  QWidget* threshold = row_of({missed_from_, missed_from_text_});
  for (QWidget* item :
       {labelled(tr("Method"), method_), labelled(tr("Layer"), layer_), static_cast<QWidget*>(layer_legend_),
        labelled(tr("Heads"), head_), colour, cell, labelled(tr("Overlay"), overlay), threshold,
        static_cast<QWidget*>(wasted_), hide, static_cast<QWidget*>(minimap_), static_cast<QWidget*>(fit_),
        static_cast<QWidget*>(fit_colours_), static_cast<QWidget*>(more_)})
    flow->addWidget(item);
  foldable_ = {layer_legend_, colour, cell, threshold, hide, minimap_, fit_, fit_colours_};
  connect(more_, &QToolButton::toggled, this, [this](bool on) { set_folded(!on); });

  connect(method_, &QComboBox::activated, this, [this] {
    selection_->change([this](ViewState& state) { state.method = method_->currentData().toString(); });
  });
  connect(layer_, &QComboBox::activated, this,
          [this] { selection_->change([this](ViewState& state) { state.layer = layer_->currentData().toInt(); }); });
  connect(head_, &QComboBox::activated, this, [this] {
    const QPoint head = head_->currentData().toPoint();
    selection_->change([head](ViewState& state) { state.head = {static_cast<Kind>(head.x()), head.y()}; });
  });
  connect(mode_, &QComboBox::activated, this, [this] {
    change_display([this](DisplayState& d) { d.mode = static_cast<MapMode>(mode_->currentData().toInt()); });
  });
  connect(cell_, &QComboBox::activated, this,
          [this](int index) { change_display([index](DisplayState& d) { d.show_mean = index == 1; }); });
  connect(hit_, &QToolButton::toggled, this,
          [this](bool on) { change_display([on](DisplayState& d) { d.hit = on; }); });
  connect(missed_, &QToolButton::toggled, this,
          [this](bool on) { change_display([on](DisplayState& d) { d.missed = on; }); });
  connect(wasted_, &QToolButton::toggled, this,
          [this](bool on) { change_display([on](DisplayState& d) { d.wasted = on; }); });
  connect(missed_from_, &QSlider::valueChanged, this, [this](int step) {
    change_display([step](DisplayState& d) { d.missed_from = threshold_at(step); }, QStringLiteral("missed from"));
  });
  connect(missed_from_, &QSlider::sliderReleased, selection_, &Selection::end_merge);
  connect(hide_, &QCheckBox::toggled, this,
          [this](bool on) { change_display([on](DisplayState& d) { d.hide_bands = on; }); });
  connect(minimap_, &QCheckBox::toggled, this,
          [this](bool on) { change_display([on](DisplayState& d) { d.minimap = on; }); });
  connect(fit_, &QToolButton::clicked, this, &AttentionControls::fit_asked);
  connect(fit_colours_, &QToolButton::clicked, this, &AttentionControls::fit_colours_asked);
  connect(selection_, &Selection::changed, this, [this](unsigned mask) {
    if (mask & (Selection::Runs | Selection::Method))
      fill_all();
    else if (mask & (Selection::Layer | Selection::Head))
      show_state();
    if (mask & Selection::Display) show_display();
  });
  connect(&Theme::instance(), &Theme::changed, this, &AttentionControls::apply_theme);
  apply_theme();
  fill_all();
  set_map_facts(false, false, false, {}, -1);
}

void AttentionControls::fit(int width, int height) {
  auto* flow = static_cast<FlowLayout*>(layout());
  const int whole = flow->whole_height(width);
  const QSize asked(whole, height);
  if (asked == fitted_) return;
  fitted_ = asked;
  const bool fold = whole > height / 5;
  more_->setVisible(fold);
  const QSignalBlocker blocker(more_);
  more_->setChecked(false);
  set_folded(fold);
}

void AttentionControls::unfold() {
  if (folded_) more_->setChecked(true);
}

void AttentionControls::set_folded(bool folded) {
  folded_ = folded;
  for (QWidget* widget : foldable_) {
    widget->setProperty("folded", folded);  // the palette still has what is in there
    widget->setVisible(!folded);
  }
  updateGeometry();
}

void AttentionControls::show_display() {
  const DisplayState& display = selection_->state().display;
  const QSignalBlocker blockers[] = {QSignalBlocker(mode_),   QSignalBlocker(cell_),   QSignalBlocker(hit_),
                                     QSignalBlocker(missed_), QSignalBlocker(wasted_), QSignalBlocker(missed_from_),
                                     QSignalBlocker(hide_),   QSignalBlocker(minimap_)};
  mode_->setCurrentIndex(mode_->findData(static_cast<int>(display.mode)));
  cell_->setCurrentIndex(display.show_mean ? 1 : 0);
  hit_->setChecked(display.hit);
  missed_->setChecked(display.missed.value_or(missed_matters_));
  wasted_->setChecked(display.wasted);
  hide_->setChecked(display.hide_bands);
  minimap_->setChecked(display.minimap);
  if (threshold_at(missed_from_->value()) != display.missed_from) missed_from_->setValue(step_of(display.missed_from));
  missed_from_text_->setText(QStringLiteral("≥ ") + format_scale_end(display.missed_from, 2));
  const bool on = missed_->isEnabled() && missed_->isChecked();
  missed_from_->setEnabled(on);
  missed_from_text_->setEnabled(on);
}

void AttentionControls::apply_theme() {
  hit_->setIcon(overlay_icon(0));
  missed_->setIcon(overlay_icon(1));
  wasted_->setIcon(overlay_icon(2));
  QPalette muted = palette();
  muted.setColor(QPalette::WindowText, Theme::instance().muted_text());
  hidden_mass_->setPalette(muted);
  layer_legend_->setPalette(muted);
  missed_from_text_->setMinimumWidth(fontMetrics().horizontalAdvance(QStringLiteral("≥ 0.0005")));
}

OverlayFlags AttentionControls::overlay() const {
  return {hit_->isEnabled() && hit_->isChecked(), missed_->isEnabled() && missed_->isChecked(),
          wasted_->isEnabled() && wasted_->isChecked()};
}

void AttentionControls::set_map_facts(bool has_overlay, bool has_wasted, bool missed_matters,
                                      const QString& overlay_note, double hidden_mass) {
  const QString why = !overlay_note.isEmpty() ? overlay_note
                                              : tr("This map has no support to compare: it is dense, or the record "
                                                   "does not hold the support of this layer.");
  const auto set = [&](QToolButton* button, bool enabled, const QString& tip) {
    button->setEnabled(enabled);
    button->setToolTip(enabled ? tip : why);
  };
  set(hit_, has_overlay, tr("Outlined: selected, and among the true top-k"));
  set(missed_, has_overlay, missed_tip());
  set(wasted_, has_overlay && has_wasted, tr("Hatched: selected, but with almost no mass"));
  hidden_mass_->setText(hidden_mass < 0 ? QString() : tr("(%1 %)").arg(100 * hidden_mass, 0, 'f', 1));
  hidden_mass_->setVisible(hidden_mass >= 0);
  missed_matters_ = has_overlay && missed_matters;
  show_display();
}

void AttentionControls::fill_all() {
  const RecordPtr record = selection_->record();
  setEnabled(record != nullptr);
  if (record != filled_) {
    const QSignalBlocker block_method(method_);
    method_->clear();
    if (record)
      for (const auto& method : record->methods())
        method_->addItem(QString::fromStdString(method.id), QString::fromStdString(method.id));
  }
  if (record != filled_ || filled_method_ != selection_->state().method) fill_layers();
  filled_ = record;
  filled_method_ = selection_->state().method;
  show_state();
  updateGeometry();
}

void AttentionControls::fill_heads() {
  const RecordPtr record = selection_->record();
  const int number = selection_->state().layer;
  const record::LayerMeta layer =
      record && record->meta().has_layer(number) ? record->meta().layer(number) : record::LayerMeta{};
  if (head_->count() > 0 && layer == filled_heads_) return;
  filled_heads_ = layer;
  const QSignalBlocker block(head_);
  head_->clear();
  head_->addItem(tr("mean of %1").arg(layer.num_q_heads), QPoint(static_cast<int>(Kind::mean), 0));
  for (int i = 0; i < layer.num_q_heads; ++i)
    head_->addItem(tr("head %1").arg(i), QPoint(static_cast<int>(Kind::head), i));
  if (layer.num_kv_heads > 1 && layer.group_size() > 1)
    for (int i = 0; i < layer.num_kv_heads; ++i)
      head_->addItem(head_name(layer, {Kind::group, i}), QPoint(static_cast<int>(Kind::group), i));
}

void AttentionControls::fill_layers() {
  const QSignalBlocker block(layer_);
  layer_->clear();
  layer_legend_->clear();
  const RecordPtr record = selection_->record();
  if (!record) return;
  bool any[3] = {};  // exact, blocks, nothing
  const std::string id = selection_->state().method.toStdString();
  const auto* method = record->find_method(id);
  for (int layer = 0; layer < record->meta().num_layers(); ++layer) {
    const auto index = static_cast<std::size_t>(layer);
    if (!record->meta().is_full(layer)) {
      layer_->addItem(tr("–  %1 · %2").arg(layer).arg(QString::fromStdString(record->meta().layer(layer).kind)), layer);
      continue;
    }
    const auto available = record->availability(id, layer);
    any[available.stream ? 0 : available.thumbnails ? 1 : 2] = true;
    QString text = QStringLiteral("%1  %2")
                       .arg(available.stream       ? QStringLiteral("●")
                            : available.thumbnails ? QStringLiteral("◐")
                                                   : QStringLiteral("○"))
                       .arg(layer);
    if (method && !method->is_dense() && index < method->captured_mass_per_layer.size() &&
        std::isfinite(method->captured_mass_per_layer[index]))
      text += tr(" · captures %1 %").arg(100 * method->captured_mass_per_layer[index], 0, 'f', 1);
    layer_->addItem(text, layer);
  }
  QStringList legend;
  if (any[0]) legend << tr("● exact");
  if (any[1]) legend << tr("◐ blocks");
  if (any[2]) legend << tr("○ none");
  layer_legend_->setText(legend.join(QStringLiteral("  ")));
}

void AttentionControls::show_state() {
  fill_heads();
  const ViewState& state = selection_->state();
  const QSignalBlocker block_method(method_), block_layer(layer_), block_head(head_);
  method_->setCurrentIndex(method_->findData(state.method));
  layer_->setCurrentIndex(layer_->findData(state.layer));
  for (int i = 0; i < head_->count(); ++i) {
    const QPoint head = head_->itemData(i).toPoint();
    if (head.x() == static_cast<int>(state.head.kind) &&
        (state.head.kind == Kind::mean || head.y() == state.head.index))
      head_->setCurrentIndex(i);
  }
}

void AttentionControls::step_layer(int direction) {
  const RecordPtr record = selection_->record();
  if (!record) return;
  const int count = static_cast<int>(record->meta().num_layers());
  selection_->change([&](ViewState& state) {
    for (int i = 0; i < count; ++i) {
      state.layer = (state.layer + direction + count) % count;
      if (record->meta().is_full(state.layer)) return;
    }
  });
}

void AttentionControls::step_head(int direction) {
  if (head_->count() == 0) return;
  const int index = (head_->currentIndex() + direction + head_->count()) % head_->count();
  const QPoint head = head_->itemData(index).toPoint();
  selection_->change([head](ViewState& state) { state.head = {static_cast<Kind>(head.x()), head.y()}; });
}

}  // namespace headroom::views
