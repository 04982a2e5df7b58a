// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/export_dialog.h"

#include <QApplication>
#include <QCheckBox>
#include <QClipboard>
#include <QComboBox>
#include <QDialogButtonBox>
#include <QDir>
#include <QFileDialog>
#include <QFileInfo>
#include <QFormLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QSpinBox>
#include <QStandardPaths>

#include "base/error.h"

namespace headroom::gui {
namespace {

struct SizePreset {
  const char* label;
  double width_mm, height_mm;
};
// Painter units are 1/96 inch; a figure lays itself out for the width that it is given.
constexpr SizePreset size_presets[] = {
    {QT_TRANSLATE_NOOP("ExportDialog", "Screen, 1200 × 750"), 317.5, 198.4},
    {QT_TRANSLATE_NOOP("ExportDialog", "Slide 16:9, 339 × 191 mm"), 338.7, 190.5},
    {QT_TRANSLATE_NOOP("ExportDialog", "Two columns, 180 × 110 mm"), 180, 110},
    {QT_TRANSLATE_NOOP("ExportDialog", "One column, 88 × 66 mm"), 88, 66},
};
constexpr const char* suffixes[] = {"png", "pdf", "svg", "csv"};

}  // namespace

ExportDialog::ExportDialog(const QVector<Page>& pages, int current, const views::Selection& selection,
                           views::TileProvider* tiles, QWidget* parent)
    : QDialog(parent), subject_(figure_subject(selection, pages)), tiles_(tiles) {
  setWindowTitle(tr("Export"));
  setObjectName("export_dialog");
  auto* form = new QFormLayout(this);
  page_ = new QComboBox(this);
  for (const Page& page : pages) {
    page_->addItem(page.title);
    page_ids_ << page.id;
  }
  page_->setCurrentIndex(current);
  format_ = new QComboBox(this);
  format_->addItems(
      {tr("PNG picture"), tr("PDF, text stays text"), tr("SVG, text stays text"), tr("CSV, the visible numbers")});
  size_ = new QComboBox(this);
  for (const SizePreset& preset : size_presets) size_->addItem(tr(preset.label));
  scale_ = new QSpinBox(this);
  scale_->setRange(1, 4);
  scale_->setValue(2);
  scale_->setSuffix("×");
  caption_ = new QCheckBox(tr("Print run, model, layer and head below the figure"), this);
  caption_->setChecked(true);
  auto* row = new QWidget(this);
  auto* row_layout = new QHBoxLayout(row);
  row_layout->setContentsMargins(0, 0, 0, 0);
  file_ = new QLineEdit(row);
  file_->setMinimumWidth(fontMetrics().height() * 24);
  auto* browse = new QPushButton(tr("Choose…"), row);
  row_layout->addWidget(file_, 1);
  row_layout->addWidget(browse);
  message_ = new QLabel(this);
  message_->setWordWrap(true);
  form->addRow(tr("Page"), page_);
  form->addRow(tr("Format"), format_);
  form->addRow(tr("Size"), size_);
  form->addRow(tr("Resolution"), scale_);
  form->addRow({}, caption_);
  form->addRow(tr("File"), row);
  form->addRow(message_);
  auto* buttons = new QDialogButtonBox(QDialogButtonBox::Save | QDialogButtonBox::Cancel, this);
  form->addRow(buttons);
  connect(buttons, &QDialogButtonBox::accepted, this, &ExportDialog::write);
  connect(buttons, &QDialogButtonBox::rejected, this, &QDialog::reject);
  connect(file_, &QLineEdit::textEdited, this, [this] { file_touched_ = true; });
  connect(browse, &QPushButton::clicked, this, [this] {
    const QString suffix = suffixes[format_->currentIndex()];
    const QString chosen = QFileDialog::getSaveFileName(this, tr("Export to"), file_->text(), "*." + suffix);
    if (chosen.isEmpty()) return;
    file_touched_ = true;
    file_->setText(chosen);
  });
  for (QComboBox* combo : {page_, format_})
    connect(combo, &QComboBox::currentIndexChanged, this, &ExportDialog::refresh);
  refresh();
}

void ExportDialog::refresh() {
  const auto format = static_cast<FigureFormat>(format_->currentIndex());
  size_->setEnabled(format != FigureFormat::csv);
  scale_->setEnabled(format == FigureFormat::png);
  caption_->setEnabled(format != FigureFormat::csv);
  suggest_file();
}

void ExportDialog::suggest_file() {
  const QString suffix = suffixes[format_->currentIndex()];
  if (file_touched_ && !file_->text().isEmpty()) {
    const QFileInfo now(file_->text());
    if (figure_format(now.filePath())) file_->setText(now.path() + "/" + now.completeBaseName() + "." + suffix);
    return;
  }
  const auto& state = subject_.state;
  const views::RecordPtr record = state.current >= 0 ? state.runs[static_cast<std::size_t>(state.current)] : nullptr;
  const QString stem =
      record ? QFileInfo(QString::fromStdString(record->path().string())).completeBaseName() : QString("headroom");
  const QString folder = QStandardPaths::writableLocation(QStandardPaths::PicturesLocation);
  const QString base = QFileInfo::exists(folder) ? folder : QDir::homePath();
  file_->setText(QString("%1/%2-%3.%4").arg(base, stem, page_ids_[page_->currentIndex()], suffix));
}

FigureOptions ExportDialog::options() const {
  FigureOptions options;
  options.format = static_cast<FigureFormat>(format_->currentIndex());
  const SizePreset& preset = size_presets[std::max(size_->currentIndex(), 0)];
  options.size = QSizeF(preset.width_mm, preset.height_mm) * (96.0 / 25.4);
  options.scale = scale_->value();
  options.caption = caption_->isChecked();
  return options;
}

QString ExportDialog::file() const {
  return file_->text().trimmed();
}

void ExportDialog::write() {
  if (working_) return;
  if (file().isEmpty()) return message_->setText(tr("Name a file."));
  // The event loop runs while tiles come; Cancel gives them up.
  working_ = true;
  stopped_ = false;
  message_->setText(tr("Drawing…"));
  QString problem;
  try {
    const FigureStudio studio(subject_, tiles_);
    problem = write_figure(studio.view(page_ids_[page_->currentIndex()]), studio.selection(), file(), options(),
                           [this] { return stopped_; });
  } catch (const Error& error) {
    problem = QString::fromUtf8(error.what());
  }
  working_ = false;
  if (problem.isEmpty()) return accept();
  message_->setText(problem);
}

void ExportDialog::reject() {
  if (!working_) return QDialog::reject();
  stopped_ = true;
}

QString copy_page(const QVector<Page>& pages, int index, const views::Selection& selection,
                  views::TileProvider* tiles) {
  const FigureStudio studio(figure_subject(selection, pages), tiles);
  views::Exportable& view = studio.view(pages[index].id);
  FigureOptions options;
  const QString problem = await_figure(view, studio.selection(), options);
  if (problem.isEmpty()) QApplication::clipboard()->setImage(figure_image(view, studio.selection(), options));
  view.exported();
  return problem;
}

}  // namespace headroom::gui
