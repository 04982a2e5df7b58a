// SPDX-License-Identifier: GPL-3.0-or-later
// The prompt with the map's numbers on it: background = mass, underline = selected key, orange box = missed key. Only
// visible lines are ever painted; a heat strip beside the scroll bar shows the whole prompt.
#pragma once

#include <QPlainTextEdit>
#include <memory>
#include <utility>
#include <vector>

#include "views/common/selection.h"
#include "views/prompt/text_index.h"

namespace headroom::views {

/// Position 0 … 1 of a mass on the text's logarithmic background scale: 0 up to an even share, 1 at `largest`.
double text_heat(double mass, double even_share, double largest);

class PromptText : public QPlainTextEdit {
  Q_OBJECT
 public:
  explicit PromptText(QWidget* parent = nullptr);
  ~PromptText() override;

  void set_tokens(const record::TokenTable& tokens);
  const TextIndex& index() const { return index_; }
  /// Mass of every token; empty: none.
  void set_mass(std::vector<float> mass);
  const std::vector<float>& mass() const { return mass_; }
  /// One flag a token; empty: none.
  void set_marks(std::vector<bool> selected, std::vector<bool> missed);
  bool is_selected(std::int64_t token) const {
    return token < std::int64_t(selected_.size()) && selected_[std::size_t(token)];
  }
  bool is_missed(std::int64_t token) const {
    return token < std::int64_t(missed_.size()) && missed_[std::size_t(token)];
  }
  void set_queries(std::int64_t begin, std::int64_t end);
  void set_hover(std::int64_t query, std::int64_t key);
  /// [start, length] in the text; `current` -1: none.
  void set_matches(std::vector<std::pair<int, int>> matches, int current);
  void set_white_space_visible(bool visible);
  /// Scrolls only where the token is not visible.
  void reveal(std::int64_t token);
  /// The background that a token has now (invalid where none): what tests and the legend look at.
  QColor background_of(std::int64_t token) const;

 signals:
  void token_hovered(qint64 token);  ///< -1: none
  void token_clicked(qint64 token, Qt::KeyboardModifiers modifiers);

 protected:
  void paintEvent(QPaintEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  bool viewportEvent(QEvent* event) override;
  void changeEvent(QEvent* event) override;

 private:
  class HeatStrip;
  friend class HeatStrip;
  /// Calls fn(token, rectangle) for the pieces of tokens in the lines that touch `area` of the viewport.
  template <typename Fn>
  void for_visible(const QRect& area, Fn&& fn) const;
  template <typename Fn>
  void for_visible_range(int from, int to, Fn&& fn) const;
  std::int64_t token_under(QPoint position) const;
  void update_token(std::int64_t token);  ///< paints where it is visible
  void show_queries();
  void place_strip();

  TextIndex index_;
  std::vector<float> mass_;
  double largest_mass_ = 0, even_share_ = 0;
  std::vector<bool> selected_, missed_;
  std::int64_t query_begin_ = 0, query_end_ = 0, hover_query_ = -1, hover_key_ = -1;
  std::vector<std::pair<int, int>> matches_;
  int current_match_ = -1;
  QPoint press_;
  HeatStrip* strip_;
};

}  // namespace headroom::views
