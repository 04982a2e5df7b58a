// SPDX-License-Identifier: GPL-3.0-or-later
// Numbers of what is selected: the run, the method, the layer and head, and the keys of the selected row with most
// mass.
#pragma once

#include <QWidget>
#include <memory>

#include "views/common/selection.h"

class QTreeWidget;
class QTreeWidgetItem;
class QTableWidget;
class QLabel;

namespace headroom::views {

class InspectorDock : public QWidget {
  Q_OBJECT
 public:
  explicit InspectorDock(Selection* selection, QWidget* parent = nullptr);
  bool settled() const { return pending_ == 0; }

 signals:
  /// A key was chosen: map and text have moved there.
  void place_chosen();

 protected:
  void showEvent(QShowEvent* event) override;
  void changeEvent(QEvent* event) override;

 private:
  void fit_width();
  void follow(unsigned mask);
  void fill_facts();
  void request_keys();

  Selection* selection_;
  QTreeWidget* facts_;
  QWidget* lower_;
  QLabel* keys_title_;
  QTableWidget* keys_;
  quint64 generation_ = 0;
  int pending_ = 0;
  unsigned missed_mask_ = 0;  ///< changes that came while hidden
};

/// A token as one line of text: white space made visible, cut to `max_characters`.
QString visible_token(const record::TokenTable& tokens, std::int64_t position, int max_characters = 24);

}  // namespace headroom::views
