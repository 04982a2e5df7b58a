// SPDX-License-Identifier: GPL-3.0-or-later
// The threads in which views read records and look through rows. Not Qt's global pool: its raster engine paints large
// areas there and waits for them, and a window that paints must not stand in a queue behind the reading of rows.
#pragma once

#include <QThreadPool>

namespace headroom::views {

/// Owned by the application object, which waits for its work when it goes; made at the first call, on the window's
/// thread.
QThreadPool& workers();

}  // namespace headroom::views
