// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/talk/stage.h"

#include <QApplication>
#include <QCloseEvent>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QPainter>
#include <QScrollArea>
#include <QTime>
#include <QVBoxLayout>
#include <algorithm>

#include "views/common/page_base.h"
#include "views/common/theme.h"

namespace headroom::views {
namespace {

constexpr int fade_steps = 20, fade_step_ms = 40;

QLabel* plain_label(QWidget* parent, bool wraps) {
  auto* label = new QLabel(parent);
  label->setTextFormat(Qt::PlainText);  // captions come from files
  label->setWordWrap(wraps);
  return label;
}

QFont scaled_font(double factor, bool bold) {
  QFont font = QApplication::font();
  font.setPointSizeF(font.pointSizeF() * factor);
  font.setBold(bold);
  return font;
}

}  // namespace

StageBar::StageBar(QWidget* parent) : QWidget(parent) {
  setObjectName("stage_bar");
  auto* row = new QHBoxLayout(this);
  row->setContentsMargins(18, 8, 18, 10);
  row->setSpacing(18);
  auto* words = new QVBoxLayout;
  words->setSpacing(2);
  title_ = plain_label(this, true);
  caption_ = plain_label(this, true);
  problem_ = plain_label(this, true);
  words->addWidget(title_);
  view_ = plain_label(this, true);
  words->addWidget(caption_);
  words->addWidget(view_);
  words->addWidget(problem_);
  row->addLayout(words, 1);
  auto* right = new QVBoxLayout;
  number_ = plain_label(this, false);
  number_->setAlignment(Qt::AlignRight);
  source_ = plain_label(this, false);
  source_->setAlignment(Qt::AlignRight);
  right->addWidget(number_);
  right->addWidget(source_);
  right->addStretch(1);
  row->addLayout(right);
  connect(&Theme::instance(), &Theme::changed, this, &StageBar::restyle);
  restyle();
}

void StageBar::restyle() {
  title_->setFont(scaled_font(1.0, true));
  caption_->setFont(scaled_font(0.85, false));
  problem_->setFont(scaled_font(0.85, true));
  number_->setFont(scaled_font(0.85, false));
  view_->setFont(scaled_font(0.75, false));
  set_text_colour(view_, Theme::instance().muted_text());
  source_->setFont(scaled_font(0.85, true));
  set_text_colour(caption_, Theme::instance().text());
  set_text_colour(number_, Theme::instance().muted_text());
}

bool StageBar::event(QEvent* event) {
  // Never squeezed by a page that would like more room than there is.
  if (event->type() == QEvent::LayoutRequest || event->type() == QEvent::Resize) {
    const int least = std::max(0, layout()->totalHeightForWidth(width()));  // -1: nothing in it wraps
    if (least != minimumHeight()) setMinimumHeight(least);
  }
  return QWidget::event(event);
}

void StageBar::changeEvent(QEvent* event) {
  QWidget::changeEvent(event);
  if (event->type() == QEvent::ApplicationFontChange || event->type() == QEvent::FontChange) restyle();
}

void StageBar::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  painter.fillRect(rect(), Theme::instance().panel());
  painter.setPen(Theme::instance().border());
  painter.drawLine(rect().topLeft(), rect().topRight());
}

void StageBar::show_step(const QString& title, const QString& caption, int number, int count) {
  title_->setText(title);
  caption_->setText(caption);
  caption_->setVisible(!caption.isEmpty());
  number_->setText(tr("%1 / %2").arg(number).arg(count));
  setAccessibleName(tr("Step %1 of %2: %3").arg(number).arg(count).arg(title));
}

void StageBar::show_view(const QString& words) {
  view_->setText(words);
  view_->setVisible(!words.isEmpty());
}

void StageBar::show_source(const QString& words) {
  source_->setText(words);
  source_->setVisible(!words.isEmpty());
}

void StageBar::show_problem(const QString& words) {
  problem_->setText(words);
  problem_->setVisible(!words.isEmpty());
}

FadingHint::FadingHint(QWidget* parent) : QLabel(parent) {
  setObjectName("leave_hint");
  setTextFormat(Qt::PlainText);
  setMargin(8);
  setAttribute(Qt::WA_TransparentForMouseEvents);
  stay_.setSingleShot(true);
  connect(&stay_, &QTimer::timeout, this, [this] { fade_.start(fade_step_ms); });
  connect(&fade_, &QTimer::timeout, this, [this] {
    opacity_ -= 1.0 / fade_steps;
    if (opacity_ <= 0) {
      fade_.stop();
      hide();
    }
    update();
  });
  hide();
}

void FadingHint::show_for(const QString& text, int milliseconds) {
  setFont(QApplication::font());  // while hidden it heard of no change
  setText(text);
  adjustSize();
  if (QWidget* around = parentWidget()) move(std::max(0, (around->width() - width()) / 2), 12);
  opacity_ = 1;
  fade_.stop();
  stay_.start(milliseconds);
  show();
  raise();
}

void FadingHint::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  painter.setOpacity(opacity_);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setPen(Theme::instance().border());
  painter.setBrush(Theme::instance().panel());
  painter.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4);
  painter.setPen(Theme::instance().text());
  painter.drawText(rect(), Qt::AlignCenter, text());
}

SpeakerWindow::SpeakerWindow(QWidget* parent) : QWidget(parent, Qt::Window) {
  setObjectName("speaker_window");
  setWindowTitle(tr("Notes – Headroom"));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(20, 16, 20, 16);
  column->setSpacing(10);
  auto* top = new QHBoxLayout;
  number_ = plain_label(this, false);
  clock_ = plain_label(this, false);
  clock_->setAlignment(Qt::AlignRight);
  top->addWidget(number_, 1);
  top->addWidget(clock_);
  column->addLayout(top);
  title_ = plain_label(this, true);
  caption_ = plain_label(this, true);
  column->addWidget(title_);
  column->addWidget(caption_);
  auto* scroll = new QScrollArea(this);
  scroll->setWidgetResizable(true);
  scroll->setFrameShape(QFrame::NoFrame);
  notes_ = plain_label(scroll, true);
  notes_->setAlignment(Qt::AlignTop | Qt::AlignLeft);
  notes_->setMargin(6);
  scroll->setWidget(notes_);
  column->addWidget(scroll, 1);
  column->addWidget(make_heading(tr("Next"), this));
  next_ = plain_label(this, true);
  column->addWidget(next_);
  set_text_colour(caption_, Theme::instance().muted_text());
  connect(&timer_, &QTimer::timeout, this, &SpeakerWindow::tick);
  timer_.start(500);
  restart_clock();
  resize(760, 560);
}

void SpeakerWindow::restart_clock() {
  since_.start();
  tick();
}

void SpeakerWindow::tick() {
  const qint64 seconds = since_.elapsed() / 1000;
  clock_->setText(tr("%1 · since the start %2:%3")
                      .arg(QTime::currentTime().toString("HH:mm"))
                      .arg(seconds / 60)
                      .arg(seconds % 60, 2, 10, QLatin1Char('0')));
}

void SpeakerWindow::show_step(const Shown& shown) {
  number_->setText(tr("Step %1 of %2").arg(shown.number).arg(shown.count) +
                   (shown.source.isEmpty() ? QString() : QStringLiteral(" · ") + shown.source));
  title_->setFont(scaled_font(1.1, true));
  title_->setText(shown.title);
  caption_->setText(shown.caption);
  caption_->setVisible(!shown.caption.isEmpty());
  notes_->setText(shown.notes.isEmpty() ? tr("No notes for this step.") : shown.notes);
  QString next = shown.next_title.isEmpty() ? tr("The end of the talk.") : shown.next_title;
  if (!shown.next_caption.isEmpty()) next += "\n" + shown.next_caption;
  next_->setText(next);
}

void SpeakerWindow::keyPressEvent(QKeyEvent* event) {
  emit key_pressed(event);
}

void SpeakerWindow::closeEvent(QCloseEvent* event) {
  QWidget::closeEvent(event);
  emit closed();
}

}  // namespace headroom::views
