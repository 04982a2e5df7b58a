// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/talk/talk_book.h"

#include <QUndoCommand>
#include <algorithm>

#include "views/common/view_state_json.h"
#include "views/talk/talk_check.h"

namespace headroom::views {

/// The steps before and after. Records and sweeps are only ever added, so that numbers stay valid: saving drops the
/// spare ones.
class TalkChange : public QUndoCommand {
 public:
  TalkChange(TalkBook& book, Talk after, int current, int merge_id, const QString& words)
      : QUndoCommand(words),
        book_(book),
        before_(book.talk_),
        after_(std::move(after)),
        current_before_(book.current_),
        current_after_(current),
        merge_id_(merge_id) {}
  int id() const override { return merge_id_; }
  bool mergeWith(const QUndoCommand* other) override {
    const auto* next = static_cast<const TalkChange*>(other);
    if (next->merge_id_ != merge_id_) return false;
    after_ = next->after_;
    current_after_ = next->current_after_;
    return true;
  }
  void undo() override { book_.take(before_, current_before_); }
  void redo() override { book_.take(after_, current_after_); }

 private:
  TalkBook& book_;
  Talk before_, after_;
  int current_before_, current_after_, merge_id_;
};

TalkBook::TalkBook(QObject* parent) : QObject(parent), undo_(this) {
  undo_.setUndoLimit(200);
  connect(&undo_, &QUndoStack::cleanChanged, this, &TalkBook::state_changed);
}

void TalkBook::start(Talk talk, const QString& file) {
  undo_.clear();
  talk_ = std::move(talk);
  open_.assign(talk_.records.size(), nullptr);
  open_sweeps_.assign(talk_.sweeps.size(), nullptr);
  file_ = file;
  is_open_ = true;
  current_ = talk_.steps.empty() ? -1 : 0;
  emit changed();
  emit current_changed();
  emit state_changed();
}

void TalkBook::close() {
  start({}, {});
  is_open_ = false;
  emit state_changed();
}

void TalkBook::set_record(std::size_t number, RecordPtr record) {
  if (number < open_.size()) open_[number] = std::move(record);
}

void TalkBook::set_sweep(std::size_t number, SweepPtr sweep) {
  if (number < open_sweeps_.size()) open_sweeps_[number] = std::move(sweep);
}

void TalkBook::saved(const QString& file, const Talk& talk) {
  take_hashes_of(talk);
  file_ = file;
  undo_.setClean();
  emit state_changed();
}

void TalkBook::take_hashes_of(const Talk& talk) {
  for (TalkRecord& record : talk_.records)
    for (const TalkRecord& hashed : talk.records)
      if (record.path == hashed.path && record.run_id == hashed.run_id) record.sha256 = hashed.sha256;
  for (TalkSweep& sweep : talk_.sweeps)
    for (const TalkSweep& hashed : talk.sweeps)
      if (sweep.path == hashed.path) sweep.sha256 = hashed.sha256;
}

void TalkBook::set_current(int step) {
  step = std::clamp(step, count() ? 0 : -1, count() - 1);
  if (step == current_) return;
  current_ = step;
  emit current_changed();
}

void TalkBook::take(const Talk& talk, int current) {
  // Files only grow in number, and hashes that were taken meanwhile stay.
  const auto grown = [](auto files, const auto& more) {
    for (std::size_t i = files.size(); i < more.size(); ++i) files.push_back(more[i]);
    return files;
  };
  std::vector<TalkRecord> records = grown(std::move(talk_.records), talk.records);
  std::vector<TalkSweep> sweeps = grown(std::move(talk_.sweeps), talk.sweeps);
  talk_ = talk;
  talk_.records = std::move(records);
  talk_.sweeps = std::move(sweeps);
  open_.resize(talk_.records.size());
  open_sweeps_.resize(talk_.sweeps.size());
  current_ = std::clamp(current, count() ? 0 : -1, count() - 1);
  emit changed();
  emit current_changed();
}

void TalkBook::push(Talk next, const QString& words, int current, int merge_id) {
  if (next == talk_) return;
  is_open_ = true;
  undo_.push(new TalkChange(*this, std::move(next), current, merge_id, words));
  emit state_changed();
}

void TalkBook::put_view(Talk& talk, TalkStep& step, const ViewState& state) {
  const std::vector<RecordPtr> named = records_named(state);
  std::vector<RecordPtr> list(talk.records.size());  // by the talk's numbers
  for (const RecordPtr& record : named) {
    std::error_code failed;
    const TalkRecord wanted{std::filesystem::absolute(record->path(), failed), record->meta().run_id, {}};
    const auto at = std::find_if(talk.records.begin(), talk.records.end(), [&](const TalkRecord& known) {
      return known.path.lexically_normal() == wanted.path.lexically_normal() && known.run_id == wanted.run_id;
    });
    const auto number = static_cast<std::size_t>(at - talk.records.begin());
    if (at == talk.records.end()) talk.records.push_back(wanted);
    list.resize(talk.records.size());
    open_.resize(talk.records.size());
    list[number] = record;
    open_[number] = record;
  }
  step.sweep = -1;
  if (step.page == QStringLiteral("budget") && shows_sweep(state)) {
    const SweepPtr& sweep = state.sweeps[static_cast<std::size_t>(state.sweep)];
    std::error_code failed;
    const std::filesystem::path path = std::filesystem::absolute(sweep->path, failed).lexically_normal();
    const auto at = std::find_if(talk.sweeps.begin(), talk.sweeps.end(),
                                 [&](const TalkSweep& known) { return known.path.lexically_normal() == path; });
    step.sweep = static_cast<int>(at - talk.sweeps.begin());
    if (at == talk.sweeps.end()) talk.sweeps.push_back({path, {}});
    open_sweeps_.resize(talk.sweeps.size());
    open_sweeps_[static_cast<std::size_t>(step.sweep)] = sweep;
  }
  step.view = view_state_to_json(state, list);
}

void TalkBook::add(const ViewState& state, const QString& page, std::int64_t first_token, const QString& title) {
  Talk next = talk_;
  TalkStep step;
  step.title = title;
  step.page = page;
  step.first_token = std::max<std::int64_t>(0, first_token);
  put_view(next, step, state);
  const int at = std::min(current_ + 1, count());
  next.steps.insert(next.steps.begin() + at, std::move(step));
  push(std::move(next), tr("Add step"), at);
}

void TalkBook::update(const ViewState& state, const QString& page, std::int64_t first_token) {
  if (current_ < 0) return;
  Talk next = talk_;
  TalkStep& step = next.steps[static_cast<std::size_t>(current_)];
  step.page = page;
  step.first_token = std::max<std::int64_t>(0, first_token);
  put_view(next, step, state);
  push(std::move(next), tr("Show this view in step %1").arg(current_ + 1), current_);
}

void TalkBook::remove(int step) {
  if (step < 0 || step >= count()) return;
  Talk next = talk_;
  next.steps.erase(next.steps.begin() + step);
  push(std::move(next), tr("Remove step %1").arg(step + 1), std::min(step, count() - 2));
}

void TalkBook::move(int step, int to) {
  if (step < 0 || step >= count()) return;
  to = std::clamp(to, 0, count() - 1);
  if (to == step) return;
  Talk next = talk_;
  const auto first = next.steps.begin();
  if (to > step)
    std::rotate(first + step, first + step + 1, first + to + 1);
  else
    std::rotate(first + to, first + step, first + step + 1);
  push(std::move(next), tr("Move step %1").arg(step + 1), to);
}

void TalkBook::set_text(int step, StepText field, const QString& text) {
  if (step < 0 || step >= count()) return;
  Talk next = talk_;
  TalkStep& one = next.steps[static_cast<std::size_t>(step)];
  (field == StepText::title ? one.title : field == StepText::caption ? one.caption : one.notes) = text;
  push(std::move(next), tr("Write step %1").arg(step + 1), current_, 10 + step * 4 + static_cast<int>(field));
}

void TalkBook::set_title(const QString& title) {
  Talk next = talk_;
  next.title = title;
  push(std::move(next), tr("Name the talk"), current_, 1);
}

void TalkBook::set_live(int step, std::optional<nlohmann::json> spec) {
  if (step < 0 || step >= count()) return;
  Talk next = talk_;
  next.steps[static_cast<std::size_t>(step)].live = std::move(spec);
  push(std::move(next), tr("Live run of step %1").arg(step + 1), current_);
}

}  // namespace headroom::views
