// SPDX-License-Identifier: GPL-3.0-or-later
// A talk as PDF (a page a step, 16:9), as pictures (a file a step) or as one HTML file that needs nothing else.
#pragma once

#include <QString>
#include <functional>
#include <vector>

#include "views/common/selection.h"
#include "views/map/tile_provider.h"
#include "views/talk/talk_file.h"

namespace headroom::gui {

struct TalkExport {
  views::Talk talk;
  std::vector<views::RecordPtr> records;  ///< of the talk; every one that a step shows must be there
  std::vector<views::SweepPtr> sweeps;    ///< the same
  views::TileProvider* tiles = nullptr;   ///< of maps that a record does not hold
  std::function<bool()> given_up;
  std::function<void(int step, int count)> progress;  ///< before each step, from 1
};

struct TalkExported {
  int steps = 0;
  std::int64_t bytes = 0;
  QString note;           ///< what the result does not hold
  QString words() const;  ///< "12 steps, 2.3 MB."
};

/// `target`: FILE.pdf, FILE.html, or else a folder that is made and must not exist. Runs the event loop while maps are
/// on their way. Everything or nothing is written; throws errors, among them those of a step that does not fit.
TalkExported export_talk(const TalkExport& job, const QString& target);

/// The size of a slide in painter units (1/96 inch), 16:9.
inline constexpr double slide_width = 1280, slide_height = 720;

}  // namespace headroom::gui
