// SPDX-License-Identifier: GPL-3.0-or-later
// The dock of missed keys: which keys rows missed by their mass, who reads a key, and why the answer changed. Every
// line leads map and text to its place.
#pragma once

#include <QTimer>
#include <QWidget>
#include <optional>
#include <stop_token>

#include "views/missed/missed_model.h"
#include "views/missed/why_model.h"

class QComboBox;
class QLabel;
class QProgressBar;
class QPushButton;
class QSpinBox;
class QTableView;
class QToolButton;

namespace headroom::views {

class MissedPanel : public QWidget {
  Q_OBJECT
 public:
  explicit MissedPanel(Selection* selection, QWidget* parent = nullptr);
  ~MissedPanel() override;

  /// What is shown belongs to the selection, nothing is being computed.
  bool settled() const { return !running_ && pending_mask_ == 0; }
  QTableView* table() const { return table_; }
  const MissedModel& missed() const { return *missed_; }
  /// What the list adds up to, or why it is empty, as plain text.
  QString headline() const;
  QString note() const;
  /// Looks at the pair of a line.
  void go_to_line(int row);
  /// The list as CSV behind comment lines with what it is of; empty where there is none.
  QString csv() const;
  /// Writes it; what went wrong stands in the panel and is returned, empty where nothing did.
  QString write_csv(const QString& file);
  void cancel();
  /// The row that the answer hangs on, in the layer where it missed most (scope `answer`), or all rows there.
  void show_rows_of_answer(bool all_rows);

 signals:
  /// A line was chosen: whoever shows another page brings the map forward.
  void place_chosen();

 protected:
  void showEvent(QShowEvent* event) override;
  void changeEvent(QEvent* event) override;

 private:
  void build();
  void follow(unsigned mask);
  void show_question();
  void show_why();
  MissedRequest wanted_request() const;
  void ask();
  void start();
  void take(MissedResult result);
  void show_result();
  void show_headline();
  void fit();
  QString missed_headline() const;
  QString readers_headline() const;
  QString facts() const;
  const record::AnswerPosition* shown_position() const;
  void save_csv();

  Selection* selection_;
  MissedModel* missed_;
  WhyModel* why_;
  QComboBox *question_, *scope_;
  QLabel *headline_, *note_;
  QProgressBar* progress_;
  QToolButton* cancel_;
  QTableView* table_;
  QWidget* position_row_;
  QSpinBox* position_;
  QPushButton *last_row_, *all_rows_, *csv_;
  QTimer patience_;  ///< before progress is shown: most lists are there at once

  std::optional<MissedRequest> asked_;  ///< of what is shown or on its way
  bool running_ = false, again_ = false, cancelled_ = false;
  std::stop_source stop_;
  unsigned pending_mask_ = 0;  ///< changes that came while hidden
  RecordPtr choices_of_;
  QString choices_method_, choices_problem_;
  std::shared_ptr<const std::vector<record::AnswerPosition>> choices_;
  MissedModel::Column sorted_by_ = MissedModel::Column::mass;
  Qt::SortOrder order_ = Qt::DescendingOrder;
};

}  // namespace headroom::views
