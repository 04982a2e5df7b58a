// SPDX-License-Identifier: GPL-3.0-or-later
// Painting of the prompt text and its heat strip.
#include "views/prompt/prompt_text.h"

#include <QMouseEvent>
#include <QPainter>
#include <QScrollBar>
#include <QTextBlock>
#include <QTextLayout>
#include <algorithm>
#include <cmath>

#include "views/common/theme.h"

namespace headroom::views {
namespace {

constexpr int strip_width = 12;

QColor mix(const QColor& a, const QColor& b, double part) {
  return QColor::fromRgbF(static_cast<float>(a.redF() + (b.redF() - a.redF()) * part),
                          static_cast<float>(a.greenF() + (b.greenF() - a.greenF()) * part),
                          static_cast<float>(a.blueF() + (b.blueF() - a.blueF()) * part));
}

QColor heat_colour(double heat) {
  const Theme& theme = Theme::instance();
  // Full heat keeps text at 7:1 or better in both modes.
  const QColor full = theme.mode() == ThemeMode::dark ? QColor(0xff1d5c9e) : QColor(0xff8fc1f7);
  return mix(theme.background(), full, heat);
}

QColor match_colour() {
  return Theme::instance().mode() == ThemeMode::dark ? QColor(0xff6b5a10) : QColor(0xffffe88a);
}

}  // namespace

double text_heat(double mass, double even_share, double largest) {
  if (!(mass > even_share) || !(largest > even_share) || !(even_share > 0)) return 0;
  return std::clamp(0.08 + 0.92 * std::log(mass / even_share) / std::log(largest / even_share), 0.0, 1.0);
}

/// Beside the scroll bar: the largest mass per line of pixels, missed keys, matches and the selected queries.
class PromptText::HeatStrip : public QWidget {
 public:
  explicit HeatStrip(PromptText* text) : QWidget(text), text_(text) {
    setCursor(Qt::PointingHandCursor);
    setAccessibleName(PromptText::tr("Heat strip of the whole prompt"));
    setToolTip(
        PromptText::tr("The whole prompt: mass (blue), missed keys (orange), matches (yellow). Click to go there."));
  }
  void invalidate() {
    stale_ = true;
    update();
  }

 protected:
  void paintEvent(QPaintEvent*) override {
    if (stale_ || static_cast<int>(heat_.size()) != height()) rebuild();
    QPainter painter(this);
    const Theme& theme = Theme::instance();
    painter.fillRect(rect(), theme.background());
    for (int y = 0; y < height(); ++y) {
      const auto i = static_cast<std::size_t>(y);
      if (heat_[i] > 0) painter.fillRect(0, y, width(), 1, heat_colour(heat_[i]));
      if (flags_[i] & 1) painter.fillRect(width() / 2, y, width() - width() / 2, 2, theme.missed());
      if (flags_[i] & 2) painter.fillRect(0, y, width() / 2, 2, match_colour().darker(120));
      if (flags_[i] & 4) painter.fillRect(0, y, width(), 2, theme.accent());
    }
    painter.setPen(theme.border());
    painter.drawLine(0, 0, 0, height());
  }
  void mousePressEvent(QMouseEvent* event) override { go(event); }
  void mouseMoveEvent(QMouseEvent* event) override { go(event); }

 private:
  void go(QMouseEvent* event) {
    auto* bar = text_->verticalScrollBar();
    const double part = std::clamp(event->position().y() / std::max(1, height()), 0.0, 1.0);
    bar->setValue(static_cast<int>(part * (bar->maximum() + bar->pageStep())) - bar->pageStep() / 2);
  }
  void rebuild() {
    stale_ = false;
    heat_.assign(static_cast<std::size_t>(std::max(0, height())), 0);
    flags_.assign(heat_.size(), 0);
    if (heat_.empty()) return;
    const TextIndex& index = text_->index_;
    const double lines = std::max(1, text_->document()->lineCount());
    // What a block knows is asked once a block, not once a token: long prompts have far more of those.
    QTextBlock block;
    int begin = 0, end = 0;
    double first_line = 0, lines_here = 1;
    const auto enter = [&](const QTextBlock& next) {
      block = next;
      if (!block.isValid()) return;
      begin = block.position();
      end = begin + block.length();
      first_line = block.firstLineNumber();
      lines_here = std::max(1, block.lineCount());
    };
    const auto row_of = [&](int position) {  // `position` ascending
      while (block.isValid() && position >= end) enter(block.next());
      if (!block.isValid()) return heat_.size() - 1;
      const double inside = static_cast<double>(position - begin) / std::max(1, end - begin);
      const double line = std::min(1.0, (first_line + inside * lines_here) / lines);
      return static_cast<std::size_t>(std::min(line * height(), static_cast<double>(height() - 1)));
    };
    enter(text_->document()->begin());
    std::vector<float> most(heat_.size(), 0);  // heat grows with mass: one logarithm a row
    for (std::int64_t token = 0; token < index.num_tokens(); ++token) {
      const auto i = static_cast<std::size_t>(token);
      const std::size_t row = row_of(index.begin(token));
      if (i < text_->mass_.size()) most[row] = std::max(most[row], text_->mass_[i]);
      if (text_->is_missed(token)) flags_[row] |= 1;
      if (token >= text_->query_begin_ && token < text_->query_end_) flags_[row] |= 4;
    }
    for (std::size_t row = 0; row < most.size(); ++row)
      heat_[row] = static_cast<float>(
          text_heat(static_cast<double>(most[row]), text_->even_share_, text_->largest_mass_));
    enter(text_->document()->begin());
    for (const auto& match : text_->matches_) flags_[row_of(match.first)] |= 2;
  }

  PromptText* text_;
  std::vector<float> heat_;
  std::vector<unsigned char> flags_;
  bool stale_ = true;
};

PromptText::PromptText(QWidget* parent) : QPlainTextEdit(parent), strip_(new HeatStrip(this)) {
  setReadOnly(true);
  setUndoRedoEnabled(false);
  setTextInteractionFlags(Qt::TextSelectableByMouse | Qt::TextSelectableByKeyboard);
  setWordWrapMode(QTextOption::WrapAtWordBoundaryOrAnywhere);
  setFrameShape(QFrame::NoFrame);
  setMouseTracking(true);
  viewport()->setMouseTracking(true);
  viewport()->setCursor(Qt::ArrowCursor);
  setViewportMargins(0, 0, strip_width, 0);
  setAccessibleName(tr("Prompt text"));
  document()->setDocumentMargin(8);
  connect(&Theme::instance(), &Theme::changed, this, [this] {
    strip_->invalidate();
    show_queries();
    viewport()->update();
  });
}

PromptText::~PromptText() = default;

void PromptText::set_tokens(const record::TokenTable& tokens) {
  index_ = TextIndex(tokens);
  mass_.clear();
  selected_.clear();
  missed_.clear();
  matches_.clear();
  current_match_ = -1;
  query_begin_ = query_end_ = 0;
  hover_query_ = hover_key_ = -1;
  setExtraSelections({});
  setPlainText(index_.text());
  strip_->invalidate();
}

void PromptText::set_mass(std::vector<float> mass) {
  mass_ = std::move(mass);
  largest_mass_ = even_share_ = 0;
  std::int64_t visible = 0;
  for (const float value : mass_) {
    if (!(value > 0)) continue;
    largest_mass_ = std::max(largest_mass_, static_cast<double>(value));
    even_share_ += static_cast<double>(value);
    ++visible;
  }
  even_share_ /= static_cast<double>(std::max<std::int64_t>(1, visible));
  strip_->invalidate();
  viewport()->update();
}

void PromptText::set_marks(std::vector<bool> selected, std::vector<bool> missed) {
  selected_ = std::move(selected);
  missed_ = std::move(missed);
  strip_->invalidate();
  viewport()->update();
}

void PromptText::set_queries(std::int64_t begin, std::int64_t end) {
  query_begin_ = begin;
  query_end_ = std::min(end, index_.num_tokens());
  show_queries();
  strip_->invalidate();
  viewport()->update();
}

// As a selection rather than by painting, since the letters change colour too.
void PromptText::show_queries() {
  QList<QTextEdit::ExtraSelection> selections;
  if (query_begin_ >= 0 && query_end_ > query_begin_) {
    QTextEdit::ExtraSelection selection;
    const int last = std::max(0, document()->characterCount() - 1);
    selection.cursor = QTextCursor(document());
    selection.cursor.setPosition(std::min(index_.begin(query_begin_), last));
    selection.cursor.setPosition(std::min(index_.end(query_end_ - 1), last), QTextCursor::KeepAnchor);
    selection.format.setBackground(Theme::instance().accent());
    selection.format.setForeground(Theme::instance().background());
    selections << selection;
  }
  setExtraSelections(selections);
}

void PromptText::set_hover(std::int64_t query, std::int64_t key) {
  if (query == hover_query_ && key == hover_key_) return;
  for (const std::int64_t token : {hover_query_, hover_key_, query, key}) update_token(token);
  hover_query_ = query;
  hover_key_ = key;
}

void PromptText::update_token(std::int64_t token) {
  if (token < 0 || token >= index_.num_tokens()) return;
  const int begin = index_.begin(token);
  QTextBlock block = firstVisibleBlock();
  while (block.isValid() && block.position() + block.length() <= begin) {
    block = block.next();
    if (!block.isValid()) return;
    if (blockBoundingGeometry(block).translated(contentOffset()).top() > viewport()->height()) return;
  }
  if (!block.isValid() || index_.end(token) <= block.position()) return;
  for (int at = begin; at < index_.end(token); ++at)
    if (document()->characterAt(at) == QChar::ParagraphSeparator)  // it has no width of its own
      return viewport()->update();
  for_visible_range(begin, index_.end(token), [&](const QRectF& box) {
    viewport()->update(box.toAlignedRect().adjusted(-3, -3, 3, 3));
  });
}

void PromptText::set_matches(std::vector<std::pair<int, int>> matches, int current) {
  matches_ = std::move(matches);
  current_match_ = current;
  strip_->invalidate();
  viewport()->update();
}

void PromptText::set_white_space_visible(bool visible) {
  QTextOption option = document()->defaultTextOption();
  QTextOption::Flags flags = option.flags();
  flags.setFlag(QTextOption::ShowTabsAndSpaces, visible);
  flags.setFlag(QTextOption::ShowLineAndParagraphSeparators, visible);
  option.setFlags(flags);
  document()->setDefaultTextOption(option);
}

void PromptText::reveal(std::int64_t token) {
  if (token < 0 || token >= index_.num_tokens()) return;
  QTextCursor cursor(document());
  cursor.setPosition(std::min(index_.begin(token), std::max(0, document()->characterCount() - 1)));
  const QRect place = cursorRect(cursor);
  if (viewport()->rect().adjusted(0, 4, 0, -4).contains(place.center())) return;
  setTextCursor(cursor);
  centerCursor();
}

QColor PromptText::background_of(std::int64_t token) const {
  const auto i = static_cast<std::size_t>(token);
  if (token < 0 || i >= mass_.size()) return {};
  const double heat = text_heat(static_cast<double>(mass_[i]), even_share_, largest_mass_);
  return heat > 0 ? heat_colour(heat) : QColor();
}

template <typename Fn>
void PromptText::for_visible_range(int from, int to, Fn&& fn) const {
  QTextBlock block = firstVisibleBlock();
  const QPointF offset = contentOffset();
  for (; block.isValid(); block = block.next()) {
    const QRectF box = blockBoundingGeometry(block).translated(offset);
    if (box.top() > viewport()->height()) break;
    if (block.position() >= to) break;
    if (!block.isVisible() || block.position() + block.length() <= from) continue;
    const QTextLayout* layout = block.layout();
    for (int i = 0; i < layout->lineCount(); ++i) {
      const QTextLine line = layout->lineAt(i);
      const double top = box.top() + line.y();
      if (top > viewport()->height() || top + line.height() < 0) continue;
      const int begin = std::max(from - block.position(), line.textStart());
      const int end = std::min(to - block.position(), line.textStart() + line.textLength());
      if (end <= begin) continue;
      const double a = line.cursorToX(begin), b = line.cursorToX(end);
      fn(QRectF(box.left() + std::min(a, b), top, std::max(3.0, std::abs(b - a)), line.height()));
    }
  }
}

template <typename Fn>
void PromptText::for_visible(const QRect& area, Fn&& fn) const {
  if (index_.num_tokens() == 0) return;
  QTextBlock block = firstVisibleBlock();
  const QPointF offset = contentOffset();
  for (; block.isValid(); block = block.next()) {
    const QRectF box = blockBoundingGeometry(block).translated(offset);
    if (box.top() > area.bottom()) break;
    if (!block.isVisible()) continue;
    const QTextLayout* layout = block.layout();
    for (int i = 0; i < layout->lineCount(); ++i) {
      const QTextLine line = layout->lineAt(i);
      const double top = box.top() + line.y();
      if (top > area.bottom() || top + line.height() < area.top()) continue;
      const int first = block.position() + line.textStart(), last = first + line.textLength();
      for (std::int64_t token = std::max<std::int64_t>(0, index_.token_at(first));
           token < index_.num_tokens() && index_.begin(token) < std::max(last, first + 1); ++token) {
        const int begin = std::max(index_.begin(token), first), end = std::min(index_.end(token), last);
        if (end < begin || index_.end(token) <= index_.begin(token)) continue;
        const double a = line.cursorToX(begin - block.position()), b = line.cursorToX(end - block.position());
        // A token that is only a line break has no width of its own.
        fn(token, QRectF(box.left() + std::min(a, b), top, std::max(4.0, std::abs(b - a)), line.height()));
      }
    }
  }
}

void PromptText::paintEvent(QPaintEvent* event) {
  const Theme& theme = Theme::instance();
  {
    QPainter painter(viewport());
    painter.setClipRect(event->rect());
    for_visible(event->rect(), [&](std::int64_t token, const QRectF& box) {
      if (token >= query_begin_ && token < query_end_) return;  // an extra selection
      const QColor colour = background_of(token);
      if (colour.isValid()) painter.fillRect(box, colour);
    });
    const auto visible_from =
        std::lower_bound(matches_.begin(), matches_.end(), std::pair(firstVisibleBlock().position() - 4096, 0));
    for (auto match = visible_from; match != matches_.end(); ++match) {
      bool seen = false;
      for_visible_range(match->first, match->first + match->second, [&](const QRectF& box) {
        seen = true;
        painter.fillRect(box, match_colour());
        if (match - matches_.begin() == current_match_) {
          painter.setPen(QPen(theme.text(), 1.5));
          painter.drawRect(box.adjusted(0.5, 0.5, -0.5, -0.5));
        }
      });
      if (!seen && match->first > firstVisibleBlock().position()) {
        const QPoint end(viewport()->width(), viewport()->height());
        if (match->first > cursorForPosition(end).position()) break;
      }
    }
  }
  QPlainTextEdit::paintEvent(event);
  QPainter painter(viewport());
  painter.setClipRect(event->rect());
  painter.setRenderHint(QPainter::Antialiasing, false);
  for_visible(event->rect(), [&](std::int64_t token, const QRectF& box) {
    const auto i = static_cast<std::size_t>(token);
    if (i < selected_.size() && selected_[i])
      painter.fillRect(QRectF(box.left() + 1, box.bottom() - 2, std::max(2.0, box.width() - 2), 2), theme.accent());
    if (is_missed(token)) {
      painter.setPen(QPen(theme.missed(), 1.6));
      painter.setBrush(Qt::NoBrush);
      painter.drawRect(box.adjusted(1, 1, -1, -1));
    }
    if (token == hover_key_ || token == hover_query_) {
      painter.setPen(QPen(theme.text(), 1, token == hover_key_ ? Qt::SolidLine : Qt::DashLine));
      painter.setBrush(Qt::NoBrush);
      painter.drawRect(box.adjusted(0, 0, -1, -1));
    }
  });
}

void PromptText::resizeEvent(QResizeEvent* event) {
  QPlainTextEdit::resizeEvent(event);
  place_strip();
}

void PromptText::changeEvent(QEvent* event) {
  QPlainTextEdit::changeEvent(event);
  if (strip_) strip_->invalidate();
}

void PromptText::place_strip() {
  const QRect area = viewport()->geometry();
  strip_->setGeometry(area.right() + 1, area.top(), strip_width, area.height());
  strip_->invalidate();
}

std::int64_t PromptText::token_under(QPoint position) const {
  std::int64_t found = -1;
  for_visible(QRect(position, QSize(1, 1)), [&](std::int64_t token, const QRectF& box) {
    if (box.contains(position)) found = token;
  });
  return found;
}

void PromptText::mousePressEvent(QMouseEvent* event) {
  press_ = event->position().toPoint();
  QPlainTextEdit::mousePressEvent(event);
}

void PromptText::mouseReleaseEvent(QMouseEvent* event) {
  QPlainTextEdit::mouseReleaseEvent(event);
  // A drag selects text to copy, a click selects a token.
  if (event->button() != Qt::LeftButton || (event->position().toPoint() - press_).manhattanLength() > 4) return;
  const std::int64_t token = token_under(press_);
  if (token >= 0) emit token_clicked(token, event->modifiers());
}

void PromptText::mouseMoveEvent(QMouseEvent* event) {
  QPlainTextEdit::mouseMoveEvent(event);
  if (!(event->buttons() & Qt::LeftButton)) emit token_hovered(token_under(event->position().toPoint()));
}

bool PromptText::viewportEvent(QEvent* event) {
  if (event->type() == QEvent::Leave) emit token_hovered(-1);
  return QPlainTextEdit::viewportEvent(event);
}

}  // namespace headroom::views
