// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/layout_store.h"

#include <QMainWindow>

#include "gui/settings_store.h"

namespace headroom::gui {

void LayoutStore::remember_default() {
  default_state_ = window_.saveState(layout_version);
}

bool LayoutStore::restore() {
  const QByteArray geometry = settings_.blob("geometry");
  if (!geometry.isEmpty()) window_.restoreGeometry(geometry);
  const QByteArray state = settings_.blob("state");
  return !state.isEmpty() && window_.restoreState(state, layout_version);
}

void LayoutStore::save(const QByteArray& geometry) {
  settings_.set_blob("geometry", geometry.isEmpty() ? window_.saveGeometry() : geometry);
  settings_.set_blob("state", window_.saveState(layout_version));
}

void LayoutStore::reset() {
  window_.restoreState(default_state_, layout_version);
  settings_.set_blob("state", {});
  settings_.set_blob("geometry", {});
}

}  // namespace headroom::gui
