// SPDX-License-Identifier: GPL-3.0-or-later
// The answers of several methods side by side, what differs from the baseline's marked.
#pragma once

#include <QWidget>
#include <vector>

#include "views/common/record_queries.h"

class QBoxLayout;

namespace headroom::views {

/// A word-for-word comparison: pieces of `text`, marked where a word is not part of the longest common run of words
/// with `reference`.
struct DiffPiece {
  QString text;
  bool differs = false;
  bool operator==(const DiffPiece&) const = default;
};
std::vector<DiffPiece> word_difference(const QString& text, const QString& reference);
/// "same as dense", "differs from the 5th token on".
QString agreement_text(const record::MethodSummary& method, const record::MethodSummary& baseline);

struct AnswerEntry {
  MethodPtr method = nullptr;
  QString run;  ///< which run it is from; empty where there is one run only
  bool comparable = true;  ///< with the first entry: an answer to another prompt is not
};

class AnswerCards : public QWidget {
  Q_OBJECT
 public:
  explicit AnswerCards(QWidget* parent = nullptr);
  /// The first entry is the baseline. The records that own the summaries must outlive the next call.
  void set_answers(std::vector<AnswerEntry> entries, const QString& reference);
  /// Cards below each other, for narrow places.
  void set_vertical(bool vertical);
  int count() const { return static_cast<int>(entries_.size()) + (reference_.isEmpty() ? 0 : 1); }
  /// The place behind the cards has the panel's colour.
  void set_on_panel(bool on_panel);
  /// The same as a table for figures.
  QString html() const;
  /// Where answers differ from the baseline's, cards say at which token and with what probabilities, and offer to go
  /// on.
  void set_why(bool offered) { why_ = offered; }
  /// The sentence of the `index`-th entry, plain; empty where there is none.
  QString why_text(std::size_t index) const;

 signals:
  /// "Why?" was asked of a method of the shown record.
  void why_asked(const QString& method);

 protected:
  void showEvent(QShowEvent* event) override;

 private:
  QString why_html(const AnswerEntry& entry) const;
  QString answer_html(const AnswerEntry& entry) const;
  QString label(const AnswerEntry& entry) const;
  QString status_text(const AnswerEntry& entry) const;
  void rebuild();
  bool stale_ = false;  ///< the theme has changed while it was hidden
  std::vector<AnswerEntry> entries_;
  QString reference_;
  QBoxLayout* row_;
  bool on_panel_ = false, why_ = false;
};

}  // namespace headroom::views
