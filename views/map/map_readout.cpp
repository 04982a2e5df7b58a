// SPDX-License-Identifier: GPL-3.0-or-later
// Filling of the read-out; ranks come from a background thread, since a row at 128K is half a billion multiply-adds.
#include "views/map/map_readout.h"

#include <QEvent>
#include <QFutureWatcher>
#include <QLabel>
#include <QVBoxLayout>
#include <algorithm>
#include <cmath>
#include <exception>
#include <numeric>

#include "views/common/elided_label.h"
#include "views/common/flow_layout.h"
#include "views/common/format.h"
#include "views/common/give_way.h"
#include "views/common/theme.h"
#include "views/common/workers.h"
#include "views/map/attention_map_widget.h"

namespace headroom::views {
namespace {

/// What takes a whole row to know.
struct RowFacts {
  std::int64_t rank = 0;  ///< of the pair; 0: not known
  double sink = -1;       ///< share of the row that the learned sinks of the shown heads take; negative: there is none
};

/// Whose probabilities are ranked, in few letters.
QString short_head_name(const record::HeadSelector& head) {
  if (head.kind == record::HeadSelector::Kind::mean) return QObject::tr("mean");
  return (head.kind == record::HeadSelector::Kind::head ? QObject::tr("head %1") : QObject::tr("group %1"))
      .arg(head.index);
}

}  // namespace

MapReadout::MapReadout(AttentionMapWidget* map, Selection* selection, QWidget* parent)
    : QWidget(parent), map_(map), selection_(selection), badge_(new QLabel) {
  setAccessibleName(tr("Values under the cursor"));
  auto* row = new FlowLayout(nullptr, 14, 2);
  row->setContentsMargins(8, 3, 8, 0);
  const auto add = [&](const QString& id, const QString& caption, int width) {
    auto* box = new QWidget(this);
    auto* column = new QVBoxLayout(box);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    Field field{id, new QLabel(caption), new ElidedLabel, box, width};
    field.value->setAccessibleName(caption);
    field.value->setTextFormat(Qt::PlainText);
    field.value->setTextInteractionFlags(Qt::TextSelectableByMouse);
    column->addWidget(field.caption);
    column->addWidget(field.value);
    row->addWidget(box);
    give_way({box});
    fields_.push_back(field);
  };
  // In lines of as many as fit: none is ever left out.
  add(QStringLiteral("query"), tr("query"), 15);
  add(QStringLiteral("key"), tr("key"), 15);
  add(QStringLiteral("support"), tr("support"), 11);
  add(QStringLiteral("p"), tr("probability"), 10);
  add(QStringLiteral("rank"), tr("rank of p in row"), 15);
  add(QStringLiteral("cell"), tr("cell max · mean"), 16);
  add(QStringLiteral("sink"), tr("learned sink takes"), 15);
  show_sink({});
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 4);
  column->setSpacing(2);
  column->addLayout(row);
  badge_->setContentsMargins(8, 0, 8, 0);
  column->addWidget(badge_);
  badge_->setAccessibleName(tr("What a cell of the map is"));
  badge_->setTextFormat(Qt::PlainText);
  badge_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Fixed);
  QSizePolicy policy(QSizePolicy::Preferred, QSizePolicy::Fixed);
  policy.setHeightForWidth(true);
  setSizePolicy(policy);

  connect(selection_, &Selection::hover_changed, this, &MapReadout::refresh);
  connect(selection_, &Selection::changed, this, &MapReadout::refresh);
  connect(map_, &AttentionMapWidget::data_changed, this, &MapReadout::refresh);
  connect(map_, &AttentionMapWidget::drawn, this, &MapReadout::refresh);
  connect(&Theme::instance(), &Theme::changed, this, &MapReadout::apply_theme);
  apply_theme();
  refresh();
}

QSize MapReadout::sizeHint() const {
  return {560, heightForWidth(560)};
}
QSize MapReadout::minimumSizeHint() const {
  const int fields = fields_.empty() || fields_.front().box->maximumHeight() == 0 ? 0 : 2;  // folded away in a talk
  return {200, (1 + fields) * fontMetrics().height() + 12};
}

void MapReadout::apply_theme() {
  QPalette muted = palette();
  muted.setColor(QPalette::WindowText, Theme::instance().muted_text());
  QFont small = font();
  small.setPointSizeF(std::max(7.0, font().pointSizeF() * 0.85));
  for (const Field& field : fields_) {
    field.caption->setPalette(muted);
    field.caption->setFont(small);
    field.box->setFixedWidth(fontMetrics().horizontalAdvance(QLatin1Char('0')) * field.width);
  }
  badge_->setPalette(muted);
  badge_->setFont(small);
}

void MapReadout::changeEvent(QEvent* event) {
  QWidget::changeEvent(event);
  if (event->type() == QEvent::FontChange) apply_theme();
}

QWidget* MapReadout::box(const QString& id) const {
  for (const Field& field : fields_)
    if (field.id == id) return field.box;
  return nullptr;
}

QString MapReadout::value(const QString& id) const {
  for (const Field& field : fields_)
    if (field.id == id) return field.value->text();
  return {};
}

void MapReadout::set(const QString& id, const QString& text) {
  for (const Field& field : fields_) {
    if (field.id != id || field.value->text() == text) continue;
    field.value->setText(text);
    field.value->setToolTip(text);
  }
}

void MapReadout::set_caption(const QString& id, const QString& text) {
  for (const Field& field : fields_) {
    if (field.id != id || field.caption->text() == text) continue;
    field.caption->setText(text);
    field.value->setAccessibleName(text);
  }
}

/// What is no key has its place where a layer has it, and none elsewhere.
void MapReadout::show_sink(const QString& text) {
  set(QStringLiteral("sink"), text.isEmpty() ? QStringLiteral("–") : text);
  box(QStringLiteral("sink"))->setVisible(!text.isEmpty());
}

void MapReadout::refresh() {
  const QString badge = map_->badge();
  badge_->setText(badge);
  badge_->setToolTip(badge);
  const bool mirrored = map_->hover_is_mirrored() && selection_->hover().query >= 0;
  const MapDataPtr& shown = mirrored ? map_->second_data() : map_->data();
  const MapPoint point = map_->cursor();
  const ViewState& state = selection_->state();
  const bool selected = selection_->hover().query < 0 && selection_->hover().key < 0;
  const auto position = [&](std::int64_t token, int chars) {
    if (token < 0) return QStringLiteral("–");
    const QString text = shown && shown->source.record
                             ? QStringLiteral("  ") + token_label(shown->source.record->tokens(), token, chars)
                             : QString();
    return grouped(token) + text;
  };
  QString query = shown ? position(point.query, 8) : QStringLiteral("–");
  QString key = shown ? position(point.key, 8) : QStringLiteral("–");
  if (shown && selected && state.query_end - state.query_begin > 1)
    query = tr("%1–%2").arg(grouped(state.query_begin), grouped(state.query_end - 1));
  if (shown && selected && state.keys.size() > 1) key = tr("%1 keys").arg(state.keys.size());
  set(QStringLiteral("query"), query);
  set(QStringLiteral("key"), key);
  show_sink(shown && shown->learned_sink >= 0 ? QStringLiteral("–") : QString());
  if (shown) set_caption(QStringLiteral("rank"), tr("rank in row, %1").arg(short_head_name(shown->source.head)));
  const QString nothing = QStringLiteral("–");
  if (!shown || point.query < 0 || point.key < 0 || point.query >= shown->length || point.key > point.query) {
    for (const char* id : {"p", "rank", "support", "cell"}) set(QLatin1String(id), nothing);
    if (shown && point.key > point.query && point.query >= 0) set(QStringLiteral("p"), tr("not visible"));
    // What a learned sink takes is the row's, whichever key is looked at.
    if (shown && shown->learned_sink >= 0 && shown->stream && point.query >= shown->stream->query_begin &&
        point.query < shown->length)
      ask_rank({point.query, -1});
    return;
  }
  const CellValue cell = map_->value_at(point, mirrored);
  const bool exact = shown->stream && point.query >= shown->stream->query_begin;
  // What would have to be read from the file comes from the worker, with the rank.
  const bool here = shown->is_here(point.query, point.key);
  if (!here)
    set(QStringLiteral("p"), exact || cell.cell != 1 ? QStringLiteral("…") : nothing);
  else if (exact)
    set(QStringLiteral("p"), short_number(static_cast<double>(
                                 record::probability(*shown->stream, shown->source.head, point.query, point.key))));
  else
    set(QStringLiteral("p"),
        cell.found && cell.cell == 1 && !map_->shows_ranks() ? short_number(static_cast<double>(cell.max)) : nothing);
  const bool ranks = map_->shows_ranks();
  set_caption(QStringLiteral("cell"), ranks ? tr("best rank in cell") : tr("cell max · mean"));
  if (ranks)
    set(QStringLiteral("cell"),
        cell.found && cell.max > 0
            ? tr("%1 of %2 keys")
                  .arg(grouped(std::llround(1 / static_cast<double>(cell.max))), grouped(point.query + 1))
            : nothing);
  else
    set(QStringLiteral("cell"), cell.found ? QStringLiteral("%1 · %2").arg(short_number(static_cast<double>(cell.max)),
                                                                           short_number(static_cast<double>(cell.mean)))
                                           : nothing);
  QString support = nothing;
  if (shown->support && !here) {
    support = QStringLiteral("…");
  } else if (shown->support) {
    support = shown->selected(point.query, point.key) ? tr("selected") : tr("not selected");
    if (shown->missed(point.query, point.key))
      support = tr("missed");
    else if (shown->wasted && shown->wasted->test(point.query, point.key))
      support = tr("wasted");
    else if (shown->target && shown->selected(point.query, point.key) && shown->target->test(point.query, point.key))
      support = tr("hit");
  } else if (shown->dense) {
    support = tr("dense: all");
  } else if (!shown->support_group) {
    support = tr("differ by head");
  }
  set(QStringLiteral("support"), support);
  if (exact || !here) {
    ask_rank(point);
  } else {
    set(QStringLiteral("rank"), nothing);
  }
}

void MapReadout::ask_rank(const MapPoint& point) {
  const bool mirrored = map_->hover_is_mirrored() && selection_->hover().query >= 0;
  const MapDataPtr shown = mirrored ? map_->second_data() : map_->data();
  if (rank_query_ == point.query && rank_key_ == point.key && rank_data_ == shown.get()) {
    set(QStringLiteral("rank"), rank_text_);
    if (!sink_text_.isEmpty()) show_sink(sink_text_);
    return;
  }
  if (rank_running_) {
    set(QStringLiteral("rank"), QStringLiteral("…"));
    return;  // asked again when the running one is done
  }
  rank_running_ = true;
  rank_query_ = point.query;
  rank_key_ = point.key;
  rank_data_ = shown.get();
  rank_text_ = QStringLiteral("…");
  sink_text_.clear();
  set(QStringLiteral("rank"), rank_text_);
  auto* watcher = new QFutureWatcher<RowFacts>(this);
  connect(watcher, &QFutureWatcherBase::finished, this, [this, watcher, point] {
    watcher->deleteLater();
    rank_running_ = false;
    const RowFacts facts = watcher->result();
    rank_text_ =
        facts.rank > 0 ? tr("%1 of %2").arg(grouped(facts.rank), grouped(point.query + 1)) : QStringLiteral("–");
    sink_text_ = facts.sink >= 0 ? tr("%1 of the row").arg(format_percent(facts.sink, 1)) : QString();
    refresh();
  });
  watcher->setFuture(in_worker([shown, point]() -> RowFacts {
    try {
      // Read here, these rows are at hand when the window's thread asks about the pair.
      if (point.key >= 0)
        for (const auto* rows : {&shown->support, &shown->target, &shown->wasted})
          if (*rows) (*rows)->test(point.query, point.key);
      if (!shown->stream || point.query < shown->stream->query_begin) return {};
      RowFacts facts;
      if (point.key >= 0) {
        facts.rank = record::rank_in_row(*shown->stream, shown->source.head, point.query, point.key);
        record::probability(*shown->stream, shown->source.head, point.query, point.key);
      }
      if (shown->learned_sink >= 0) {
        const auto row = record::probability_row(*shown->stream, shown->source.head, point.query);
        facts.sink = std::clamp(1 - std::accumulate(row.begin(), row.end(), 0.0), 0.0, 1.0);
      }
      return facts;
    } catch (const std::exception&) {
      return {};  // the map says what is damaged
    }
  }));
}

}  // namespace headroom::views
