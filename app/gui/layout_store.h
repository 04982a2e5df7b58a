// SPDX-License-Identifier: GPL-3.0-or-later
// Saves and restores where docks and toolbars stand, and puts them back to where they started.
#pragma once

#include <QByteArray>

class QMainWindow;

namespace headroom::gui {

class SettingsStore;

class LayoutStore {
 public:
  /// Changes whenever docks or toolbars are added, removed or renamed: older layouts are then ignored.
  static constexpr int layout_version = 3;

  LayoutStore(QMainWindow& window, SettingsStore& settings) : window_(window), settings_(settings) {}
  /// Takes the present arrangement as the one that reset() returns to.
  void remember_default();
  /// Restores the saved arrangement; false (and nothing changes) where there is none that fits.
  bool restore();
  /// `geometry`: in place of the window's own, which is another one while it presents.
  void save(const QByteArray& geometry = {});
  void reset();

 private:
  QMainWindow& window_;
  SettingsStore& settings_;
  QByteArray default_state_;
};

}  // namespace headroom::gui
