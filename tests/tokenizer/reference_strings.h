// SPDX-License-Identifier: Apache-2.0
// The strings on which tokenizers are held against their references, as tests/support/make_tokenizers.py and
// real_tokenizers.py make them, and the hash of what comes out.
#pragma once

#include <malloc.h>

#include <QByteArray>
#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <algorithm>
#include <cstdint>
#include <ctime>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"

namespace headroom::test {

constexpr std::size_t reference_count = 100'000, reference_block = 1000;  // make_tokenizers.py's COUNT and BLOCK

class SplitMix {  // make_tokenizers.py's Random
 public:
  explicit SplitMix(std::uint64_t seed) : state_(seed) {}
  std::size_t below(std::size_t limit) {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return static_cast<std::size_t>((z ^ z >> 31) % limit);
  }

 private:
  std::uint64_t state_;
};

class IdHash {  // hash_ids()
 public:
  void add(const std::vector<tokenizer::Token>& tokens) {
    put(tokens.size());
    for (const auto& token : tokens) put(static_cast<std::uint64_t>(token.id));
  }
  std::string text() const { return QString("%1").arg(value_, 16, 16, QChar('0')).toStdString(); }

 private:
  void put(std::uint64_t number) { value_ = (value_ ^ number) * 0x100000001b3ull; }
  std::uint64_t value_ = 0xcbf29ce484222325ull;
};

/// Qt takes a string of JSON that is U+FEFF alone for a byte order mark, and drops it.
inline std::string whole(const QString& text) {
  return text.isEmpty() ? "\xef\xbb\xbf" : text.toStdString();
}

/// A fixture of tests/tokenizer; empty where it cannot be read.
inline QJsonObject fixture(const char* name) {
  QFile file(QString(HEADROOM_SOURCE_DIR "/tests/tokenizer/") + name);
  if (!file.open(QIODevice::ReadOnly)) return {};
  const QByteArray raw = file.readAll();
  return QJsonDocument::fromJson(QString(name).endsWith(".qz") ? qUncompress(raw) : raw).object();
}

/// string_of() of make_tokenizers.py; with a vocabulary that of real_tokenizers.py.
class ReferenceStrings {
 public:
  /// `data`: families.qz.
  ReferenceStrings(const QJsonObject& data, std::uint64_t seed, std::vector<std::string> vocabulary = {})
      : random_(seed), vocabulary_(std::move(vocabulary)) {
    for (const auto& piece : data["pieces"].toArray()) pieces_.push_back(whole(piece.toString()));
    for (const auto& run : data["runs"].toArray())
      runs_.emplace_back(static_cast<std::size_t>(run[0].toInt()), static_cast<std::size_t>(run[1].toInt()));
  }
  std::string next() {
    std::string text;
    const std::size_t kinds = vocabulary_.empty() ? 8 : 12;
    for (std::size_t parts = 1 + random_.below(10); parts > 0; --parts) {
      const std::size_t kind = random_.below(kinds);
      if (kind == 5) {
        const auto& [first, last] = runs_[random_.below(runs_.size())];
        tokenizer::append_utf8(text, static_cast<char32_t>(first + random_.below(last - first)));
      } else if (kind == 6) {
        text += static_cast<char>(33 + random_.below(94));
      } else if (kind >= 8) {
        text += vocabulary_[random_.below(vocabulary_.size())];
      } else {
        const std::string& piece = pieces_[random_.below(pieces_.size())];
        for (std::size_t times = kind < 5 ? 1 : 1 + random_.below(6); times > 0; --times) text += piece;
      }
    }
    return text;
  }

 private:
  SplitMix random_;
  std::vector<std::string> pieces_, vocabulary_;
  std::vector<std::pair<std::size_t, std::size_t>> runs_;
};

/// A million times one letter, a million spaces, a million characters of base64: one word each, or as good as one.
inline std::vector<std::string> long_words() {
  SplitMix random(1);
  std::string base64;
  for (int i = 0; i < 1'000'000; ++i)
    base64 += "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[random.below(64)];
  return {std::string(1'000'000, 'a'), std::string(1'000'000, ' '), base64};
}

/// Processor time for the first half of a text and for the whole, the least of some tries, for as long as the whole
/// takes more than 2.3 times as much: other programs run beside this one.
inline std::pair<double, double> processor_seconds(const tokenizer::Tokenizer& model, std::string_view text) {
  // Memory that was got once is kept: what getting it anew costs is the machine's, and not even.
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  double half = std::numeric_limits<double>::max(), whole = half;
  const auto time = [&](std::string_view part, double& least) {
    const std::clock_t begin = std::clock();
    model.encode(part);
    least = std::min(least, static_cast<double>(std::max<std::clock_t>(std::clock() - begin, 1)) / CLOCKS_PER_SEC);
  };
  for (int i = 0; i < 100 && (i < 2 || whole >= 2.3 * half); ++i) {
    time(text.substr(0, text.size() / 2), half);
    time(text, whole);
  }
  return {half, whole};
}

}  // namespace headroom::test
