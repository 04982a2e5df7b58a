// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/figure_studio.h"

#include "views/map/attention_page.h"
#include "views/prompt/prompt_panel.h"

namespace headroom::gui {
namespace {

views::PromptPanel& prompt_of(const QVector<Page>& pages) {
  return *static_cast<views::AttentionPage*>(pages[page_index(pages, "attention")].widget)->prompt();
}

}  // namespace

FigureSubject figure_subject(const views::Selection& selection, const QVector<Page>& pages) {
  return {selection.state(), prompt_of(pages).first_token()};
}

FigureStudio::FigureStudio(const FigureSubject& subject, views::TileProvider* tiles) {
  selection_.set_state(subject.state);
  pages_ = make_pages(&selection_, &stage_, {{}, {}, tiles});
  prompt_of(pages_).set_first_token(subject.first_token);
}

FigureStudio::~FigureStudio() = default;

}  // namespace headroom::gui
