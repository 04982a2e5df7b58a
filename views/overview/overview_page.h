// SPDX-License-Identifier: GPL-3.0-or-later
// Overview: the sentence that answers, the answers side by side, and the layers x heads grid.
#pragma once

#include <memory>

#include "views/common/page_base.h"
#include "views/common/record_queries.h"

class QComboBox;
class QLabel;
class QStackedWidget;
class QTableView;
class QToolButton;
class QVBoxLayout;

namespace headroom::views {

class AnswerCards;
class HeadGridWidget;
class HeadStatisticsModel;
struct GridData;

class OverviewPage : public PageBase, public Exportable {
  Q_OBJECT
 public:
  explicit OverviewPage(Selection* selection, QWidget* parent = nullptr);
  ~OverviewPage() override;

  /// The sentences as plain text, one a line.
  QString answer_text() const;
  /// Every sparse method of every budget, as a table in rich text.
  QString all_budgets_html() const;
  HeadGridWidget* grid() const { return grid_; }

  void render(QPainter& painter, const QRectF& target, const ExportOptions& options) override;
  bool ready() const override { return settled(); }
  QString problem() const override { return grid_problem_; }
  double wanted_height(double width, double least_text) override;
  QString csv() const override;
  QString title() const override;

 signals:
  /// "PAGE#WHAT" (views/answer_sentence.h).
  void link_activated(const QString& link);
  /// Enter or a double click; head = Hq for the head mean.
  void open_head(int layer, int head);
  /// Why the answer of this method differs from dense's (an answer card's link).
  void why_asked(const QString& method);

 protected:
  void refresh(unsigned mask) override;
  void restyle() override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  void arrange();  ///< cards side by side or, where that is too narrow, one below the other
  void build();
  void show_sentences();
  void fill_budgets();
  void choose_budget(int index);
  void show_display();
  void show_answers();
  void fill_statistics();  ///< those that the record has
  void fill_streams();
  void show_grid();
  void show_current();
  void show_read_out(int layer, int head);
  void choose(int layer, int head);
  const record::MethodSummary* stream() const;
  void draw_text(Figure& figure) const;  ///< what stands above the grid
  /// What stands before a method's sentence.
  QString short_label(MethodPtr method) const;

  RecordPtr record_;  ///< what is drawn; keeps the summaries alive
  std::vector<MethodPtr> shown_;
  QString grid_problem_;
  std::shared_ptr<const GridData> grid_data_;
  QWidget* budget_bar_;
  QComboBox* budget_;
  QLabel* budget_note_;
  std::vector<Budget> budgets_;  ///< in the order of the choices
  QVBoxLayout* sentences_;
  AnswerCards* answers_;
  QLabel* answers_heading_;
  QComboBox *statistic_, *stream_, *order_;
  QToolButton* as_table_;
  QStackedWidget* views_;
  HeadGridWidget* grid_;
  QTableView* table_;
  HeadStatisticsModel* model_;
  QLabel *read_out_, *definition_;
};

}  // namespace headroom::views
