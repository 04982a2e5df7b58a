// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/overview/answer_cards.h"

#include <QBoxLayout>
#include <QLabel>
#include <QPainter>
#include <QRegularExpression>
#include <QStringList>
#include <QTextDocumentFragment>
#include <algorithm>
#include <optional>
#include <vector>

#include "views/overview/answer_sentence.h"
#include "views/common/format.h"
#include "views/common/page_base.h"
#include "views/common/theme.h"
#include "views/common/wrap_label.h"
#include "views/missed/why_model.h"

namespace headroom::views {
namespace {

/// A panel with the method's colour as a strip on its left.
class Card : public QWidget {
 public:
  /// `look` of a method; none for a card that is no method's.
  Card(std::optional<int> look, bool on_panel, QWidget* parent) : QWidget(parent), look_(look), on_panel_(on_panel) {}

 protected:
  void paintEvent(QPaintEvent*) override {
    QPainter painter(this);
    painter.fillRect(rect(), on_panel_ ? Theme::instance().background() : Theme::instance().panel());
    const QColor colour = look_ ? Theme::instance().method(*look_) : Theme::instance().muted_text();
    painter.fillRect(QRect(0, 0, 4, height()), colour);
  }

 private:
  std::optional<int> look_;
  bool on_panel_;
};

QStringList words_of(const QString& text) {
  // Words keep the white space behind them, so that joining gives the text back.
  static const QRegularExpression word(QStringLiteral("\\S+\\s*|\\s+"));
  QStringList words;
  for (auto match = word.globalMatch(text); match.hasNext();) words << match.next().captured();
  return words;
}

constexpr qsizetype max_compared_words = 1500;
constexpr std::size_t most_in_row = 5;  // answers of a figure

}  // namespace

std::vector<DiffPiece> word_difference(const QString& text, const QString& reference) {
  const QStringList a = words_of(text), b = words_of(reference);
  std::vector<bool> common(static_cast<std::size_t>(a.size()), false);
  if (a.size() <= max_compared_words && b.size() <= max_compared_words) {
    const auto width = static_cast<std::size_t>(b.size() + 1);
    std::vector<std::uint16_t> longest(static_cast<std::size_t>(a.size() + 1) * width, 0);
    const auto at = [&](qsizetype i, qsizetype j) -> std::uint16_t& {
      return longest[static_cast<std::size_t>(i) * width + static_cast<std::size_t>(j)];
    };
    for (qsizetype i = a.size() - 1; i >= 0; --i)
      for (qsizetype j = b.size() - 1; j >= 0; --j)
        at(i, j) = a[i].trimmed() == b[j].trimmed() ? static_cast<std::uint16_t>(at(i + 1, j + 1) + 1)
                                                    : std::max(at(i + 1, j), at(i, j + 1));
    for (qsizetype i = 0, j = 0; i < a.size() && j < b.size();) {
      if (a[i].trimmed() == b[j].trimmed()) {
        common[static_cast<std::size_t>(i)] = true;
        ++i, ++j;
      } else if (at(i + 1, j) >= at(i, j + 1)) {
        ++i;
      } else {
        ++j;
      }
    }
  } else {
    std::fill(common.begin(), common.end(), text == reference);
  }
  std::vector<DiffPiece> pieces;
  for (qsizetype i = 0; i < a.size(); ++i) {
    const bool differs = !common[static_cast<std::size_t>(i)];
    if (!pieces.empty() && pieces.back().differs == differs) {
      pieces.back().text += a[i];
    } else {
      pieces.push_back({a[i], differs});
    }
  }
  return pieces;
}

QString agreement_text(const record::MethodSummary& method, const record::MethodSummary& baseline) {
  if (method.answer_ids.empty() || baseline.answer_ids.empty()) return QObject::tr("no answer recorded");
  const QString name = method_name(baseline).toLower();
  const auto divergence = first_divergence(method, baseline);
  if (divergence < 0) return QObject::tr("same as %1").arg(name);
  return QObject::tr("first differs from %1 at token %2 of %3")
      .arg(name, format_count(divergence + 1), format_count(static_cast<std::int64_t>(method.answer_ids.size())));
}

AnswerCards::AnswerCards(QWidget* parent) : QWidget(parent) {
  row_ = new QBoxLayout(QBoxLayout::LeftToRight, this);
  row_->setContentsMargins(0, 0, 0, 0);
  row_->setSpacing(8);
  setAccessibleName(tr("Answers side by side"));
  connect(&Theme::instance(), &Theme::changed, this, [this] {
    stale_ = !isVisible();
    if (!stale_) rebuild();
  });
}

void AnswerCards::showEvent(QShowEvent* event) {
  QWidget::showEvent(event);
  if (stale_) rebuild();
}

void AnswerCards::set_answers(std::vector<AnswerEntry> entries, const QString& reference) {
  entries_ = std::move(entries);
  reference_ = reference;
  rebuild();
}

void AnswerCards::set_vertical(bool vertical) {
  row_->setDirection(vertical ? QBoxLayout::TopToBottom : QBoxLayout::LeftToRight);
}

void AnswerCards::set_on_panel(bool on_panel) {
  on_panel_ = on_panel;
  rebuild();
}

QString AnswerCards::answer_html(const AnswerEntry& entry) const {
  const QString answer = QString::fromStdString(entry.method->answer).trimmed();
  if (answer.isEmpty())
    return QStringLiteral("<i style=\"color:%1\">%2</i>").arg(Theme::instance().muted_text().name(), tr("no text"));
  const QString baseline = QString::fromStdString(entries_.front().method->answer).trimmed();
  if (!entry.comparable) return answer.toHtmlEscaped().replace('\n', "<br>");
  QString html;
  for (const auto& piece : word_difference(answer, baseline)) {
    const QString text = piece.text.toHtmlEscaped().replace('\n', "<br>");
    html += piece.differs ? QStringLiteral("<span style=\"background-color:%1; text-decoration:underline\">%2</span>")
                                .arg(Theme::instance().warning_background().name(), text)
                          : text;
  }
  return html;
}

QString AnswerCards::label(const AnswerEntry& entry) const {
  std::vector<MethodPtr> among;
  for (const AnswerEntry& one : entries_) among.push_back(one.method);
  return method_title(*entry.method) + method_setting(*entry.method, among);
}

QString AnswerCards::status_text(const AnswerEntry& entry) const {
  QStringList parts;
  if (!entry.comparable)
    parts << tr("another prompt: not compared");
  else if (entry.method != entries_.front().method)
    parts << agreement_text(*entry.method, *entries_.front().method);
  if (entry.method->task_score) parts << tr("task score %1").arg(format_fixed(*entry.method->task_score, 0));
  if (const auto kl = entry.method->answer_kl()) parts << tr("KL\u00a0%1\u00a0nats").arg(format_number(*kl));
  if (!entry.method->complete) parts << tr("incomplete");
  if (!entry.run.isEmpty()) parts << entry.run;
  if (parts.isEmpty()) parts << tr("baseline");
  return parts.join(QStringLiteral(" · "));
}

QString AnswerCards::why_html(const AnswerEntry& entry) const {
  if (!why_ || !entry.comparable || !entry.run.isEmpty() || entry.method->is_dense()) return {};
  const record::AnswerPosition* at = first_difference(*entry.method);
  const bool differs = at || (entry.method != entries_.front().method && !entry.method->answer_ids.empty() &&
                              first_divergence(*entry.method, *entries_.front().method) >= 0);
  if (!differs) return {};
  const QString link = tr("<a href=\"why\">Why?</a>");
  return at ? difference_text(*at, tr("this method"), true) + QStringLiteral(". ") + link : link;
}

QString AnswerCards::why_text(std::size_t index) const {
  return index < entries_.size() ? QTextDocumentFragment::fromHtml(why_html(entries_[index])).toPlainText() : QString();
}

void AnswerCards::rebuild() {
  stale_ = false;
  while (QLayoutItem* item = row_->takeAt(0)) {
    delete item->widget();
    delete item;
  }
  for (const auto& entry : entries_) {
    auto* card = new Card(entry.method->look, on_panel_, this);
    auto* column = new QVBoxLayout(card);
    column->setContentsMargins(16, 8, 12, 10);
    column->setSpacing(4);
    column->addWidget(make_heading(label(entry), card));
    auto* answer = new TextLabel(answer_html(entry), card);
    answer->setWordWrap(true);
    answer->setTextFormat(Qt::RichText);
    answer->setTextInteractionFlags(Qt::TextSelectableByMouse | Qt::TextSelectableByKeyboard);
    answer->setAccessibleName(tr("Answer of %1").arg(label(entry)));
    answer->setFocusPolicy(Qt::NoFocus);
    column->addWidget(answer);
    column->addStretch(1);
    column->addWidget(make_note(status_text(entry), card));
    if (const QString why = why_html(entry); !why.isEmpty()) {
      auto* label = new TextLabel(why, card);
      label->setWordWrap(true);
      label->setTextFormat(Qt::RichText);
      label->setTextInteractionFlags(Qt::TextBrowserInteraction);
      label->setObjectName("why_" + QString::fromStdString(entry.method->id));
      label->setAccessibleName(tr("Where the answer of %1 changes").arg(this->label(entry)));
      connect(label, &QLabel::linkActivated, this,
              [this, id = QString::fromStdString(entry.method->id)] { emit why_asked(id); });
      column->addWidget(label);
    }
    row_->addWidget(card, 1);
  }
  if (!reference_.isEmpty() && !entries_.empty()) {
    auto* card = new Card(std::nullopt, on_panel_, this);
    auto* column = new QVBoxLayout(card);
    column->setContentsMargins(16, 8, 12, 10);
    column->setSpacing(4);
    column->addWidget(make_heading(tr("Reference"), card));
    auto* text = new TextLabel(reference_.toHtmlEscaped().replace('\n', "<br>"), card);
    text->setWordWrap(true);
    text->setTextInteractionFlags(Qt::TextSelectableByMouse);
    column->addWidget(text);
    column->addStretch(1);
    column->addWidget(make_note(tr("what the task asks for"), card));
    row_->addWidget(card, 1);
  }
}

QString AnswerCards::html() const {
  const Theme& theme = Theme::instance();
  QString html = QStringLiteral("<table width=\"100%\" cellspacing=\"6\" cellpadding=\"6\"><tr>");
  const std::size_t cells = entries_.size() + (reference_.isEmpty() ? 0 : 1);
  // Rows of about the same length: in a narrow column an answer would stand one word a line.
  const std::size_t rows = std::max<std::size_t>(1, (cells + most_in_row - 1) / most_in_row);
  const std::size_t count = (cells + rows - 1) / rows;
  std::size_t written = 0;
  const auto cell = [&](const QString& title, const QColor& colour, const QString& body, const QString& status) {
    const bool next_row = written > 0 && written % count == 0;
    ++written;
    return (next_row ? QStringLiteral("</tr><tr>") : QString()) +
           QStringLiteral(
               "<td width=\"%1%\" valign=\"top\" bgcolor=\"%2\"><b style=\"color:%3\">%4</b><br>%5<br><span "
               "style=\"color:%6; font-size:small\">%7</span></td>")
               .arg(QString::number(100 / std::max<std::size_t>(1, count)), theme.panel().name(), colour.name(),
                    title.toHtmlEscaped(), body, theme.muted_text().name(), status.toHtmlEscaped());
  };
  for (const auto& entry : entries_)
    html += cell(label(entry), theme.method(entry.method->look), answer_html(entry), status_text(entry));
  if (!reference_.isEmpty())
    html += cell(tr("Reference"), theme.text(), reference_.toHtmlEscaped().replace('\n', "<br>"),
                 tr("what the task asks for"));
  return html + "</tr></table>";
}

}  // namespace headroom::views
