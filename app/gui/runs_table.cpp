// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/runs_table.h"

#include <QFile>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QSortFilterProxyModel>
#include <QStandardItemModel>
#include <QTabWidget>
#include <QTableView>
#include <QVBoxLayout>

#include "gui/file_names.h"
#include "gui/page_scroll.h"
#include "gui/settings_store.h"
#include "record/speedup.h"
#include "views/common/format.h"
#include "views/common/page_base.h"
#include "views/common/record_queries.h"
#include "views/common/theme.h"
#include "views/common/workers.h"

namespace headroom::gui {
namespace {

enum FileColumn {
  name_column,
  note_column,
  kind_column,
  model_column,
  tokens_column,
  methods_column,
  date_column,
  size_column,
  state_column
};
constexpr int library_path_role = Qt::UserRole + 1;

QStandardItem* library_item(const QString& text, const QVariant& sort, bool number = false) {
  auto* item = new QStandardItem(text);
  item->setData(sort, Qt::UserRole);
  item->setEditable(false);
  if (number) item->setTextAlignment(Qt::AlignRight | Qt::AlignVCenter);
  return item;
}

QString size_text(qint64 bytes) {
  return views::number_locale().formattedDataSize(bytes, 1, QLocale::DataSizeSIFormat);
}

QTableView* make_table(QWidget* parent, const QStringList& headers, QStandardItemModel*& model,
                       QSortFilterProxyModel*& sorted, const char* name, const QString& accessible) {
  auto* table = new QTableView(parent);
  table->setObjectName(name);
  table->setAccessibleName(accessible);
  views::style_table(table);
  model = new QStandardItemModel(0, static_cast<int>(headers.size()), table);
  model->setHorizontalHeaderLabels(headers);
  sorted = new QSortFilterProxyModel(table);
  sorted->setSourceModel(model);
  sorted->setSortRole(Qt::UserRole);
  sorted->setFilterKeyColumn(-1);
  sorted->setFilterCaseSensitivity(Qt::CaseInsensitive);
  table->setModel(sorted);
  table->setSortingEnabled(true);
  table->sortByColumn(-1, Qt::AscendingOrder);
  table->horizontalHeader()->setSectionsMovable(true);
  return table;
}

}  // namespace

RunsTable::RunsTable(views::Selection& selection, SettingsStore& settings, QWidget* parent)
    : QDialog(parent), selection_(selection), settings_(settings), notes_(settings) {
  setObjectName("runs_table");
  setWindowTitle(tr("Runs and sweeps"));
  build();
  connect(&selection_, &views::Selection::changed, this, [this](unsigned mask) {
    if (!(mask & (views::Selection::Runs | views::Selection::Sweeps))) return;
    read();
    show_measurements();
  });
  connect(&reading_, &QFutureWatcher<QVector<LibraryFile>>::finished, this, [this] {
    library_ = reading_.result();
    show_files();
    if (std::exchange(again_, false)) read();
  });
  const int unit = fontMetrics().height();
  resize(dialog_size(parent, QSize(unit * 66, unit * 30)));
  show_measurements();
  read();
}

RunsTable::~RunsTable() {
  reading_.waitForFinished();
}

QAbstractItemModel* RunsTable::files() const {
  return sorted_files_;
}
QAbstractItemModel* RunsTable::measurements() const {
  return sorted_measured_;
}

void RunsTable::build() {
  auto* column = new QVBoxLayout(this);
  auto* filter = new QLineEdit(this);
  filter->setObjectName("runs_filter");
  filter->setPlaceholderText(tr("Find: a name, note, model, method …"));
  filter->setAccessibleName(tr("Find in the table"));
  filter->setClearButtonEnabled(true);
  column->addWidget(filter);
  tabs_ = new QTabWidget(this);
  tabs_->setObjectName("runs_tabs");
  tabs_->addTab(build_files(), tr("Files"));
  tabs_->addTab(build_measurements(), tr("Measured on the open runs"));
  column->addWidget(tabs_, 1);
  connect(filter, &QLineEdit::textChanged, this, [this](const QString& text) {
    sorted_files_->setFilterFixedString(text);
    sorted_measured_->setFilterFixedString(text);
  });
}

QWidget* RunsTable::build_files() {
  auto* page = new QWidget;
  auto* column = new QVBoxLayout(page);
  files_table_ = make_table(page,
                            {tr("name"), tr("notes"), tr("kind"), tr("model"), tr("tokens"), tr("methods"), tr("made"),
                             tr("size"), tr("state")},
                            files_, sorted_files_, "runs_files", tr("Files of runs and sweeps"));
  files_table_->setEditTriggers(QAbstractItemView::DoubleClicked | QAbstractItemView::EditKeyPressed |
                                QAbstractItemView::SelectedClicked);
  column->addWidget(files_table_, 1);
  note_ = views::make_note({}, page);
  column->addWidget(note_);
  question_ = new QWidget(page);
  question_->setObjectName("trash_question");
  question_->setAutoFillBackground(true);
  auto* ask = new QHBoxLayout(question_);
  question_text_ = new QLabel(question_);
  question_text_->setWordWrap(true);
  auto* yes = new QPushButton(tr("Move to trash"), question_);
  yes->setObjectName("trash_yes");
  auto* no = new QPushButton(tr("Keep"), question_);
  no->setObjectName("trash_no");
  ask->addWidget(question_text_, 1);
  ask->addWidget(yes);
  ask->addWidget(no);
  question_->hide();
  column->addWidget(question_);
  auto* row = new QHBoxLayout;
  open_ = new QPushButton(tr("Open"), page);
  open_->setObjectName("runs_open");
  close_ = new QPushButton(tr("Take off the list"), page);
  close_->setObjectName("runs_close");
  close_->setToolTip(tr("Closes what is open of the chosen ones; the files stay"));
  trash_ = new QPushButton(tr("Move to trash…"), page);
  trash_->setObjectName("runs_trash");
  row->addWidget(open_);
  row->addWidget(close_);
  row->addStretch(1);
  row->addWidget(trash_);
  column->addLayout(row);
  connect(open_, &QPushButton::clicked, this, &RunsTable::open_chosen);
  connect(close_, &QPushButton::clicked, this, &RunsTable::close_chosen);
  connect(trash_, &QPushButton::clicked, this, &RunsTable::show_question);
  connect(yes, &QPushButton::clicked, this, &RunsTable::trash_chosen);
  connect(no, &QPushButton::clicked, question_, &QWidget::hide);
  connect(files_table_, &QTableView::doubleClicked, this, [this](const QModelIndex& index) {
    if (index.column() != note_column) open_chosen();
  });
  connect(files_, &QStandardItemModel::itemChanged, this, [this](QStandardItem* item) {
    if (filling_ || item->column() != note_column) return;
    notes_.set(item->data(library_path_role).toString(), item->text());
    item->setData(item->text(), Qt::UserRole);
  });
  const auto follow = [this] {
    const bool any = !chosen().isEmpty();
    for (QPushButton* button : {open_, close_, trash_}) button->setEnabled(any);
    question_->hide();
  };
  connect(files_table_->selectionModel(), &QItemSelectionModel::selectionChanged, this, follow);
  follow();
  return page;
}

QWidget* RunsTable::build_measurements() {
  auto* page = new QWidget;
  auto* column = new QVBoxLayout(page);
  measured_table_ = make_table(page,
                               {tr("run"), tr("tokens"), tr("model"), tr("method"), tr("keys"), tr("of pairs"),
                                tr("mass kept"), tr("KL, nats"), tr("TTFT"), tr("speedup"), tr("device")},
                               measured_, sorted_measured_, "runs_measured", tr("What was measured on each open run"));
  column->addWidget(measured_table_, 1);
  auto* words = views::make_note(tr("One prompt a run: no quality result. A speedup is over dense of the same run; one "
                                    "in brackets is a hint (one pass, not in turn, or other work beside it)."),
                                 page);
  column->addWidget(words);
  return page;
}

void RunsTable::read() {
  if (reading_.isRunning()) {
    again_ = true;
    return;
  }
  QStringList files;
  const auto add = [&](const QString& path) {
    if (!path.isEmpty() && !files.contains(path)) files << path;
  };
  for (const auto& run : selection_.state().runs) add(name_from_path(run->path()));
  for (const auto& sweep : selection_.state().sweeps)
    if (!sweep->growing) add(name_from_path(sweep->path));
  for (const QString& path : settings_.recent_files()) add(path);
  for (const QString& path : kept_files()) add(path);
  note_->setText(tr("Reading…"));
  reading_.setFuture(views::in_worker(read_library, files));
}

void RunsTable::show_files() {
  filling_ = true;
  const QStringList before = chosen();
  files_->removeRows(0, files_->rowCount());
  const auto is_open = [this](const QString& path) {
    for (const auto& run : selection_.state().runs)
      if (name_from_path(run->path()) == path) return true;
    for (const auto& sweep : selection_.state().sweeps)
      if (name_from_path(sweep->path) == path) return true;
    return false;
  };
  qint64 sum = 0;
  for (const LibraryFile& file : library_) {
    sum += file.bytes;
    const QString state = !file.problem.isEmpty() ? tr("cannot be read")
                          : is_open(file.path)    ? (file.complete ? tr("open") : tr("open, incomplete"))
                                                  : (file.complete ? QString() : tr("incomplete"));
    auto* note = new QStandardItem(notes_.of(file.path));
    note->setData(notes_.of(file.path), Qt::UserRole);
    note->setData(file.path, library_path_role);
    QList<QStandardItem*> row{
        library_item(shown_path(file.name), file.name.toLower()),
        note,
        library_item(!file.problem.isEmpty() ? QStringLiteral("–")
                     : file.sweep            ? tr("sweep")
                                             : tr("run"),
                     file.sweep ? 1 : 0),
        library_item(file.model, file.model.toLower()),
        library_item(file.tokens, file.length, true),
        library_item(file.methods, file.methods),
        library_item(views::number_locale().toString(file.created.toLocalTime(), "d MMM yyyy, HH:mm"), file.created),
        library_item(size_text(file.bytes), file.bytes, true),
        library_item(state, state)};
    row[name_column]->setData(file.path, library_path_role);
    const QString tip = shown_path(file.path) + (file.problem.isEmpty() ? QString() : "\n" + file.problem);
    for (QStandardItem* item : row) item->setToolTip(tip);
    files_->appendRow(row);
  }
  views::fit_table(files_table_, 260);
  files_table_->setColumnWidth(note_column, std::max(140, files_table_->columnWidth(note_column)));
  note_->setText(tr("Files: %1, %2 in all. What is open, was opened last, or lies where runs are kept. Notes are "
                    "yours; records do not change.")
                     .arg(library_.size())
                     .arg(size_text(sum)));
  for (int row = 0; row < sorted_files_->rowCount(); ++row)
    if (before.contains(sorted_files_->index(row, 0).data(library_path_role).toString()))
      files_table_->selectionModel()->select(sorted_files_->index(row, 0),
                                             QItemSelectionModel::Select | QItemSelectionModel::Rows);
  filling_ = false;
}

void RunsTable::show_measurements() {
  measured_->removeRows(0, measured_->rowCount());
  for (const auto& run : selection_.state().runs) {
    const auto* dense = views::dense_of(*run);
    const QString name = QFileInfo(shown_path(name_from_path(run->path()))).completeBaseName();
    const auto add = [&](const QString& method, std::optional<double> keys, double density, std::optional<double> mass,
                         std::optional<double> kl, const record::Quartiles& ttft,
                         const std::optional<record::Speedup>& speedup) {
      const QString ratio = !speedup          ? QStringLiteral("–")
                            : speedup->firm() ? tr("%1x").arg(views::format_fixed(speedup->ratio, 2))
                                              : tr("(%1x)").arg(views::format_fixed(speedup->ratio, 2));
      const QString none = QStringLiteral("–");
      measured_->appendRow(
          {library_item(name, name.toLower()),
           library_item(views::format_count(run->length()), qlonglong(run->length()), true),
           library_item(views::model_label(run->meta()), views::model_label(run->meta())), library_item(method, method),
           library_item(keys ? views::format_count(qRound64(*keys)) : none, keys.value_or(1e12), true),
           library_item(views::format_percent(density), density, true),
           library_item(mass ? views::format_percent(*mass, 1) : none, mass.value_or(-1), true),
           library_item(kl ? views::format_number(*kl) : none, kl.value_or(-1), true),
           library_item(ttft.repeats > 0 ? views::format_ms(ttft.median) : tr("not timed"),
                        ttft.repeats > 0 ? ttft.median : 1e15, true),
           library_item(ratio, speedup ? speedup->ratio : -1, true),
           library_item(views::short_device(run->meta().device), views::short_device(run->meta().device))});
    };
    for (const auto& method : run->methods()) {
      add(views::method_label(*run, method), views::budget_keys(method), method.density,
          method.is_dense() ? std::nullopt : std::optional(method.captured_mass_mean), method.answer_kl(), method.ttft,
          dense && &method != dense ? record::speedup_over(method, *dense, run->meta().timed_in_turn) : std::nullopt);
      // The same method through another library, where the run timed it: LibTorch, FlashAttention-2, cuDNN.
      for (const auto& baseline : method.baselines)
        add(tr("%1 through %2").arg(views::method_label(*run, method), QString::fromStdString(baseline.backend)),
            views::budget_keys(method), method.density, std::nullopt, std::nullopt, baseline.ttft, std::nullopt);
    }
  }
  views::fit_table(measured_table_, 260);
}

QStringList RunsTable::chosen() const {
  QStringList paths;
  for (const QModelIndex& index : files_table_->selectionModel()->selectedRows())
    paths << index.siblingAtColumn(0).data(library_path_role).toString();
  return paths;
}

void RunsTable::open_chosen() {
  for (const QString& path : chosen()) emit open_requested(path);
}

void RunsTable::close_chosen() {
  for (const QString& path : chosen()) {
    const auto& runs = selection_.state().runs;
    for (std::size_t i = 0; i < runs.size(); ++i)
      if (name_from_path(runs[i]->path()) == path) {
        selection_.close_record(i);
        break;
      }
    const auto& sweeps = selection_.state().sweeps;
    for (std::size_t i = 0; i < sweeps.size(); ++i)
      if (name_from_path(sweeps[i]->path) == path) {
        selection_.close_sweep(i);
        break;
      }
  }
}

void RunsTable::show_question() {
  qint64 sum = 0;
  const QStringList paths = chosen();
  for (const QString& path : paths) sum += QFileInfo(path).size();
  const QString name = paths.size() == 1 ? QFileInfo(shown_path(paths.front())).fileName() : QString();
  question_text_->setText(
      paths.size() == 1
          ? tr("Move %1 (%2) to the trash? It is closed, too.").arg(name, size_text(sum))
          : tr("Move %1 files (%2) to the trash? They are closed, too.").arg(paths.size()).arg(size_text(sum)));
  QPalette palette = question_->palette();
  palette.setColor(QPalette::Window, views::Theme::instance().warning_background());
  question_->setPalette(palette);
  question_->show();
}

void RunsTable::trash_chosen() {
  const QStringList paths = chosen();
  close_chosen();
  QStringList failed;
  for (const QString& path : paths)
    if (QFileInfo::exists(path) && !QFile::moveToTrash(path)) failed << QFileInfo(path).fileName();
  question_->hide();
  read();
  if (!failed.isEmpty()) {
    question_text_->setText(tr("Could not be moved to the trash: %1.").arg(failed.join(", ")));
    question_->show();
  }
}

}  // namespace headroom::gui
