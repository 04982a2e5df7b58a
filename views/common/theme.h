// SPDX-License-Identifier: GPL-3.0-or-later
// Colours and sizes of the window. Every pen and brush comes from here and follows the palette.
#pragma once

#include <QColor>
#include <QObject>
#include <QPalette>
#include <QVector>

namespace headroom::views {

enum class ThemeMode { light, dark };

class Theme : public QObject {
  Q_OBJECT
 public:
  static Theme& instance();

  ThemeMode mode() const { return mode_; }
  void set_mode(ThemeMode mode);  ///< sets the application palette and emits changed()

  QColor text() const, muted_text() const, background() const, panel() const, border() const, grid() const,
      accent() const;
  QColor hit() const, missed() const, wasted() const;  ///< told apart by shape and colour, never red against green
  /// Lines over a cividis map, the same in both modes: an outline and the casing that keeps it visible on bright cells.
  QColor map_outline() const, map_casing() const;
  QColor warning() const;  ///< the edge of a message that warns
  QColor warning_background() const, error_background() const, info_background() const;
  /// Colour of a method by its look (record::MethodSummary::look), the same on every page.
  QColor method(int look) const;
  /// Attention mass itself, of whatever method.
  QColor mass() const;
  /// Stage colours in the order of headroom::Stage.
  QColor stage(int index) const;

 signals:
  void changed();

 private:
  Theme() = default;
  ThemeMode mode_ = ThemeMode::light;
};

/// Cividis with 256 entries (perceptually uniform, safe for colour-blind readers).
const QVector<QRgb>& cividis();
/// Symmetric blue to red for differences, 256 entries. No orange: that is what is missed.
const QVector<QRgb>& blue_red();

}  // namespace headroom::views
