// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/figure_studio.h"

#include "views/budget/budget_page.h"
#include "views/compare/compare_page.h"
#include "views/map/attention_page.h"
#include "views/overview/overview_page.h"
#include "views/prompt/prompt_panel.h"
#include "views/timing/timing_page.h"

namespace headroom::gui {

FigureSubject figure_subject(const views::Selection& selection, const QVector<Page>& pages) {
  const auto* page = static_cast<views::AttentionPage*>(pages[page_index(pages, "attention")].widget);
  return {selection.state(), page->prompt()->first_token()};
}

FigureStudio::FigureStudio(const FigureSubject& subject, views::TileProvider* tiles)
    : first_token_(subject.first_token), tiles_(tiles) {
  selection_.set_state(subject.state);
}

FigureStudio::~FigureStudio() = default;

views::Exportable* FigureStudio::make(const QString& id) const {
  if (id == "attention") {
    auto* page = new views::AttentionPage(&selection_, &stage_);
    page->set_tile_provider(tiles_);
    page->prompt()->set_first_token(first_token_);
    return page;
  }
  if (id == "overview") return new views::OverviewPage(&selection_, &stage_);
  if (id == "budget") return new views::BudgetPage(&selection_, &stage_);
  if (id == "timing") return new views::TimingPage(&selection_, &stage_);
  auto* page = new views::ComparePage(&selection_, &stage_);
  page->set_tile_provider(tiles_);
  return page;
}

views::Exportable& FigureStudio::view(const QString& view) const {
  const bool text = view == "text";  // part of the Attention page
  views::Exportable*& made = made_[text ? QStringLiteral("attention") : view];
  if (!made) made = make(text ? QStringLiteral("attention") : view);
  return text ? static_cast<views::AttentionPage*>(made)->text_figure() : *made;
}

}  // namespace headroom::gui
