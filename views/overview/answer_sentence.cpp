// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/overview/answer_sentence.h"

#include <algorithm>

#include "record/speedup.h"
#include "record/static_stream.h"
#include "views/common/format.h"
#include "views/common/record_queries.h"

namespace headroom::views {
namespace {

const char* define_tokens = "Tokens of the rendered prompt, chat template included.";
const char* define_model = "The model and the device that this run was measured on.";
const char* define_budget =
    "Budget k: the most keys in a row's support. All heads of a layer share a support unless the sentence says more.";
const char* define_density =
    "Density: causal pairs really attended / all causal pairs. Stands beside every budget, because k means little "
    "without the length.";
const char* define_captured =
    "Captured mass: the attention mass m on the support, m being the head-averaged probability. Mean over rows with "
    "more "
    "history than k, over layers.";
const char* define_answer =
    "Greedy answers from the same prompt, compared token by token. Decoding after the prefill is dense over the KV "
    "that the "
    "sparse prefill produced.";
const char* define_time =
    "Time to first token: from ids on the host to the first token's id on the host; median of the timed passes. Timed "
    "and "
    "recorded passes are separate.";

const char* define_load =
    "What other programs did with the processors during the timed passes: such times are too long, and ratios of them "
    "may be off.";
const char* define_plan =
    "Layers whose sparse attention takes longer than dense run dense in timed passes. What is recorded and scored is "
    "the "
    "method as defined, sparse in every layer.";

QString ordinal(std::int64_t n) {
  const auto tail = n % 100;
  const char* suffix = tail >= 11 && tail <= 13 ? "th"
                       : n % 10 == 1            ? "st"
                       : n % 10 == 2            ? "nd"
                       : n % 10 == 3            ? "rd"
                                                : "th";
  return format_count(n) + suffix;
}

class Builder {
 public:
  void plain(const QString& text) { sentence_.parts.push_back({text, {}, {}}); }
  void link(const QString& text, const char* target, const char* definition) {
    sentence_.parts.push_back({text, QString::fromUtf8(target), QString::fromUtf8(definition)});
  }
  AnswerSentence take() { return std::move(sentence_); }

 private:
  AnswerSentence sentence_;
};

void add_budget(Builder& out, const record::MethodSummary& method, bool opens) {
  if (method.budget && method.budget->kind == BudgetKind::mass) {
    out.plain(opens ? "The smallest supports reaching " : "the smallest supports reaching ");
    out.link(format_percent(method.budget->value), "budget#budget", define_budget);
    // In blocks p is of the block's sum: a row may keep less, which the mass beside it says.
    if (method.granularity > 1) out.plain(" in the sum over each block");
    out.plain(method.score == ScoreKind::index   ? " of the indexer's own score"
              : method.score == ScoreKind::other ? " of the method's own score"
                                                 : " of the mass");
  } else {
    out.link(format_count(method.budget_tokens) + " keys", "budget#budget", define_budget);
    out.plain(" a query");
  }
  if (method.scope == SupportScope::kv_head) out.plain(" and KV head");
  if (method.scope == SupportScope::q_head) out.plain(" and head");
  if (method.granularity > 1) out.plain(QStringLiteral(", shared by %1 queries").arg(method.granularity));
}

void add_answer(Builder& out, const record::MethodSummary& method, const record::MethodSummary& baseline) {
  if (method.answer_ids.empty() || baseline.answer_ids.empty()) return;
  out.plain("; the answer ");
  const auto divergence = first_divergence(method, baseline);
  if (divergence < 0) {
    out.link("is the same as dense", "compare#answers", define_answer);
  } else {
    out.link("differs from dense from the " + ordinal(divergence + 1) + " token on", "compare#answers", define_answer);
  }
}

void add_time(Builder& out, const record::MethodSummary& method, const record::MethodSummary& baseline, bool first,
              bool on_cpu) {
  if (baseline.ttft.repeats <= 0) return;
  if (!first && !method.label.empty()) return out.plain("; its time is not compared either");
  out.plain("; time to first token ");
  if (!method.label.empty() || method.ttft.repeats <= 0) {
    out.link(format_ms(baseline.ttft.median), "timing#ttft", define_time);
    if (method.ttft.repeats <= 0) return out.plain(" dense, the sparse pass was not timed");
    out.plain(on_cpu ? " dense (the sparse CPU path is a reference, not optimised: no time is compared)"
                     : " dense (this sparse path is a reference, not optimised: no time is compared)");
  } else if (method.role == MethodRole::reference) {
    out.link(format_ms(method.ttft.median), "timing#ttft", define_time);
    out.plain(", dense ");
    out.link(format_ms(baseline.ttft.median), "timing#ttft", define_time);
    out.plain(method.score == ScoreKind::mass ? " (the oracle is a reference, not deployable: no speedup)"
                                              : " (a reference, not deployable: no speedup)");
  } else if (nothing_sparse_ran(method)) {
    out.link(format_ms(baseline.ttft.median), "timing#ttft", define_time);
    out.plain(" dense; nothing sparse was timed (");
    out.link(plan_counts_text(method), "timing#plan", define_plan);
    out.plain(method.timing_plan->source == "automatic" ? ", where sparse takes longer)" : ")");
  } else {
    out.link(format_ms(baseline.ttft.median) + QStringLiteral(" → ") + format_ms(method.ttft.median), "timing#ttft",
             define_time);
    if (const auto plan = plan_counts(method); plan && plan->timing_only) {
      out.plain(" (timed with ");
      out.link(plan_counts_text(method), "timing#plan", define_plan);
      out.plain(method.timing_plan->source == "automatic" ? ", where sparse takes longer)" : ")");
    }
    if (method.ttft.repeats == 1 || baseline.ttft.repeats == 1) out.plain(", of a single pass");
  }
  for (const auto* timed : {&method, &baseline}) {
    if (!timed->load || !timed->load->disturbed()) continue;
    out.plain(", while ");
    out.link(QString::fromStdString(timed->load->text()), "timing#load", define_load);
    break;
  }
}

}  // namespace

QString AnswerSentence::text() const {
  QString all;
  for (const auto& part : parts) all += part.text;
  return all;
}

QString AnswerSentence::html(const QColor& link_colour) const {
  QString all;
  for (const auto& part : parts) {
    // A number and its unit stay on one line.
    QString text = part.text.toHtmlEscaped();
    text.replace(" %", "&nbsp;%").replace(" s ", "&nbsp;s ");
    if (part.link.isEmpty()) {
      all += text;
    } else {
      all += QStringLiteral("<a href=\"%1\" style=\"color:%2; text-decoration:none; font-weight:600\">%3</a>")
                 .arg(part.link.toHtmlEscaped(), link_colour.name(), text);
    }
  }
  return all;
}

QString AnswerSentence::definition(const QString& link) const {
  const auto found =
      std::find_if(parts.begin(), parts.end(), [&](const SentencePart& part) { return part.link == link; });
  return found == parts.end() ? QString() : found->definition;
}

std::int64_t first_divergence(const record::MethodSummary& method, const record::MethodSummary& baseline) {
  const auto& a = method.answer_ids;
  const auto& b = baseline.answer_ids;
  if (a == b) return -1;
  const auto [left, right] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return left - a.begin();
}

bool speedup_allowed(const record::MethodSummary& method, const record::MethodSummary& baseline) {
  return record::speedup_over(method, baseline, false).has_value();
}

AnswerSentence answer_sentence(const record::RunMeta& meta, std::int64_t tokens, const record::MethodSummary& method,
                               const record::MethodSummary& baseline, SentenceScope scope) {
  Builder out;
  if (scope.prompt) {
    out.plain("On this prompt (");
    out.link(format_count(tokens) + " tokens", "attention#prompt", define_tokens);
    if (const QString model = model_label(meta); !model.isEmpty()) {
      out.plain(", ");
      out.link(model, "compare#metadata", define_model);
    }
    if (!meta.device.empty()) {
      out.plain(", ");
      out.link(short_device(meta.device), "timing#device", define_model);
    }
    out.plain(") ");
  }
  const bool mass_budget = method.budget && method.budget->kind == BudgetKind::mass;
  const bool no_rows = std::isnan(method.captured_mass_mean);  // with more history than the budget
  if (no_rows || (!mass_budget && method.budget_tokens >= tokens)) {
    add_budget(out, method, !scope.prompt);
    out.plain(" cover the whole prompt: every row is dense by definition, choose a smaller budget");
  } else {
    add_budget(out, method, !scope.prompt);
    out.plain(" (");
    out.link(format_percent(method.density) + " of pairs", "budget#density", define_density);
    out.plain(") keep ");
    out.link(format_percent(method.captured_mass_mean, 1) + " of the mass", "budget#captured_mass", define_captured);
  }
  add_answer(out, method, baseline);
  if (record::is_static(method))
    out.plain("; " + QString::fromUtf8(record::static_label));
  else
    add_time(out, method, baseline, scope.prompt, meta.device.starts_with("CPU"));
  out.plain(scope.caveat ? ". One prompt: not a quality result." : ".");
  return out.take();
}

AnswerSentence answer_sentence(const record::RunRecord& record, const record::MethodSummary& method,
                               const record::MethodSummary& baseline, SentenceScope scope) {
  return answer_sentence(record.meta(), record.length(), method, baseline, scope);
}

}  // namespace headroom::views
