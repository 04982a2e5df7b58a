// SPDX-License-Identifier: GPL-3.0-or-later
// Stands in for pages that have not landed yet; goes away with the last of them.
#pragma once
#include <QPainter>
#include <QWidget>
#include "views/exportable.h"
#include "views/selection.h"
namespace headroom::views {
class PendingPage : public QWidget, public Exportable {
 public:
  PendingPage(Selection*, QWidget* parent) : QWidget(parent) {}
  void render(QPainter& painter, const QRectF& target, const ExportOptions&) override { painter.drawText(target, Qt::AlignCenter, "pending"); }
  QString csv() const override { return "a,b\r\n1,2\r\n"; }
  QString title() const override { return "Pending"; }
  bool settled() const { return true; }
};
#if !__has_include("views/attention_page.h")
class AttentionPage : public PendingPage { public: using PendingPage::PendingPage; };
#endif
#if !__has_include("views/overview_page.h")
class OverviewPage : public PendingPage { public: using PendingPage::PendingPage; };
#endif
#if !__has_include("views/timing_page.h")
class TimingPage : public PendingPage { public: using PendingPage::PendingPage; };
#endif
#if !__has_include("views/compare_page.h")
class ComparePage : public PendingPage { public: using PendingPage::PendingPage; };
#endif
#if !__has_include("views/budget_page.h")
class BudgetPage : public PendingPage { public: using PendingPage::PendingPage; };
#endif
}  // namespace headroom::views
