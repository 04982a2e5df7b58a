// SPDX-License-Identifier: GPL-3.0-or-later
// What of a page gives way to larger text while a talk is presented: choices and notes that nobody in the audience can
// use or needs to read.
#pragma once

#include <initializer_list>

class QWidget;

namespace headroom::views {

/// These take no height while a talk is presented. Whether they are shown at all stays their page's business.
void give_way(std::initializer_list<QWidget*> widgets);
/// All of `page` that was named so, folded away or back. The page hears of it as of another size.
void fold_for_talk(QWidget* page, bool fold);
/// Whether it is folded.
bool in_talk(const QWidget* page);

}  // namespace headroom::views
