// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/pages.h"

#include <QCoreApplication>
#include <QScrollBar>
#include <QTextBlock>
#include <QTextLayout>
#include <QTimer>
#include <QWidget>

#include "views/budget/budget_page.h"
#include "views/common/give_way.h"
#include "views/compare/compare_page.h"
#include "views/map/attention_page.h"
#include "views/overview/overview_page.h"
#include "views/prompt/prompt_panel.h"
#include "views/prompt/prompt_text.h"
#include "views/timing/timing_page.h"

namespace headroom::gui {
namespace {

QString words(const char* text) {
  return QCoreApplication::translate("Pages", text);
}

template <typename PageType>
PageType* add(QVector<Page>& pages, views::Selection* selection, QWidget* parent, const QString& id,
              const QString& title, const QString& hint) {
  auto* widget = new PageType(selection, parent);
  widget->setObjectName("page_" + id);
  widget->setAccessibleName(title);
  pages.append({id, title, hint, widget, widget, [widget] { return widget->settled(); }, {}});
  if constexpr (requires { widget->commands(); }) pages.back().commands = [widget] { return widget->commands(); };
  return widget;
}

}  // namespace

QVector<Page> make_pages(views::Selection* selection, QWidget* parent, const PageRequests& wanted) {
  QVector<Page> pages;
  auto* overview = add<views::OverviewPage>(pages, selection, parent, "overview", words("Overview"),
                                            words("The answer in a sentence, and every layer and head"));
  auto* attention =
      add<views::AttentionPage>(pages, selection, parent, "attention", words("Attention"),
                                words("The attention map with what was kept and missed, and the prompt text"));
  auto* budget = add<views::BudgetPage>(pages, selection, parent, "budget", words("Budget"),
                                        words("How much mass and quality a budget keeps"));
  add<views::TimingPage>(pages, selection, parent, "timing", words("Timing"),
                         words("Where the time to first token goes"));
  auto* compare = add<views::ComparePage>(pages, selection, parent, "compare", words("Compare"),
                                          words("Methods and runs side by side, and where their maps differ"));
  QObject::connect(budget, &views::BudgetPage::run_budget_requested, parent, [run = wanted.run_budget](int tokens) {
    if (run) run(tokens);
  });
  using views::BudgetPage;
  QObject::connect(budget, &BudgetPage::new_sweep_requested, parent, wanted.new_sweep);
  QObject::connect(budget, &BudgetPage::confirm_sweep_requested, parent, wanted.confirm_sweep);
  QObject::connect(budget, &BudgetPage::record_sample_requested, parent, wanted.record_sample);
  QObject::connect(budget, &BudgetPage::write_budgets_requested, parent, wanted.write_budgets);
  QObject::connect(budget, &BudgetPage::run_layer_budgets_requested, parent, wanted.run_layer_budgets);
  QObject::connect(overview, &views::OverviewPage::link_activated, parent,
                   [go = wanted.show_page, pages](const QString& link) {
                     if (const int index = page_index(pages, link.section('#', 0, 0)); index >= 0 && go) go(index);
                   });
  QObject::connect(
      overview, &views::OverviewPage::open_head, parent,
      [selection, go = wanted.show_page, pages](int layer, int head) {
        selection->change([&](views::ViewState& state) {
          const auto record = state.current >= 0 ? state.runs[static_cast<std::size_t>(state.current)] : nullptr;
          const bool mean = !record || head >= record->meta().max_q_heads();
          state.layer = layer;
          state.head = mean ? record::HeadSelector{} : record::HeadSelector{record::HeadSelector::Kind::head, head};
        });
        if (go) go(page_index(pages, "attention"));
      });
  QObject::connect(overview, &views::OverviewPage::why_asked, parent, [why = wanted.why](const QString& method) {
    if (why) why(method);
  });
  attention->set_tile_provider(wanted.tiles);
  compare->set_tile_provider(wanted.tiles);
  return pages;
}

int page_index(const QVector<Page>& pages, const QString& view) {
  const QString id = view == "text" ? "attention" : view;
  for (int i = 0; i < pages.size(); ++i) {
    if (pages[i].id == id) return i;
  }
  return -1;
}

views::Exportable& exportable_view(const QVector<Page>& pages, const QString& view) {
  const Page& page = pages[page_index(pages, view)];
  if (view == "text") return static_cast<views::AttentionPage*>(page.widget)->text_figure();
  return *page.exportable;
}

void show_budget_slider(const QVector<Page>& pages) {
  static_cast<views::BudgetPage*>(pages[page_index(pages, "budget")].widget)->focus_budget();
}

void show_find(const QVector<Page>& pages) {
  static_cast<views::AttentionPage*>(pages[page_index(pages, "attention")].widget)->focus_find();
}

void show_go_to(const QVector<Page>& pages) {
  static_cast<views::AttentionPage*>(pages[page_index(pages, "attention")].widget)->focus_go_to();
}

void fold_pages_for_talk(const QVector<Page>& pages, bool fold) {
  for (const Page& page : pages) views::fold_for_talk(page.widget, fold);
}

void scroll_prompt(const QVector<Page>& pages, std::int64_t token) {
  views::PromptText* text =
      static_cast<views::AttentionPage*>(pages[page_index(pages, "attention")].widget)->prompt()->text();
  const auto scroll = [text, token] {
    if (token < 0 || token >= text->index().num_tokens()) return;
    const int position = static_cast<int>(text->index().begin(token));
    const QTextBlock block = text->document()->findBlock(position);
    int line = block.firstLineNumber();
    if (const QTextLine within = block.layout()->lineForTextPosition(position - block.position()); within.isValid())
      line += within.lineNumber();
    text->verticalScrollBar()->setValue(line);
  };
  // The selection is announced in the next turn of the event loop, and the text follows it.
  QTimer::singleShot(0, text, [text, scroll] { QTimer::singleShot(0, text, scroll); });
}

}  // namespace headroom::gui
