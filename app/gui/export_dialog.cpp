// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/export_dialog.h"

#include <QApplication>
#include <QCheckBox>
#include <QClipboard>
#include <QComboBox>
#include <QDesktopServices>
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
#include <QUrl>
#include <algorithm>

#include "base/error.h"
#include "gui/figure_preview.h"
#include "gui/file_names.h"
#include "gui/page_scroll.h"
#include "gui/settings_store.h"

namespace headroom::gui {
namespace {

constexpr const char* suffixes[] = {"png", "pdf", "svg", "csv"};
constexpr int look_every_ms = 40, ask_every_ms = 250;
constexpr qsizetype most_preview_lines = 24;

const FigurePreset& preset_at(int index) {
  const auto presets = figure_presets();
  return presets[static_cast<std::size_t>(std::clamp(index, 0, static_cast<int>(presets.size()) - 1))];
}

}  // namespace

ExportDialog::ExportDialog(const QVector<Page>& pages, int current, const views::Selection& selection,
                           views::TileProvider* tiles, SettingsStore& settings, QWidget* parent)
    : QDialog(parent), subject_(figure_subject(selection, pages)), tiles_(tiles), settings_(settings) {
  setWindowTitle(tr("Export"));
  setObjectName("export_dialog");
  auto* column = new QVBoxLayout(this);
  auto* scroll = new PageScroll(this);  // with large text on a small screen
  auto* body = new QWidget;
  auto* row = new QHBoxLayout(body);
  row->setContentsMargins(0, 0, 0, 0);
  row->addWidget(build_form(pages, current));
  preview_ = new FigurePreview(body);
  row->addWidget(preview_, 1);
  scroll->set_page(body);
  column->addWidget(scroll, 1);
  message_ = new QLabel(this);
  message_->setWordWrap(true);
  message_->setTextFormat(Qt::RichText);
  message_->setObjectName("message");
  message_->setTextInteractionFlags(Qt::LinksAccessibleByMouse | Qt::LinksAccessibleByKeyboard);
  connect(message_, &QLabel::linkActivated, this, &ExportDialog::follow_link);
  column->addWidget(message_);
  auto* buttons = new QDialogButtonBox(this);
  save_ = buttons->addButton(tr("Save"), QDialogButtonBox::AcceptRole);
  save_->setObjectName("save");
  close_ = buttons->addButton(tr("Cancel"), QDialogButtonBox::RejectRole);
  column->addWidget(buttons);
  connect(buttons, &QDialogButtonBox::accepted, this, &ExportDialog::write);
  connect(buttons, &QDialogButtonBox::rejected, this, &ExportDialog::reject);
  preview_timer_.setInterval(look_every_ms);
  connect(&preview_timer_, &QTimer::timeout, this, &ExportDialog::look);
  restore();
  for (QComboBox* combo : {page_, format_, size_})
    connect(combo, &QComboBox::currentIndexChanged, this, &ExportDialog::refresh);
  connect(scale_, &QSpinBox::valueChanged, this, &ExportDialog::refresh);
  connect(caption_, &QCheckBox::toggled, this, &ExportDialog::refresh);
  refresh();
  const int unit = fontMetrics().height();
  resize(dialog_size(parent, QSize(unit * 60, unit * 26)));
}

ExportDialog::~ExportDialog() = default;

QWidget* ExportDialog::build_form(const QVector<Page>& pages, int current) {
  auto* form_box = new QWidget;
  auto* form = new QFormLayout(form_box);
  form->setContentsMargins(0, 0, 0, 0);
  form->setRowWrapPolicy(QFormLayout::WrapLongRows);
  const auto choice = [&](const QString& name) {
    auto* box = new QComboBox(form_box);
    box->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    box->setAccessibleName(name);
    form->addRow(name, box);
    return box;
  };
  page_ = choice(tr("View"));
  for (const Page& page : pages) {
    page_->addItem(page.title);
    view_ids_ << page.id;
  }
  page_->addItem(tr("Prompt text with its marks"));
  view_ids_ << "text";
  page_->setCurrentIndex(current);
  format_ = choice(tr("Format"));
  format_->addItems(
      {tr("PNG picture"), tr("PDF, text stays text"), tr("SVG, text stays text"), tr("CSV, the visible numbers")});
  size_ = choice(tr("Size"));
  for (const FigurePreset& preset : figure_presets())
    size_->addItem(QCoreApplication::translate("FigurePreset", preset.label));
  scale_ = new QSpinBox(form_box);
  scale_->setRange(1, 4);
  scale_->setSuffix("×");
  scale_->setAccessibleName(tr("Resolution"));
  form->addRow(tr("Resolution"), scale_);
  caption_ = new QCheckBox(tr("Print run, place and scale below"), form_box);
  form->addRow({}, caption_);
  auto* row = new QWidget(form_box);
  auto* row_layout = new QHBoxLayout(row);
  row_layout->setContentsMargins(0, 0, 0, 0);
  file_ = new QLineEdit(row);
  file_->setMinimumWidth(fontMetrics().height() * 8);
  file_->setAccessibleName(tr("File"));
  auto* browse = new QPushButton(tr("Choose…"), row);
  row_layout->addWidget(file_, 1);
  row_layout->addWidget(browse);
  form->addRow(tr("File"), row);
  connect(file_, &QLineEdit::textEdited, this, [this] { file_touched_ = true; });
  connect(browse, &QPushButton::clicked, this, &ExportDialog::choose_file);
  return form_box;
}

void ExportDialog::restore() {
  const SettingsStore::ExportChoices choices = settings_.export_choices();
  format_->setCurrentIndex(choices.format);
  const auto presets = figure_presets();
  for (std::size_t i = 0; i < presets.size(); ++i)
    if (choices.preset == presets[i].name) size_->setCurrentIndex(static_cast<int>(i));
  scale_->setValue(choices.scale);
  caption_->setChecked(choices.caption);
  folder_ = QFileInfo(choices.folder).isDir() ? choices.folder : QString();
}

void ExportDialog::remember() {
  folder_ = QFileInfo(file()).absolutePath();
  settings_.set_export_choices({format_->currentIndex(), preset_at(size_->currentIndex()).name, scale_->value(),
                                caption_->isChecked(), folder_});
}

void ExportDialog::refresh() {
  const auto format = static_cast<FigureFormat>(format_->currentIndex());
  size_->setEnabled(format != FigureFormat::csv);
  scale_->setEnabled(format == FigureFormat::png);
  caption_->setEnabled(format != FigureFormat::csv);
  message_->clear();
  close_->setText(tr("Cancel"));
  suggest_file();
  look_again();
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
  const QString pictures = QStandardPaths::writableLocation(QStandardPaths::PicturesLocation);
  const QString base = !folder_.isEmpty() ? folder_ : QFileInfo::exists(pictures) ? pictures : QDir::homePath();
  file_->setText(QString("%1/%2-%3.%4").arg(base, stem, view_ids_[page_->currentIndex()], suffix));
}

void ExportDialog::choose_file() {
  const QString suffix = suffixes[format_->currentIndex()];
  const QString chosen = QFileDialog::getSaveFileName(this, tr("Export to"), file_->text(), "*." + suffix);
  if (chosen.isEmpty()) return;
  file_touched_ = true;
  file_->setText(chosen);
}

FigureStudio& ExportDialog::studio() {
  if (!studio_) studio_ = std::make_unique<FigureStudio>(subject_, tiles_);
  return *studio_;
}

views::Exportable& ExportDialog::view() {
  return studio().view(view_ids_[page_->currentIndex()]);
}

FigureOptions ExportDialog::options() {
  FigureOptions options;
  options.format = static_cast<FigureFormat>(format_->currentIndex());
  options.scale = scale_->value();
  options.caption = caption_->isChecked();
  apply_preset(options, preset_at(size_->currentIndex()), view());
  return options;
}

QString ExportDialog::file() const {
  return file_->text().trimmed();
}

QString ExportDialog::message() const {
  return message_->text();
}

void ExportDialog::look_again() {
  asked_.invalidate();
  preview_timer_.start();
}

void ExportDialog::look() {
  if (working_ || !isVisible()) return;
  // Without a loop of its own: what the picture needs comes from other threads, and the window goes on meanwhile.
  views::Exportable& shown = view();
  FigureOptions wanted = options();
  const bool numbers = wanted.format == FigureFormat::csv;
  wanted.format = FigureFormat::png;
  wanted.scale = 1;
  const bool again = asked_.isValid() && asked_.elapsed() > ask_every_ms && !(shown.ready() && shown.complete());
  if (!asked_.isValid() || again) {
    if (!asked_.isValid()) preview_->show_text(tr("Drawing…"));
    ask_for_figure(shown, studio().selection(), wanted);
    asked_.start();
    return;
  }
  if (!shown.ready() || (!numbers && !shown.complete())) return;
  preview_timer_.stop();
  if (const QString why = shown.problem(); !why.isEmpty()) return preview_->show_text(why);
  if (numbers) {
    // Those of a map are computed when they are written.
    QString text = fact_lines(studio().selection(), shown);
    if (!shown.csv_work()) text += shown.csv();
    return preview_->show_text(text.split('\n').mid(0, most_preview_lines).join('\n'));
  }
  constexpr double mm = 25.4 / 96;
  preview_->show_figure(
      figure_image(shown, studio().selection(), wanted),
      tr("%1 × %2 mm").arg(wanted.size.width() * mm, 0, 'f', 0).arg(wanted.size.height() * mm, 0, 'f', 0));
  shown.exported();
}

void ExportDialog::write() {
  if (working_) return;
  if (file().isEmpty()) return message_->setText(tr("Name a file."));
  // The event loop runs while tiles come; Cancel gives them up.
  working_ = true;
  stopped_ = false;
  save_->setEnabled(false);
  message_->setText(tr("Drawing…"));
  QString problem;
  try {
    problem = write_figure(view(), studio().selection(), file(), options(), [this] { return stopped_; });
  } catch (const Error& error) {
    problem = QString::fromUtf8(error.what());
  }
  working_ = false;
  save_->setEnabled(true);
  if (problem.isEmpty()) return say_saved();
  message_->setText(problem.toHtmlEscaped());
}

void ExportDialog::say_saved() {
  remember();
  const QString name = shown_path(QFileInfo(file()).fileName()).toHtmlEscaped();
  message_->setText(tr("Saved: %1 · <a href=\"open\">open</a> · <a href=\"folder\">show folder</a>")
                        .arg(QStringLiteral("<b>%1</b>").arg(name)));
  close_->setText(tr("Close"));
}

void ExportDialog::follow_link(const QString& link) {
  const QFileInfo saved(file());
  QDesktopServices::openUrl(QUrl::fromLocalFile(link == "folder" ? saved.absolutePath() : saved.absoluteFilePath()));
}

void ExportDialog::reject() {
  if (!working_) {
    remember();
    return QDialog::reject();
  }
  stopped_ = true;
}

QString copy_page(const QVector<Page>& pages, int index, const views::Selection& selection,
                  views::TileProvider* tiles) {
  const FigureStudio studio(figure_subject(selection, pages), tiles);
  views::Exportable& view = studio.view(pages[index].id);
  FigureOptions options;
  const QString problem = await_figure(view, studio.selection(), options);
  if (problem.isEmpty()) QApplication::clipboard()->setImage(figure_image_by_worker(view, studio.selection(), options));
  view.exported();
  return problem;
}

}  // namespace headroom::gui
