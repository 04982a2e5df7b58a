// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/command_palette.h"

#include <QApplication>
#include <QDialogButtonBox>
#include <QHeaderView>
#include <QKeyEvent>
#include <QLineEdit>
#include <QListWidget>
#include <QPainter>
#include <QStyledItemDelegate>
#include <QTimer>
#include <QTreeWidget>
#include <QVBoxLayout>
#include <algorithm>

#include "gui/page_scroll.h"
#include "views/common/theme.h"

namespace headroom::gui {
namespace {

/// Icon, name, and the keys at the right edge.
class CommandDelegate : public QStyledItemDelegate {
 public:
  using QStyledItemDelegate::QStyledItemDelegate;
  QSize sizeHint(const QStyleOptionViewItem& option, const QModelIndex&) const override {
    return {100, QFontMetrics(option.font).height() + 10};
  }
  void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override {
    const views::Theme& theme = views::Theme::instance();
    painter->save();
    if (option.state & QStyle::State_Selected) {
      QColor tint = theme.accent();
      tint.setAlphaF(0.2f);
      painter->fillRect(option.rect, tint);
      painter->fillRect(QRect(option.rect.topLeft(), QSize(3, option.rect.height())), theme.accent());
    }
    const int side = QFontMetrics(option.font).height() + 2;
    index.data(Qt::DecorationRole)
        .value<QIcon>()
        .paint(painter, QRect(option.rect.x() + 10, option.rect.y() + 4, side, side));
    painter->setFont(option.font);
    const QFontMetrics metrics(option.font);
    const bool enabled = index.flags() & Qt::ItemIsEnabled;
    const QRect line = option.rect.adjusted(side + 22, 0, -12, 0);
    const QString keys = index.data(Qt::UserRole + 1).toString();
    painter->setPen(theme.muted_text());
    painter->drawText(line, Qt::AlignVCenter | Qt::AlignRight, keys);
    painter->setPen(enabled ? theme.text() : theme.muted_text());
    const QRect name = line.adjusted(0, 0, keys.isEmpty() ? 0 : -metrics.horizontalAdvance(keys) - 12, 0);
    painter->drawText(name, Qt::AlignVCenter | Qt::AlignLeft,
                      metrics.elidedText(index.data().toString(), Qt::ElideRight, name.width()));
    painter->restore();
  }
};

}  // namespace

CommandPalette::CommandPalette(QVector<Command> commands, TypedCommands typed, QWidget* parent)
    : QDialog(parent, Qt::Dialog | Qt::FramelessWindowHint), commands_(std::move(commands)), typed_(std::move(typed)) {
  setWindowTitle(tr("Commands"));
  setObjectName("command_palette");
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(8, 8, 8, 8);
  input_ = new QLineEdit(this);
  input_->setPlaceholderText(tr("Words of a command, a control or a place: “layer 12 head 5”, “token 900”"));
  input_->setAccessibleName(tr("Find a command"));
  input_->setClearButtonEnabled(true);
  input_->installEventFilter(this);
  list_ = new QListWidget(this);
  list_->setUniformItemSizes(true);
  list_->setItemDelegate(new CommandDelegate(list_));
  list_->setFocusPolicy(Qt::NoFocus);
  list_->setAccessibleName(tr("Commands"));
  layout->addWidget(input_);
  layout->addWidget(list_);
  connect(input_, &QLineEdit::textChanged, this, &CommandPalette::filter);
  connect(input_, &QLineEdit::returnPressed, this, &CommandPalette::run_current);
  connect(list_, &QListWidget::itemClicked, this, [this] { run_current(); });
  filter({});
  const int unit = fontMetrics().height();
  resize(dialog_size(parent, QSize(unit * 40, unit * 24)));
  if (parent) move(parent->mapToGlobal(QPoint((parent->width() - width()) / 2, parent->height() / 12)));
}

bool CommandPalette::eventFilter(QObject* watched, QEvent* event) {
  if (watched == input_ && event->type() == QEvent::KeyPress) {
    const int key = static_cast<QKeyEvent*>(event)->key();
    const int step = key == Qt::Key_Down ? 1 : key == Qt::Key_Up ? -1 : 0;
    if (step != 0 && list_->count() > 0) {
      list_->setCurrentRow((list_->currentRow() + step + list_->count()) % list_->count());
      return true;
    }
  }
  return QDialog::eventFilter(watched, event);
}

void CommandPalette::filter(const QString& text) {
  struct Hit {
    const Command* command;
    int score;
  };
  QVector<Hit> hits;
  from_text_ = typed_ ? typed_(text) : QVector<Command>();
  for (const Command& command : from_text_) hits.append({&command, 1000});
  for (const Command& command : commands_)
    if (const int score = match_score(text, command.title); score > 0) hits.append({&command, score});
  // Of two that fit as well the one that can be run, then the shorter.
  std::stable_sort(hits.begin(), hits.end(), [&](const Hit& a, const Hit& b) {
    if (a.score != b.score) return a.score > b.score;
    if (a.command->enabled != b.command->enabled) return a.command->enabled;
    return !text.isEmpty() && a.command->title.size() < b.command->title.size();
  });
  list_->clear();
  for (const Hit& hit : hits) {
    auto* item = new QListWidgetItem(hit.command->icon, hit.command->title, list_);
    item->setData(Qt::UserRole + 1, hit.command->keys);
    if (!hit.command->enabled) {
      item->setFlags(item->flags() & ~Qt::ItemIsEnabled);
      item->setToolTip(tr("Not possible now"));
    }
  }
  shown_.clear();
  for (const Hit& hit : hits) shown_ << *hit.command;
  list_->setCurrentRow(0);
}

void CommandPalette::run_current() {
  const int row = list_->currentRow();
  if (row < 0 || row >= shown_.size() || !shown_[row].enabled) return;
  // After the palette has closed, so that a dialog of the command does not open on top of it.
  QTimer::singleShot(0, parentWidget() ? static_cast<QObject*>(parentWidget()) : qApp, shown_[row].run);
  accept();
}

KeysDialog::KeysDialog(const QVector<KeyGroup>& groups, QWidget* parent) : QDialog(parent) {
  setWindowTitle(tr("All keys"));
  setObjectName("keys_dialog");
  auto* layout = new QVBoxLayout(this);
  auto* tree = new QTreeWidget(this);
  tree->setColumnCount(2);
  tree->setHeaderLabels({tr("Key"), tr("What it does")});
  tree->setRootIsDecorated(false);
  tree->setItemsExpandable(false);
  tree->setAccessibleName(tr("All keys"));
  for (const KeyGroup& group : groups) {
    if (group.keys.isEmpty()) continue;
    auto* head = new QTreeWidgetItem(tree, {group.title});
    QFont bold = tree->font();
    bold.setWeight(QFont::DemiBold);
    head->setFont(0, bold);
    head->setFirstColumnSpanned(true);
    for (const PageKey& key : group.keys) new QTreeWidgetItem(head, {key.keys, key.what});
    head->setExpanded(true);
  }
  tree->header()->setSectionResizeMode(0, QHeaderView::ResizeToContents);
  layout->addWidget(tree);
  auto* buttons = new QDialogButtonBox(QDialogButtonBox::Close, this);
  connect(buttons, &QDialogButtonBox::rejected, this, &QDialog::reject);
  layout->addWidget(buttons);
  const int unit = fontMetrics().height();
  resize(dialog_size(parent, QSize(unit * 40, unit * 36)));
}

}  // namespace headroom::gui
