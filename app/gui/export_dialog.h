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
  void reject() override;  ///< gives up what is being drawn, else closes

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
  bool working_ = false, stopped_ = false;
};

/// Copies the page as a picture at twice its size. Empty where it went well, else why there is no picture.
QString copy_page(const Page& page, const views::Selection& selection);

}  // namespace headroom::gui
