// SPDX-License-Identifier: GPL-3.0-or-later
// The prompt as a QString with the place of every token in it. The record counts bytes, Qt counts UTF-16 units, and a
// character may be split between tokens.
#pragma once

#include <QString>
#include <vector>

#include "record/types.h"

namespace headroom::views {

class TextIndex {
 public:
  TextIndex() = default;
  /// Damaged UTF-8 becomes replacement characters; carriage returns and NUL become visible symbols, since a text widget
  /// would drop them and shift everything behind.
  explicit TextIndex(const record::TokenTable& tokens);

  const QString& text() const { return text_; }
  std::int64_t num_tokens() const { return static_cast<std::int64_t>(begin_.size()); }
  int begin(std::int64_t token) const { return begin_[static_cast<std::size_t>(token)]; }
  int end(std::int64_t token) const { return end_[static_cast<std::size_t>(token)]; }
  /// The token that covers a position of the text; the last one before it where none does; -1 before the first.
  std::int64_t token_at(int position) const;

 private:
  bool read_clean(const record::TokenTable& tokens, std::size_t count);
  void read_any(const record::TokenTable& tokens, std::size_t count);
  QString text_;
  std::vector<int> begin_, end_;  ///< begin_ ascending
};

}  // namespace headroom::views
