// SPDX-License-Identifier: Apache-2.0
#include "record/export.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "record/opening.h"
#include "record/record_json.h"

namespace headroom::record {
namespace {

Cell optional(const std::optional<double>& value) {
  return value ? Cell(*value) : Cell();
}
Cell optional(const std::optional<bool>& value) {
  return value ? Cell(*value) : Cell();
}
Cell whole(std::int64_t value) {
  return value;
}
Cell at(const std::vector<double>& values, std::int64_t i) {
  return i < static_cast<std::int64_t>(values.size()) ? Cell(values[static_cast<std::size_t>(i)]) : Cell();
}
/// A head of a layer, or nothing for the mean over the layer's heads.
using Head = std::optional<std::int64_t>;
Cell head_cell(Head head) {
  return head ? whole(*head) : Cell(std::string("mean"));
}

/// What a request selects in a record, checked.
class Selection {
 public:
  Selection(const RunRecord& record, const ExportRequest& request) : record_(record), request_(request) {
    if (!request.method.empty() && !record.find_method(request.method))
      throw usage_error("the record has no method \"" + request.method + "\": it holds " + method_list());
    const RunMeta& meta = record.meta();
    if (request.layer && !meta.has_layer(*request.layer))
      throw usage_error("layer " + std::to_string(*request.layer) + " is not one of 0 to " +
                        std::to_string(meta.num_layers() - 1));
    if (request.head) {
      const bool group = request.head->kind == HeadSelector::Kind::group;
      std::int64_t count = 0;  // layers may differ
      for (const auto layer : layers())
        if (meta.is_full(layer))
          count = std::max(count, group ? meta.layer(layer).num_kv_heads : meta.layer(layer).num_q_heads);
      if (request.head->kind != HeadSelector::Kind::mean && (request.head->index < 0 || request.head->index >= count))
        throw usage_error((group ? "KV head " : "head ") + std::to_string(request.head->index) +
                          " is not one of 0 to " + std::to_string(count - 1));
    }
  }
  std::vector<const MethodSummary*> methods() const {
    std::vector<const MethodSummary*> chosen;
    for (const auto& method : record_.methods())
      if (request_.method.empty() || method.id == request_.method) chosen.push_back(&method);
    return chosen;
  }
  const MethodSummary& method() const {
    if (record_.methods().empty()) throw input_error(record_.path().string(), "the record holds no method");
    // One map is one method's: the picture of the same command shows this one too.
    return *record_.find_method(request_.method.empty() ? opening_method(record_) : request_.method);
  }
  int layer() const { return request_.layer ? *request_.layer : first_layer(record_); }
  std::vector<std::int64_t> layers() const {
    std::vector<std::int64_t> chosen;
    for (std::int64_t layer = 0; layer < record_.meta().num_layers(); ++layer)
      if (!request_.layer || *request_.layer == layer) chosen.push_back(layer);
    return chosen;
  }
  /// What is asked for of a layer's heads, the mean last. Layers that are not full have no heads to tell apart.
  std::vector<Head> heads(std::int64_t layer) const {
    if (!record_.meta().is_full(layer)) return {std::nullopt};
    const std::int64_t count = record_.meta().layer(layer).num_q_heads;
    std::vector<Head> chosen;
    if (request_.head) {
      const Head head = head_or_mean();
      if (!head || *head < count) chosen.push_back(head);
      return chosen;
    }
    for (std::int64_t head = 0; head < count; ++head) chosen.emplace_back(head);
    chosen.emplace_back();
    return chosen;
  }
  Head head_or_mean() const {
    if (!request_.head || request_.head->kind == HeadSelector::Kind::mean) return std::nullopt;
    if (request_.head->kind == HeadSelector::Kind::group)
      throw usage_error("this view knows single heads and their mean, not groups");
    return request_.head->index;
  }

 private:
  std::string method_list() const {
    std::string list;
    for (const auto& method : record_.methods()) list += (list.empty() ? "" : ", ") + method.id;
    return list;
  }
  const RunRecord& record_;
  const ExportRequest& request_;
};

void overview(const Selection& selection, Table& table) {
  table.columns = {"method",
                   "name",
                   "title",
                   "role",
                   "support_scope",
                   "budget",
                   "budget_tokens",
                   "granularity",
                   "density",
                   "captured_mass_mean",
                   "captured_mass_min",
                   "oracle_recall",
                   "oracle_recall_95",
                   "kl_to_dense",
                   "top1_agrees",
                   "task_score",
                   "ttft_ms",
                   "ttft_q1_ms",
                   "ttft_q3_ms",
                   "repeats",
                   "backend",
                   "label",
                   "plan",
                   "complete",
                   "answer"};
  for (const auto* m : selection.methods())
    table.rows.push_back({m->id,
                          m->name,
                          m->title,
                          std::string(method_role_names[static_cast<std::size_t>(m->role)]),
                          std::string(support_scope_names[static_cast<std::size_t>(m->scope)]),
                          m->budget ? Cell(to_string(*m->budget)) : Cell(),
                          whole(m->budget_tokens),
                          whole(m->granularity),
                          m->density,
                          m->captured_mass_mean,
                          m->captured_mass_min,
                          optional(m->oracle_recall_mean),
                          optional(m->oracle_recall_95_mean),
                          optional(m->kl_to_dense),
                          optional(m->top1_agrees),
                          optional(m->task_score),
                          m->ttft.median,
                          m->ttft.q1,
                          m->ttft.q3,
                          whole(m->ttft.repeats),
                          m->backend,
                          m->label,
                          m->plan,
                          m->complete,
                          m->answer});
}

void compare(const RunRecord& record, const Selection& selection, const std::string& baseline, Table& table) {
  const MethodSummary* base = record.find_method(baseline);
  if (baseline.empty())
    for (const auto& method : record.methods())
      if (method.is_dense()) base = &method;
  if (!base)
    throw usage_error(baseline.empty() ? "the record has no dense method to compare with"
                                       : "the record has no baseline \"" + baseline + "\"");
  table.facts.emplace_back("baseline", base->id);
  table.columns = {"method",        "density",     "ttft_ms",    "ttft_difference_ms",
                   "captured_mass", "kl_to_dense", "task_score", "task_score_difference",
                   "same_answer",   "label"};
  for (const auto* m : selection.methods()) {
    const bool scored = m->task_score && base->task_score;
    table.rows.push_back({m->id, m->density, m->ttft.median, m->ttft.median - base->ttft.median, m->captured_mass_mean,
                          optional(m->kl_to_dense), optional(m->task_score),
                          scored ? Cell(*m->task_score - *base->task_score) : Cell(), m->answer == base->answer,
                          m->label});
  }
}

void heads(const RunRecord& record, const Selection& selection, Table& table) {
  table.columns = {"method", "layer", "kind", "head"};
  for (const auto* m : selection.methods()) {
    const auto statistics = record.head_statistics(m->id);
    if (!statistics) continue;
    if (table.columns.size() == 4)
      table.columns.insert(table.columns.end(), statistics->names.begin(), statistics->names.end());
    if (table.columns.size() != 4 + statistics->names.size())
      throw input_error(record.path().string(), "methods differ in their statistics");
    for (const auto layer : selection.layers())
      for (const auto head : selection.heads(layer)) {
        std::vector<Cell> row = {m->id, whole(layer), record.meta().layer(layer).kind, head_cell(head)};
        for (std::size_t i = 0; i < statistics->names.size(); ++i)
          row.emplace_back(statistics->at(layer, head.value_or(statistics->heads - 1), i));
        table.rows.push_back(std::move(row));
      }
  }
}

void budget(const RunRecord& record, const Selection& selection, Table& table) {
  table.title = "Mass recall against the budget (no measure of quality)";
  table.facts.emplace_back("forced keys", "none: the k keys of most head-averaged mass");
  table.columns = {"method", "layer", "head", "budget", "mass_recall_mean", "mass_recall_p10", "mass_recall_min"};
  for (const auto* m : selection.methods()) {
    const auto curves = record.mass_curves(m->id);
    if (!curves) continue;
    for (const auto layer : selection.layers()) {
      if (!record.meta().is_full(layer)) continue;
      for (const auto head : selection.heads(layer)) {
        const std::int64_t row = head.value_or(curves->heads - 1);
        for (std::size_t i = 0; i < curves->budgets.size(); ++i)
          table.rows.push_back({m->id, whole(layer), head_cell(head), whole(curves->budgets[i]),
                                curves->at(layer, row, 0)[i], curves->at(layer, row, 1)[i],
                                curves->at(layer, row, 2)[i]});
      }
    }
  }
}

void timing(const RunRecord& record, const Selection& selection, bool one_layer, Table& table) {
  table.facts.emplace_back("warm-ups", std::to_string(record.meta().warmups));
  table.facts.emplace_back("note", "stage medians need not add up to ttft");
  table.columns = {"method", "layer", "stage", "median_ms", "q1_ms", "q3_ms", "repeats", "label"};
  const auto add = [&](const MethodSummary& m, Cell layer, std::string_view stage, const Quartiles& q) {
    table.rows.push_back({m.id, std::move(layer), std::string(stage), q.median, q.q1, q.q3, whole(q.repeats), m.label});
  };
  for (const auto* m : selection.methods()) {
    if (!one_layer) {
      add(*m, std::string("all"), "ttft", m->ttft);
      for (std::size_t i = 0; i < num_stages; ++i) add(*m, std::string("all"), stage_names[i], m->stages[i]);
    }
    if (m->layer_stages.empty()) continue;
    for (const auto layer : selection.layers())
      for (std::size_t i = 0; i < num_stages; ++i)
        table.rows.push_back({m->id, whole(layer), std::string(stage_names[i]),
                              m->layer_stages[static_cast<std::size_t>(layer)][i], Cell(), Cell(),
                              whole(m->ttft.repeats), m->label});
  }
}

/// One line a method, as a sweep has one a sample, method, budget, task and length.
void rows(const RunRecord& record, const Selection& selection, Table& table) {
  const RunMeta& meta = record.meta();
  table.columns = {"model",        "task",          "length",      "method",        "budget",       "budget_tokens",
                   "granularity",  "parameters",    "causal",      "density",       "captured_mass", "oracle_recall",
                   "kl_mean",      "kl_positions",  "top1_flips",  "kl_last",       "reference_nll", "reference_tokens",
                   "task_score",   "answer_cut",    "ttft_ms",     "repeats",       "device",        "dtype"};
  for (const auto* m : selection.methods()) {
    std::string parameters;
    for (const auto& [name, value] : m->parameters) parameters += (parameters.empty() ? "" : ";") + name + "=" + value;
    const auto& forced = m->forced;
    const auto& reference = m->reference_answer;
    table.rows.push_back({meta.model_name, meta.task, whole(record.length()), m->id,
                          m->budget ? Cell(to_string(*m->budget)) : Cell(), whole(m->budget_tokens),
                          whole(m->granularity), parameters, m->causal, m->density, m->captured_mass_mean,
                          optional(m->oracle_recall_mean), forced ? Cell(forced->kl_mean) : Cell(),
                          forced ? whole(forced->positions) : Cell(), forced ? whole(forced->top1_flips) : Cell(),
                          optional(m->kl_to_dense), reference ? Cell(reference->nll_mean) : Cell(),
                          reference ? whole(reference->tokens) : Cell(), optional(m->task_score), m->answer_cut,
                          m->ttft.median, whole(m->ttft.repeats), meta.device, meta.dtype});
  }
}

void layers(const RunRecord& record, const Selection& selection, Table& table) {
  table.columns = {"method",    "layer",            "kind",    "captured_mass", "oracle_recall",
                   "output_l2", "output_frobenius", "total_ms"};
  for (const auto* m : selection.methods())
    for (const auto layer : selection.layers()) {
      Cell total;
      if (!m->layer_stages.empty()) {
        double sum = 0;
        for (const double stage : m->layer_stages[static_cast<std::size_t>(layer)]) sum += stage;
        total = sum;
      }
      table.rows.push_back({m->id, whole(layer), record.meta().layer(layer).kind, at(m->captured_mass_per_layer, layer),
                            at(m->oracle_recall_per_layer, layer), at(m->output_l2_per_layer, layer),
                            at(m->output_frobenius_per_layer, layer), total});
    }
}

void plan(const RunRecord& record, const Selection& selection, Table& table) {
  table.columns = {"method", "budget",   "granularity", "density", "plan",          "source",  "layer",  "kind",
                   "run",    "dense_ms", "sparse_ms",   "times",   "dense_backend", "machine", "threads"};
  for (const auto* m : selection.methods())
    for (const auto layer : selection.layers()) {
      std::vector<Cell> row = {m->id, m->budget ? Cell(to_string(*m->budget)) : Cell(), whole(m->granularity),
                               m->density, m->plan};
      const auto& kind = record.meta().layer(layer).kind;
      const auto index = static_cast<std::size_t>(layer);
      if (!m->timing_plan || index >= m->timing_plan->layers.size()) {
        row.insert(row.end(), {Cell(), whole(layer), kind});
        row.resize(table.columns.size());
      } else {
        const TimingPlan& timing = *m->timing_plan;
        const LayerPlan& entry = timing.layers[index];
        row.insert(row.end(),
                   {timing.source, whole(layer), kind,
                    std::string(layer_run_names[static_cast<std::size_t>(entry.run)]), entry.dense_ms, entry.sparse_ms,
                    timing.times, timing.dense_backend, timing.machine, whole(timing.threads)});
      }
      table.rows.push_back(std::move(row));
    }
}

void text(const RunRecord& record, const Selection& selection, const ExportRequest& request, Table& table) {
  const MethodSummary& method = selection.method();
  const Head head = selection.head_or_mean();
  const int layer = selection.layer();
  const std::vector<float> received =
      record.mass_received(method.id, layer, static_cast<int>(head.value_or(record.meta().layer(layer).num_q_heads)));
  std::vector<float> frequency;
  if (const auto group = support_group(method, record.meta().layer(layer), request.head.value_or(HeadSelector{})))
    frequency = record.selection_frequency(method.id, layer, *group);
  const bool have = !received.empty() || !frequency.empty();
  table.facts.emplace_back("method", method.id);
  table.facts.emplace_back("layer", have ? std::to_string(layer) : "none recorded");
  table.facts.emplace_back("head", head ? std::to_string(*head) : "mean");
  table.columns = {"position", "id", "begin", "end", "text", "mass_received", "selection_frequency"};
  const TokenTable& tokens = record.tokens();
  for (std::size_t i = 0; i < tokens.ids.size(); ++i)
    table.rows.push_back({whole(static_cast<std::int64_t>(i)), whole(tokens.ids[i]), whole(tokens.begin[i]),
                          whole(tokens.end[i]),
                          tokens.text.substr(static_cast<std::size_t>(tokens.begin[i]),
                                             static_cast<std::size_t>(tokens.end[i] - tokens.begin[i])),
                          received.empty() ? Cell() : Cell(received[i]),
                          frequency.empty() ? Cell() : Cell(frequency[i])});
}

void attention(const RunRecord& record, const Selection& selection, const ExportRequest& request, Table& table) {
  const MethodSummary& method = selection.method();
  const int layer = selection.layer();
  const TileAddress address = request.tile.value_or(TileAddress{num_levels(record.length()) - 1, 0, 0});
  const HeadSelector head = request.head.value_or(HeadSelector{});
  const auto stored = record.stored_tile(method.id, layer, head, address);
  const auto stream = stored ? nullptr : record.layer_stream(method.id, layer);
  if (!stored && !stream)
    throw input_error(record.path().string(), "the record does not hold this map", "a layer whose q and k were kept",
                      "method " + method.id + ", layer " + std::to_string(layer));
  const Tile tile = stored ? *stored : compute_tile(*stream, head, address);
  if (tile.max.empty()) throw usage_error("that tile lies outside the map");
  OverlayTile overlay;
  const auto group = support_group(method, record.meta().layer(layer), head);
  if (group) {
    const auto counted = stored ? record.stored_overlay(method.id, layer, *group, head, address) : std::nullopt;
    const auto support = counted ? nullptr : record.supports(method.id, layer, SupportKind::support, *group);
    const auto target = counted ? nullptr : record.supports(method.id, layer, SupportKind::target, *group);
    const auto wasted = counted ? nullptr : record.supports(method.id, layer, SupportKind::wasted, *group);
    if (counted)
      overlay = *counted;
    else if (support && target)
      overlay = compute_overlay(*support, *target, wasted.get(), address, stream ? stream->query_begin : 0);
  } else {
    table.facts.emplace_back("supports", "differ by head: choose a head");
  }
  const std::int64_t cell = std::int64_t{1} << address.level;
  table.facts.emplace_back("method", method.id);
  table.facts.emplace_back("layer", std::to_string(layer));
  table.facts.emplace_back("head",
                           head.kind == HeadSelector::Kind::mean
                               ? "mean"
                               : (head.kind == HeadSelector::Kind::group ? "group " : "") + std::to_string(head.index));
  table.facts.emplace_back("cell", std::to_string(cell) + " x " + std::to_string(cell) + " pairs");
  table.columns = {"query", "key", "p_max", "p_mean"};
  if (!overlay.hit.empty()) table.columns.insert(table.columns.end(), {"hit", "missed", "wasted"});
  for (std::int64_t i = 0; i < tile.rows; ++i)
    for (std::int64_t j = 0; j < tile.columns; ++j) {
      const auto index = static_cast<std::size_t>(i * tile.columns + j);
      if (std::isnan(tile.max[index])) continue;
      std::vector<Cell> row = {whole((address.row * tile_size + i) * cell),
                               whole((address.column * tile_size + j) * cell), tile.max[index], tile.mean[index]};
      if (!overlay.hit.empty())
        for (const auto* counts : {&overlay.hit, &overlay.missed, &overlay.wasted})
          row.push_back(whole((*counts)[index]));
      table.rows.push_back(std::move(row));
    }
}

}  // namespace

const std::vector<std::string>& export_views() {
  static const std::vector<std::string> views = {"overview", "compare", "heads", "budget", "timing",
                                                 "rows",     "layers",  "plan",  "text",   "attention"};
  return views;
}

Table export_table(const RunRecord& record, const ExportRequest& request) {
  const Selection selection(record, request);
  const RunMeta& meta = record.meta();
  Table table;
  table.facts = {{"run", meta.run_id},
                 {"model", meta.model_name},
                 {"tokens", std::to_string(record.length())},
                 {"device", meta.device},
                 {"dtype", meta.dtype},
                 {"created", meta.created},
                 {"program", "Headroom " + meta.program_version}};
  if (!meta.complete) table.facts.emplace_back("note", "the run was not finished");
  const std::string& view = request.view;
  table.title = view;
  if (view == "overview")
    overview(selection, table);
  else if (view == "compare")
    compare(record, selection, request.baseline, table);
  else if (view == "heads")
    heads(record, selection, table);
  else if (view == "budget")
    budget(record, selection, table);
  else if (view == "timing")
    timing(record, selection, request.layer.has_value(), table);
  else if (view == "rows")
    rows(record, selection, table);
  else if (view == "layers")
    layers(record, selection, table);
  else if (view == "plan")
    plan(record, selection, table);
  else if (view == "text")
    text(record, selection, request, table);
  else if (view == "attention" || view == "map")
    attention(record, selection, request, table);
  else if (view == "sweep" || view == "waterfall")
    throw usage_error("view \"" + view + "\" needs the record of a sweep, this is a single run");
  else
    throw usage_error("view \"" + view + "\" is not known");
  return table;
}

}  // namespace headroom::record
