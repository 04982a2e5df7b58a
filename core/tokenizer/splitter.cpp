// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/splitter.h"

#include "tokenizer/unicode.h"

namespace headroom::tokenizer {
namespace {

void put_word(std::vector<Match>& out, std::size_t begin, std::size_t end) {
  if (begin < end) out.push_back({begin, end});
}

/// Cuts one word at the separators that a pattern finds.
class WordCutter {
 public:
  WordCutter(const SplitStep& step, std::vector<Match>& out) : step_(step), out_(out) {}

  void cut(std::string_view text, const Match& word) {
    found_.clear();
    step_.what->find(text.substr(word.begin, word.end - word.begin), found_);
    parts_.clear();
    std::size_t done = word.begin;
    for (const Match& match : found_) {
      add(done, word.begin + match.begin, step_.invert);
      add(word.begin + match.begin, word.begin + match.end, !step_.invert);
      done = word.begin + match.end;
    }
    add(done, word.end, step_.invert);
    join(word);
  }

 private:
  struct Part {
    Match range;
    bool separator;
  };
  void add(std::size_t begin, std::size_t end, bool separator) {
    if (begin < end) parts_.push_back({{begin, end}, separator});
  }
  void join(const Match& word) {
    switch (step_.behaviour) {
      case Behaviour::removed:
        for (const Part& part : parts_)
          if (!part.separator) out_.push_back(part.range);
        return;
      case Behaviour::isolated:
        for (const Part& part : parts_) out_.push_back(part.range);
        return;
      case Behaviour::contiguous:
        for (std::size_t i = 0; i < parts_.size(); ++i) {
          if (i > 0 && parts_[i].separator == parts_[i - 1].separator)
            out_.back().end = parts_[i].range.end;
          else
            out_.push_back(parts_[i].range);
        }
        return;
      case Behaviour::merged_with_previous:
        for (std::size_t i = 0; i < parts_.size(); ++i) {
          if (i > 0 && parts_[i].separator && !parts_[i - 1].separator)
            out_.back().end = parts_[i].range.end;
          else
            out_.push_back(parts_[i].range);
        }
        return;
      case Behaviour::merged_with_next: {
        std::size_t begin = word.begin;
        for (std::size_t i = 0; i < parts_.size(); ++i) {
          const bool with_next = parts_[i].separator && i + 1 < parts_.size() && !parts_[i + 1].separator;
          if (with_next) continue;
          out_.push_back({begin, parts_[i].range.end});
          begin = parts_[i].range.end;
        }
        return;
      }
    }
  }

  const SplitStep& step_;
  std::vector<Match>& out_;
  std::vector<Match> found_;
  std::vector<Part> parts_;
};

/// A scanner of GGUF's cuts everything there is.
void cut_all(SplitFunction split, const MappedText& text, std::vector<Match>& words) {
  std::vector<Match> out;
  const auto matcher = scanner_matcher(split);
  for (const Match& word : words) {
    std::vector<Match> found;
    matcher->find(std::string_view(text.text).substr(word.begin, word.end - word.begin), found);
    if (words.size() == 1 && word.begin == 0) {
      words = std::move(found);
      return;
    }
    for (const Match& match : found) put_word(out, word.begin + match.begin, word.begin + match.end);
  }
  words = std::move(out);
}

void put_prefix_spaces(MappedText& text, std::vector<Match>& words) {
  MappedTextWriter out(text);
  std::size_t done = 0;
  for (Match& word : words) {
    out.keep(done, word.begin);
    const std::size_t begin = out.size();
    if (text.text[word.begin] != ' ') out.put(word.begin, word.begin, " ");
    out.keep(word.begin, word.end);
    done = word.end;
    word = {begin, out.size()};
  }
  out.keep(done, text.text.size());
  text = out.finish();
}

/// Writes what stands for spaces, at the beginning too where asked for.
void replace_spaces(const SplitStep& step, MappedText& text, std::vector<Match>& words) {
  MappedTextWriter out(text);
  std::size_t done = 0;
  for (Match& word : words) {
    out.keep(done, word.begin);
    done = word.end;
    const std::size_t begin = out.size();
    const std::string_view all(text.text.data(), word.end);
    const bool has_it = all[word.begin] == ' ' || all.substr(word.begin).starts_with(step.replacement);
    const bool wanted = step.prepend == SplitStep::Prepend::always ||
                        (step.prepend == SplitStep::Prepend::first && text.place(word.begin) == 0);
    if (wanted && !has_it) out.put(word.begin, word.begin, step.replacement);
    std::size_t kept = word.begin;
    for (std::size_t at; (at = all.find(' ', kept)) != std::string_view::npos; kept = at + 1) {
      out.keep(kept, at);
      out.put(at, at + 1, step.replacement);
    }
    out.keep(kept, word.end);
    word = {begin, out.size()};
  }
  out.keep(done, text.text.size());
  text = out.finish();
}

}  // namespace

void split_words(std::span<const SplitStep> steps, MappedText& text, std::vector<Match>& words) {
  words.clear();
  put_word(words, 0, text.text.size());
  for (const SplitStep& step : steps) {
    if (words.empty()) return;
    switch (step.kind) {
      case SplitStep::Kind::gguf:
        cut_all(step.split, text, words);
        continue;
      case SplitStep::Kind::byte_level:
        if (step.prefix_space) put_prefix_spaces(text, words);
        break;
      case SplitStep::Kind::metaspace:
        replace_spaces(step, text, words);
        break;
      case SplitStep::Kind::pattern:
        break;
    }
    if (step.what == nullptr || (step.kind == SplitStep::Kind::metaspace && !step.cut)) continue;
    std::vector<Match> next;
    next.reserve(words.size());
    WordCutter cutter(step, next);
    for (const Match& word : words) cutter.cut(text.text, word);
    words = std::move(next);
  }
}

}  // namespace headroom::tokenizer
