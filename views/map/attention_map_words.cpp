// SPDX-License-Identifier: GPL-3.0-or-later
// What the map widget says of itself: why there is no map, what a pixel is, and its figure.
#include <algorithm>
#include <cmath>

#include "views/common/page_base.h"
#include "views/common/record_queries.h"
#include "views/map/attention_map_widget.h"
#include "views/map/map_figure.h"

namespace headroom::views {
namespace {

constexpr QSize usual_figure_pixels(744, 600);  // of a map that was not drawn yet

}  // namespace

QString AttentionMapWidget::notice() const {
  if (!wanted_.record && !primary_) return tr("No run is open.\n\nOpen a recorded run (Ctrl+O) or start a new one.");
  if (!primary_) return loading_ ? tr("Reading layer %1 …").arg(wanted_.layer) : QString();
  const MapData& data = *primary_;
  if (!data.problem.isEmpty())
    return tr("This map could not be read.\n\n%1\n\nAnother layer may still be readable; a damaged record has to be "
              "recorded again.")
        .arg(data.problem);
  if (!data.is_full()) {
    record::LayerMeta sizes;
    sizes.kind = data.layer_kind.toStdString();
    sizes.window = data.window;
    return unsparsified_text(data.source.layer, sizes) + QStringLiteral("\n\n") +
           tr("Choose a layer marked ● in the layer list.");
  }
  if (!refusal_.isEmpty() && layout_ != MapLayout::single) return refusal_;
  if (data.thumbnail || cache_->can_provide(data)) return {};
  const QString note = data.source.record ? QString::fromStdString(data.source.record->meta().kept_note) : QString();
  return tr("The map of layer %1 is not in this record%2\n\nChoose a layer marked ● in the layer list, load the model "
            "to have it computed, or record again with --keep-layers %1.")
      .arg(data.source.layer)
      .arg(note.isEmpty() ? QStringLiteral(".") : QStringLiteral(":\n%1").arg(note));
}

QString AttentionMapWidget::stale_note() const {
  if (!loading_ || !primary_ || primary_->source == wanted_) return {};
  const auto name = [](const MapSource& source, const MapSource& other) {
    QStringList parts;
    if (source.method != other.method) parts << source.method;
    if (source.layer != other.layer) parts << tr("layer %1").arg(source.layer);
    if (!(source.head == other.head) || parts.isEmpty()) parts << head_name(source);
    return parts.join(QStringLiteral(", "));
  };
  return tr("Reading %1 … still shown: %2").arg(name(wanted_, primary_->source), name(primary_->source, wanted_));
}

QString AttentionMapWidget::badge(const Composition& shown) const {
  if (!primary_ || !notice().isEmpty()) return {};
  if (const QString stale = stale_note(); !stale.isEmpty()) return stale;
  const QString what = shows_ranks() ? tr("best rank") : map_->style().show_mean ? tr("mean") : tr("max");
  const auto cells = [&](std::int64_t side) {
    return side == 1 ? tr("one pair per cell") : tr("%1 of %2×%2 pairs per cell").arg(what, grouped(side));
  };
  // What a cell is comes first: where there is no room for all of it, the end is cut.
  QStringList parts;
  const bool thumbnail = shown.thumbnail && primary_->thumbnail;
  if (thumbnail && !primary_->stream && !cache_->can_provide(*primary_)) {
    parts << cells(primary_->thumbnail->cell) << tr("thumbnail: this layer's q and k are not in the record");
  } else if (thumbnail && !cache_->busy() && shown.missing.empty()) {
    parts << cells(primary_->thumbnail->cell) << tr("thumbnail: zoom in for exact values");
  } else if (shown.coarse && shown.missing.empty() && !cache_->busy()) {
    parts << cells(shown.coarsest) << tr("the record holds no finer ones here");
  } else {
    parts << cells(std::int64_t{1} << shown.level);
    if (shown.coarse || !shown.missing.empty()) parts.first() += tr(" · refining …");
  }
  const MapStyle& style = map_->style();
  if (shows_ranks() && shown.blank)
    parts << tr("ranks need whole rows: zoom in to have them");
  else if (shows_ranks())
    parts << tr("rank of p among the keys that the query sees");
  else if (style.mode == MapMode::rank && style.layout == MapLayout::single)
    parts << tr("probability is shown: ranks need this layer's q and k");
  if (style.mask_unattended && style.layout != MapLayout::difference && primary_->has_overlay())
    parts << (shown.level == 0 ? tr("grey: not attended to") : tr("grey: nothing in the cell was attended to"));
  if (const QString note = primary_->overlay_note(); !note.isEmpty()) parts << note;
  if (shown.missed_by_count) parts << tr("orange counts missed keys: their mass is not known here");
  return parts.join(QStringLiteral("  ·  "));
}

QString AttentionMapWidget::scale_text() const {
  const MapStyle& style = map_->style();
  const QString low = format_scale_end(style.colour_min), high = format_scale_end(style.colour_max);
  const QString range = tr("%1 to %2").arg(low, high);
  if (style.ranks) return tr("rank of p in its row, 1 to %1").arg(grouped(std::llround(1 / style.colour_min)));
  if (style.layout == MapLayout::difference) return tr("difference of p, ± %1").arg(range);
  return style.mode == MapMode::lift ? tr("lift over uniform, %1").arg(range) : tr("p, %1").arg(range);
}

QString AttentionMapWidget::aggregation_text() const {
  // The first part of the badge; what is still to be refined is none of a finished picture.
  return badge(is_pictured_ ? pictured_ : map_->composition()).section(QStringLiteral("  ·  "), 0, 0);
}

void AttentionMapWidget::render(QPainter& painter, const QRectF& target, const ExportOptions& options) {
  cache_->hold(true);
  pictured_ = draw_map_figure(painter, target, options,
                              {map_, primary_, secondary_, selection_, title(), notice(), this,
                               [this](const Composition& shown) { return badge(shown); }});
  pictured_.image = {};
  is_pictured_ = !loading_;
}

QString AttentionMapWidget::problem() const {
  if (const QString why = notice(); !why.isEmpty())
    return QString(why).replace(QStringLiteral("\n\n"), QStringLiteral(" "));
  for (const MapDataPtr& data : {primary_, secondary_}) {
    const QString why = data ? cache_->failure_of(*data) : QString();
    if (!why.isEmpty()) return tr("The map could not be drawn: %1").arg(why);
  }
  if (pictured_.blank)
    return tr("The map of layer %1 does not fit: make the picture larger, or choose one head").arg(wanted_.layer);
  return {};
}

void AttentionMapWidget::exported() {
  cache_->want(this, {});
  cache_->hold(false);
}

int AttentionMapWidget::level_of_numbers() const {
  if (is_pictured_) return pictured_.level;
  if (!map_->composition().image.isNull()) return map_->composition().level;
  return level_for(selection_->state().viewport, usual_figure_pixels, primary_ ? primary_->length : 1);
}

QString AttentionMapWidget::csv() const {
  return primary_ ? map_csv(*primary_, selection_->state().viewport, level_of_numbers()) : QString();
}

std::function<QString(std::stop_token)> AttentionMapWidget::csv_work() const {
  if (!primary_) return {};
  return [data = primary_, view = selection_->state().viewport, level = level_of_numbers()](std::stop_token stop) {
    return map_csv(*data, view, level, stop);
  };
}

QString AttentionMapWidget::title() const {
  if (!primary_) return tr("Attention");
  const auto& source = primary_->source;
  // What tells two maps apart comes first: where there is no room for all of it, the end is cut.
  const QString model =
      source.record ? QStringLiteral(", ") + QString::fromStdString(source.record->meta().model_name) : QString();
  return tr("Layer %1, %2, %3%4").arg(QString::number(source.layer), head_name(source), source.method, model);
}

}  // namespace headroom::views
