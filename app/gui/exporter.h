// SPDX-License-Identifier: GPL-3.0-or-later
// Writes a page as PNG, PDF, SVG or CSV; every file says which run, model, layer, head, scale and version it shows.
#pragma once

#include <QImage>
#include <QSizeF>
#include <QString>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>

#include "views/common/exportable.h"
#include "views/common/selection.h"

namespace headroom::gui {

enum class FigureFormat { png, pdf, svg, csv };

/// A size to print or to show at.
struct FigurePreset {
  const char* name;   ///< of the command line: "column"
  const char* label;  ///< to be translated in "FigurePreset"
  double width_mm, height_mm;
  double least_points;  ///< no text is smaller; 0: as the layout has it
  bool grows;           ///< as high as its content wants, up to most_height_mm
};
inline constexpr double most_height_mm = 240;
std::span<const FigurePreset> figure_presets();

struct FigureOptions {
  FigureFormat format = FigureFormat::png;
  QSizeF size{1200, 750};  ///< painter units: pixels of a 1x PNG and of an SVG; 1/96 inch on paper
  double scale = 2;        ///< of a PNG, 1 to 4
  bool caption = true;     ///< prints the provenance below the figure as well
  double least_text = 0;   ///< painter units; see views::ExportOptions
};

/// Size and text of `preset` for this page.
void apply_preset(FigureOptions& options, const FigurePreset& preset, views::Exportable& page);
/// By the file's suffix; none where it is not one of the four.
std::optional<FigureFormat> figure_format(const QString& file);
/// "run 0123456789abcdef · SmolLM2 · layer 12, head 5 · oracle-k512-g1 · colours: p, 1e-06 to 1 · Headroom 0.1.0";
/// `scale`: Exportable::scale_text().
QString provenance(const views::Selection& selection, const QString& scale);
/// What a file says of itself, a line each that begins with "# ": at the head of a CSV.
QString fact_lines(const views::Selection& selection, const views::Exportable& page);
/// Draws the page where nobody sees it: that is what finds out, and asks for, what its picture needs.
void ask_for_figure(views::Exportable& page, const views::Selection& selection, const FigureOptions& options);
/// Has the page ask for all that its picture needs and runs the event loop until it is there. Empty where the picture
/// may be drawn; else why it would not hold what it says. Whoever calls this calls page.exported() when the picture is
/// drawn.
QString await_figure(views::Exportable& page, const views::Selection& selection, const FigureOptions& options,
                     const std::function<bool()>& given_up = {});
/// Draws the page at `scale` device pixels a unit.
QImage figure_image(views::Exportable& page, const views::Selection& selection, const FigureOptions& options);
/// The same, painted by a worker while the event loop runs.
QImage figure_image_by_worker(views::Exportable& page, const views::Selection& selection, const FigureOptions& options);
/// Writes what was drawn, and nothing over one of `inputs`.
void write_picture(const QByteArray& bytes, const QString& file, std::span<const std::filesystem::path> inputs);
/// Waits for all that the picture needs and writes FILE (OutputFile), the event loop running: painting, compressing and
/// writing are another thread's. Empty where it went well, else a sentence, and FILE is as it was. Throws errors where
/// FILE cannot be written, or is the record that is shown.
QString write_figure(views::Exportable& page, const views::Selection& selection, const QString& file,
                     const FigureOptions& options, const std::function<bool()>& given_up = {});

}  // namespace headroom::gui
