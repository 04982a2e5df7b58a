// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/screen_choice.h"

#include <QLabel>
#include <QPointer>
#include <QPushButton>
#include <QScreen>
#include <QVBoxLayout>

namespace headroom::gui {

ScreenChoice::ScreenChoice(const QList<QScreen*>& screens, QScreen* here, QWidget* parent) : QDialog(parent) {
  setObjectName("screen_choice");
  setWindowTitle(tr("Present"));
  auto* column = new QVBoxLayout(this);
  column->addWidget(new QLabel(tr("Which screen does the audience see? Notes go to another one."), this));
  QPushButton* usual = nullptr;
  for (int i = 0; i < screens.size(); ++i) {
    const QPointer<QScreen> screen = screens[i];
    QString text = tr("Screen %1: %2, %3 × %4")
                       .arg(i + 1)
                       .arg(screen->name())
                       .arg(screen->geometry().width())
                       .arg(screen->geometry().height());
    if (screen == here) text += tr(" (this window's)");
    auto* button = new QPushButton(text, this);
    column->addWidget(button);
    if (!usual && screen != here) usual = button;
    QPointer<QScreen> notes = screen == here ? nullptr : here;
    for (QScreen* other : screens)
      if (!notes && other != screen) notes = other;
    connect(button, &QPushButton::clicked, this, [this, screen, notes] {
      accept();
      if (screen) emit chosen(screen, notes);  // none: it was unplugged meanwhile
    });
  }
  auto* cancel = new QPushButton(tr("Cancel"), this);
  column->addWidget(cancel);
  connect(cancel, &QPushButton::clicked, this, &QDialog::reject);
  if (usual) usual->setDefault(true);
}

}  // namespace headroom::gui
