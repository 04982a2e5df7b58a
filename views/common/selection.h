// SPDX-License-Identifier: GPL-3.0-or-later
// The only channel between views: what is looked at. Three levels: hover, selected, pinned.
#pragma once

#include <QObject>
#include <QString>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "record/run_record.h"
#include "record/tiles.h"
#include "views/common/display_state.h"
#include "views/common/open_bench.h"
#include "views/common/open_sweep.h"

namespace headroom::views {

using RecordPtr = std::shared_ptr<const record::RunRecord>;

struct MapPoint {
  std::int64_t query = -1, key = -1;
  bool operator==(const MapPoint&) const = default;
};

struct Viewport {  ///< of the map, in tokens
  double query_begin = 0, query_end = 0, key_begin = 0, key_end = 0;
  bool operator==(const Viewport&) const = default;
};

struct ViewState {
  std::vector<RecordPtr> runs;      ///< open records; [current] is shown
  int current = -1;
  QString baseline;                 ///< method id
  QString method;                   ///< method id whose stream and supports are shown
  int layer = 0;
  record::HeadSelector head;
  std::int64_t query_begin = 0, query_end = 0;  ///< selected query rows [begin, end)
  std::set<std::int64_t> keys;      ///< selected key positions
  std::vector<MapPoint> pins;       ///< numbered from 1
  double budget = 512;              ///< tokens, of the slider
  Viewport viewport;
  double colour_min = 1e-6, colour_max = 1;
  DisplayState display;
  // Sweeps
  std::vector<SweepPtr> sweeps;     ///< open ones
  int sweep = -1;                   ///< of those, the one that is shown; -1 where none is open
  SweepLook sweep_look;             ///< how the Budget page shows it
  std::vector<BenchPtr> benches;    ///< open results of `headroom bench`
  int bench = -1;                   ///< of those, the one on the Timing page; -1: the run
  bool operator==(const ViewState&) const = default;
};

class Selection : public QObject {
  Q_OBJECT
 public:
  enum Change : unsigned {
    Runs = 1, Method = 2, Layer = 4, Head = 8, Queries = 16, Keys = 32, Pins = 64, Budget = 128, View = 256,
    Colours = 512, Display = 1024, Sweeps = 2048, Benches = 4096, Everything = 8191
  };

  explicit Selection(QObject* parent = nullptr);

  const ViewState& state() const { return state_; }
  const MapPoint& hover() const { return hover_; }
  /// The current record; null where none is open.
  RecordPtr record() const;

  /// Changes the state through `edit`; the difference is announced once per event-loop tick, merged. Every change can
  /// be undone; changes with the same non-empty `merge_key` in one drag merge into one step.
  template <typename Edit>
  void change(Edit&& edit, const QString& merge_key = {}) {
    ViewState next = state_;
    edit(next);
    apply(std::move(next), merge_key);
  }
  void set_hover(MapPoint point);  ///< not undoable
  /// Takes a state as a whole, without a step to undo: figures and dialogs look at a state of their own.
  void set_state(ViewState state);
  /// Opens a record beside the shown one, which stays; no step to undo. Open already: nothing.
  void add_record(RecordPtr record);
  /// Closes an open record. Pins and keys of what was shown go with it.
  void close_record(std::size_t index);
  /// Opens a record as the current one and resets what no longer fits (method, layer, viewport; the last query is
  /// selected). `layer` is shown first where the record is a new text: retrieval_layer().
  void open_record(RecordPtr record, std::optional<int> layer = {});

  /// The shown sweep; null where none is open.
  SweepPtr sweep() const;
  /// Opens a sweep and shows it on the Budget page's second page. One of the same file is replaced: what was chosen of
  /// it stays, also in steps to undo.
  void open_sweep(SweepPtr sweep);
  /// Opens a sweep beside what is shown; no step to undo.
  void add_sweep(SweepPtr sweep);
  /// A sweep that has grown takes the place of its earlier reading; no step to undo. Not open: nothing.
  void update_sweep(SweepPtr sweep);
  void close_sweep(std::size_t index);

  /// What the Timing page shows in place of a run; where no run is open, any that is there. Null: none.
  BenchPtr bench() const;
  /// Opens a bench result and shows it on the Timing page. One of the same file is replaced.
  void open_bench(BenchPtr bench);
  /// Opens a bench result beside what is shown; no step to undo.
  void add_bench(BenchPtr bench);
  void close_bench(std::size_t index);

  bool can_undo() const;
  bool can_redo() const;
  void undo();
  void redo();
  /// The next change starts a new undo step even with the same merge key: call it where a drag ends.
  void end_merge();

 signals:
  void changed(unsigned mask);  ///< bits of Change
  void hover_changed();

 private:
  void apply(ViewState next, const QString& merge_key);
  void schedule();
  void announce();

  struct Undone {
    ViewState state;
    std::vector<RecordPtr> closed;  ///< runs that the step had closed
    std::vector<SweepPtr> closed_sweeps;
    std::vector<BenchPtr> closed_benches;
  };

  ViewState state_, announced_;
  MapPoint hover_;
  std::vector<ViewState> past_;  ///< bounded
  std::vector<Undone> future_;
  QString last_merge_key_;
  bool pending_ = false;
};

}  // namespace headroom::views
