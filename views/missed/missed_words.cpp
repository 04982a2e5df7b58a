// SPDX-License-Identifier: GPL-3.0-or-later
// What the missed keys' panel says: totals, what they are of, and why the answer changed.
#include <QLabel>
#include <QPushButton>
#include <QSignalBlocker>
#include <QSpinBox>
#include <QTextDocumentFragment>
#include <algorithm>
#include <exception>

#include "views/common/format.h"
#include "views/common/page_base.h"
#include "views/common/record_queries.h"
#include "views/docks/inspector_dock.h"
#include "views/map/map_data.h"
#include "views/missed/missed_panel.h"

namespace headroom::views {
namespace {

QString rows_text(std::int64_t rows) {
  return rows == 1 ? QObject::tr("one row") : QObject::tr("%1 rows").arg(format_count(rows));
}

QString bold(const QString& text) {
  return QStringLiteral("<b>%1</b>").arg(text.toHtmlEscaped());
}

QString heads_of_request(const MissedRequest& request) {
  using Kind = record::HeadSelector::Kind;
  if (request.head.kind == Kind::mean) return QObject::tr("mean of heads");
  if (request.head.kind == Kind::head) return QObject::tr("head %1").arg(request.head.index);
  return QObject::tr("KV group %1").arg(request.head.index);
}

}  // namespace

QString MissedPanel::headline() const {
  return QTextDocumentFragment::fromHtml(headline_->text()).toPlainText();
}

QString MissedPanel::note() const {
  return QTextDocumentFragment::fromHtml(note_->text()).toPlainText();
}

QString MissedPanel::missed_headline() const {
  const MissedResult& r = missed_->result();
  const MissedRequest& request = r.request;
  const bool answer = request.scope == MissedScope::answer;
  QString whose;
  if (answer)
    whose = tr("row %1 in %2 layers").arg(format_count(request.record->length() - 1)).arg(r.missed_in.size());
  else if (request.scope == MissedScope::layer)
    whose = tr("all rows of layer %1").arg(request.layer);
  else if (request.query_end - request.query_begin == 1)
    whose = tr("query %1 “%2” in layer %3")
                .arg(format_count(request.query_begin),
                     visible_token(request.record->tokens(), request.query_begin, 16), QString::number(request.layer));
  else
    whose = tr("queries %1–%2 in layer %3")
                .arg(format_count(request.query_begin), format_count(request.query_end - 1),
                     QString::number(request.layer));
  QString text = tr("%1: ").arg(whose.toHtmlEscaped());
  if (r.missed.empty()) {
    text += tr("nothing missed. Every key of the target is in the support.");
  } else {
    text += r.missed.size() == 1 ? tr("one key missed") : tr("%1 keys missed").arg(format_count(std::ssize(r.missed)));
    if (r.known_rows > 0) {
      text +=
          tr(", %1 of what %2 (%3)")
              .arg(bold(format_percent(r.mass / static_cast<double>(r.known_rows))),
                   answer              ? tr("it reads there")
                   : r.known_rows == 1 ? tr("it reads")
                                       : tr("these rows read"),
                   r.known_rows == 1 ? heads_of_request(request)
                                     : tr("%1 rows' worth, %2").arg(format_number(r.mass), heads_of_request(request)));
    }
    text += '.';
  }
  if (r.stopped)
    text += ' ' + tr("Stopped after %1 of %2 rows. <a href=\"again\">Go through all</a>")
                      .arg(format_count(r.rows), format_count(r.rows_wanted));
  return text;
}

QString MissedPanel::readers_headline() const {
  const MissedResult& r = missed_->result();
  if (r.stopped) return tr("Stopped. <a href=\"again\">Look again</a>");
  QString text = tr("Key %1 “%2” in layer %3 (%4): %5 of what %6 read")
                     .arg(format_count(r.request.key),
                          visible_token(r.request.record->tokens(), r.request.key, 16).toHtmlEscaped(),
                          QString::number(r.request.layer), heads_of_request(r.request),
                          bold(format_percent(r.rows > 0 ? r.mass / static_cast<double>(r.rows) : 0)),
                          rows_text(r.rows));
  if (r.key_missed > 0) text += tr("; %1 missed it").arg(bold(rows_text(r.key_missed)));
  return text + '.';
}

void MissedPanel::show_headline() {
  const MissedResult& r = missed_->result();
  const DisplayState& display = selection_->state().display;
  if (display.missed_question == MissedQuestion::why) return show_why();
  if (!r.request.record) {
    headline_->setText(tr("No run is open."));
  } else if (!r.problem.isEmpty()) {
    headline_->setText(r.problem.toHtmlEscaped());
  } else {
    headline_->setText(missed_->of_readers() ? readers_headline() : missed_headline());
  }
  QString note = r.note.toHtmlEscaped();
  if (r.problem.isEmpty() && r.request.record && !missed_->of_readers()) {
    if (r.request.scope == MissedScope::answer)
      note +=
          (note.isEmpty() ? QString() : QStringLiteral(" ")) +
          tr("The row predicts the answer's first token; later ones are decoded dense and miss nothing themselves.");
    else if (note.isEmpty() && !r.missed.empty())
      note = tr("Missed: in the row's target T (as many keys as the budget allows, those of most mass), not in its "
                "support S.");
  }
  note_->setText(note);
  note_->setVisible(!note.isEmpty());
}

const record::AnswerPosition* MissedPanel::shown_position() const {
  const RecordPtr record = selection_->record();
  const record::MethodSummary* method =
      record ? record->find_method(selection_->state().method.toStdString()) : nullptr;
  if (!method) return nullptr;
  const record::AnswerPosition* first = first_difference(*method);
  const int wanted = selection_->state().display.answer_position;
  if (wanted < 0 && first) return first;
  if (choices_)
    for (const record::AnswerPosition& one : *choices_)
      if (one.position >= wanted) return &one;
  return first;
}

void MissedPanel::show_why() {
  const RecordPtr record = selection_->record();
  const record::MethodSummary* method =
      record ? record->find_method(selection_->state().method.toStdString()) : nullptr;
  if (choices_of_ != record || choices_method_ != selection_->state().method) {
    choices_of_ = record;
    choices_method_ = selection_->state().method;
    choices_.reset();
    choices_problem_.clear();
    try {  // a few kilobytes
      if (method && !method->is_dense()) choices_ = record->answer_choices(method->id);
    } catch (const std::exception& error) {
      choices_problem_ = QString::fromUtf8(error.what());
    }
  }
  const record::AnswerPosition* at = method && !method->is_dense() ? shown_position() : nullptr;
  const MethodPtr dense = record ? dense_of(*record) : nullptr;
  const QString name = method ? method_title(*method) : QString();
  why_->set_position(at, name, dense ? dense->look : 0, method ? method->look : 0);
  fit();
  const QSignalBlocker block(position_);
  const bool many = choices_ && choices_->size() > 1;
  position_row_->setVisible(at != nullptr);
  position_->setEnabled(many);
  if (at) {
    position_->setRange(1, static_cast<int>(many ? choices_->back().position + 1 : at->position + 1));
    position_->setSuffix(method->forced ? tr(" of %1").arg(format_count(method->forced->positions)) : QString());
    position_->setValue(static_cast<int>(at->position + 1));
  }
  QString text;
  if (!record) {
    text = tr("No run is open.");
  } else if (!method || method->is_dense()) {
    text = tr("Dense is what the others are compared with. Choose a method:");
    for (const record::MethodSummary& one : record->methods()) {
      if (one.is_dense()) continue;
      const QString says =
          !one.forced ? tr("not compared")
          : one.forced->first_divergence
              ? tr("first differs at answer token %1").arg(format_count(*one.forced->first_divergence + 1))
              : tr("the same at all %1 positions").arg(format_count(one.forced->positions));
      text += QStringLiteral("<br><a href=\"method:%1\">%2</a>: %3")
                  .arg(QString::fromStdString(one.id), method_label(*record, one).toHtmlEscaped(), says);
    }
  } else if (!choices_problem_.isEmpty()) {
    text = choices_problem_.toHtmlEscaped();
  } else if (at) {
    text = difference_text(*at, name, true) + '.';
    if (method->forced && !method->forced->first_divergence)
      text = tr("The answer did not change: the likeliest token is dense's at all %1 positions.")
                 .arg(format_count(method->forced->positions)) + ' ' + text;
    if (at->position > 0)
      text += ' ' + tr("Both had read dense's answer up to there.");
  } else if (method->forced && !method->forced->first_divergence) {
    text = tr("The answer did not change: the likeliest token is dense's at all %1 positions.")
               .arg(format_count(method->forced->positions));
  } else {
    text = tr("This record does not hold the candidates: it is of an earlier version, or the method was not compared. "
              "Record the run again to have them.");
  }
  headline_->setText(text);

  const MissedResult& r = missed_->result();
  const auto& found = r.missed_in;
  const auto most =
      std::max_element(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  const bool led = method && !method->is_dense() && most != found.end() && r.problem.isEmpty();
  last_row_->setVisible(led);
  all_rows_->setVisible(led);
  QString note;
  if (led) {
    last_row_->setText(tr("Row %1 in layer %2").arg(format_count(record->length() - 1)).arg(most->first));
    const QString layers = found.size() == 1 ? tr("the one layer") : tr("%1 layers").arg(found.size());
    last_row_->setToolTip(
        tr("The prompt's last row, in the layer where it missed the largest share of what it reads, among "
           "%1 that the record holds exactly")
            .arg(layers));
    note =
        !at || at->position == 0
            ? tr("The prompt's last row predicts the answer's first token. It missed %1 of what it reads in layer %2.")
                  .arg(format_percent(most->second))
                  .arg(most->first)
            : tr("Answer tokens are decoded dense over the keys and values that the sparse prefill left: their own "
                 "rows select nothing, and what differs comes from the prompt's rows. The last one missed %1 of what "
                 "it reads in layer %2.")
                  .arg(format_percent(most->second))
                  .arg(most->first);
  } else if (method && !method->is_dense()) {
    note = !r.problem.isEmpty()
               ? r.problem.toHtmlEscaped()
               : tr("The record holds no layer of this method exactly: record one on the Attention page to "
                    "see what its rows missed.");
  }
  note_->setText(note);
  note_->setVisible(!note.isEmpty());
}

QString MissedPanel::facts() const {
  const MissedResult& r = missed_->result();
  const record::RunMeta& meta = r.request.record->meta();
  QStringList lines;
  lines << tr("Headroom run %1, %2")
               .arg(QString::fromStdString(meta.run_id), run_caption(meta, r.request.record->length()));
  lines << tr("Model SHA-256 %1").arg(QString::fromStdString(meta.model_sha256));
  lines << tr("Method %1, %2").arg(r.request.method, heads_of_request(r.request));
  lines << headline().replace('\n', ' ');
  if (!r.note.isEmpty()) lines << r.note;
  return lines.join('\n');
}

}  // namespace headroom::views
