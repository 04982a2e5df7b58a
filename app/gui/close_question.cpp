// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/close_question.h"

#include <QLabel>
#include <QPushButton>
#include <QVBoxLayout>

#include "gui/page_scroll.h"

namespace headroom::gui {

CloseQuestion::CloseQuestion(const QString& title, int jobs, QWidget* parent) : QDialog(parent) {
  setObjectName("close_question");
  setWindowTitle(tr("Close Headroom"));
  setModal(true);
  auto* outer = new QVBoxLayout(this);
  auto* scroll = new PageScroll(this);  // with large text on a small screen
  auto* body = new QWidget;
  auto* column = new QVBoxLayout(body);
  column->setContentsMargins(0, 0, 0, 0);
  scroll->set_page(body);
  outer->addWidget(scroll, 1);
  auto* text = new QLabel(
      jobs > 1 ? tr("%1 jobs are not done. At work: %2").arg(jobs).arg(title) : tr("A job is at work: %1").arg(title),
      this);
  text->setTextFormat(Qt::PlainText);
  text->setWordWrap(true);
  const int unit = fontMetrics().height();
  column->addWidget(text);
  const auto add = [&](const char* name, const QString& label, const QString& meaning, auto signal) {
    auto* button = new QPushButton(label, this);
    button->setObjectName(name);
    button->setAutoDefault(false);
    auto* line = new QLabel(meaning, this);
    line->setWordWrap(true);
    line->setForegroundRole(QPalette::PlaceholderText);
    line->setBuddy(button);
    column->addWidget(button);
    column->addWidget(line);
    connect(button, &QPushButton::clicked, this, [this, signal] {
      accept();
      emit(this->*signal)();
    });
    return button;
  };
  add("close_wait", tr("&Wait, then close"), tr("The window stays until the job is done, and closes itself then."),
      &CloseQuestion::wait_chosen)
      ->setDefault(true);
  add("close_background", tr("Keep it running in the &background"),
      tr("The window closes now. The job stands in the Jobs dock when you come back."),
      &CloseQuestion::background_chosen);
  add("close_stop", tr("&Stop it and close"), tr("What is finished is kept in the record, marked incomplete."),
      &CloseQuestion::stop_chosen);
  auto* stay = new QPushButton(tr("Do not close"), this);
  stay->setObjectName("close_not");
  column->addStretch(1);
  outer->addWidget(stay, 0, Qt::AlignRight);
  connect(stay, &QPushButton::clicked, this, &QDialog::reject);
  resize(dialog_size(parent, QSize(unit * 30, unit * 22)));
}

}  // namespace headroom::gui
