// SPDX-License-Identifier: GPL-3.0-or-later
// Pages of their own for a figure: it shows what was looked at when it was asked for, whatever happens in the window
// while it is drawn.
#pragma once

#include <QHash>
#include <QWidget>

#include "gui/pages.h"

namespace headroom::gui {

/// What a figure is of: run, place, display, and where the text was scrolled to.
struct FigureSubject {
  views::ViewState state;
  std::int64_t first_token = 0;
};

/// As it is looked at now.
FigureSubject figure_subject(const views::Selection& selection, const QVector<Page>& pages);

class FigureStudio {
 public:
  /// `tiles` must outlive this.
  FigureStudio(const FigureSubject& subject, views::TileProvider* tiles);
  FigureStudio(const FigureStudio&) = delete;
  FigureStudio& operator=(const FigureStudio&) = delete;
  ~FigureStudio();

  const views::Selection& selection() const { return selection_; }
  /// `view` must be one that page_index() knows. Its page is made when it is first asked for: the others cost what they
  /// cost and are not needed.
  views::Exportable& view(const QString& view) const;

 private:
  views::Exportable* make(const QString& id) const;
  mutable views::Selection selection_;
  mutable QWidget stage_;  ///< never shown; owns the pages, which know the selection
  std::int64_t first_token_;
  views::TileProvider* tiles_;
  mutable QHash<QString, views::Exportable*> made_;  ///< by page id
};

}  // namespace headroom::gui
