// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/docks/runs_dock.h"

#include <QApplication>
#include <QClipboard>
#include <QDateTime>
#include <QDesktopServices>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QListView>
#include <QMenu>
#include <QPainter>
#include <QPushButton>
#include <QShortcut>
#include <QStyledItemDelegate>
#include <QUrl>
#include <QVBoxLayout>

#include "base/utf8.h"
#include "views/common/format.h"
#include "views/common/theme.h"

namespace headroom::views {
namespace {

QString file_path(const RecordPtr& run) {
  return QString::fromStdString(escape_invalid_utf8(run->path().native()));
}

QString when(const std::string& created) {
  const QDateTime time = QDateTime::fromString(QString::fromStdString(created), Qt::ISODate);
  return time.isValid() ? number_locale().toString(time.toLocalTime(), "d MMM yyyy, HH:mm") : QString();
}

QVariant sweep_data(const OpenSweep& sweep, int role) {
  const record::SweepMeta& meta = sweep.record.meta;
  const QString path = QString::fromStdString(escape_invalid_utf8(sweep.path.native()));
  const QString name = QFileInfo(path).completeBaseName();
  const QString model = QObject::tr("Sweep · %1").arg(QString::fromStdString(meta.model_name));
  const QString detail = QObject::tr("%1 samples · %2 methods")
                             .arg(number_locale().toString(qlonglong(meta.samples)))
                             .arg(meta.methods.size());
  const QString state = when(meta.created) + (sweep.growing   ? QObject::tr(" · at work")
                                              : meta.complete ? QString()
                                                              : QObject::tr(" · incomplete"));
  switch (role) {
    case Qt::DisplayRole:
      return name;
    case RunsModel::ModelRole:
      return model;
    case RunsModel::DetailRole:
      return detail;
    case RunsModel::StateRole:
      return state;
    case RunsModel::PathRole:
    case Qt::ToolTipRole:
      return path;
    case Qt::AccessibleTextRole:
      return QStringList{name, model, detail, state}.join("; ");
    default:
      return {};
  }
}

/// Four lines a run; the current one carries a bar at its left.
class RunDelegate : public QStyledItemDelegate {
 public:
  using QStyledItemDelegate::QStyledItemDelegate;

  QSize sizeHint(const QStyleOptionViewItem& option, const QModelIndex&) const override {
    return {120, QFontMetrics(option.font).lineSpacing() * 4 + 14};
  }

  void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override {
    const Theme& theme = Theme::instance();
    painter->save();
    const bool selected = option.state & QStyle::State_Selected;
    QColor tint = theme.accent();
    tint.setAlphaF(selected ? 0.15f : option.state & QStyle::State_MouseOver ? 0.07f : 0.0f);
    painter->fillRect(option.rect, tint);
    if (selected) painter->fillRect(QRect(option.rect.topLeft(), QSize(3, option.rect.height())), theme.accent());
    painter->setPen(theme.border());
    painter->drawLine(option.rect.bottomLeft(), option.rect.bottomRight());

    QFont bold = option.font;
    bold.setBold(true);
    const QFontMetrics metrics(option.font);
    QRect line = option.rect.adjusted(11, 6, -8, 0);
    line.setHeight(metrics.lineSpacing());
    const auto draw = [&](const QString& text, const QColor& colour, const QFont& font) {
      painter->setFont(font);
      painter->setPen(colour);
      painter->drawText(line, Qt::AlignLeft | Qt::AlignVCenter,
                        QFontMetrics(font).elidedText(text, Qt::ElideMiddle, line.width()));
      line.translate(0, metrics.lineSpacing());
    };
    draw(index.data(Qt::DisplayRole).toString(), theme.text(), bold);
    draw(index.data(RunsModel::ModelRole).toString(), theme.text(), option.font);
    draw(index.data(RunsModel::DetailRole).toString(), theme.muted_text(), option.font);
    draw(index.data(RunsModel::StateRole).toString(), theme.muted_text(), option.font);
    painter->restore();
  }
};

}  // namespace

RunsModel::RunsModel(Selection& selection, QObject* parent) : QAbstractListModel(parent), selection_(selection) {
  reload();
}

void RunsModel::reload() {
  if (runs_ == selection_.state().runs && sweeps_ == selection_.state().sweeps) return;
  beginResetModel();
  runs_ = selection_.state().runs;
  sweeps_ = selection_.state().sweeps;
  endResetModel();
}

int RunsModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(runs_.size() + sweeps_.size());
}

QVariant RunsModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid() || index.row() >= rowCount()) return {};
  if (index.row() >= static_cast<int>(runs_.size()))
    return sweep_data(*sweeps_[static_cast<std::size_t>(index.row()) - runs_.size()], role);
  const RecordPtr& run = runs_[static_cast<std::size_t>(index.row())];
  const record::RunMeta& meta = run->meta();
  QStringList methods;
  for (const record::MethodSummary& method : run->methods()) methods << QString::fromStdString(method.name);
  methods.removeDuplicates();
  const QString name = QFileInfo(file_path(run)).completeBaseName();
  const QString model = QString::fromStdString(meta.model_name);
  const QString detail =
      tr("%1 tokens · %2").arg(number_locale().toString(qlonglong(run->length())), methods.join(", "));
  const QString state = when(meta.created) + (meta.complete ? QString() : tr(" · incomplete"));
  switch (role) {
    case Qt::DisplayRole:
      return name;
    case ModelRole:
      return model;
    case DetailRole:
      return detail;
    case StateRole:
      return state;
    case PathRole:
      return file_path(run);
    case Qt::ToolTipRole:
      return file_path(run) + "\n" + QString::fromStdString(meta.device);
    case Qt::AccessibleTextRole:
      return QStringList{name, model, detail, state}.join("; ");
    default:
      return {};
  }
}

RunsDock::RunsDock(Selection* selection, QWidget* parent)
    : QWidget(parent), selection_(selection), model_(new RunsModel(*selection, this)), list_(new QListView(this)) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->setSpacing(0);
  list_->setModel(model_);
  list_->setItemDelegate(new RunDelegate(list_));
  list_->setFrameShape(QFrame::NoFrame);
  list_->setMouseTracking(true);
  list_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  list_->setAccessibleName(tr("Open runs"));
  list_->setContextMenuPolicy(Qt::CustomContextMenu);
  layout->addWidget(list_, 1);

  auto* buttons = new QHBoxLayout;
  buttons->setContentsMargins(6, 5, 6, 5);
  auto* open = new QPushButton(tr("Open…"), this);
  close_ = new QPushButton(tr("Close"), this);
  auto* table = new QPushButton(tr("Table…"), this);
  table->setObjectName("runs_as_table");
  table->setToolTip(tr("Runs and sweeps as a table: notes, sizes, what was measured"));
  connect(table, &QPushButton::clicked, this, &RunsDock::table_requested);
  close_->setToolTip(tr("Closes the selected run (Del). Its file stays; Undo brings it back."));
  buttons->addWidget(open);
  buttons->addWidget(close_);
  buttons->addWidget(table);
  layout->addLayout(buttons);

  connect(open, &QPushButton::clicked, this, &RunsDock::open_requested);
  connect(close_, &QPushButton::clicked, this, [this] { close_run(list_->currentIndex().row()); });
  auto* remove = new QShortcut(QKeySequence::Delete, list_);
  remove->setContext(Qt::WidgetShortcut);
  connect(remove, &QShortcut::activated, this, [this] { close_run(list_->currentIndex().row()); });
  connect(list_, &QListView::customContextMenuRequested, this, &RunsDock::show_menu);
  connect(list_->selectionModel(), &QItemSelectionModel::currentChanged, this, [this](const QModelIndex& index) {
    if (!index.isValid()) return;
    const ViewState& state = selection_->state();
    if (index.row() == state.current && state.sweep_look.page == 1) {
      // From the sweep back to the run that is shown besides.
      selection_->change([](ViewState& next) { next.sweep_look.page = 0; });
      return;
    }
    if (index.row() == state.current) return;
    const auto& runs = selection_->state().runs;
    if (index.row() < static_cast<int>(runs.size())) {
      selection_->open_record(runs[static_cast<std::size_t>(index.row())]);
    } else if (const auto at = static_cast<std::size_t>(index.row()) - runs.size();
               at < selection_->state().sweeps.size()) {
      selection_->open_sweep(selection_->state().sweeps[at]);
      emit sweep_chosen();
    }
  });
  connect(selection_, &Selection::changed, this, &RunsDock::follow);
  connect(&Theme::instance(), &Theme::changed, list_->viewport(), qOverload<>(&QWidget::update));
  follow(Selection::Runs);
}

void RunsDock::follow(unsigned mask) {
  if (!(mask & (Selection::Runs | Selection::Sweeps))) return;
  const QSignalBlocker blocker(list_->selectionModel());
  model_->reload();
  const ViewState& state = selection_->state();
  const bool sweep = state.sweep >= 0 && (state.sweep_look.page == 1 || state.current < 0);
  const int current = sweep ? static_cast<int>(state.runs.size()) + state.sweep : state.current;
  list_->setCurrentIndex(current >= 0 ? model_->index(current) : QModelIndex());
  list_->viewport()->update();
  close_->setEnabled(current >= 0);
}

void RunsDock::close_current() {
  close_run(selection_->state().current);
}

void RunsDock::close_run(int row) {
  if (row < 0) return;
  const auto at = static_cast<std::size_t>(row), runs = selection_->state().runs.size();
  if (at < runs)
    selection_->close_record(at);
  else
    selection_->close_sweep(at - runs);
}

void RunsDock::show_menu(const QPoint& position) {
  const QModelIndex index = list_->indexAt(position);
  if (!index.isValid()) return;
  const QString path = index.data(RunsModel::PathRole).toString();
  QMenu menu(this);
  menu.addAction(tr("Close"), this, [this, row = index.row()] { close_run(row); });
  menu.addAction(tr("Copy path"), this, [path] { QApplication::clipboard()->setText(path); });
  menu.addAction(tr("Show in folder"), this,
                 [path] { QDesktopServices::openUrl(QUrl::fromLocalFile(QFileInfo(path).absolutePath())); });
  menu.exec(list_->viewport()->mapToGlobal(position));
}

}  // namespace headroom::views
