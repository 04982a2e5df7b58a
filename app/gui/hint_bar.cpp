// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/hint_bar.h"

#include <QAction>
#include <QHBoxLayout>
#include <QLabel>
#include <QPainter>
#include <QStyleOptionToolButton>
#include <QStylePainter>
#include <QToolButton>
#include <QVBoxLayout>
#include <algorithm>

#include "gui/settings_store.h"
#include "views/common/theme.h"

namespace headroom::gui {
namespace {

struct Hint {
  const char* key;
  const char* text;
};
constexpr Hint hint_list[] = {
    {"hint_grid", QT_TRANSLATE_NOOP("HintBar", "Click a head in the grid, then press 2: its map, token by token.")},
    {"hint_budget", QT_TRANSLATE_NOOP("HintBar", "On Budget, drag the slider: the kept mass follows at once.")},
    {"hint_palette", QT_TRANSLATE_NOOP("HintBar", "Ctrl+Shift+P finds every command, ? lists every key.")},
};

constexpr const char* samples_hint = "hint_samples";
constexpr int across = 8, down = 4;  // pixels between a button's edges and its text

/// A command as a button whose text goes on in a further line where the window is narrow: it is never cut off, and
/// never keeps the window wide.
class WrappedCommand : public QToolButton {
 public:
  WrappedCommand(QAction* action, QWidget* parent) : QToolButton(parent) {
    setDefaultAction(action);
    setObjectName(action->objectName());
    setToolButtonStyle(Qt::ToolButtonTextOnly);
    setFocusPolicy(Qt::StrongFocus);
    setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Preferred);
  }
  bool hasHeightForWidth() const override { return true; }
  int heightForWidth(int width) const override {
    const QRect room(0, 0, std::max(1, width - 2 * across), QWIDGETSIZE_MAX);
    return fontMetrics().boundingRect(room, flags, text()).height() + 2 * down;
  }
  QSize sizeHint() const override {
    return fontMetrics().size(Qt::TextShowMnemonic, text()) + QSize(2 * across, 2 * down);
  }
  QSize minimumSizeHint() const override {
    int widest = 0;
    for (const QString& word : text().split(QLatin1Char(' ')))
      widest = std::max(widest, fontMetrics().size(Qt::TextShowMnemonic, word).width());
    return {widest + 2 * across, fontMetrics().height() + 2 * down};
  }

 protected:
  void paintEvent(QPaintEvent*) override {
    QStylePainter painter(this);
    QStyleOptionToolButton option;
    initStyleOption(&option);
    option.text.clear();  // the style would keep it in one line
    painter.drawComplexControl(QStyle::CC_ToolButton, option);
    painter.drawItemText(rect().adjusted(across, down, -across, -down), flags, option.palette, isEnabled(), text(),
                         QPalette::ButtonText);
  }

 private:
  static constexpr int flags = Qt::AlignCenter | Qt::TextWordWrap | Qt::TextShowMnemonic;
};

}  // namespace

HintBar::HintBar(SettingsStore& settings, QWidget* parent) : QWidget(parent), settings_(settings) {
  auto* layout = new QHBoxLayout(this);
  layout->setContentsMargins(10, 4, 10, 4);
  layout->setSpacing(14);
  connect(&views::Theme::instance(), &views::Theme::changed, this, qOverload<>(&QWidget::update));
  reload();
}

void HintBar::reload() {
  auto* row = static_cast<QHBoxLayout*>(layout());
  while (QLayoutItem* item = row->takeAt(0)) {
    if (QWidget* cell = item->widget()) {
      cell->hide();  // it may be painted once more before it goes
      cell->deleteLater();
    }
    delete item;
  }
  shown_ = 0;
  if (!samples_.isEmpty() && !settings_.dismissed(samples_hint)) {
    auto* buttons = new QWidget(this);
    auto* column = new QVBoxLayout(buttons);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(2);
    for (QAction* sample : samples_)
      column->addWidget(new WrappedCommand(sample, buttons), 0, Qt::AlignLeft | Qt::AlignVCenter);
    row->addWidget(add_cell(samples_hint, buttons), 1);
  }
  for (const Hint& hint : hint_list) {
    if (settings_.dismissed(hint.key)) continue;
    auto* text = new QLabel(tr(hint.text), this);
    text->setWordWrap(true);
    row->addWidget(add_cell(hint.key, text), 1);
  }
  setVisible(shown_ > 0);
  resizeEvent(nullptr);
}

QWidget* HintBar::add_cell(const QString& key, QWidget* content) {
  auto* cell = new QWidget(this);
  auto* cell_layout = new QHBoxLayout(cell);
  cell_layout->setContentsMargins(0, 0, 0, 0);
  cell_layout->setSpacing(2);
  auto* close = new QToolButton(cell);
  close->setText("✕");
  close->setAutoRaise(true);
  close->setToolTip(tr("Close this hint"));
  close->setAccessibleName(tr("Close this hint"));
  cell_layout->addWidget(content, 1);
  cell_layout->addWidget(close, 0, Qt::AlignVCenter);
  connect(close, &QToolButton::clicked, this, [this, key] {
    settings_.dismiss(key);
    QMetaObject::invokeMethod(this, &HintBar::reload, Qt::QueuedConnection);
  });
  ++shown_;
  return cell;
}

void HintBar::set_samples(const QVector<QAction*>& samples) {
  samples_ = samples;
  reload();
}

void HintBar::resizeEvent(QResizeEvent* event) {
  if (event) QWidget::resizeEvent(event);
  // As many as stand there in a line or two; the others come when these are closed.
  const int room = std::max(1, width() / (fontMetrics().height() * 16));
  for (int i = 0; i < layout()->count(); ++i)
    if (QWidget* cell = layout()->itemAt(i)->widget()) cell->setVisible(i < room);
}

void HintBar::paintEvent(QPaintEvent*) {
  const views::Theme& theme = views::Theme::instance();
  QPainter painter(this);
  painter.fillRect(rect(), theme.info_background());
  painter.setPen(theme.border());
  painter.drawLine(0, 0, width(), 0);
}

}  // namespace headroom::gui
