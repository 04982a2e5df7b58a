// SPDX-License-Identifier: GPL-3.0-or-later
// Export…: page, format, size and file of a figure.
#pragma once

#include <QDialog>
#include <QVector>

#include "gui/exporter.h"
#include "gui/pages.h"

class QComboBox;
class QDoubleSpinBox;
class QLabel;
class QLineEdit;
class QCheckBox;
class QSpinBox;

namespace headroom::gui {

class ExportDialog : public QDialog {
  Q_OBJECT
 public:
  ExportDialog(const QVector<Page>& pages, int current, const views::Selection& selection, QWidget* parent);
  FigureOptions options() const;
  QString file() const;

 private:
  void refresh();
  void suggest_file();
  void write();

  const QVector<Page>& pages_;
  const views::Selection& selection_;
  QComboBox *page_, *format_, *size_;
  QSpinBox* scale_;
  QCheckBox* caption_;
  QLineEdit* file_;
  QLabel* message_;
  bool file_touched_ = false;
};

/// Copies the page as a picture at twice its size.
void copy_page(const Page& page, const views::Selection& selection);

}  // namespace headroom::gui
