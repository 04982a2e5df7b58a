// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/talk_pictures.h"

#include <QPixmap>
#include <utility>

#include "gui/exporter.h"
#include "gui/talk_desk.h"
#include "views/talk/talk_book.h"
#include "views/talk/talk_panel.h"

namespace headroom::gui {
namespace {

constexpr int picture_ms = 150, ask_again_ms = 300, most_sittings = 40, most_late = 50;

FigureOptions thumbnail_options() {
  FigureOptions options;
  options.size = {1100, 620};
  options.scale = 1;
  options.caption = false;
  return options;
}

}  // namespace

TalkPictures::TalkPictures(const TalkSurroundings& around, const views::TalkBook& book, views::TalkPanel& panel)
    : around_(around), book_(book), panel_(panel) {
  timer_.setSingleShot(true);
  late_timer_.setInterval(picture_ms);
  connect(&timer_, &QTimer::timeout, this, &TalkPictures::look);
  connect(&late_timer_, &QTimer::timeout, this, &TalkPictures::draw);
}

TalkPictures::~TalkPictures() = default;

void TalkPictures::take(int step, bool there) {
  if (timer_.isActive()) miss();
  if (step < 0 || step >= book_.count() || panel_.has_picture(step)) return;
  sitting_ = Sitting{book_.talk().steps[static_cast<std::size_t>(step)], around_.current_page(), 0,
                     figure_subject(*around_.selection, *around_.pages)};
  // What stands there already is taken at once: the next view may be chosen soon.
  const Page& page = (*around_.pages)[sitting_->page];
  if (there && page.settled() && page.widget->isVisible()) {
    panel_.set_picture(sitting_->step, page.widget->grab());
    sitting_.reset();
    return;
  }
  timer_.start(picture_ms);
}

void TalkPictures::look() {
  if (!sitting_) return;
  const bool same =
      around_.current_page() == sitting_->page && around_.selection->state() == sitting_->subject.state;
  if (!same) return miss();
  const Page& page = (*around_.pages)[sitting_->page];
  if (!page.settled() || !page.widget->isVisible()) {
    if (++sitting_->tries <= most_sittings) return timer_.start(picture_ms);
    return miss();
  }
  panel_.set_picture(sitting_->step, page.widget->grab());
  sitting_.reset();
}

void TalkPictures::miss() {
  timer_.stop();
  if (!sitting_) return;
  if (late_.size() < most_late) late_.push_back(std::move(*sitting_));
  sitting_.reset();
  if (!late_timer_.isActive()) late_timer_.start();
}

void TalkPictures::draw() {
  const auto next = [this] {
    studio_.reset();
    late_.pop_front();
    if (late_.empty()) late_timer_.stop();
  };
  if (late_.empty()) return late_timer_.stop();
  Sitting& wanted = late_.front();
  if (!studio_) {
    if (panel_.has_picture(wanted.step)) return next();
    wanted.tries = 0;
    studio_ = std::make_unique<FigureStudio>(wanted.subject, around_.tiles);
    asked_.invalidate();
  }
  views::Exportable& view = studio_->view(wanted.step.page);
  if (!asked_.isValid() || (asked_.elapsed() > ask_again_ms && !(view.ready() && view.complete()))) {
    if (++wanted.tries > most_sittings) return next();  // damaged, or its engine is gone: the blank sheet stays
    ask_for_figure(view, studio_->selection(), thumbnail_options());
    asked_.start();
    return;
  }
  if (!view.ready() || !view.complete()) return;
  if (view.problem().isEmpty())
    panel_.set_picture(wanted.step, QPixmap::fromImage(figure_image(view, studio_->selection(), thumbnail_options())));
  view.exported();
  next();
}

}  // namespace headroom::gui
