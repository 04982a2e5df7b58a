// SPDX-License-Identifier: GPL-3.0-or-later
// Decoding of the prompt, token by token.
#include "views/prompt/text_index.h"

#include <QStringDecoder>
#include <algorithm>

namespace headroom::views {

/// Text that is UTF-8 throughout, as nearly all is: decoded at once, positions counted. False where it is not.
bool TextIndex::read_clean(const record::TokenTable& tokens, std::size_t count) {
  const QByteArrayView bytes(tokens.text.data(), static_cast<qsizetype>(tokens.text.size()));
  if (!bytes.isValidUtf8() || bytes.startsWith("\xEF\xBB\xBF")) return false;
  text_ = QString::fromUtf8(bytes);
  std::int64_t read = 0;
  int units = 0;  // of UTF-16, of the characters that are read to their end
  bool wide = false;
  const auto count_until = [&](std::int64_t until) {
    const std::int64_t from = read, end = std::min<std::int64_t>(until, bytes.size());
    while (read < end && static_cast<signed char>(tokens.text[static_cast<std::size_t>(read)]) >= 0) ++read;
    units += static_cast<int>(read - from);  // ASCII, as most of it is
    for (until = std::clamp<std::int64_t>(until, read, bytes.size()); read < until; ++read) {
      const auto byte = static_cast<unsigned char>(bytes[read]);
      const bool goes_on = read + 1 < bytes.size() && (static_cast<unsigned char>(bytes[read + 1]) & 0xC0) == 0x80;
      if (byte >= 0xF0) wide = true;
      if (goes_on) continue;
      units += wide ? 2 : 1;
      wide = false;
    }
    return units;
  };
  for (std::size_t i = 0; i < count; ++i) {
    begin_.push_back(count_until(tokens.begin[i]));
    end_.push_back(count_until(tokens.end[i]));
  }
  return true;
}

void TextIndex::read_any(const record::TokenTable& tokens, std::size_t count) {
  const auto size = static_cast<std::int64_t>(tokens.text.size());
  QStringDecoder decoder(QStringDecoder::Utf8);
  std::int64_t read = 0;
  const auto feed = [&](std::int64_t until) {
    until = std::clamp(until, read, size);
    text_ += decoder.decode(QByteArrayView(tokens.text.data() + read, static_cast<qsizetype>(until - read)));
    read = until;
    return static_cast<int>(text_.size());
  };
  for (std::size_t i = 0; i < count; ++i) {
    begin_.push_back(feed(tokens.begin[i]));
    end_.push_back(feed(tokens.end[i]));
  }
  feed(size);
}

TextIndex::TextIndex(const record::TokenTable& tokens) {
  const std::size_t count = std::min(tokens.begin.size(), tokens.end.size());
  begin_.reserve(count);
  end_.reserve(count);
  if (!read_clean(tokens, count)) read_any(tokens, count);
  // A token that ends inside a character stands for the whole of it.
  const int length = static_cast<int>(text_.size());
  for (std::size_t i = 0; i < count; ++i) {
    if (tokens.end[i] <= tokens.begin[i] || end_[i] > begin_[i] || begin_[i] >= length) continue;
    end_[i] = begin_[i] + (text_[begin_[i]].isHighSurrogate() && begin_[i] + 1 < length ? 2 : 1);
  }
  for (QChar& c : text_) {
    if (c == QLatin1Char('\r'))
      c = QChar(0x240D);
    else if (c == QChar(0))
      c = QChar(0x2400);
    else if (c == QChar(0xFDD0) || c == QChar(0xFDD1) || c == QChar(QChar::ParagraphSeparator))
      c = QChar(QChar::ReplacementCharacter);
  }
}

std::int64_t TextIndex::token_at(int position) const {
  auto it = std::upper_bound(begin_.begin(), begin_.end(), position);
  if (it == begin_.begin()) return -1;
  --it;
  // Tokens without text share their begin with the next: the one that covers the position is meant.
  const int begin = *it;
  while (it != begin_.begin() && *(it - 1) == begin && end_[static_cast<std::size_t>(it - begin_.begin())] <= position)
    --it;
  return it - begin_.begin();
}

}  // namespace headroom::views
