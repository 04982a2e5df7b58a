// SPDX-License-Identifier: Apache-2.0
// The answer of `bench --json`, written and read: both ways go through the lists of fields below.
#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "base/input_file.h"
#include "base/json_fields.h"
#include "record/bench/bench_report.h"
#include "record/device_json.h"
#include "record/record_json.h"

namespace headroom::record {
namespace {

using nlohmann::json;

constexpr std::size_t most_bench_rows = 2048;
constexpr std::size_t most_file_bytes = 64u << 20, most_error_bytes = 1u << 20, most_text_bytes = 1024;
constexpr std::int64_t most_length = 1 << 24, most_bytes = 1LL << 53, most_threads = 1 << 20;
constexpr double most_ms = 1e12, most_ratio = 1e9;

/// `later_…`: fields that results of earlier versions may lack. `maybe`: null is a value.
template <typename Archive, typename Row>
void each_row_field(Archive& archive, Row& row) {
  archive.whole("length", row.length, 1, most_length);
  archive.text("id", row.id);
  archive.text("method", row.method);
  archive.text("backend", row.backend);
  archive.later_text("label", row.label);
  archive.later_text("title", row.title);
  archive.later_whole("look", row.look, 0, num_method_looks - 1);
  archive.later_text("note", row.note);
  archive.budget("budget", row.budget);
  archive.later_whole("granularity", row.granularity, 1, 1 << 20);
  archive.number("density", row.density, 1.0000001);
  archive.later_number("density_as_defined", row.density_as_defined, 1.0000001);
  archive.later_text("supports", row.supports);
  archive.maybe("union_factor", row.union_factor, most_ratio);
  archive.text("plan", row.plan);
  archive.timing_plan("timing_plan", row);
  archive.role("role", row);
  archive.quartiles("ttft_ms", row.ttft);
  archive.load(row.load);
  archive.maybe("as_defined_ms", row.as_defined_ms, most_ms);
  archive.stages("stages_ms", row);
  archive.bytes("peak_bytes", row.peak_bytes, row.staged);
  archive.bytes("peak_bytes_above_weights", row.peak_bytes_above_weights, row.staged);
  archive.devices("devices", row.devices);
  archive.maybe("attention_gflops", row.attention_gflops, most_ms);
  archive.maybe("union_gflops", row.union_gflops, most_ms);
  archive.maybe("score_gflops", row.score_gflops, most_ms);
  archive.maybe("gemm_gflops", row.gemm_gflops, most_ms);
  archive.inner("speedup_over", [&row](auto& inner) {
    auto& over = row.speedup_over;
    inner.maybe("fastest_dense", over.fastest_dense, most_ratio);
    inner.maybe("fa2", over.fa2, most_ratio);
    inner.maybe("cudnn", over.cudnn, most_ratio);
    inner.maybe("libtorch", over.libtorch, most_ratio);
    inner.maybe("llama_cpp", over.llama_cpp, most_ratio);
  });
  archive.maybe("kernel_factor", row.kernel_factor, most_ratio);
  archive.maybe("sparsity_factor", row.sparsity_factor, most_ratio);
  archive.maybe("time_over_libtorch", row.time_over_libtorch, most_ratio);
  archive.maybe("amdahl_bound", row.amdahl_bound, most_ratio);
  archive.maybe("bound_reached", row.bound_reached, most_ratio);
  archive.later_number("floor_ms", row.floor_ms, most_ms);
  archive.maybe_text("error", row.error);
}

template <typename Archive, typename Report>
void each_report_field(Archive& archive, Report& report) {
  archive.text("device", report.device);
  archive.later_text("device_note", report.device_note);
  archive.text("dtype", report.dtype);
  archive.text("config", report.config);
  archive.text("weights", report.weights);
  archive.later_whole("weight_bytes", report.weight_bytes, 0, most_bytes);
  archive.later_whole("memory_needed", report.memory_needed, 0, most_bytes);
  archive.later_whole("threads", report.threads, 0, most_threads);
  archive.later_whole("repeats", report.repeats, 0, most_threads);
  archive.later_whole("warmups", report.warmups, 0, most_threads);
  archive.later_text("supports", report.supports);
  archive.maybe_text("llama_cpp", report.llama_cpp);
  archive.later_flag("complete", report.complete);
}

struct Writer {
  json& out;

  void whole(const char* key, std::int64_t value, std::int64_t, std::int64_t) { out[key] = value; }
  void later_whole(const char* key, std::int64_t value, std::int64_t, std::int64_t) { out[key] = value; }
  void later_flag(const char* key, bool value) { out[key] = value; }
  void text(const char* key, const std::string& value) { out[key] = value; }
  void later_text(const char* key, const std::string& value) { out[key] = value; }
  void maybe_text(const char* key, const std::string& value) { out[key] = value.empty() ? json() : json(value); }
  void number(const char* key, double value, double) { out[key] = json_number(value); }
  void later_number(const char* key, double value, double) { out[key] = json_number(value); }
  void maybe(const char* key, const std::optional<double>& value, double) { out[key] = json_number(value); }
  void budget(const char* key, const std::optional<Budget>& value) { out[key] = value ? to_json(*value) : json(); }
  void role(const char* key, const BenchRow& row) {
    out[key] = std::string(method_role_names[static_cast<std::size_t>(row.role)]);
  }
  void quartiles(const char* key, const Quartiles& value) { out[key] = to_json(value); }
  void load(const std::optional<MachineLoad>& value) { out["machine_load"] = to_json(value); }
  void bytes(const char* key, std::int64_t value, bool known) { out[key] = known ? json(value) : json(); }
  /// How the timed passes ran and what the cost model expected of both ways.
  void timing_plan(const char* key, const BenchRow& row) {
    json plan = to_json(row.timing_plan);
    plan["predicted_dense_ms"] = json_number(row.predicted_dense_ms);
    plan["predicted_sparse_ms"] = json_number(row.predicted_sparse_ms);
    out[key] = std::move(plan);
  }
  void stages(const char* key, const BenchRow& row) {
    json& stages = out[key] = json::object();
    for (std::size_t s = 0; s < num_stages; ++s)
      stages[std::string(stage_names[s])] = row.staged ? json_number(row.stages_ms[s]) : json();
  }
  void devices(const char* key, const std::vector<DeviceShare>& shares) {
    out[key] = to_json(shares);
  }
  void inner(const char* key, auto&& fields) {
    Writer one{out[key] = json::object()};
    fields(one);
  }
};

class Reader {
 public:
  Reader(const json& object, const std::string& place) : fields(object, place), place_(place) {}
  Fields fields;

  template <typename Whole>
  void whole(const char* key, Whole& value, std::int64_t lowest, std::int64_t highest) {
    value = static_cast<Whole>(fields.integer(key, lowest, highest));
  }
  template <typename Whole>
  void later_whole(const char* key, Whole& value, std::int64_t lowest, std::int64_t highest) {
    value = static_cast<Whole>(fields.integer_or(key, value, lowest, highest));
  }
  void later_flag(const char* key, bool& value) { value = fields.boolean_or(key, value); }
  void text(const char* key, std::string& value) { value = fields.string(key, most_text_bytes); }
  void later_text(const char* key, std::string& value) { value = fields.string_or(key, value, most_text_bytes); }
  void maybe_text(const char* key, std::string& value) { value = fields.string_or(key, {}, most_error_bytes); }
  void number(const char* key, double& value, double most) { value = fields.number(key, 0, most); }
  void later_number(const char* key, double& value, double most) { value = fields.number_or(key, value, 0, most); }
  void maybe(const char* key, std::optional<double>& value, double most) {
    value = fields.optional_number(key, 0, most);
  }
  void budget(const char* key, std::optional<Budget>& value) {
    if (fields.has(key)) value = budget_from_json(fields.object(key), below(key));
  }
  void role(const char* key, BenchRow& row) {
    // Earlier versions did not say it; of them the rows that run dense as defined are the dense ones.
    const bool dense = row.timing_plan.source == "defined" && row.timing_plan.dense_throughout();
    row.role = dense ? MethodRole::dense : MethodRole::deployable;
    if (!fields.has(key)) return;
    const std::string found = fields.string(key);
    const auto at = std::find(method_role_names.begin(), method_role_names.end(), found);
    if (at == method_role_names.end()) fields.fail(key, "dense, reference or deployable", "\"" + found + "\"");
    row.role = static_cast<MethodRole>(at - method_role_names.begin());
  }
  void quartiles(const char* key, Quartiles& value) { value = quartiles_from_json(fields.object(key), below(key)); }
  void load(std::optional<MachineLoad>& value) { value = load_of(fields, place_); }
  void bytes(const char* key, std::int64_t& value, bool) { value = fields.integer_or(key, 0, 0, most_bytes); }
  void timing_plan(const char* key, BenchRow& row) {
    const json& object = fields.object(key);
    row.timing_plan = timing_plan_from_json(object, below(key));
    Fields plan(object, below(key));
    row.predicted_dense_ms = plan.optional_number("predicted_dense_ms", 0, most_ms);
    row.predicted_sparse_ms = plan.optional_number("predicted_sparse_ms", 0, most_ms);
  }
  void stages(const char* key, BenchRow& row) {
    Fields stages(fields.object(key), below(key));
    row.staged = stages.has(std::string(stage_names[static_cast<std::size_t>(Stage::attention)]).c_str());
    for (std::size_t s = 0; s < num_stages; ++s)
      row.stages_ms[s] = stages.number_or(std::string(stage_names[s]).c_str(), 0, 0, most_ms);
  }
  void devices(const char* key, std::vector<DeviceShare>& shares) {
    if (fields.has(key)) shares = devices_from_json(fields.array(key, most_devices), below(key));
  }
  void inner(const char* key, auto&& read) {
    Reader one(fields.object(key), below(key));
    read(one);
  }

 private:
  std::string below(const char* key) const { return place_ + ", " + key; }
  std::string place_;
};

json row_json(const BenchRow& row) {
  json object = json::object();
  Writer writer{object};
  each_row_field(writer, row);
  // What follows from other fields, for programs that would rather not work it out.
  object["plan_layers"] = layer_runs_json(row.timing_plan);
  const json& stages = object["stages_ms"];
  for (const char* stage : {"attention", "score", "select"}) object[std::string(stage) + "_ms"] = stages[stage];
  object["share_of_gemm_rate"] = row.attention_gflops && row.gemm_gflops
                                     ? json_number(*row.attention_gflops / *row.gemm_gflops)
                                     : json();
  object["ttft_over_floor"] =
      row.floor_ms > 0 && row.error.empty() ? json_number(row.ttft.median / row.floor_ms) : json();
  return object;
}

/// Times of a row that ran make sense.
void check_times(const BenchRow& row, const std::string& place) {
  if (!row.error.empty()) return;
  const Quartiles& t = row.ttft;
  if (t.repeats >= 1 && t.q1 > 0 && t.q1 <= t.median && t.median <= t.q3) return;
  throw input_error(place + ", ttft_ms", "the times do not make sense",
                    "at least one pass and 0 < q1 <= median <= q3, in ms",
                    std::to_string(t.repeats) + " passes, " + json(json_number(t.q1)).dump() + ", " +
                        json(json_number(t.median)).dump() + ", " + json(json_number(t.q3)).dump());
}

/// A ratio over the fastest dense that does not follow from the file's own times is not one to draw. Rows are compared
/// within their group: those of one length, a new one beginning where a dense backend comes again (`--lengths 64,64`).
void check_ratios(const std::vector<BenchRow>& rows, const std::function<std::string(std::size_t)>& place_of) {
  for (std::size_t begin = 0, end; begin < rows.size(); begin = end) {
    std::set<std::string> backends;
    std::vector<BenchRow> group;
    for (end = begin; end < rows.size() && rows[end].length == rows[begin].length; ++end) {
      if (rows[end].role == MethodRole::dense && rows[end].staged && !backends.insert(rows[end].backend).second) break;
      group.push_back(rows[end]);
    }
    const BenchRow* dense = fastest_dense(group, rows[begin].length);
    for (std::size_t i = begin; i < end; ++i) {
      const auto& stated = rows[i].speedup_over.fastest_dense;
      if (!stated || !rows[i].error.empty()) continue;
      const double ratio = dense ? dense->ttft.median / rows[i].ttft.median : 0;
      if (dense && std::abs(ratio - *stated) <= 1e-3 * ratio) continue;
      throw input_error(place_of(i) + ", speedup_over", "field \"fastest_dense\" is not valid",
                        dense ? "the fastest dense's time over this row's, " + json(ratio).dump()
                              : "nothing, as no dense row of this length ran",
                        json(*stated).dump());
    }
  }
}

}  // namespace

json to_json(const BenchReport& report) {
  json object = json::object();
  Writer writer{object};
  each_report_field(writer, report);
  json& rows = object["rows"] = json::array();
  for (const BenchRow& row : report.rows) rows.push_back(row_json(row));
  return object;
}

BenchReport bench_report_from_json(const json& object, const std::string& place) {
  if (!object.is_object() || !object.contains("rows") || !object.contains("device"))
    throw input_error(place, "is not a result of headroom bench", "the object that `headroom bench --json` prints",
                      object.is_object() ? "an object without \"rows\" or \"device\"" : describe(object));
  BenchReport report;
  report.complete = true;  // earlier versions wrote none that were not, and did not say so
  Reader reader(object, place);
  each_report_field(reader, report);
  const auto row_place = [&](std::size_t row) { return place + ", row " + std::to_string(row + 1); };
  for (const json& row : reader.fields.array("rows", most_bench_rows)) {
    const std::string here = row_place(report.rows.size());
    Reader one(row, here);
    each_row_field(one, report.rows.emplace_back());
    check_times(report.rows.back(), here);
  }
  if (report.rows.empty()) throw input_error(place, "holds no rows", "at least one row", "none");
  check_ratios(report.rows, row_place);
  return report;
}

BenchReport read_bench_report(const std::filesystem::path& file) {
  const std::string text = read_input_file(
      file, {"a result of `headroom bench --json`", "is too large for a result of headroom bench", most_file_bytes});
  return bench_report_from_json(parse_json(text, file.string()), file.string());
}

std::string row_parameters(const BenchRow& row) {
  const std::string granularity = "-g" + std::to_string(row.granularity) + "-";
  const auto at = row.id.find(granularity);
  return at == std::string::npos ? std::string() : row.id.substr(at + granularity.size());
}

const BenchRow* fastest_dense(const std::vector<BenchRow>& rows, std::int64_t length) {
  const BenchRow* found = nullptr;
  for (const BenchRow& row : rows)
    if (row.length == length && row.role == MethodRole::dense && row.staged && row.error.empty() &&
        (!found || row.ttft.median < found->ttft.median))
      found = &row;
  return found;
}

NoSpeedup no_speedup(const BenchRow& row) {
  if (!row.error.empty()) return NoSpeedup::not_run;
  if (!row.staged) return NoSpeedup::another_program;
  if (row.role == MethodRole::reference) return NoSpeedup::reference;
  if (!row.label.empty()) return NoSpeedup::labelled;
  if (row.role != MethodRole::dense && row.timing_plan.dense_throughout()) return NoSpeedup::nothing_sparse;
  return row.speedup_over.fastest_dense ? NoSpeedup::none : NoSpeedup::not_stated;
}

std::optional<double> free_attention_bound(const BenchRow& dense) {
  const double whole = dense.ttft.median, attention = dense.stages_ms[static_cast<std::size_t>(Stage::attention)];
  return dense.staged && whole > attention ? std::optional(whole / (whole - attention)) : std::nullopt;
}

bool is_firm(const BenchRow& row, const BenchRow& dense) {
  const auto alone = [](const BenchRow& one) { return one.ttft.repeats > 1 && !(one.load && one.load->disturbed()); };
  return alone(row) && alone(dense);
}

}  // namespace headroom::record
