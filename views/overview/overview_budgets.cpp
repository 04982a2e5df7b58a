// SPDX-License-Identifier: GPL-3.0-or-later
// Which budget the Overview is of: the choice, what was not run at it, and all of them in a table.
#include <QComboBox>
#include <QLabel>
#include <QSignalBlocker>
#include <algorithm>

#include "views/common/format.h"
#include "views/common/theme.h"
#include "views/overview/answer_cards.h"
#include "views/overview/overview_page.h"

namespace headroom::views {

void OverviewPage::fill_budgets() {
  const QSignalBlocker blocker(budget_);
  const ViewState& state = selection()->state();
  budgets_ = budgets_of(*record_);
  const auto shown = shown_budget(*record_, state);
  budget_->clear();
  for (const Budget& budget : budgets_) {
    budget_->addItem(budget_text(budget));
    if (shown == budget) budget_->setCurrentIndex(budget_->count() - 1);
  }
  if (budgets_.size() > 1) budget_->addItem(tr("All, as a table"));
  if (state.display.all_budgets && budgets_.size() > 1) budget_->setCurrentIndex(budget_->count() - 1);
  budget_bar_->setVisible(!budgets_.empty());
  // A policy that was not run at this budget is not forgotten.
  QStringList others;
  for (const MethodPtr method : methods_near_budget(*record_, state)) {
    const bool here = std::any_of(shown_.begin(), shown_.end(), [&](MethodPtr m) {
      return m->name == method->name && m->parameters == method->parameters;
    });
    if (!here && method->budget) others << tr("%1 at %2").arg(method_name(*method), budget_text(*method->budget));
  }
  budget_note_->setText(state.display.all_budgets || others.isEmpty()
                            ? QString()
                            : tr("Not run at this budget: %1").arg(others.join(QStringLiteral(", "))));
}

void OverviewPage::choose_budget(int index) {
  if (!record_ || index < 0) return;
  if (index >= static_cast<int>(budgets_.size()))
    return selection()->change([](ViewState& state) { state.display.all_budgets = true; });
  const Budget budget = budgets_[static_cast<std::size_t>(index)];
  const record::MethodSummary* now = record_->find_method(selection()->state().method.toStdString());
  MethodPtr first = nullptr, same = nullptr;
  for (const auto& method : record_->methods()) {
    if (method.is_dense() || method.budget != budget) continue;
    if (!first) first = &method;
    if (!same && now && method.name == now->name && method.parameters == now->parameters) same = &method;
  }
  if (same) first = same;
  if (!first) return;
  selection()->change([&](ViewState& state) {
    state.display.all_budgets = false;
    state.method = QString::fromStdString(first->id);
    if (const auto keys = budget_keys(*first)) state.budget = *keys;
  });
}

QString OverviewPage::all_budgets_html() const {
  const record::MethodSummary* baseline = record_ ? dense_of(*record_) : nullptr;
  if (!baseline) return {};
  QString html = QStringLiteral("<table cellspacing=\"0\" cellpadding=\"3\"><tr>");
  for (const QString& name : {tr("Method"), tr("Budget"), tr("of pairs"), tr("mass kept"), tr("answer"),
                              tr("KL to dense"), tr("time to first token")})
    html += QStringLiteral("<th align=\"left\">%1&nbsp;&nbsp;&nbsp;</th>").arg(name);
  html += QStringLiteral("</tr>");
  std::vector<MethodPtr> all;
  for (const auto& method : record_->methods()) all.push_back(&method);
  for (const Budget& budget : budgets_of(*record_)) {
    for (const MethodPtr method : all) {
      if (method->is_dense() || method->budget != budget) continue;
      const QString shared = method->granularity > 1 ? tr(", shared by %1").arg(method->granularity) : QString();
      const QStringList cells = {
          QStringLiteral("<b style=\"color:%1\">%2</b>")
              .arg(Theme::instance().method(method->look).name(),
                   (method_name(*method) + method_setting(*method, all) + shared).toHtmlEscaped()),
          budget_text(budget).toHtmlEscaped(),
          format_percent(method->density),
          format_percent(method->captured_mass_mean, 1),
          agreement_text(*method, *baseline).toHtmlEscaped(),
          kl_text(*method).isEmpty() ? QStringLiteral("–") : kl_text(*method).toHtmlEscaped(),
          method->ttft.repeats > 0 ? format_ms(method->ttft.median) : tr("not timed")};
      html += QStringLiteral("<tr>");
      for (const QString& cell : cells) html += QStringLiteral("<td>%1&nbsp;&nbsp;&nbsp;</td>").arg(cell);
      html += QStringLiteral("</tr>");
    }
  }
  return html + QStringLiteral("</table>") +
         tr("Dense: time to first token %1. One prompt: not a quality result.").arg(format_ms(baseline->ttft.median));
}

}  // namespace headroom::views
