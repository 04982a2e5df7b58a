// SPDX-License-Identifier: GPL-3.0-or-later
// The sentence that answers (UX.md, Overview): what one sparse method keeps, whether the answer is dense's, what the
// time to first token is. Each number is a link to where it comes from, with METHOD.md's definition.
#pragma once

#include <QColor>
#include <QString>
#include <vector>

#include "record/run_record.h"

namespace headroom::views {

/// A piece of the sentence. `link` is "PAGE#WHAT", e.g. "budget#captured_mass", with PAGE one of overview, attention,
/// budget, timing, compare; empty where the piece is plain text.
struct SentencePart {
  QString text, link, definition;
};

struct AnswerSentence {
  std::vector<SentencePart> parts;
  QString text() const;
  QString html(const QColor& link_colour) const;
  /// The definition behind a link; empty for unknown ones.
  QString definition(const QString& link) const;
};

struct SentenceScope {
  bool prompt = true;  ///< the first sentence: "On this prompt (…)", and why an unoptimised path's time is not compared
  bool caveat = true;  ///< ends with "One prompt: not a quality result."
};

AnswerSentence answer_sentence(const record::RunMeta& meta, std::int64_t tokens, const record::MethodSummary& method,
                               const record::MethodSummary& baseline, SentenceScope scope = {});
AnswerSentence answer_sentence(const record::RunRecord& record, const record::MethodSummary& method,
                               const record::MethodSummary& baseline, SentenceScope scope = {});

/// Whether a time of `method` may stand as a speedup: never for dense, a reference, a labelled path or one whose
/// timed passes ran dense in all layers, and only where both were timed.
bool speedup_allowed(const record::MethodSummary& method, const record::MethodSummary& baseline);
/// Index of the first answer token that differs; -1 where the answers are the same.
std::int64_t first_divergence(const record::MethodSummary& method, const record::MethodSummary& baseline);

}  // namespace headroom::views
