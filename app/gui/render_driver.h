// SPDX-License-Identifier: GPL-3.0-or-later
// Pictures without a display: every page of the window as PNG, or one view as a figure.
#pragma once

#include <QSize>
#include <QString>
#include <QStringList>
#include <optional>

#include "record/run_record.h"
#include "record/tiles.h"
#include "views/common/theme.h"

namespace headroom::gui {

struct CommandLine {
  enum class Mode {
    window,
    render,
    export_view,
    export_talk,
    check_talk,
    pack_talk,
    measure,
    help,
    version
  } mode = Mode::window;
  QStringList records;
  QString engine;
  QString output;  ///< --render DIR or -o FILE
  QString view;
  QString preset;  ///< of a figure's size and text; empty: `size`
  QString method, baseline;  ///< ids; empty: what the window opens with
  std::optional<int> layer;
  std::optional<record::HeadSelector> head;
  std::optional<views::ThemeMode> theme;
  QSize size{1600, 1000};
  bool size_given = false;
  QString problem;  ///< what is wrong with the command line; empty where nothing is
};

CommandLine read_command_line(const QStringList& arguments);
QString usage();

/// Both return an exit code (docs: command line) and print problems to standard error.
int render_pages(const CommandLine& line);
int export_view(const CommandLine& line);

}  // namespace headroom::gui
