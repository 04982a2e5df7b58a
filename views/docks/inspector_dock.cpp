// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/docks/inspector_dock.h"

#include <QDateTime>
#include <QFutureWatcher>
#include <QHeaderView>
#include <QLabel>
#include <QPainter>
#include <QSplitter>
#include <QStyledItemDelegate>
#include <QTableWidget>
#include <QTextLayout>
#include <QTreeWidget>
#include <QVBoxLayout>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "record/parts.h"
#include "views/common/format.h"
#include "views/common/pair_link.h"
#include "views/common/record_queries.h"
#include "views/common/theme.h"
#include "views/common/workers.h"
#include "views/common/wrap_label.h"

namespace headroom::views {
namespace {

constexpr int shown_keys = 32;

struct KeyLine {
  std::int64_t key = 0;
  float probability = 0;
  std::optional<bool> selected;  ///< none where the method has no supports or the record does not hold them
  bool missed = false;           ///< in the target and not in the support
};

struct KeyTable {
  std::vector<KeyLine> lines;
  QString note;          ///< why it is empty
  QString support_note;  ///< why it does not say which keys are kept
};

KeyTable read_keys(const RecordPtr& record, const std::string& method, int layer, record::HeadSelector head,
                   std::int64_t query) {
  KeyTable table;
  try {
    const auto stream = record->layer_stream(method, layer);
    if (!stream) {
      table.note = QObject::tr("This record does not hold layer %1 of %2 exactly.")
                       .arg(layer)
                       .arg(QString::fromStdString(method));
      return table;
    }
    const std::vector<float> row = record::probability_row(*stream, head, query);
    if (row.empty()) {
      table.note = QObject::tr("This record does not hold row %1.").arg(query);
      return table;
    }
    std::shared_ptr<const record::Support> support, target;
    if (const auto group = record::support_group(*record->find_method(method), record->meta().layer(layer), head)) {
      support = record->supports(method, layer, record::SupportKind::support, *group);
      target = record->supports(method, layer, record::SupportKind::target, *group);
    } else {
      table.support_note = QObject::tr("Supports differ by head: choose a head.");
    }
    std::vector<std::int64_t> order(row.size());
    std::iota(order.begin(), order.end(), 0);
    const auto kept = std::min<std::size_t>(shown_keys, order.size());
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
                      [&row](std::int64_t a, std::int64_t b) {
                        const float pa = row[static_cast<std::size_t>(a)], pb = row[static_cast<std::size_t>(b)];
                        return pa != pb ? pa > pb : a < b;
                      });
    for (std::size_t i = 0; i < kept; ++i) {
      KeyLine line{order[i], row[static_cast<std::size_t>(order[i])], {}};
      if (support && query < support->length() && line.key < support->length())
        line.selected = support->test(query, line.key);
      line.missed = line.selected == false && target && query < target->length() && line.key < target->length() &&
                    target->test(query, line.key);
      table.lines.push_back(line);
    }
  } catch (const Error& error) {
    table.lines.clear();
    table.note = QString::fromUtf8(error.what());
  }
  return table;
}

QString number(double value, int digits = 3) {
  if (!std::isfinite(value)) return QString("–");
  // Three digits, but never "1.13e+03" of a thousand keys.
  if (std::abs(value) >= 1000) return format_fixed(value, 0);
  return number_locale().toString(value, 'g', digits);
}

QString percent(double value) {
  return std::isfinite(value) ? number_locale().toString(value * 100, 'f', 1) + " %" : QString("–");
}

QString head_text(const record::HeadSelector& head) {
  using Kind = record::HeadSelector::Kind;
  if (head.kind == Kind::mean) return QObject::tr("mean of heads");
  return (head.kind == Kind::group ? QObject::tr("KV group %1") : QObject::tr("head %1")).arg(head.index);
}

QString statistic_label(const std::string& name) {
  if (name == "entropy") return QObject::tr("Entropy (nats)");
  if (name == "keys_for_90") return QObject::tr("Keys for 90 %");
  if (name == "keys_for_95") return QObject::tr("Keys for 95 %");
  if (name == "keys_for_99") return QObject::tr("Keys for 99 %");
  if (name == "sink_mass") return QObject::tr("On the first 4");
  if (name == "local_mass") return QObject::tr("On the last 64");
  if (name == "captured_mass") return QObject::tr("Captured mass");
  if (name == "missed_mass") return QObject::tr("Missed mass");
  if (name == "uncaptured_mass") return QObject::tr("Uncaptured mass");
  return QString::fromStdString(name).replace('_', ' ');
}

bool is_share(const std::string& name) {
  return name.find("mass") != std::string::npos;
}

/// Draws `text` in at most `most` lines that break between words, or inside one only where it is longer than a line;
/// the last line ends in an ellipsis where more follows. Returns the height; without a painter it only measures.
qreal draw_wrapped(QPainter* painter, const QString& text, const QFont& font, const QRectF& place, int most) {
  QTextLayout layout(text, font);
  QTextOption option;
  option.setWrapMode(QTextOption::WrapAtWordBoundaryOrAnywhere);
  layout.setTextOption(option);
  const QFontMetricsF metrics(font);
  qreal y = 0;
  layout.beginLayout();
  for (int i = 0; i < most; ++i) {
    QTextLine line = layout.createLine();
    if (!line.isValid()) break;
    line.setLineWidth(place.width());
    const int begin = line.textStart();
    const bool cut = i + 1 == most && begin + line.textLength() < text.size();
    if (painter) {
      const QString shown =
          cut ? metrics.elidedText(text.mid(begin), Qt::ElideRight, place.width()) : text.mid(begin, line.textLength());
      painter->drawText(QPointF(place.left(), place.top() + y + metrics.ascent()), shown);
    }
    y += metrics.lineSpacing();
  }
  layout.endLayout();
  return y;
}

/// Values take the lines that they need, up to three; section titles get air above them.
class FactDelegate : public QStyledItemDelegate {
 public:
  explicit FactDelegate(QTreeWidget* tree) : QStyledItemDelegate(tree), tree_(tree) {}
  QSize sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const override {
    const QFontMetrics metrics(option.font);
    if (!index.parent().isValid()) return {40, metrics.height() + 12};
    const QString text = index.data().toString();
    if (index.column() != 1) return {metrics.horizontalAdvance(text) + 8, metrics.height() + 2};
    const int width = std::max(tree_->columnWidth(1) - 4, 40);
    const qreal height = draw_wrapped(nullptr, text, option.font, QRectF(0, 0, width, 0), most_lines);
    return {width, static_cast<int>(std::ceil(height)) + 2};
  }
  void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override {
    const Theme& theme = Theme::instance();
    const bool title = !index.parent().isValid();
    if (option.state & QStyle::State_Selected) painter->fillRect(option.rect, theme.info_background());
    painter->save();
    QFont font = option.font;
    font.setBold(title);
    painter->setFont(font);
    painter->setPen(title || index.column() == 1 ? theme.text() : theme.muted_text());
    const QRect place = option.rect.adjusted(title ? 4 : 2, title ? 6 : 1, -2, 0);
    const QString text = index.data().toString();
    if (!title && index.column() == 1)
      draw_wrapped(painter, text, font, place, most_lines);
    else
      painter->drawText(place, title ? Qt::AlignVCenter : Qt::AlignTop,
                        QFontMetrics(font).elidedText(text, Qt::ElideRight, place.width()));
    painter->restore();
  }

 private:
  static constexpr int most_lines = 3;
  QTreeWidget* tree_;
};

QTreeWidgetItem* section(QTreeWidget* tree, const QString& title) {
  auto* item = new QTreeWidgetItem(tree, {title});
  item->setFirstColumnSpanned(true);
  item->setFlags(Qt::ItemIsEnabled);
  item->setExpanded(true);
  return item;
}

void fact(QTreeWidgetItem* parent, const QString& name, const QString& value, const QString& hint = {}) {
  if (value.isEmpty()) return;
  auto* item = new QTreeWidgetItem(parent, {name, value});
  item->setToolTip(1, hint.isEmpty() ? value : hint);
}

}  // namespace

QString visible_token(const record::TokenTable& tokens, std::int64_t position, int max_characters) {
  if (position < 0 || position >= static_cast<std::int64_t>(tokens.ids.size())) return {};
  const auto i = static_cast<std::size_t>(position);
  const auto size = static_cast<std::int64_t>(tokens.text.size());
  const std::int64_t begin = std::clamp<std::int64_t>(tokens.begin[i], 0, size);
  const std::int64_t end = std::clamp<std::int64_t>(tokens.end[i], begin, size);
  QString text =
      QString::fromUtf8(tokens.text.data() + begin, static_cast<qsizetype>(std::min<std::int64_t>(end - begin, 256)));
  text.replace('\n', "⏎").replace('\t', "⇥").replace('\r', "␍");
  if (text.startsWith(' ')) text[0] = QChar(0x00b7);
  return text.size() > max_characters ? text.left(max_characters - 1) + "…" : text;
}

InspectorDock::InspectorDock(Selection* selection, QWidget* parent) : QWidget(parent), selection_(selection) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  auto* splitter = new QSplitter(Qt::Vertical, this);
  splitter->setChildrenCollapsible(false);
  layout->addWidget(splitter);

  facts_ = new QTreeWidget(splitter);
  facts_->setColumnCount(2);
  facts_->setHeaderHidden(true);
  facts_->setRootIsDecorated(false);
  facts_->setIndentation(10);
  facts_->setFrameShape(QFrame::NoFrame);
  facts_->setSelectionMode(QAbstractItemView::SingleSelection);
  facts_->setItemDelegate(new FactDelegate(facts_));
  // Later: columns are resized in the middle of laying out and of painting.
  connect(
      facts_->header(), &QHeaderView::sectionResized, facts_, [this] { facts_->doItemsLayout(); },
      Qt::QueuedConnection);
  facts_->header()->setSectionResizeMode(0, QHeaderView::ResizeToContents);
  facts_->setAccessibleName(tr("Facts of the selection"));
  splitter->addWidget(facts_);

  lower_ = new QWidget(splitter);
  auto* lower_layout = new QVBoxLayout(lower_);
  lower_layout->setContentsMargins(0, 4, 0, 0);
  keys_title_ = new WrapLabel(lower_);
  keys_title_->setContentsMargins(8, 0, 8, 0);
  lower_layout->addWidget(keys_title_);
  keys_ = new QTableWidget(0, 4, lower_);
  keys_->setHorizontalHeaderLabels({tr("Key"), tr("Token"), tr("p"), tr("Kept")});
  keys_->verticalHeader()->hide();
  keys_->setFrameShape(QFrame::NoFrame);
  keys_->setShowGrid(false);
  keys_->setEditTriggers(QAbstractItemView::NoEditTriggers);
  keys_->setSelectionBehavior(QAbstractItemView::SelectRows);
  keys_->setSelectionMode(QAbstractItemView::SingleSelection);
  keys_->horizontalHeader()->setSectionResizeMode(QHeaderView::ResizeToContents);
  keys_->horizontalHeader()->setSectionResizeMode(1, QHeaderView::Stretch);
  keys_->setAccessibleName(tr("Keys with most probability in the selected row"));
  lower_layout->addWidget(keys_, 1);
  splitter->addWidget(lower_);
  splitter->setStretchFactor(0, 3);
  splitter->setStretchFactor(1, 2);

  fit_width();
  const auto look = [this](int row, int) {
    const std::int64_t key = keys_->item(row, 0)->data(Qt::UserRole).toLongLong();
    // The rows stay as they are chosen; map and text move to the key.
    look_at_pair(*selection_, {selection_->state().query_end - 1, key}, {}, true, QStringLiteral("inspector key"));
    emit place_chosen();
  };
  connect(keys_, &QTableWidget::cellClicked, this, look);
  connect(keys_, &QTableWidget::cellActivated, this, look);
  connect(selection_, &Selection::changed, this, &InspectorDock::follow);
  connect(&Theme::instance(), &Theme::changed, this, [this] { follow(Selection::Queries); });
  follow(Selection::Everything);
}

void InspectorDock::fit_width() {
  keys_->verticalHeader()->setDefaultSectionSize(fontMetrics().height() + 6);
  setMinimumWidth(std::min(30 * fontMetrics().horizontalAdvance('0'), 320));  // large text may not push the page out
}

void InspectorDock::changeEvent(QEvent* event) {
  QWidget::changeEvent(event);
  if (event->type() == QEvent::FontChange) fit_width();
}

void InspectorDock::showEvent(QShowEvent* event) {
  QWidget::showEvent(event);
  if (missed_mask_ != 0) follow(std::exchange(missed_mask_, 0u));
}

void InspectorDock::follow(unsigned mask) {
  if (!isVisible()) {  // hidden views defer their work
    missed_mask_ |= mask;
    return;
  }
  constexpr unsigned what = Selection::Runs | Selection::Method | Selection::Layer | Selection::Head;
  if (mask & what) fill_facts();
  if (mask & (what | Selection::Queries)) request_keys();
}

void InspectorDock::fill_facts() {
  facts_->clear();
  const RecordPtr record = selection_->record();
  if (!record) return;
  const ViewState& state = selection_->state();
  const record::RunMeta& meta = record->meta();
  const QLocale& locale = number_locale();
  const auto text = [](const std::string& value) { return QString::fromStdString(value); };

  auto* run = section(facts_, tr("Run"));
  fact(run, tr("Model"), text(meta.model_name), text(meta.model_path));
  fact(run, tr("Architecture"), tr("%1, %2 layers").arg(text(meta.architecture)).arg(meta.num_layers()));
  if (meta.has_layer(state.layer)) {
    const record::LayerMeta& sizes = meta.layer(state.layer);
    fact(run, tr("Layer"), tr("%1: %2").arg(state.layer).arg(layer_text(sizes)));
    fact(run, tr("Heads"),
         tr("%1 query, %2 key; d = %3").arg(sizes.num_q_heads).arg(sizes.num_kv_heads).arg(sizes.head_dim),
         tr("Of the selected layer, a %1 one").arg(text(sizes.kind)));
  }
  fact(run, tr("Prompt"),
       tr("%1 of %2 tokens")
           .arg(locale.toString(qlonglong(record->length())), locale.toString(qlonglong(meta.context))));
  fact(run, tr("Task"), text(meta.task));
  fact(run, tr("Device"), text(meta.device));
  fact(run, tr("Arithmetic"), text(meta.dtype));
  const QDateTime created = QDateTime::fromString(text(meta.created), Qt::ISODate);
  fact(run, tr("Recorded"),
       created.isValid() ? locale.toString(created.toLocalTime(), "d MMM yyyy, HH:mm") : text(meta.created));
  fact(run, tr("Run id"), text(meta.run_id));
  fact(run, tr("Kept"), text(meta.kept_note));
  for (const std::string& warning : meta.warnings) fact(run, tr("Note"), text(warning));
  if (!meta.complete) fact(run, tr("State"), tr("incomplete: the run was stopped"));

  auto* size = section(facts_, tr("Size of the record"));
  fact(size, tr("Whole file"),
       tr("%1 MB").arg(locale.toString(static_cast<double>(record->file_bytes()) / 1e6, 'f', 1)));
  for (const record::KindSize& part : record::sizes_by_kind(record->parts())) {
    const std::string advice = record::kind_advice(part.kind);
    fact(size, text(record::kind_title(part.kind)),
         tr("%1 MB").arg(locale.toString(static_cast<double>(part.bytes) / 1e6, 'f', 1)),
         advice.empty() ? QString() : tr("Smaller with %1").arg(text(advice)));
  }

  if (const record::MethodSummary* method = record->find_method(state.method.toStdString())) {
    auto* m = section(facts_, tr("Method %1").arg(state.method));
    fact(m, tr("Budget"),
         method->budget ? text(to_string(*method->budget)) + (method->budget->kind == BudgetKind::fraction
                                                                  ? tr(" (%1 keys)").arg(method->budget_tokens)
                                                                  : QString())
                        : tr("every key"));
    fact(m, tr("Shared by"), method->granularity == 1 ? tr("one query") : tr("%1 queries").arg(method->granularity));
    if (!method->is_dense()) fact(m, tr("Support for"), scope_text(method->scope));
    fact(m, tr("Pairs attended"), percent(method->density));
    fact(m, tr("Captured mass"), percent(method->captured_mass_mean));
    fact(m, tr("… worst layer"), percent(method->captured_mass_min));
    if (method->oracle_recall_mean) fact(m, tr("Oracle recall"), percent(*method->oracle_recall_mean));
    if (const auto kl = method->answer_kl()) fact(m, tr("KL to dense"), number(*kl) + tr(" nats"));
    if (method->reference_answer)
      fact(m, tr("NLL of the reference"), number(method->reference_answer->nll_mean) + tr(" nats a token"));
    if (method->ttft.repeats > 0)
      fact(m, tr("TTFT"),
           method->ttft.repeats > 1
               ? tr("%1, median of %2").arg(format_ms(method->ttft.median)).arg(method->ttft.repeats)
               : format_ms(method->ttft.median),
           tr("Time to first token: %1, %2 timed").arg(format_quartiles(method->ttft)).arg(method->ttft.repeats));
    fact(m, tr("Executed by"), text(method->backend));
    fact(m, tr("Note"), text(method->label));
    fact(m, tr("Plan"), text(method->plan));
  }

  using Kind = record::HeadSelector::Kind;
  const QString head =
      state.head.kind == Kind::group ? tr("KV group %1 (first head)").arg(state.head.index) : head_text(state.head);
  auto* layer = section(facts_, tr("Layer %1, %2").arg(state.layer).arg(head));
  try {
    const auto statistics = record->head_statistics(state.method.toStdString());
    const std::int64_t group_size = meta.has_layer(state.layer) ? meta.layer(state.layer).group_size() : 1;
    const std::int64_t row = state.head.kind == Kind::mean    ? (statistics ? statistics->heads - 1 : 0)
                             : state.head.kind == Kind::group ? state.head.index * group_size
                                                              : state.head.index;
    if (statistics && state.layer < statistics->layers && row < statistics->heads) {
      for (std::size_t i = 0; i < statistics->names.size(); ++i) {
        const double value = statistics->at(state.layer, row, i);
        fact(layer, statistic_label(statistics->names[i]),
             is_share(statistics->names[i]) ? percent(value) : number(value));
      }
    }
  } catch (const Error& error) {
    fact(layer, tr("Not readable"), QString::fromUtf8(error.what()));
  }
}

void InspectorDock::request_keys() {
  const quint64 generation = ++generation_;
  keys_->setRowCount(0);
  const RecordPtr record = selection_->record();
  const ViewState& state = selection_->state();
  if (!record) {
    keys_title_->clear();
    return;
  }
  const bool has_row = state.query_end > state.query_begin;
  keys_->setVisible(has_row);
  lower_->setMaximumHeight(has_row ? QWIDGETSIZE_MAX : fontMetrics().lineSpacing() * 4);
  if (state.query_end <= state.query_begin) {
    keys_title_->setText(tr("Select a query in the map or the text to list its keys."));
    return;
  }
  const std::int64_t query = state.query_end - 1;
  keys_title_->setText(tr("Query %1 “%2”: keys by probability, %3")
                           .arg(number_locale().toString(qlonglong(query)), visible_token(record->tokens(), query),
                                head_text(state.head)));
  // One at a time: rows that were passed by meanwhile are never read.
  if (pending_ > 0) return;
  ++pending_;
  auto* watcher = new QFutureWatcher<KeyTable>(this);
  connect(watcher, &QFutureWatcher<KeyTable>::finished, this, [this, watcher, generation, record] {
    watcher->deleteLater();
    --pending_;
    if (generation != generation_) return request_keys();
    const KeyTable table = watcher->result();
    for (const QString& note : {table.note, table.support_note})
      if (!note.isEmpty()) keys_title_->setText(keys_title_->text() + "\n" + note);
    keys_->setRowCount(static_cast<int>(table.lines.size()));
    for (int i = 0; i < keys_->rowCount(); ++i) {
      const KeyLine& line = table.lines[static_cast<std::size_t>(i)];
      auto* key = new QTableWidgetItem(number_locale().toString(qlonglong(line.key)));
      key->setData(Qt::UserRole, qlonglong(line.key));
      auto* p = new QTableWidgetItem(number(static_cast<double>(line.probability)));
      const QString kept = !line.selected   ? QString()
                           : *line.selected ? tr("yes")
                           : line.missed    ? tr("missed")
                                            : tr("no");
      auto* state_item = new QTableWidgetItem(kept);
      if (line.missed) state_item->setForeground(Theme::instance().missed());
      keys_->setItem(i, 0, key);
      keys_->setItem(i, 1, new QTableWidgetItem(visible_token(record->tokens(), line.key)));
      keys_->setItem(i, 2, p);
      keys_->setItem(i, 3, state_item);
      key->setTextAlignment(Qt::AlignRight | Qt::AlignVCenter);
      p->setTextAlignment(Qt::AlignRight | Qt::AlignVCenter);
    }
  });
  watcher->setFuture(in_worker(read_keys, record, state.method.toStdString(), state.layer, state.head, query));
}

}  // namespace headroom::views
