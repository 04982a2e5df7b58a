// SPDX-License-Identifier: GPL-3.0-or-later
// The two palettes and the computed colour maps.
#include "views/common/theme.h"

#include <QApplication>
#include <QStyle>
#include <QStyleFactory>
#include <algorithm>
#include <array>
#include <cmath>

#include "base/method.h"

namespace headroom::views {
namespace {

struct Colours {
  QRgb text, muted, background, panel, border, grid, accent, on_accent, disabled;
  QRgb hit, missed, wasted, warning_edge, warning, error, info, tooltip;
};

// Contrast of text on background is at least 13:1, of muted text 5:1, of accent 4.5:1 in both.
constexpr Colours light_colours = {0xff1a1e24, 0xff59626e, 0xffffffff, 0xfff3f4f6, 0xffcbd1d9, 0xffe4e7eb,
                                   0xff0a5fbf, 0xffffffff, 0xff9aa2ad, 0xff111418, 0xffe06c00, 0xff7a4fb0,
                                   0xff8f7a00, 0xfffff1d6, 0xfffde3e0, 0xffe3effc, 0xffffffff};
constexpr Colours dark_colours = {0xffe7eaee, 0xff9da7b3, 0xff14171b, 0xff1d2126, 0xff3a414b, 0xff2a3038,
                                  0xff5cabff, 0xff0c0f12, 0xff6b7480, 0xffffffff, 0xffff7f1a, 0xffc79bff,
                                  0xffd8cf5a, 0xff463510, 0xff4d2522, 0xff16324f, 0xff2a3038};

struct MethodColour {
  QRgb light, dark;
};
// By look. Blue against bluish green stay apart for red-green blindness; lightness and marks differ for the rest.
constexpr std::array<MethodColour, num_method_looks> method_colours = {{{0xff454c55, 0xffc6ccd4},
                                                                        {0xff0b62b0, 0xff62adf5},
                                                                        {0xff00876a, 0xff36c9a3},
                                                                        {0xff8a6210, 0xffd8ca70},
                                                                        {0xff7d5aa6, 0xffb798e0},
                                                                        {0xffb3204d, 0xffff7d9c},
                                                                        {0xff4f7a00, 0xffa4d13a},
                                                                        {0xff00566e, 0xff2fd3ee},
                                                                        {0xffb01fa8, 0xfff07ee8},
                                                                        {0xff5c3a2e, 0xffc4aaa0},
                                                                        {0xff3a35c2, 0xff8a86ff},
                                                                        {0xffbd4f85, 0xffffb3d9},
                                                                        {0xff004f0f, 0xff07fe34},
                                                                        {0xff6e027a, 0xffe52bfb},
                                                                        {0xffb2000b, 0xffff3f4b},
                                                                        {0xff1e832d, 0xff83e392},
                                                                        {0xff500036, 0xffff0fb1},
                                                                        {0xff1b243a, 0xff6f85bd}}};

// Stages are pale where methods are strong, and the other way round on black: no stage is taken for a method. Stages
// that lie beside each other in a bar differ in lightness, too: on paper and for some eyes there is nothing else.
constexpr QRgb stage_light[] = {0xff98a1ab, 0xffa9c4ea, 0xffa58fd6, 0xffefc4d8, 0xff6f8be0,
                                0xffa9d8ee, 0xffbfb896, 0xffe3e7eb, 0xff86c3a8};
constexpr QRgb stage_dark[] = {0xff6f7882, 0xff2f4d6e, 0xff7862a8, 0xff6b3252, 0xff5468d6,
                               0xff17626c, 0xff4f4a34, 0xff7b848e, 0xff2f5f4a};

struct Lab {
  double l, a, b;
};

double to_linear(double c) {
  return c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4);
}
double to_srgb(double c) {
  c = std::clamp(c, 0.0, 1.0);
  return c <= 0.0031308 ? 12.92 * c : 1.055 * std::pow(c, 1 / 2.4) - 0.055;
}

// Oklab (Ottosson 2020): equal steps look equal, which is what a colour scale needs.
Lab to_lab(QRgb colour) {
  const double r = to_linear(qRed(colour) / 255.0), g = to_linear(qGreen(colour) / 255.0),
               b = to_linear(qBlue(colour) / 255.0);
  const double l = std::cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const double m = std::cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const double s = std::cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return {0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
          1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
          0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s};
}

QRgb to_rgb(const Lab& c) {
  const double l = std::pow(c.l + 0.3963377774 * c.a + 0.2158037573 * c.b, 3);
  const double m = std::pow(c.l - 0.1055613458 * c.a - 0.0638541728 * c.b, 3);
  const double s = std::pow(c.l - 0.0894841775 * c.a - 1.2914855480 * c.b, 3);
  const auto byte = [](double v) { return static_cast<int>(std::lround(255 * to_srgb(v))); };
  return qRgb(byte(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
              byte(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
              byte(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s));
}

// Piecewise linear through the anchors in Oklab; with `even_lightness` L runs straight from first to last, so that the
// anchors give hue and chroma only and equal steps of the value are equal steps of lightness.
QVector<QRgb> ramp(const QVector<QRgb>& anchors, bool even_lightness) {
  QVector<QRgb> stops(256);
  const double first = to_lab(anchors.first()).l, last = to_lab(anchors.last()).l;
  for (int i = 0; i < 256; ++i) {
    const double position = i / 255.0 * (anchors.size() - 1);
    const int piece = std::min(static_cast<int>(position), static_cast<int>(anchors.size()) - 2);
    const double f = position - piece;
    const Lab p = to_lab(anchors[piece]), q = to_lab(anchors[piece + 1]);
    Lab c{p.l + f * (q.l - p.l), p.a + f * (q.a - p.a), p.b + f * (q.b - p.b)};
    if (even_lightness) c.l = first + i / 255.0 * (last - first);
    stops[i] = to_rgb(c);
  }
  return stops;
}

const Colours& colours(ThemeMode mode) {
  return mode == ThemeMode::dark ? dark_colours : light_colours;
}

QPalette make_palette(const Colours& c, bool dark) {
  QPalette p;
  p.setColor(QPalette::Window, c.panel);
  p.setColor(QPalette::WindowText, c.text);
  p.setColor(QPalette::Base, c.background);
  p.setColor(QPalette::AlternateBase, c.panel);
  p.setColor(QPalette::Text, c.text);
  p.setColor(QPalette::PlaceholderText, c.muted);
  p.setColor(QPalette::Button, dark ? QColor(0xff2a3038) : QColor(0xffeef0f3));
  p.setColor(QPalette::ButtonText, c.text);
  p.setColor(QPalette::BrightText, dark ? Qt::white : Qt::black);
  p.setColor(QPalette::ToolTipBase, c.tooltip);
  p.setColor(QPalette::ToolTipText, c.text);
  p.setColor(QPalette::Highlight, c.accent);
  p.setColor(QPalette::HighlightedText, c.on_accent);
  p.setColor(QPalette::Link, c.accent);
  p.setColor(QPalette::LinkVisited, c.wasted);
  p.setColor(QPalette::Light, dark ? QColor(0xff3a414b) : QColor(Qt::white));
  p.setColor(QPalette::Midlight, dark ? QColor(0xff2f353d) : QColor(0xffe9ecef));
  p.setColor(QPalette::Mid, c.border);
  p.setColor(QPalette::Dark, dark ? QColor(0xff0d0f12) : QColor(0xffb3bac4));
  p.setColor(QPalette::Shadow, dark ? QColor(Qt::black) : QColor(0xff8a929c));
  for (const auto role : {QPalette::WindowText, QPalette::Text, QPalette::ButtonText})
    p.setColor(QPalette::Disabled, role, c.disabled);
  p.setColor(QPalette::Disabled, QPalette::Highlight, c.border);
  p.setColor(QPalette::Disabled, QPalette::HighlightedText, c.disabled);
  return p;
}

}  // namespace

Theme& Theme::instance() {
  static Theme theme;
  return theme;
}

void Theme::set_mode(ThemeMode mode) {
  mode_ = mode;
  if (qApp) {
    if (QApplication::style()->objectName().compare("fusion", Qt::CaseInsensitive) != 0)
      QApplication::setStyle(QStyleFactory::create("Fusion"));
    QApplication::setPalette(make_palette(colours(mode), mode == ThemeMode::dark));
  }
  emit changed();
}

QColor Theme::text() const {
  return colours(mode_).text;
}
QColor Theme::muted_text() const {
  return colours(mode_).muted;
}
QColor Theme::background() const {
  return colours(mode_).background;
}
QColor Theme::panel() const {
  return colours(mode_).panel;
}
QColor Theme::border() const {
  return colours(mode_).border;
}
QColor Theme::grid() const {
  return colours(mode_).grid;
}
QColor Theme::accent() const {
  return colours(mode_).accent;
}
QColor Theme::hit() const {
  return colours(mode_).hit;
}
QColor Theme::missed() const {
  return colours(mode_).missed;
}
QColor Theme::wasted() const {
  return colours(mode_).wasted;
}
QColor Theme::map_outline() const {
  return QColor(0xffffffff);
}
QColor Theme::map_casing() const {
  return QColor(0xff101418);
}
QColor Theme::warning() const {
  return colours(mode_).warning_edge;
}
QColor Theme::warning_background() const {
  return colours(mode_).warning;
}
QColor Theme::error_background() const {
  return colours(mode_).error;
}
QColor Theme::info_background() const {
  return colours(mode_).info;
}

QColor Theme::method(int look) const {
  const auto& colour = method_colours[static_cast<std::size_t>(std::clamp(look, 0, num_method_looks - 1))];
  return mode_ == ThemeMode::dark ? colour.dark : colour.light;
}
QColor Theme::mass() const {
  return method(1);
}

QColor Theme::stage(int index) const {
  const auto& table = mode_ == ThemeMode::dark ? stage_dark : stage_light;
  return table[std::clamp(index, 0, static_cast<int>(std::size(table)) - 1)];
}

// Dark blue over grey to yellow with evenly rising lightness: the design of Nuñez, Anderton and Renslow (2018).
const QVector<QRgb>& cividis() {
  static const QVector<QRgb> stops =
      ramp({0xff00224e, 0xff243a6c, 0xff575d6d, 0xff7c7b78, 0xffa59c74, 0xffd2c060, 0xfffee838}, true);
  return stops;
}

const QVector<QRgb>& blue_red() {
  static const QVector<QRgb> stops = ramp({0xff08407a, 0xff3f8fcb, 0xfff5f4f2, 0xffd6586c, 0xff7a0a2c}, false);
  return stops;
}

}  // namespace headroom::views
