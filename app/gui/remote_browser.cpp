// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/remote_browser.h"

#include <QDialogButtonBox>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QLocale>
#include <QPointer>
#include <QPushButton>
#include <QTreeWidget>
#include <QVBoxLayout>

#include "base/error.h"

namespace headroom::gui {
namespace {

constexpr int is_folder_role = Qt::UserRole, path_role = Qt::UserRole + 1;

}  // namespace

RemoteBrowser::RemoteBrowser(EngineClient& engine, const QString& title, Wanted wanted, const QStringList& suffixes,
                             QWidget* parent)
    : QDialog(parent), engine_(engine), wanted_(wanted), suffixes_(suffixes) {
  setObjectName("remote_browser");
  setWindowTitle(engine.command().host.isEmpty() ? title : tr("%1 on %2").arg(title, engine.command().host));
  auto* column = new QVBoxLayout(this);
  auto* row = new QHBoxLayout;
  up_ = new QPushButton(tr("Up"), this);
  up_->setObjectName("up");
  up_->setAutoDefault(false);
  place_ = new QLabel(this);
  place_->setTextFormat(Qt::PlainText);
  place_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  filter_ = new QLineEdit(this);
  filter_->setPlaceholderText(tr("Filter"));
  filter_->setClearButtonEnabled(true);
  row->addWidget(up_);
  row->addWidget(place_, 1);
  row->addWidget(filter_);
  column->addLayout(row);
  entries_ = new QTreeWidget(this);
  entries_->setObjectName("entries");
  entries_->setAccessibleName(tr("Files of the engine's machine"));
  entries_->setRootIsDecorated(false);
  entries_->setHeaderLabels({tr("Name"), tr("Size")});
  entries_->header()->setSectionResizeMode(0, QHeaderView::Stretch);
  entries_->header()->setStretchLastSection(false);
  column->addWidget(entries_, 1);
  message_ = new QLabel(this);
  message_->setObjectName("message");
  message_->setTextFormat(Qt::PlainText);
  message_->setWordWrap(true);
  column->addWidget(message_);
  auto* buttons = new QDialogButtonBox(QDialogButtonBox::Cancel, this);
  choose_ = buttons->addButton(tr("Choose"), QDialogButtonBox::AcceptRole);
  choose_->setObjectName("choose");
  column->addWidget(buttons);
  connect(buttons, &QDialogButtonBox::accepted, this, &QDialog::accept);
  connect(buttons, &QDialogButtonBox::rejected, this, &QDialog::reject);
  connect(up_, &QPushButton::clicked, this, [this] { list(parent_); });
  connect(entries_, &QTreeWidget::itemActivated, this, &RemoteBrowser::enter);
  connect(entries_, &QTreeWidget::itemSelectionChanged, this, &RemoteBrowser::refresh);
  connect(filter_, &QLineEdit::textChanged, this, [this](const QString& text) {
    for (int i = 0; i < entries_->topLevelItemCount(); ++i) {
      auto* item = entries_->topLevelItem(i);
      item->setHidden(!item->text(0).contains(text, Qt::CaseInsensitive));
    }
  });
  const int unit = fontMetrics().height();
  resize(unit * 36, unit * 26);
  list({});
}

void RemoteBrowser::list(const QString& folder) {
  message_->setText(tr("Reading…"));
  const quint64 number = ++asked_;
  engine_.request(
      protocol::method::files_list, protocol::to_json(protocol::FilesListParams{folder.toStdString()}),
      [self = QPointer<RemoteBrowser>(this), number](const nlohmann::json& result, const protocol::ErrorInfo* error) {
        if (!self || number != self->asked_) return;  // another folder was asked for meanwhile
        if (error) return self->message_->setText(QString::fromStdString(error->line()));
        try {
          self->show_list(protocol::files_list_result_from_json(result));
        } catch (const Error& bad) {
          self->message_->setText(QString::fromUtf8(bad.what()));
        }
      });
}

void RemoteBrowser::show_list(const protocol::FilesListResult& found) {
  // Above a folder that the engine was given stands the list of those folders.
  folder_ = QString::fromStdString(found.path);
  parent_ = QString::fromStdString(found.parent);
  place_->setText(folder_.isEmpty() ? tr("Folders of this engine") : folder_);
  up_->setEnabled(!folder_.isEmpty());
  filter_->clear();
  entries_->clear();
  QList<QTreeWidgetItem*> items;
  for (const protocol::FileEntry& entry : found.entries) {
    const QString name = QString::fromStdString(entry.name);
    auto* item = new QTreeWidgetItem(
        {entry.folder ? name + '/' : name, entry.folder ? QString() : QLocale::c().formattedDataSize(entry.bytes)});
    item->setData(0, is_folder_role, entry.folder);
    item->setData(0, path_role, folder_.isEmpty() ? name : folder_ + (folder_.endsWith('/') ? "" : "/") + name);
    item->setTextAlignment(1, Qt::AlignRight);
    const bool fits = entry.folder || (wanted_ == Wanted::file &&
                                       (suffixes_.isEmpty() || suffixes_.contains(name.section('.', -1).toLower())));
    item->setDisabled(!fits);
    items << item;
  }
  entries_->addTopLevelItems(items);
  message_->setText(found.truncated ? tr("There is more in this folder than is listed.") : QString());
  refresh();
}

QString RemoteBrowser::chosen() const {
  const auto* item = entries_->selectedItems().value(0);  // the current one may only have the focus
  if (item && item->isDisabled()) item = nullptr;
  const bool folder = item && item->data(0, is_folder_role).toBool();
  if (wanted_ == Wanted::folder) return folder ? item->data(0, path_role).toString() : folder_;
  return item && !folder ? item->data(0, path_role).toString() : QString();
}

void RemoteBrowser::refresh() {
  choose_->setEnabled(!chosen().isEmpty());
}

void RemoteBrowser::enter() {
  const auto* item = entries_->selectedItems().value(0);
  if (!item || item->isDisabled()) return;
  if (item->data(0, is_folder_role).toBool()) return list(item->data(0, path_role).toString());
  if (!chosen().isEmpty()) accept();
}

}  // namespace headroom::gui
