// SPDX-License-Identifier: GPL-3.0-or-later
// Export…: view, format, size and file of a figure, and how it will look.
#pragma once

#include <QDialog>
#include <QElapsedTimer>
#include <QTimer>
#include <QVector>
#include <memory>

#include "gui/exporter.h"
#include "gui/figure_studio.h"
#include "gui/pages.h"

class QCheckBox;
class QComboBox;
class QFormLayout;
class QLabel;
class QLineEdit;
class QPushButton;
class QSpinBox;

namespace headroom::gui {

class FigurePreview;
class SettingsStore;

class ExportDialog : public QDialog {
  Q_OBJECT
 public:
  /// Exports what is looked at now: the window may go on while the dialog is open.
  ExportDialog(const QVector<Page>& pages, int current, const views::Selection& selection, views::TileProvider* tiles,
               SettingsStore& settings, QWidget* parent);
  ~ExportDialog() override;
  /// Size and text are those that the preset gives to the chosen view.
  FigureOptions options();
  QString file() const;
  /// "Saved: …" or what went wrong.
  QString message() const;
  const FigurePreview& preview() const { return *preview_; }
  void reject() override;  ///< gives up what is being drawn, else closes

 private:
  QWidget* build_form(const QVector<Page>& pages, int current);
  void restore();
  void remember();
  void refresh();
  void suggest_file();
  void choose_file();
  void write();
  void say_saved();
  void follow_link(const QString& link);
  void look_again();
  void look();
  FigureStudio& studio();
  views::Exportable& view();

  const FigureSubject subject_;
  views::TileProvider* tiles_;
  SettingsStore& settings_;
  std::unique_ptr<FigureStudio> studio_;  ///< made when the first picture is wanted
  QStringList view_ids_;
  QComboBox *page_ = nullptr, *format_ = nullptr, *size_ = nullptr;
  QSpinBox* scale_ = nullptr;
  QCheckBox* caption_ = nullptr;
  QLineEdit* file_ = nullptr;
  QLabel* message_ = nullptr;
  FigurePreview* preview_ = nullptr;
  QPushButton *save_ = nullptr, *close_ = nullptr;
  QTimer preview_timer_;
  QElapsedTimer asked_;  ///< when the preview last asked for what it needs; invalid: not yet
  QString folder_;
  bool file_touched_ = false;
  bool working_ = false, stopped_ = false;
};

/// Copies the page as a picture at twice its size. Empty where it went well, else why there is no picture.
QString copy_page(const QVector<Page>& pages, int index, const views::Selection& selection, views::TileProvider* tiles);

}  // namespace headroom::gui
