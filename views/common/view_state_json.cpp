// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/view_state_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "base/json_fields.h"
#include "views/common/head_statistics_model.h"
#include "views/common/view_state_fields.h"

namespace headroom::views {
namespace {

using nlohmann::json;

constexpr std::size_t most_pins = 4096, most_ranges = 1 << 16;
constexpr std::int64_t most_keys = 1 << 20;
constexpr std::array head_kind_names = {"head", "mean", "group"};

std::string joined(const auto& names) {
  std::string list;
  for (const char* name : names) list += (list.empty() ? "one of " : ", ") + std::string(name);
  return list;
}

int number_of(const RecordPtr& record, const std::vector<RecordPtr>& records) {
  if (!record) return -1;
  const auto at = std::find(records.begin(), records.end(), record);
  if (at == records.end()) throw Error(ErrorKind::internal, "a view names a record that is not in its list");
  return static_cast<int>(at - records.begin());
}

RecordPtr shown_by(const ViewState& state) {
  const bool open = state.current >= 0 && state.current < static_cast<int>(state.runs.size());
  return open ? state.runs[static_cast<std::size_t>(state.current)] : nullptr;
}

/// Writes each field of the table into an object.
struct StateWriter {
  json& out;
  const std::vector<RecordPtr>& records;
  const ViewState& state;

  void runs(const char*, const std::vector<RecordPtr>&) {}  // the caller's list
  // Sweeps and bench results are not named: whoever takes a view keeps those that are open.
  void sweeps(const char*, const std::vector<SweepPtr>&) {}
  void shown_sweep(const char*, int) {}
  void benches(const char*, const std::vector<BenchPtr>&) {}
  void shown_bench(const char*, int) {}
  void record(const char* key, int) { out[key] = number_of(shown_by(state), records); }
  void flag(const char* key, bool value) { out[key] = value; }
  void maybe_flag(const char* key, const std::optional<bool>& value) {
    out[key] = value ? json(*value) : json(nullptr);
  }
  void whole(const char* key, std::int64_t value, std::int64_t, std::int64_t) { out[key] = value; }
  void number(const char* key, double value, double, double) { out[key] = value; }
  void text(const char* key, const QString& value, std::size_t) { out[key] = value.toStdString(); }
  template <typename Value>
  void choice(const char* key, const Value& value, const auto& names) {
    const auto index = static_cast<std::size_t>(value);
    if (index >= names.size())
      throw Error(ErrorKind::internal, std::string("a value of \"") + key + "\" has no name in view_state_fields.h");
    out[key] = names[index];
  }
  void head(const char* key, const record::HeadSelector& value) {
    out[key] = {{"kind", head_kind_names.at(static_cast<std::size_t>(value.kind))}, {"index", value.index}};
  }
  void keys(const char* key, const std::set<std::int64_t>& value) {
    auto& ranges = out[key] = json::array();  // [first, behind the last]
    for (const std::int64_t position : value) {
      if (!ranges.empty() && ranges.back()[1] == position)
        ranges.back()[1] = position + 1;
      else
        ranges.push_back({position, position + 1});
    }
  }
  void pins(const char* key, const std::vector<MapPoint>& value) {
    auto& list = out[key] = json::array();
    for (const MapPoint& pin : value) list.push_back({pin.query, pin.key});
  }
  void viewport(const char* key, const Viewport& value) {
    out[key] = {value.query_begin, value.query_end, value.key_begin, value.key_end};
  }
  void side(const char* key, const SideChoice& value) {
    out[key] = {{"record", number_of(value.run, records)}, {"method", value.method.toStdString()}};
  }
  void display(const char* key, const DisplayState& value) {
    json object = json::object();
    StateWriter inner{object, records, state};
    each_display_field(inner, value);
    out[key] = std::move(object);
  }
  void sweep_look(const char* key, const SweepLook& value) {
    json object = json::object();
    StateWriter inner{object, records, state};
    each_sweep_look_field(inner, value);
    out[key] = std::move(object);
  }
};

/// Reads each field of the table; those that are missing stay as they are.
class StateReader {
 public:
  /// `records` null: only their number is known.
  StateReader(const json& object, const std::string& place, std::size_t count, const std::vector<RecordPtr>* records)
      : object_(object), place_(place), fields_(object, place), count_(count), records_(records) {}
  void finish() const { fields_.refuse_unknown(); }

  void runs(const char*, std::vector<RecordPtr>& value) {
    if (records_) value = *records_;
  }
  void record(const char* key, int& value) {
    if (there(key)) value = number_at(fields_, key);
  }
  void sweeps(const char*, std::vector<SweepPtr>&) {}
  void shown_sweep(const char*, int&) {}
  void benches(const char*, std::vector<BenchPtr>&) {}
  void shown_bench(const char*, int&) {}
  void flag(const char* key, bool& value) {
    if (there(key)) value = fields_.boolean(key);
  }
  void maybe_flag(const char* key, std::optional<bool>& value) {
    value = fields_.has(key) ? std::optional(fields_.boolean(key)) : std::nullopt;
  }
  template <typename Whole>
  void whole(const char* key, Whole& value, std::int64_t lowest, std::int64_t highest) {
    if (there(key)) value = static_cast<Whole>(fields_.integer(key, lowest, highest));
  }
  void number(const char* key, double& value, double lowest, double highest) {
    if (there(key)) value = fields_.number(key, lowest, highest);
  }
  void text(const char* key, QString& value, std::size_t most) {
    if (there(key)) value = QString::fromStdString(fields_.string(key, most));
  }
  template <typename Value>
  void choice(const char* key, Value& value, const auto& names) {
    if (there(key)) value = static_cast<Value>(index_of(fields_, key, names));
  }
  void head(const char* key, record::HeadSelector& value) {
    if (!there(key)) return;
    Fields inner(fields_.object(key), place_ + ", \"" + key + "\"");
    value.kind = static_cast<record::HeadSelector::Kind>(index_of(inner, "kind", head_kind_names));
    value.index = static_cast<int>(inner.integer("index", 0, most_heads));
    inner.refuse_unknown();
  }
  void keys(const char* key, std::set<std::int64_t>& value) {
    if (!there(key)) return;
    value.clear();
    std::int64_t total = 0;
    for (const json& range : fields_.array(key, most_ranges)) {
      const auto [begin, end] = pair(key, range, "pairs [first key, key behind the last]");
      total += std::max<std::int64_t>(0, end - begin);
      if (end <= begin || end > most_tokens || total > most_keys)
        fields_.fail(key, "pairs [first key, key behind the last] of at most " + std::to_string(most_keys) + " keys",
                     range.dump());
      for (std::int64_t position = begin; position < end; ++position) value.insert(value.end(), position);
    }
  }
  void pins(const char* key, std::vector<MapPoint>& value) {
    if (!there(key)) return;
    value.clear();
    for (const json& pin : fields_.array(key, most_pins)) {
      const auto [query, position] = pair(key, pin, "pairs [query, key]");
      value.push_back({query, position});
    }
  }
  void viewport(const char* key, Viewport& value) {
    if (!there(key)) return;
    fields_.array(key, 4);
    const std::vector<double> edges = fields_.numbers(key, 4);
    constexpr double most = 2.0 * static_cast<double>(most_tokens);
    const bool good = edges.size() == 4 &&
                      std::all_of(edges.begin(), edges.end(),
                                  [](double edge) {
                                    return edge >= -most && edge <= most;  // and a number
                                  }) &&
                      edges[0] <= edges[1] && edges[2] <= edges[3];
    if (!good) fields_.fail(key, "[first query, last query, first key, last key] in tokens", object_.at(key).dump());
    value = {edges[0], edges[1], edges[2], edges[3]};
  }
  void side(const char* key, SideChoice& value) {
    if (!there(key)) return;
    Fields inner(fields_.object(key), place_ + ", \"" + key + "\"");
    const int number = number_at(inner, "record");
    value.run = number < 0 || !records_ ? nullptr : (*records_)[static_cast<std::size_t>(number)];
    value.method = QString::fromStdString(inner.string("method", 256));
    inner.refuse_unknown();
  }
  void display(const char* key, DisplayState& value) {
    if (!there(key)) return;
    StateReader inner(fields_.object(key), place_ + ", \"" + key + "\"", count_, records_);
    each_display_field(inner, value);
    inner.finish();
    if (!find_grid_statistic(value.grid_statistic)) {
      std::string known;
      for (const auto& one : grid_statistics()) known += (known.empty() ? "one of " : ", ") + std::string(one.key);
      inner.fields_.fail("grid_statistic", known, '"' + value.grid_statistic.toStdString() + '"');
    }
    if (value.lift_min >= value.lift_max)
      inner.fields_.fail("lift_max", "more than lift_min, " + json(value.lift_min).dump(), json(value.lift_max).dump());
  }
  void sweep_look(const char* key, SweepLook& value) {
    if (!there(key)) return;
    StateReader inner(fields_.object(key), place_ + ", \"" + key + "\"", count_, records_);
    each_sweep_look_field(inner, value);
    inner.finish();
  }
  void check(const ViewState& state) const {
    if (state.colour_min >= state.colour_max)
      fields_.fail("colour_max", "more than colour_min, " + json(state.colour_min).dump(),
                   json(state.colour_max).dump());
    if (state.query_begin > state.query_end)
      fields_.fail("query_end", "at least query_begin, " + std::to_string(state.query_begin),
                   std::to_string(state.query_end));
  }

 private:
  /// Null is a value: only maybe_flag() knows one.
  bool there(const char* key) { return fields_.has(key) || object_.contains(key); }
  int number_at(Fields& fields, const char* key) const {
    const auto number = static_cast<int>(fields.integer(key, -1, static_cast<std::int64_t>(count_) - 1));
    if (number >= 0 && records_ && !(*records_)[static_cast<std::size_t>(number)])
      fields.fail(key, "a record that is open", "record " + std::to_string(number));
    return number;
  }
  static std::size_t index_of(Fields& fields, const char* key, const auto& names) {
    const std::string name = fields.string(key, 64);
    const auto at = std::find(names.begin(), names.end(), name);
    if (at == names.end()) fields.fail(key, joined(names), '"' + name + '"');
    return static_cast<std::size_t>(at - names.begin());
  }
  std::pair<std::int64_t, std::int64_t> pair(const char* key, const json& value, const std::string& expected) const {
    const auto inside = [](const json& number) {
      return number.is_number_integer() && number >= 0 && number <= most_tokens;
    };
    if (!value.is_array() || value.size() != 2 || !inside(value[0]) || !inside(value[1]))
      fields_.fail(key, expected + ", 0 to " + std::to_string(most_tokens), describe(value));
    return {value[0].get<std::int64_t>(), value[1].get<std::int64_t>()};
  }

  const json& object_;
  std::string place_;
  Fields fields_;
  std::size_t count_;
  const std::vector<RecordPtr>* records_;
};

/// Finds the sides, however many there are.
struct SideLister {
  std::vector<std::pair<std::string, const SideChoice*>> sides;
  void runs(const auto&...) {}
  void record(const auto&...) {}
  void flag(const auto&...) {}
  void maybe_flag(const auto&...) {}
  void whole(const auto&...) {}
  void number(const auto&...) {}
  void text(const auto&...) {}
  void choice(const auto&...) {}
  void head(const auto&...) {}
  void keys(const auto&...) {}
  void pins(const auto&...) {}
  void viewport(const auto&...) {}
  void side(const char* key, const SideChoice& value) { sides.emplace_back(key, &value); }
};

std::vector<std::pair<std::string, const SideChoice*>> sides_of(const DisplayState& display) {
  SideLister lister;
  each_display_field(lister, display);
  return lister.sides;
}

/// Notes where each field lies.
struct LayoutLister {
  const char* base;
  std::vector<FieldPlace> places;

  template <typename Value>
  void note(const char* key, const Value& value) {
    const auto offset = static_cast<std::size_t>(reinterpret_cast<const char*>(&value) - base);
    places.push_back({key, offset, sizeof(Value), alignof(Value)});
  }
  void runs(const char* key, const auto& value) { note(key, value); }
  void record(const char* key, const int& value) { note(key, value); }
  void flag(const char* key, const bool& value) { note(key, value); }
  void maybe_flag(const char* key, const auto& value) { note(key, value); }
  void whole(const char* key, const auto& value, std::int64_t, std::int64_t) { note(key, value); }
  void number(const char* key, const double& value, double, double) { note(key, value); }
  void text(const char* key, const QString& value, std::size_t) { note(key, value); }
  void choice(const char* key, const auto& value, const auto&) { note(key, value); }
  void head(const char* key, const auto& value) { note(key, value); }
  void keys(const char* key, const auto& value) { note(key, value); }
  void pins(const char* key, const auto& value) { note(key, value); }
  void viewport(const char* key, const auto& value) { note(key, value); }
  void side(const char* key, const auto& value) { note(key, value); }
  void display(const char* key, const auto& value) { note(key, value); }
  void sweeps(const char* key, const auto& value) { note(key, value); }
  void shown_sweep(const char* key, const int& value) { note(key, value); }
  void benches(const char* key, const auto& value) { note(key, value); }
  void shown_bench(const char* key, const int& value) { note(key, value); }
  void sweep_look(const char* key, const auto& value) { note(key, value); }
};

ViewState read_state(const json& object, std::size_t count, const std::vector<RecordPtr>* records,
                     const std::string& place) {
  ViewState state;
  StateReader reader(object, place, count, records);
  each_view_field(reader, state);
  reader.finish();
  reader.check(state);
  return state;
}

std::string method_names(const record::RunRecord& record) {
  std::string list;
  for (const auto& method : record.methods()) list += (list.empty() ? "one of " : ", ") + method.id;
  return list;
}

}  // namespace

std::vector<RecordPtr> records_named(const ViewState& state) {
  std::vector<RecordPtr> records;
  const auto add = [&](const RecordPtr& record) {
    if (record && std::find(records.begin(), records.end(), record) == records.end()) records.push_back(record);
  };
  add(shown_by(state));
  for (const auto& [key, side] : sides_of(state.display)) add(side->run);
  return records;
}

json view_state_to_json(const ViewState& state, const std::vector<RecordPtr>& records) {
  json object = json::object();
  StateWriter writer{object, records, state};
  each_view_field(writer, state);
  return object;
}

ViewState view_state_from_json(const json& object, const std::vector<RecordPtr>& records, const std::string& place) {
  return read_state(object, records.size(), &records, place);
}

void check_view_state_json(const json& object, std::size_t records, const std::string& place) {
  read_state(object, records, nullptr, place);
}

std::vector<Misfit> misfits(const ViewState& state) {
  std::vector<Misfit> list;
  const RecordPtr shown = shown_by(state);
  if (!shown) return {{"current", "a record", "none"}};
  const record::RunRecord& record = *shown;
  const auto wrong = [&](const std::string& key, const std::string& expected, const std::string& found) {
    list.push_back({key, expected, found});
  };
  const auto method = [&](const std::string& key, const QString& id, const record::RunRecord& of) {
    const std::string name = id.toStdString();
    if (!name.empty() && !of.find_method(name)) wrong(key, method_names(of), '"' + name + '"');
  };
  const auto up_to = [](std::int64_t last) { return "0 to " + std::to_string(last); };
  method("method", state.method, record);
  method("baseline", state.baseline, record);
  if (!record.meta().has_layer(state.layer)) {
    wrong("layer", up_to(record.meta().num_layers() - 1), std::to_string(state.layer));
  } else if (state.head.kind != record::HeadSelector::Kind::mean) {
    const bool group = state.head.kind == record::HeadSelector::Kind::group;
    const record::LayerMeta& sizes = record.meta().layer(state.layer);
    const std::int64_t heads = group ? sizes.num_kv_heads : sizes.num_q_heads;
    if (state.head.index >= heads || state.head.index < 0)
      wrong("head", (group ? "a KV head, " : "a head, ") + up_to(heads - 1), std::to_string(state.head.index));
  }
  const std::int64_t length = record.length();
  if (state.query_begin < 0 || state.query_end > length)
    wrong("query_end", up_to(length), std::to_string(state.query_end));
  if (!state.keys.empty() && (*state.keys.begin() < 0 || *state.keys.rbegin() >= length))
    wrong("keys", up_to(length - 1), std::to_string(*state.keys.rbegin()));
  for (const MapPoint& pin : state.pins)
    if (pin.query < 0 || pin.query >= length || pin.key < 0 || pin.key >= length) {
      wrong("pins", up_to(length - 1), "[" + std::to_string(pin.query) + ", " + std::to_string(pin.key) + "]");
      break;
    }
  if (state.budget < 1 || state.budget > static_cast<double>(length))
    wrong("budget", "1 to " + std::to_string(length), json(state.budget).dump());
  const Viewport& view = state.viewport;
  const double edge = 1.5 * static_cast<double>(length);
  if (!(view.query_end > view.query_begin) || !(view.key_end > view.key_begin) || view.query_end > edge ||
      view.key_end > edge)
    wrong("viewport", "a part of " + std::to_string(length) + " x " + std::to_string(length) + " tokens",
          json({view.query_begin, view.query_end, view.key_begin, view.key_end}).dump());
  const DisplayState& display = state.display;
  method("display.curve_stream", display.curve_stream, record);
  if (display.timing_layers != QLatin1String(timing_by_context))
    method("display.timing_layers", display.timing_layers, record);
  if (display.curve_scope >= 0 && !record.meta().has_layer(display.curve_scope))
    wrong("display.curve_scope", up_to(record.meta().num_layers() - 1), std::to_string(display.curve_scope));
  for (const auto& [key, side] : sides_of(display))
    if (side->run) method("display." + key, side->method, *side->run);
  return list;
}

std::vector<FieldPlace> view_state_layout() {
  const ViewState state;
  LayoutLister lister{reinterpret_cast<const char*>(&state), {}};
  each_view_field(lister, state);
  return lister.places;
}

std::vector<FieldPlace> display_state_layout() {
  const DisplayState display;
  LayoutLister lister{reinterpret_cast<const char*>(&display), {}};
  each_display_field(lister, display);
  return lister.places;
}

}  // namespace headroom::views
