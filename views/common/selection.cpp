// SPDX-License-Identifier: GPL-3.0-or-later
// Undo, merging of drags, announcing once per tick, and the defaults that a newly opened record gets.
#include "views/common/selection.h"

#include <QTimer>
#include <algorithm>
#include <cmath>
#include <exception>
#include <string>
#include <utility>

#include "views/common/opening.h"

namespace headroom::views {
namespace {

constexpr std::size_t max_undo_steps = 200;

/// A colour range that shows the first map's structure: from the smallest cell means to the largest maxima of the
/// thumbnail, widened to 1, 3, 10, 30 … so that its ends are round. Left alone where there is no thumbnail.
void default_colours(ViewState& state, const record::RunRecord& record) {
  std::vector<float> low, high;
  try {
    if (!record.meta().has_layer(state.layer)) return;
    const auto map = record.thumbnail(state.method.toStdString(), state.layer,
                                      static_cast<int>(record.meta().layer(state.layer).num_q_heads));
    if (!map) return;
    for (std::int64_t row = 0; row < map->size; ++row) {
      for (std::int64_t column = 0; column <= row; ++column) {
        const auto i = static_cast<std::size_t>(row * map->size + column);
        if (i < map->mean.size() && map->mean[i] > 1e-12f) low.push_back(map->mean[i]);
        if (i < map->max.size() && map->max[i] > 1e-12f) high.push_back(map->max[i]);
      }
    }
  } catch (const std::exception&) {
    return;  // the map itself will say what is wrong with the record
  }
  if (low.size() < 16 || high.size() < 16) return;
  // Two of a quarter of a million values: sorting them all would be felt.
  const auto ranked = [](std::vector<float>& values, std::size_t rank) {
    const auto at = values.begin() + static_cast<std::ptrdiff_t>(rank);
    std::nth_element(values.begin(), at, values.end());
    return static_cast<double>(*at);
  };
  const auto round_down = [](double value) {
    const double power = std::pow(10.0, std::floor(std::log10(value)));
    return value >= 3 * power ? 3 * power : power;
  };
  const double from = round_down(ranked(low, low.size() / 50));
  const double to = std::min(1.0, round_down(ranked(high, high.size() - 1 - high.size() / 100)) * 3.34);
  if (!(to >= 10 * from)) return;
  state.colour_min = from;
  state.colour_max = to;
}

/// Keeps what fits the current record and replaces the rest by good defaults.
void fit_to_record(ViewState& state, bool fresh, std::optional<int> layer = {}) {
  if (state.runs.empty())
    state.current = -1;
  else
    state.current = std::clamp(state.current, 0, static_cast<int>(state.runs.size()) - 1);
  if (state.current < 0) return;
  const record::RunRecord& record = *state.runs[static_cast<std::size_t>(state.current)];
  const std::int64_t length = record.length();

  if (!record.find_method(state.baseline.toStdString())) {
    const auto& methods = record.methods();
    const auto dense = std::find_if(methods.begin(), methods.end(), [](const auto& m) { return m.is_dense(); });
    const auto& chosen = dense != methods.end() ? dense : methods.begin();
    state.baseline = methods.empty() ? QString() : QString::fromStdString(chosen->id);
  }
  const record::MethodSummary* method = record.find_method(state.method.toStdString());
  if (fresh || !method) {
    state.method = opening_method_id(record);
    method = record.find_method(state.method.toStdString());
    state.layer = layer && record.meta().has_layer(*layer) ? *layer : opening_layer(record, method);
    if (method && method->budget_tokens > 0) state.budget = static_cast<double>(method->budget_tokens);
  }
  if (fresh) default_colours(state, record);
  state.budget = std::clamp(state.budget, 1.0, std::max(1.0, static_cast<double>(length)));
  if (!record.meta().has_layer(state.layer)) state.layer = opening_layer(record, method);

  using Kind = record::HeadSelector::Kind;
  const record::LayerMeta& sizes = record.meta().layer(state.layer);
  const std::int64_t heads = state.head.kind == Kind::group ? sizes.num_kv_heads : sizes.num_q_heads;
  if (fresh || (state.head.kind != Kind::mean && (state.head.index < 0 || state.head.index >= heads))) state.head = {};

  const auto inside = [length](std::int64_t position) { return position >= 0 && position < length; };
  if (fresh || state.query_begin < 0 || state.query_end > length || state.query_begin > state.query_end) {
    // The last token decides the answer: what it reads is what there is to see first.
    state.query_begin = std::max<std::int64_t>(0, length - 1);
    state.query_end = length;
  }
  std::erase_if(state.keys, [&](std::int64_t key) { return fresh || !inside(key); });
  std::erase_if(state.pins, [&](const MapPoint& pin) { return fresh || !inside(pin.query) || !inside(pin.key); });
  const double edge = static_cast<double>(length);
  const Viewport& view = state.viewport;
  if (fresh || !(view.query_end > view.query_begin) || !(view.key_end > view.key_begin) ||
      view.query_end > edge * 1.5 || view.key_end > edge * 1.5)
    state.viewport = {0, edge, 0, edge};
}

RecordPtr shown_in(const ViewState& state) {
  return state.current >= 0 && state.current < static_cast<int>(state.runs.size())
             ? state.runs[static_cast<std::size_t>(state.current)]
             : nullptr;
}

bool contains(const std::vector<RecordPtr>& runs, const RecordPtr& run) {
  return std::find(runs.begin(), runs.end(), run) != runs.end();
}

bool same_text(const RecordPtr& a, const RecordPtr& b) {
  return a && b && a->tokens().ids == b->tokens().ids;
}

/// What was chosen of a run that is no longer open must not be taken for something of another one.
void forget_closed(ViewState& state) {
  DisplayState& shown = state.display;
  for (SideChoice* side :
       {&shown.baseline, &shown.candidate, &shown.candidate_2, &shown.candidate_3, &shown.candidate_4})
    if (side->run && !contains(state.runs, side->run)) *side = {};
  if (state.current >= 0) return;
  state.keys.clear();
  state.pins.clear();
  state.query_begin = state.query_end = 0;
}

template <typename File>
File at(const std::vector<File>& open, int index) {
  return index >= 0 && index < static_cast<int>(open.size()) ? open[static_cast<std::size_t>(index)] : nullptr;
}

SweepPtr shown_sweep(const ViewState& state) {
  return at(state.sweeps, state.sweep);
}

/// Of sweeps or bench results, the one that was read from a file.
template <typename File>
auto find_file(std::vector<File>& open, const std::filesystem::path& path) {
  return std::find_if(open.begin(), open.end(), [&](const File& one) { return one->path == path; });
}

auto find_sweep(std::vector<SweepPtr>& sweeps, const std::filesystem::path& path) {
  return find_file(sweeps, path);
}

/// Files of `before` that are not among those open now.
template <typename File>
std::vector<File> closed_since(const std::vector<File>& before, std::vector<File>& now) {
  std::vector<File> closed;
  for (const File& one : before)
    if (find_file(now, one->path) == now.end()) closed.push_back(one);
  return closed;
}

template <typename File>
std::vector<File> without(std::vector<File> open, const std::vector<File>& closed) {
  for (const File& gone : closed) std::erase_if(open, [&](const File& one) { return one->path == gone->path; });
  return open;
}

/// A remembered state's files: what is open now, as it was last read, and those of its own that are not.
template <typename File>
void keep_open(std::vector<File>& own, int& shown, const std::vector<File>& open) {
  const File chosen = at(own, shown);
  std::vector<File> files = open;
  for (const File& one : own)
    if (find_file(files, one->path) == files.end()) files.push_back(one);
  own = std::move(files);
  if (chosen) shown = static_cast<int>(find_file(own, chosen->path) - own.begin());
}

/// `sweep` in the place of the one of its file; false where there is none.
bool replace_sweep(ViewState& state, const SweepPtr& sweep) {
  const auto found = find_sweep(state.sweeps, sweep->path);
  if (found == state.sweeps.end()) return false;
  *found = sweep;
  return true;
}

/// What fits the sweeps that are open; a choice that the shown one does not have goes back to the default.
void fit_to_sweep(ViewState& state) {
  state.sweep = state.sweeps.empty() ? -1 : std::clamp(state.sweep, 0, static_cast<int>(state.sweeps.size()) - 1);
  SweepLook& look = state.sweep_look;
  const SweepPtr sweep = shown_sweep(state);
  if (!sweep) {
    if (look.page == 1) look.page = 0;
    return;
  }
  const record::SweepMeta& meta = sweep->record.meta;
  if (look.task >= static_cast<int>(meta.tasks.size())) look.task = -1;
  if (std::find(meta.lengths.begin(), meta.lengths.end(), look.length) == meta.lengths.end()) look.length = -1;
}

void keep_open_files(ViewState& state, const std::vector<SweepPtr>& sweeps, const std::vector<BenchPtr>& benches) {
  keep_open(state.sweeps, state.sweep, sweeps);
  fit_to_sweep(state);
  keep_open(state.benches, state.bench, benches);
}

/// A remembered state with the runs that are open now besides its own: going back closes nothing.
ViewState with_open_runs(ViewState state, const std::vector<RecordPtr>& open) {
  const RecordPtr shown = shown_in(state);
  std::vector<RecordPtr> runs = open;
  for (const RecordPtr& run : state.runs)
    if (std::find(runs.begin(), runs.end(), run) == runs.end()) runs.push_back(run);
  state.runs = std::move(runs);
  const auto at = std::find(state.runs.begin(), state.runs.end(), shown);
  state.current = at == state.runs.end() ? -1 : static_cast<int>(at - state.runs.begin());
  return state;
}

unsigned difference(const ViewState& a, const ViewState& b) {
  unsigned mask = 0;
  if (a.runs != b.runs || a.current != b.current) mask |= Selection::Runs;
  if (a.method != b.method || a.baseline != b.baseline) mask |= Selection::Method;
  if (a.layer != b.layer) mask |= Selection::Layer;
  if (!(a.head == b.head)) mask |= Selection::Head;
  if (a.query_begin != b.query_begin || a.query_end != b.query_end) mask |= Selection::Queries;
  if (a.keys != b.keys) mask |= Selection::Keys;
  if (a.pins != b.pins) mask |= Selection::Pins;
  if (a.budget != b.budget) mask |= Selection::Budget;
  if (!(a.viewport == b.viewport)) mask |= Selection::View;
  if (a.colour_min != b.colour_min || a.colour_max != b.colour_max) mask |= Selection::Colours;
  if (!(a.display == b.display)) mask |= Selection::Display;
  if (a.sweeps != b.sweeps || a.sweep != b.sweep || !(a.sweep_look == b.sweep_look)) mask |= Selection::Sweeps;
  if (a.benches != b.benches || a.bench != b.bench) mask |= Selection::Benches;
  return mask;
}

}  // namespace

Selection::Selection(QObject* parent) : QObject(parent) {}

RecordPtr Selection::record() const {
  return shown_in(state_);
}

SweepPtr Selection::sweep() const {
  return shown_sweep(state_);
}

void Selection::open_sweep(SweepPtr sweep) {
  if (!sweep) return;
  const bool known = find_sweep(state_.sweeps, sweep->path) != state_.sweeps.end();
  if (known) update_sweep(sweep);
  const bool first = state_.sweeps.empty() && state_.runs.empty();
  change([&](ViewState& state) {
    if (!known) state.sweeps.push_back(sweep);
    state.sweep = static_cast<int>(find_sweep(state.sweeps, sweep->path) - state.sweeps.begin());
    state.sweep_look.page = 1;
    fit_to_sweep(state);
  });
  if (first) past_.clear();
}

void Selection::add_sweep(SweepPtr sweep) {
  if (!sweep) return;
  if (find_sweep(state_.sweeps, sweep->path) != state_.sweeps.end()) return update_sweep(std::move(sweep));
  state_.sweeps.push_back(std::move(sweep));
  fit_to_sweep(state_);
  schedule();
}

void Selection::update_sweep(SweepPtr sweep) {
  if (!sweep || !replace_sweep(state_, sweep)) return;
  for (ViewState& state : past_) replace_sweep(state, sweep);
  for (Undone& step : future_) replace_sweep(step.state, sweep);
  fit_to_sweep(state_);
  schedule();
}

void Selection::close_sweep(std::size_t index) {
  if (index >= state_.sweeps.size()) return;
  change([index](ViewState& state) {
    state.sweeps.erase(state.sweeps.begin() + static_cast<std::ptrdiff_t>(index));
    if (state.sweep > static_cast<int>(index)) --state.sweep;
    fit_to_sweep(state);
  });
}

BenchPtr Selection::bench() const {
  const BenchPtr shown = at(state_.benches, state_.bench);
  return shown || state_.current >= 0 ? shown : at(state_.benches, 0);
}

void Selection::open_bench(BenchPtr bench) {
  if (!bench) return;
  const bool first = state_.benches.empty() && state_.runs.empty();
  change([&](ViewState& state) {
    const auto known = find_file(state.benches, bench->path);
    state.bench = static_cast<int>(known - state.benches.begin());
    if (known == state.benches.end())
      state.benches.push_back(bench);
    else
      *known = bench;
  });
  if (first) past_.clear();
}

void Selection::add_bench(BenchPtr bench) {
  if (!bench || find_file(state_.benches, bench->path) != state_.benches.end()) return;
  state_.benches.push_back(std::move(bench));
  schedule();
}

void Selection::close_bench(std::size_t index) {
  if (index >= state_.benches.size()) return;
  change([index](ViewState& state) {
    state.benches.erase(state.benches.begin() + static_cast<std::ptrdiff_t>(index));
    const int closed = static_cast<int>(index);
    state.bench = state.bench == closed ? -1 : state.bench - (state.bench > closed);
  });
}

void Selection::set_state(ViewState state) {
  state_ = std::move(state);
  past_.clear();
  future_.clear();
  end_merge();
  set_hover({});
  schedule();
}

void Selection::add_record(RecordPtr record) {
  if (!record || contains(state_.runs, record)) return;
  state_.runs.push_back(std::move(record));
  schedule();
}

void Selection::close_record(std::size_t index) {
  if (index >= state_.runs.size()) return;
  change([index](ViewState& state) {
    const bool shown = state.current == static_cast<int>(index);
    state.runs.erase(state.runs.begin() + static_cast<std::ptrdiff_t>(index));
    if (state.current > static_cast<int>(index) || state.current == static_cast<int>(state.runs.size()))
      --state.current;
    if (!shown) return;
    state.keys.clear();
    state.pins.clear();
  });
}

void Selection::set_hover(MapPoint point) {
  if (point == hover_) return;
  hover_ = point;
  emit hover_changed();
}

void Selection::open_record(RecordPtr record, std::optional<int> layer) {
  if (!record) return;
  ViewState next = state_;
  const auto known = std::find(next.runs.begin(), next.runs.end(), record);
  next.current = static_cast<int>(known - next.runs.begin());
  if (known == next.runs.end()) next.runs.push_back(std::move(record));
  // Another recording of the same tokens keeps the place that one is looking at.
  const RecordPtr before = this->record();
  fit_to_record(next, !same_text(before, shown_in(next)), layer);
  const bool first = !before;
  apply(std::move(next), {});
  if (first) past_.clear();  // there is nothing to go back to before the first record
}

bool Selection::can_undo() const {
  return !past_.empty();
}
bool Selection::can_redo() const {
  return !future_.empty();
}

void Selection::undo() {
  if (past_.empty()) return;
  Undone step{state_, {}, {}, {}};
  for (const RecordPtr& run : past_.back().runs)
    if (!contains(state_.runs, run)) step.closed.push_back(run);
  step.closed_sweeps = closed_since(past_.back().sweeps, state_.sweeps);
  step.closed_benches = closed_since(past_.back().benches, state_.benches);
  const std::vector<SweepPtr> open_sweeps = state_.sweeps;
  const std::vector<BenchPtr> open_benches = state_.benches;
  state_ = with_open_runs(std::move(past_.back()), state_.runs);
  keep_open_files(state_, open_sweeps, open_benches);
  past_.pop_back();
  future_.push_back(std::move(step));
  end_merge();
  set_hover({});
  schedule();
}

void Selection::redo() {
  if (future_.empty()) return;
  Undone step = std::move(future_.back());
  future_.pop_back();
  // What was opened meanwhile stays; what the step closed is closed again.
  std::vector<RecordPtr> open = state_.runs;
  std::erase_if(open, [&](const RecordPtr& run) { return contains(step.closed, run); });
  const std::vector<SweepPtr> open_sweeps = without(state_.sweeps, step.closed_sweeps);
  const std::vector<BenchPtr> open_benches = without(state_.benches, step.closed_benches);
  ViewState next = with_open_runs(std::move(step.state), open);
  keep_open_files(next, open_sweeps, open_benches);
  past_.push_back(std::exchange(state_, std::move(next)));
  end_merge();
  set_hover({});
  schedule();
}

void Selection::end_merge() {
  last_merge_key_.clear();
}

void Selection::apply(ViewState next, const QString& merge_key) {
  const RecordPtr before = shown_in(state_);
  const bool another = before && shown_in(next) && before != shown_in(next);
  if (next.runs != state_.runs || next.current != state_.current || next.method != state_.method ||
      next.layer != state_.layer)
    // Another text: its positions mean other words.
    fit_to_record(next, another && !contains(next.runs, before) && !same_text(before, shown_in(next)));
  if (next.runs != state_.runs) forget_closed(next);
  if (next == state_) return;
  if (before != shown_in(next)) set_hover({});
  const bool merges = !merge_key.isEmpty() && merge_key == last_merge_key_ && !past_.empty();
  if (!merges) {
    past_.push_back(state_);
    if (past_.size() > max_undo_steps) past_.erase(past_.begin());
  }
  future_.clear();
  last_merge_key_ = merge_key;
  state_ = std::move(next);
  schedule();
}

void Selection::schedule() {
  if (std::exchange(pending_, true)) return;
  QTimer::singleShot(0, this, &Selection::announce);
}

void Selection::announce() {
  pending_ = false;
  const unsigned mask = difference(announced_, state_);
  announced_ = state_;
  if (mask) emit changed(mask);
}

}  // namespace headroom::views
