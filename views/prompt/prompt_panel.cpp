// SPDX-License-Identifier: GPL-3.0-or-later
// Find, go to, and what the text shows of the selection.
#include "views/prompt/prompt_panel.h"

#include <QGuiApplication>
#include <QHBoxLayout>
#include <QHash>
#include <QLabel>
#include <QLineEdit>
#include <QPainter>
#include <QRegularExpression>
#include <QSpinBox>
#include <QTextBlock>
#include <QTextCursor>
#include <QTimer>
#include <QToolButton>
#include <QVBoxLayout>
#include <algorithm>
#include <cmath>
#include <utility>

#include "views/common/flow_layout.h"
#include "views/common/format.h"
#include "views/common/give_way.h"
#include "views/common/least_height.h"
#include "views/common/theme.h"
#include "views/common/wrap_label.h"
#include "views/map/map_figure.h"
#include "views/map/row_mass.h"
#include "views/prompt/prompt_text.h"

namespace headroom::views {
namespace {

constexpr std::size_t max_matches = 20000;

QToolButton* button(const QString& label, const QString& name, const QString& tip, bool checkable = false) {
  auto* result = new QToolButton;
  result->setText(label);
  result->setAccessibleName(name);
  result->setToolTip(tip);
  result->setCheckable(checkable);
  result->setAutoRaise(true);
  result->setFocusPolicy(Qt::TabFocus);
  return result;
}

}  // namespace

PromptPanel::PromptPanel(Selection* selection, QWidget* parent)
    : QWidget(parent), selection_(selection), text_(new PromptText), rows_(new RowMass(this)), find_(new QLineEdit) {
  find_->setPlaceholderText(tr("Find in prompt"));
  find_->setAccessibleName(tr("Find in prompt"));
  find_->setClearButtonEnabled(true);
  find_->setMinimumWidth(130);
  regex_ = button(QStringLiteral(".*"), tr("Regular expression"), tr("Treat the text as a regular expression"), true);
  previous_ = button(QString(QChar(0x2191)), tr("Previous match"), tr("Previous match (Shift+Enter)"));
  next_ = button(QString(QChar(0x2193)), tr("Next match"), tr("Next match (Enter)"));
  white_space_ = button(QString(QChar(0x00B6)), tr("Show white space"), tr("Show spaces, tabs and line ends"), true);
  count_ = new QLabel;
  count_->setAccessibleName(tr("Matches"));
  count_->setMinimumWidth(fontMetrics().horizontalAdvance(QStringLiteral("000/000")));
  go_to_ = new QSpinBox;
  go_to_->setAccessibleName(tr("Go to token"));
  go_to_->setToolTip(tr("Position of a token (Ctrl+G)"));
  go_to_->setKeyboardTracking(false);
  go_to_->setButtonSymbols(QAbstractSpinBox::NoButtons);
  go_to_->setGroupSeparatorShown(true);
  go_to_->setPrefix(tr("token "));
  go_to_->setMinimumWidth(fontMetrics().horizontalAdvance(QStringLiteral("token 000,000")) + 20);
  caption_ = new WrapLabel;
  caption_->setAccessibleName(tr("What the background shows"));
  legend_ = new WrapLabel;
  legend_->setTextFormat(Qt::RichText);

  auto* find_row = new FlowLayout(nullptr, 4, 4);
  find_row->setContentsMargins(8, 4, 8, 2);
  find_row->addWidget(find_);
  for (QWidget* widget :
       {static_cast<QWidget*>(regex_), static_cast<QWidget*>(count_), static_cast<QWidget*>(previous_),
        static_cast<QWidget*>(next_), static_cast<QWidget*>(go_to_), static_cast<QWidget*>(white_space_)})
    find_row->addWidget(widget);
  give_way({find_, regex_, count_, previous_, next_, go_to_, white_space_});
  auto* notes = new QVBoxLayout;
  notes->setContentsMargins(9, 0, 8, 4);
  notes->setSpacing(1);
  notes->addWidget(caption_);
  notes->addWidget(legend_);
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  column->addLayout(find_row);
  column->addLayout(notes);
  column->addWidget(text_, 1);
  setMinimumWidth(260);
  text_->setMinimumHeight(60);
  new LeastHeight(this);

  connect(find_, &QLineEdit::textChanged, this, &PromptPanel::search);
  connect(find_, &QLineEdit::returnPressed, this,
          [this] { go_to_match(match_ + (QGuiApplication::keyboardModifiers() & Qt::ShiftModifier ? -1 : 1)); });
  connect(regex_, &QToolButton::toggled, this, &PromptPanel::search);
  connect(previous_, &QToolButton::clicked, this, [this] { go_to_match(match_ - 1); });
  connect(next_, &QToolButton::clicked, this, [this] { go_to_match(match_ + 1); });
  connect(white_space_, &QToolButton::toggled, text_, &PromptText::set_white_space_visible);
  connect(go_to_, &QSpinBox::editingFinished, this, [this] {
    if (!go_to_->hasFocus() || !shown_) return;
    text_->reveal(go_to_->value());
    emit token_chosen(go_to_->value(), Qt::NoModifier);
  });
  connect(text_, &PromptText::token_hovered, this, [this](qint64 token) {
    const ViewState& state = selection_->state();
    const bool chosen = state.query_end > state.query_begin && state.query_begin >= token;
    selection_->set_hover({chosen && token >= 0 ? state.query_begin : -1, token});
  });
  connect(text_, &PromptText::token_clicked, this, [this](qint64 token, Qt::KeyboardModifiers modifiers) {
    own_click_ = true;
    emit token_chosen(token, modifiers);
  });
  connect(rows_, &RowMass::ready, this,
          [this](const std::vector<float>& mass, const RowMarks& marks, const QString& caption) {
            text_->set_mass(mass);
            marks_ = marks;
            show_marks();
            caption_->setText(caption);
          });
  connect(selection_, &Selection::changed, this, &PromptPanel::selection_changed);
  connect(selection_, &Selection::hover_changed, this,
          [this] { text_->set_hover(selection_->hover().query, selection_->hover().key); });
  const auto theme_changed = [this] {
    const Theme& theme = Theme::instance();
    QPalette muted = palette();
    muted.setColor(QPalette::WindowText, theme.muted_text());
    legend_->setPalette(muted);
    count_->setPalette(muted);
    show_legend();
  };
  connect(&Theme::instance(), &Theme::changed, this, theme_changed);
  theme_changed();
  show_record();
  search();
}

void PromptPanel::show_legend() {
  const Theme& theme = Theme::instance();
  legend_->setText(
      tr("<span style='text-decoration:underline;color:%1'>underlined</span>: selected key &nbsp; "
         "<span style='color:%2'>▢</span> missed key with mass ≥ %3 &nbsp; click: choose the query")
          .arg(theme.accent().name(), theme.missed().name(),
               format_scale_end(selection_->state().display.missed_from, 2)));
}

bool PromptPanel::settled() const {
  return !rows_->busy() && !late_;
}

QString PromptPanel::caption() const {
  return caption_->text();
}

std::int64_t PromptPanel::first_token() const {
  if (first_token_ >= 0) return first_token_;
  return std::max<std::int64_t>(0, text_->index().token_at(text_->cursorForPosition(QPoint(1, 1)).position()));
}

void PromptPanel::focus_find() {
  find_->setFocus(Qt::ShortcutFocusReason);
  find_->selectAll();
}

void PromptPanel::focus_go_to() {
  go_to_->setFocus(Qt::ShortcutFocusReason);
  go_to_->selectAll();
}

QString PromptPanel::find_count() const {
  return count_->text();
}

void PromptPanel::show_record() {
  const RecordPtr record = selection_->record();
  if (record == shown_ && record) return;
  shown_ = record;
  static const record::TokenTable none;
  text_->set_tokens(record ? record->tokens() : none);
  go_to_->setRange(0, static_cast<int>(std::max<std::int64_t>(0, text_->index().num_tokens() - 1)));
  setEnabled(record != nullptr);
  if (!record) caption_->setText(tr("The prompt of an opened run stands here."));
  search();
}

void PromptPanel::set_data(MapDataPtr map_data) {
  follow(std::exchange(late_, 0u));
  data_ = std::move(map_data);
  rows_->request(data_, selection_->state().query_begin, selection_->state().query_end);
}

// Another prompt may be long: its text is laid out in a turn of its own, after all else that follows the selection. One
// millisecond, since Qt makes none of zero: it posts an event, and those are all one turn.
void PromptPanel::selection_changed(unsigned mask) {
  mask |= std::exchange(late_, 0u);
  if (!(mask & Selection::Runs) || selection_->record() == shown_) return follow(mask);
  setEnabled(selection_->record() != nullptr);  // who asks for a field gets it at once
  late_ = mask;
  QTimer::singleShot(1, this, [this] { follow(std::exchange(late_, 0u)); });
}

void PromptPanel::follow(unsigned mask) {
  if (!mask) return;
  if (mask & Selection::Runs) show_record();
  const ViewState& state = selection_->state();
  if (mask & Selection::Display) {
    show_legend();
    show_marks();
  }
  if (mask & (Selection::Queries | Selection::Runs)) {
    text_->set_queries(state.query_begin, state.query_end);
    text_->set_marks({}, {});  // those of other rows
    rows_->request(data_, state.query_begin, state.query_end);
  }
  if ((mask & (Selection::Queries | Selection::Keys)) && !own_click_) {
    if (state.keys.size() == 1)
      text_->reveal(*state.keys.begin());
    else if (state.query_end > state.query_begin)
      text_->reveal(state.query_begin);
  }
  if (mask & (Selection::Queries | Selection::Keys)) own_click_ = false;
}

void PromptPanel::show_marks() {
  // Over several rows a key counts as selected or missed where it is so for any of them.
  const double from = selection_->state().display.missed_from;
  std::vector<bool> missed(marks_.missed.size());
  for (std::size_t i = 0; i < missed.size(); ++i)
    missed[i] = marks_.missed[i] > 0 && static_cast<double>(marks_.missed[i]) >= from;
  text_->set_marks(marks_.selected, std::move(missed));
}

void PromptPanel::search() {
  matches_.clear();
  match_ = -1;
  const QString needle = find_->text(), &text = text_->index().text();
  QString problem;
  if (!needle.isEmpty()) {
    QRegularExpression expression(regex_->isChecked() ? needle : QRegularExpression::escape(needle),
                                  QRegularExpression::CaseInsensitiveOption |
                                      QRegularExpression::UseUnicodePropertiesOption |
                                      QRegularExpression::MultilineOption);
    if (expression.isValid()) {
      auto found = expression.globalMatch(text);
      while (found.hasNext() && matches_.size() < max_matches) {
        const auto match = found.next();
        if (match.capturedLength() > 0)
          matches_.emplace_back(static_cast<int>(match.capturedStart()), static_cast<int>(match.capturedLength()));
      }
    } else {
      problem = tr("bad pattern");
      count_->setToolTip(tr("%1, at character %2").arg(expression.errorString()).arg(expression.patternErrorOffset()));
    }
  }
  if (problem.isEmpty()) count_->setToolTip({});
  count_->setText(!problem.isEmpty() ? problem : needle.isEmpty() ? QString() : tr("none"));
  previous_->setEnabled(!matches_.empty());
  next_->setEnabled(!matches_.empty());
  found_.clear();
  for (const auto& match : matches_) {
    const std::int64_t token = text_->index().token_at(match.first);
    if (token >= 0 && (found_.empty() || found_.back() < token)) found_.push_back(token);
  }
  if (matches_.empty()) {
    text_->set_matches({}, -1);
    tell_found(-1);
    return;
  }
  // The first match at or behind what is visible now.
  const int from = text_->cursorForPosition(QPoint(1, 1)).position();
  const auto first = std::lower_bound(matches_.begin(), matches_.end(), std::pair(from, 0));
  go_to_match(first == matches_.end() ? 0 : static_cast<int>(first - matches_.begin()));
}

void PromptPanel::go_to_match(int index) {
  if (matches_.empty()) return;
  const int count = static_cast<int>(matches_.size());
  match_ = (index % count + count) % count;
  count_->setText(QStringLiteral("%1/%2%3").arg(grouped(match_ + 1), grouped(count),
                                                matches_.size() == max_matches ? QStringLiteral("+") : QString()));
  text_->set_matches(matches_, match_);
  const std::int64_t token = text_->index().token_at(matches_[static_cast<std::size_t>(match_)].first);
  text_->reveal(token);
  tell_found(token);
}

void PromptPanel::tell_found(std::int64_t current) {
  emit found(found_, current);
}

QString PromptPanel::problem() const {
  if (!data_) return shown_ ? tr("The map that colours the text is not there") : QString();
  const QString layer = QString::number(data_->source.layer);
  if (!data_->problem.isEmpty()) return tr("The mass of layer %1 could not be read: %2").arg(layer, data_->problem);
  if (!data_->is_full())
    return tr("Layer %1 (%2 attention) is not sparsified: no mass is recorded for it").arg(layer, data_->layer_kind);
  if (text_->mass().empty()) return tr("No mass is recorded for layer %1").arg(layer);
  return {};
}

QString PromptPanel::title() const {
  if (!data_ || !data_->source.record) return tr("Prompt");
  return tr("Prompt, %1, layer %2, %3")
      .arg(data_->source.method)
      .arg(data_->source.layer)
      .arg(head_name(data_->source));
}

void PromptPanel::render(QPainter& painter, const QRectF& target, const ExportOptions& options) {
  const Theme& theme = Theme::instance();
  const TextIndex& index = text_->index();
  painter.save();
  painter.setClipRect(target, Qt::IntersectClip);
  QFont font = QGuiApplication::font();
  const int text_size =
      options.text_size > 0 ? static_cast<int>(options.text_size) : map_text_size(target.width() * 0.62);
  font.setPixelSize(std::max(text_size, static_cast<int>(std::ceil(options.least_text))));
  painter.setFont(font);
  const QFontMetricsF metrics(font);
  const double line = metrics.lineSpacing() * 1.15;
  double x = target.left(), y = target.top();
  const auto caption = [&](const QString& words, const QColor& colour) {
    if (words.isEmpty()) return;
    painter.setPen(colour);
    painter.drawText(QRectF(target.left(), y, target.width(), line), Qt::AlignLeft,
                     metrics.elidedText(words, Qt::ElideRight, target.width()));
    y += line;
  };
  caption(title(), theme.text());
  caption(caption_->text(), theme.muted_text());
  caption(options.provenance, theme.muted_text());
  y += line * 0.4;
  // The same words come again and again, and to measure one takes as long as to draw it.
  QHash<QString, double> widths;
  const auto width_of = [&](const QString& text) {
    const auto known = widths.constFind(text);
    return known != widths.constEnd() ? *known : *widths.insert(text, metrics.horizontalAdvance(text));
  };
  // From the first visible token, wrapped token by token: what fits is the figure.
  for (std::int64_t token = first_token(); token < index.num_tokens() && y + line <= target.bottom(); ++token) {
    QString piece = index.text().mid(index.begin(token), index.end(token) - index.begin(token));
    const auto breaks = piece.count(QLatin1Char('\n'));
    piece.remove(QLatin1Char('\n'));
    // A word may be several tokens: it moves to the next line as a whole, and a line does not begin with a space.
    double word = width_of(piece);
    for (std::int64_t next = token + 1; breaks == 0 && next < index.num_tokens() && index.end(next) > index.begin(next);
         ++next) {
      if (index.text()[index.begin(next)].isSpace() || word > target.width()) break;
      word += width_of(index.text().mid(index.begin(next), index.end(next) - index.begin(next)));
    }
    const bool starts_word = token == 0 || piece.isEmpty() || piece[0].isSpace() || index.begin(token) == 0 ||
                             index.text()[index.begin(token) - 1].isSpace();
    if (x > target.left() && x + (starts_word ? word : width_of(piece)) > target.right()) {
      x = target.left(), y += line;
      while (!piece.isEmpty() && piece[0] == QLatin1Char(' ')) piece.remove(0, 1);
    }
    const double width = width_of(piece);
    if (y + line > target.bottom()) break;
    const QRectF box(x, y, width, line);
    const bool query = token >= selection_->state().query_begin && token < selection_->state().query_end;
    const QColor background = text_->background_of(token);
    if (query)
      painter.fillRect(box, theme.accent());
    else if (background.isValid())
      painter.fillRect(box, background);
    painter.setPen(query ? theme.background() : theme.text());
    if (!piece.isEmpty()) painter.drawText(box, Qt::AlignLeft | Qt::AlignVCenter, piece);
    if (text_->is_missed(token)) {
      painter.setPen(QPen(theme.missed(), 1.5));
      painter.drawRect(box.adjusted(0.5, 0.5, -0.5, -0.5));
    }
    if (!query && text_->is_selected(token)) {
      painter.setPen(QPen(theme.accent(), 1.5));
      painter.drawLine(box.bottomLeft() - QPointF(0, 1), box.bottomRight() - QPointF(0, 1));
    }
    x += width;
    if (breaks > 0) x = target.left(), y += line * static_cast<double>(breaks);
  }
  painter.restore();
}

QString PromptPanel::csv() const {
  const TextIndex& index = text_->index();
  if (index.num_tokens() == 0) return {};
  // Selected and missed are of a row: of several the columns stay empty.
  const bool chosen = data_ && selection_->state().query_end - selection_->state().query_begin == 1;
  const std::int64_t query = selection_->state().query_begin;
  QString out = QStringLiteral("token,text,mass,selected,missed\r\n");
  for (std::int64_t token = 0; token < index.num_tokens(); ++token) {
    QString piece = index.text().mid(index.begin(token), index.end(token) - index.begin(token));
    piece.replace(QLatin1Char('"'), QLatin1String("\"\""));
    const auto i = static_cast<std::size_t>(token);
    out +=
        QStringLiteral("%1,\"%2\",%3,%4,%5\r\n")
            .arg(token)
            .arg(piece,
                 i < text_->mass().size() ? QString::number(static_cast<double>(text_->mass()[i]), 'g', 7) : QString(),
                 chosen && data_->support ? QString::number(data_->selected(query, token)) : QString(),
                 chosen && data_->has_overlay() ? QString::number(data_->missed(query, token)) : QString());
  }
  return out;
}

}  // namespace headroom::views
