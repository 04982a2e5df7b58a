// SPDX-License-Identifier: GPL-3.0-or-later
// The prompt text with its find bar, "go to token", white space switch and legend.
#pragma once

#include <QWidget>
#include <utility>
#include <vector>

#include "views/common/exportable.h"
#include "views/map/row_mass.h"

class QLabel;
class QLineEdit;
class QSpinBox;
class QToolButton;

namespace headroom::views {

class PromptText;

class PromptPanel : public QWidget, public Exportable {
  Q_OBJECT
 public:
  explicit PromptPanel(Selection* selection, QWidget* parent = nullptr);

  /// The map whose rows colour the text; null: none.
  void set_data(MapDataPtr map_data);
  PromptText* text() const { return text_; }
  bool settled() const;  ///< the colours of the text are those of the selection
  QLineEdit* find_field() const { return find_; }
  /// What background and marks are of, above the text.
  QString caption() const;
  /// The first token that is in sight; figures begin there.
  std::int64_t first_token() const;
  void set_first_token(std::int64_t token) { first_token_ = token; }
  QString find_count() const;  ///< "3/41", "none", or what is wrong with the expression
  void focus_find();
  void focus_go_to();

  void render(QPainter& painter, const QRectF& target, const ExportOptions& options) override;
  bool ready() const override { return settled(); }
  QString problem() const override;
  QString csv() const override;  ///< one line a token: mass, selected, missed
  QString title() const override;

 signals:
  /// A token was chosen (click, or "go to token").
  void token_chosen(qint64 token, Qt::KeyboardModifiers modifiers);
  /// Tokens in which a match of the find field begins, ascending and each once; the one of the current match, or -1.
  void found(const std::vector<std::int64_t>& tokens, std::int64_t current);

 private:
  void selection_changed(unsigned mask);
  void show_record();
  void follow(unsigned mask);
  void show_marks();
  void show_legend();
  void search();
  void go_to_match(int index);
  void tell_found(std::int64_t current);

  Selection* selection_;
  MapDataPtr data_;
  RowMarks marks_;
  std::int64_t first_token_ = -1;  ///< of figures; -1: what is in sight
  RecordPtr shown_;
  unsigned late_ = 0;  ///< what the selection announced and follow() has not met yet
  PromptText* text_;
  RowMass* rows_;
  QLineEdit* find_;
  QToolButton *regex_, *previous_, *next_, *white_space_;
  QLabel *count_, *caption_, *legend_;
  QSpinBox* go_to_;
  std::vector<std::pair<int, int>> matches_;
  std::vector<std::int64_t> found_;  ///< tokens in which they begin
  int match_ = -1;
  bool own_click_ = false;
};

}  // namespace headroom::views
