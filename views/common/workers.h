// SPDX-License-Identifier: GPL-3.0-or-later
// The threads in which views read records and look through rows. Not Qt's global pool: its raster engine paints large
// areas there and waits for them, and a window that paints must not stand in a queue behind the reading of rows.
#pragma once

#include <QThreadPool>
#include <QtConcurrent>
#include <functional>
#include <utility>

namespace headroom::views {

/// The calling thread, one of a pool's, gives way to the window's from now on where both want a core. Qt's priorities
/// of threads do nothing on Linux; where the system has no such order for one thread this does nothing.
void give_way_to_window();

/// Owned by the application object, which waits for its work when it goes; made at the first call, on the window's
/// thread.
QThreadPool& workers();

/// work(arguments...) in one of workers(), behind the window's thread: its result's QFuture.
template <typename Work, typename... Arguments>
auto in_worker(Work work, Arguments... arguments) {
  return QtConcurrent::run(&workers(), [work = std::move(work), ... arguments = std::move(arguments)]() mutable {
    give_way_to_window();
    return std::invoke(std::move(work), std::move(arguments)...);
  });
}

}  // namespace headroom::views
