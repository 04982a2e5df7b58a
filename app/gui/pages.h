// SPDX-License-Identifier: GPL-3.0-or-later
// The five pages in the order of the rail, and what the frame may ask of each.
#pragma once

#include <QString>
#include <QVector>
#include <functional>

#include "base/layer_budgets.h"
#include "views/common/exportable.h"
#include "views/common/page_command.h"
#include "views/common/selection.h"
#include "views/map/tile_provider.h"

class QWidget;

namespace headroom::gui {

struct Page {
  QString id;  ///< "overview": icon, export name and `--view`
  QString title;
  QString hint;  ///< what it answers, for tooltips
  QWidget* widget = nullptr;
  views::Exportable* exportable = nullptr;
  std::function<bool()> settled;  ///< everything that was asked for is drawn
  std::function<QVector<views::PageCommand>()> commands;  ///< keys of its own; null where it has none
};

/// What pages ask of the frame.
struct PageRequests {
  std::function<void(int tokens)> run_budget;  ///< the Budget page asks for a run
  std::function<void(int index)> show_page;    ///< a link leads to another page
  views::TileProvider* tiles = nullptr;        ///< of maps that a record does not hold
  // Of the Budget page
  std::function<void()> new_sweep, confirm_sweep;
  std::function<void(int row)> record_sample;  ///< of the shown sweep
  std::function<void(const QByteArray& json, const QString& name)> write_budgets;
  std::function<void(const LayerBudgets& budgets)> run_layer_budgets;
  std::function<void(const QString& method)> why = {};  ///< an answer card asks why its answer changed
};

QVector<Page> make_pages(views::Selection* selection, QWidget* parent, const PageRequests& wanted);
/// Of a page id, or of "text", which is part of the Attention page; -1 where there is none.
int page_index(const QVector<Page>& pages, const QString& view);
/// `view` must be one that page_index() knows.
views::Exportable& exportable_view(const QVector<Page>& pages, const QString& view);
/// The Budget page's slider takes the keys.
void show_budget_slider(const QVector<Page>& pages);
/// Opens the find bar of the prompt text.
void show_find(const QVector<Page>& pages);
/// Puts the cursor into the field that goes to a token by its number.
void show_go_to(const QVector<Page>& pages);

/// Choices and notes that an audience needs not (views/common/give_way.h).
void fold_pages_for_talk(const QVector<Page>& pages, bool fold);
/// Puts this token into the first line of the prompt text, once the text is that of the selection.
void scroll_prompt(const QVector<Page>& pages, std::int64_t token);

}  // namespace headroom::gui
