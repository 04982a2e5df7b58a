// SPDX-License-Identifier: GPL-3.0-or-later
// Small things that the main window opens or says: file choice, palette, keys, about, the status line.
#pragma once

#include <QAction>
#include <QString>
#include <QStringList>
#include <QVector>

#include "gui/command_palette.h"
#include "gui/pages.h"
#include "views/common/selection.h"

class QWidget;

namespace headroom::gui {

QStringList choose_records(QWidget* parent, const QString& folder);
/// Every key of the window, those of pages as the pages say.
QVector<KeyGroup> key_groups(const QVector<QAction*>& actions, const QVector<Page>& pages);
void show_about(QWidget* parent);
/// The first sweep that ships with the program; empty where there is none.
QString bundled_sweep();
/// "oracle-k512-g1 · layer 12, head 5 · query 1,234 “ needle” · 2 keys"
QString selection_summary(const views::Selection& selection);

}  // namespace headroom::gui
