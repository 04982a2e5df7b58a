// SPDX-License-Identifier: GPL-3.0-or-later
// Export…: page, format, size and file of a figure.
#pragma once

#include <QDialog>
#include <QVector>

#include "gui/exporter.h"
#include "gui/figure_studio.h"
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
  /// Exports what is looked at now: the window may go on while the dialog is open.
  ExportDialog(const QVector<Page>& pages, int current, const views::Selection& selection, views::TileProvider* tiles,
               QWidget* parent);
  FigureOptions options() const;
  QString file() const;
  void reject() override;  ///< gives up what is being drawn, else closes

 private:
  void refresh();
  void suggest_file();
  void write();

  const FigureSubject subject_;
  views::TileProvider* tiles_;
  QStringList page_ids_;
  QComboBox *page_, *format_, *size_;
  QSpinBox* scale_;
  QCheckBox* caption_;
  QLineEdit* file_;
  QLabel* message_;
  bool file_touched_ = false;
  bool working_ = false, stopped_ = false;
};

/// Copies the page as a picture at twice its size. Empty where it went well, else why there is no picture.
QString copy_page(const QVector<Page>& pages, int index, const views::Selection& selection, views::TileProvider* tiles);

}  // namespace headroom::gui
