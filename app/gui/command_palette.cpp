// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/command_palette.h"

#include <QDialogButtonBox>
#include <QHeaderView>
#include <QKeyEvent>
#include <QLineEdit>
#include <QListWidget>
#include <QPainter>
#include <QStyledItemDelegate>
#include <QTreeWidget>
#include <QVBoxLayout>
#include <algorithm>

#include "views/common/theme.h"

namespace headroom::gui {
namespace {

QString plain_text(const QAction* action) {
  QString text = action->text();
  return text.remove('&').remove(u'…');
}

QString keys_of(const QAction* action) {
  QStringList keys;
  for (const QKeySequence& key : action->shortcuts()) keys << key.toString(QKeySequence::NativeText);
  return keys.join(", ");
}

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
    painter->setPen(theme.text());
    const QRect line = option.rect.adjusted(side + 22, 0, -12, 0);
    painter->drawText(line, Qt::AlignVCenter | Qt::AlignLeft, index.data().toString());
    painter->setPen(theme.muted_text());
    painter->drawText(line, Qt::AlignVCenter | Qt::AlignRight, index.data(Qt::UserRole + 1).toString());
    painter->restore();
  }
};

}  // namespace

int match_score(const QString& pattern, const QString& text) {
  if (pattern.isEmpty()) return 1;
  int score = 1;
  qsizetype from = 0, last = -2;
  for (const QChar c : pattern) {
    if (c.isSpace()) continue;
    const qsizetype at = text.indexOf(c, from, Qt::CaseInsensitive);
    if (at < 0) return 0;
    if (at == last + 1) score += 4;
    if (at == 0 || !text[at - 1].isLetterOrNumber()) score += 3;
    last = at;
    from = at + 1;
  }
  const qsizetype whole = text.indexOf(pattern, 0, Qt::CaseInsensitive);
  return score + (whole == 0 || (whole > 0 && !text[whole - 1].isLetterOrNumber()) ? 10 : 0);
}

CommandPalette::CommandPalette(const QVector<QAction*>& actions, QWidget* parent)
    : QDialog(parent, Qt::Dialog | Qt::FramelessWindowHint), actions_(actions) {
  setWindowTitle(tr("Commands"));
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(8, 8, 8, 8);
  input_ = new QLineEdit(this);
  input_->setPlaceholderText(tr("Type a few letters of a command"));
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
  resize(unit * 32, unit * 20);
  if (parent) move(parent->mapToGlobal(QPoint((parent->width() - width()) / 2, parent->height() / 8)));
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
    QAction* action;
    int score;
  };
  QVector<Hit> hits;
  for (QAction* action : actions_) {
    if (!action->isEnabled()) continue;
    if (const int score = match_score(text.trimmed(), plain_text(action)); score > 0) hits.append({action, score});
  }
  std::stable_sort(hits.begin(), hits.end(), [](const Hit& a, const Hit& b) { return a.score > b.score; });
  list_->clear();
  for (const Hit& hit : hits) {
    auto* item = new QListWidgetItem(hit.action->icon(), plain_text(hit.action), list_);
    item->setData(Qt::UserRole + 1, keys_of(hit.action));
    item->setData(Qt::UserRole, QVariant::fromValue<QObject*>(hit.action));
  }
  list_->setCurrentRow(0);
}

void CommandPalette::run_current() {
  const QListWidgetItem* item = list_->currentItem();
  if (!item) return;
  auto* action = qobject_cast<QAction*>(item->data(Qt::UserRole).value<QObject*>());
  accept();
  // After the palette has closed, so that a dialog of the action does not open on top of it.
  if (action) QMetaObject::invokeMethod(action, &QAction::trigger, Qt::QueuedConnection);
}

KeysDialog::KeysDialog(const QVector<QAction*>& actions, const QVector<PageKey>& page_keys, QWidget* parent)
    : QDialog(parent) {
  setWindowTitle(tr("All keys"));
  auto* layout = new QVBoxLayout(this);
  auto* tree = new QTreeWidget(this);
  tree->setColumnCount(2);
  tree->setHeaderLabels({tr("Key"), tr("What it does")});
  tree->setRootIsDecorated(false);
  tree->setAlternatingRowColors(true);
  for (const QAction* action : actions) {
    if (const QString keys = keys_of(action); !keys.isEmpty()) new QTreeWidgetItem(tree, {keys, plain_text(action)});
  }
  for (const PageKey& key : page_keys) new QTreeWidgetItem(tree, {key.keys, key.what});
  new QTreeWidgetItem(tree, {tr("Esc"), tr("Leave presenting, close the newest message, cancel the running job")});
  tree->header()->setSectionResizeMode(0, QHeaderView::ResizeToContents);
  layout->addWidget(tree);
  auto* buttons = new QDialogButtonBox(QDialogButtonBox::Close, this);
  connect(buttons, &QDialogButtonBox::rejected, this, &QDialog::reject);
  layout->addWidget(buttons);
  const int unit = fontMetrics().height();
  resize(unit * 36, unit * 34);
}

}  // namespace headroom::gui
