// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/talk_slides.h"

#include <QApplication>
#include <QBuffer>
#include <QFontMetricsF>
#include <QPainter>
#include <QSvgGenerator>
#include <algorithm>
#include <stop_token>

#include "base/error.h"
#include "gui/exporter.h"
#include "gui/recorded_figure.h"
#include "gui/wait_for_worker.h"
#include "views/common/theme.h"
#include "views/common/workers.h"
#include "views/talk/talk_check.h"

namespace headroom::gui {
namespace {

constexpr double slide_margin = 28, title_pixels = 30, caption_pixels = 19, foot_pixels = 12, most_caption = 150;

QFont slide_font(double pixels, bool bold = false) {
  QFont font = QApplication::font();
  font.setPixelSize(static_cast<int>(pixels));
  if (bold) font.setWeight(QFont::DemiBold);
  return font;
}

FigureSubject subject_of(const TalkExport& job, int step) {
  const auto index = static_cast<std::size_t>(step);
  return {views::view_of_step(job.talk, index, job.records, job.sweeps), job.talk.steps[index].first_token};
}

QByteArray svg_of(const RecordedFigure& figure, const QSizeF& size, const QString& title) {
  QBuffer bytes;
  bytes.open(QIODevice::WriteOnly);
  QSvgGenerator generator;
  generator.setOutputDevice(&bytes);
  generator.setSize(size.toSize());
  generator.setViewBox(QRectF(QPointF(0, 0), size));
  generator.setResolution(96);
  generator.setTitle(title);
  QPainter painter(&generator);
  figure.play(painter);
  painter.end();
  return bytes.data();
}

}  // namespace

TalkSlide::TalkSlide(const TalkExport& job, int step, double scale)
    : job_(job),
      step_(job.talk.steps[static_cast<std::size_t>(step)]),
      number_(step + 1),
      count_(static_cast<int>(job.talk.steps.size())),
      scale_(scale),
      studio_(subject_of(job, step), job.tiles),
      view_(studio_.view(step_.page)) {
  settle({slide_width - 2 * slide_margin, slide_height - 150}, scale);
}

TalkSlide::~TalkSlide() {
  view_.exported();
}

void TalkSlide::settle(const QSizeF& size, double scale) {
  FigureOptions options;
  options.format = FigureFormat::png;
  options.size = size;
  options.scale = scale;
  options.caption = false;
  const QString why = await_figure(view_, studio_.selection(), options, job_.given_up);
  if (job_.given_up && job_.given_up()) throw cancelled_error();
  if (!why.isEmpty())
    throw input_error("step " + std::to_string(number_), "its picture cannot be drawn", "a whole picture",
                      why.toStdString());
}

QString TalkSlide::provenance_line() const {
  const QString source = view_.source_text();  // of a figure over many samples
  return source.isEmpty() ? provenance(studio_.selection(), view_.scale_text())
                          : source + " · Headroom " + QCoreApplication::applicationVersion();
}

void TalkSlide::paint(QPainter& painter) {
  const views::Theme& theme = views::Theme::instance();
  const QRectF page(0, 0, slide_width, slide_height);
  painter.save();
  painter.fillRect(page, theme.background());
  QRectF rest = page.adjusted(slide_margin, 20, -slide_margin, -14);
  const auto words = [&](const QString& text, double pixels, bool bold, double most) {
    if (text.isEmpty()) return;
    painter.setFont(slide_font(pixels, bold));
    painter.setPen(theme.text());
    constexpr int how = Qt::AlignLeft | Qt::AlignTop | Qt::TextWordWrap;
    QRectF box(rest.left(), rest.top(), rest.width(), most);
    const double height = std::min(most, QFontMetricsF(painter.font()).boundingRect(box, how, text).height());
    box.setHeight(height);
    painter.drawText(box, how, text);
    rest.setTop(rest.top() + height + 6);
  };
  words(step_.title, title_pixels, true, 80);
  words(step_.caption, caption_pixels, false, most_caption);
  painter.setFont(slide_font(foot_pixels));
  painter.setPen(theme.muted_text());
  const QRectF foot(rest.left(), rest.bottom() - 18, rest.width(), 18);
  painter.drawText(foot, Qt::AlignRight | Qt::AlignBottom, QObject::tr("%1 / %2").arg(number_).arg(count_));
  const QRectF line = foot.adjusted(0, 0, -70, 0);
  painter.drawText(line, Qt::AlignLeft | Qt::AlignBottom,
                   QFontMetricsF(painter.font()).elidedText(provenance_line(), Qt::ElideMiddle, line.width()));
  rest.setBottom(foot.top() - 4);
  views::ExportOptions options;
  options.image_scale = scale_;
  // Maps that this size needs may be others than those of settle().
  settle(rest.size(), scale_);
  painter.setClipRect(rest);
  view_.render(painter, rest, options);
  painter.restore();
}

QImage TalkSlide::picture(double scale) {
  FigureOptions options;
  options.size = {slide_width, slide_height - 120};
  options.scale = scale;
  options.caption = false;
  settle(options.size, scale);
  return figure_image_by_worker(view_, studio_.selection(), options);
}

QByteArray TalkSlide::svg() {
  const QSizeF size(slide_width, std::max(slide_height - 120, view_.wanted_height(slide_width, 0)));
  settle(size, 2);
  RecordedFigure figure(size);
  QPainter painter(&figure);
  views::ExportOptions options;
  options.image_scale = 2;
  view_.render(painter, QRectF(QPointF(0, 0), size), options);
  painter.end();
  std::stop_source never;
  const auto running = views::in_worker([&figure, size, title = step_.title] { return svg_of(figure, size, title); });
  return wait_for_worker(running, never, {});
}

}  // namespace headroom::gui
