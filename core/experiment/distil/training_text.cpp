// SPDX-License-Identifier: Apache-2.0
#include "experiment/distil/training_text.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"

namespace headroom::experiment {
namespace {

std::size_t pick(std::mt19937_64& random, std::size_t count) {
  return static_cast<std::size_t>(random() % count);
}

std::string_view pick(std::mt19937_64& random, std::span<const std::string_view> list) {
  return list[pick(random, list.size())];
}

std::string fill(std::string_view wording, const std::string& subject, const std::string& number) {
  std::string text(wording);
  for (const auto& [mark, value] : {std::pair{"%1", &subject}, std::pair{"%2", &number}})
    if (const auto at = text.find(mark); at != std::string::npos) text.replace(at, 2, *value);
  return text;
}

}  // namespace

TrainingText::TrainingText(const tokenizer::Tokenizer& tokenizer, SplitTexts texts, bool chat)
    : tokenizer_(tokenizer), texts_(std::move(texts)), chat_(chat) {
  for (const Part part : {Part::training, Part::evaluation}) {
    double total = 0;
    for (const std::string& text : texts_.of(part))
      cumulative_bytes_[static_cast<std::size_t>(part)].push_back(total += static_cast<double>(text.size()));
  }
}

Family TrainingText::family(std::uint64_t seed) const {
  return seed % 2 == 0 && !texts_.of(Part::training).empty() ? Family::text : Family::needles;
}

std::vector<std::int32_t> TrainingText::sequence(Part part, std::int64_t length, std::uint64_t seed) const {
  // The parts' seeds interleave: needle prompts of equal seeds must not get the same numbers.
  std::mt19937_64 random((2 * seed + static_cast<std::uint64_t>(part)) * 0x9e3779b97f4a7c15ull + 1);
  return family(seed) == Family::text ? text_sequence(part, length, random) : needle_sequence(part, length, random);
}

std::vector<std::int32_t> TrainingText::text_sequence(Part part, std::int64_t length, std::mt19937_64& random) const {
  const auto& texts = texts_.of(part);
  const auto& cumulative = cumulative_bytes_[static_cast<std::size_t>(part)];
  std::vector<std::int32_t> ids;
  int empty_draws = 0;
  while (static_cast<std::int64_t>(ids.size()) < length) {
    const double at = static_cast<double>(random() >> 11) * 0x1p-53 * cumulative.back();
    const auto index = static_cast<std::size_t>(std::ranges::upper_bound(cumulative, at) - cumulative.begin());
    const std::string& text = texts[std::min(index, texts.size() - 1)];
    // From the start of a random line, six bytes a token at the most.
    std::size_t begin = pick(random, text.size());
    begin = begin == 0 ? 0 : text.rfind('\n', begin);
    begin = begin == std::string::npos ? 0 : begin;
    const std::size_t wanted = static_cast<std::size_t>(length) * 6;
    std::size_t end = std::min(text.size(), begin + wanted);
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) ++end;
    const std::string_view piece = std::string_view(text).substr(begin, end - begin);
    const auto tokens = tokenizer_.encode(piece, {.add_bos = false});
    left_out_bytes_ += tokenizer::left_out(tokens, piece).bytes;
    empty_draws = tokens.empty() ? empty_draws + 1 : 0;
    if (empty_draws > 1000)  // or this would never end
      throw input_error("--text", "the text has no bytes that this model's vocabulary has tokens for", "text", "none");
    for (const auto& token : tokens) ids.push_back(token.id);
  }
  ids.resize(static_cast<std::size_t>(length));
  return ids;
}

std::vector<std::int32_t> TrainingText::needle_sequence(Part part, std::int64_t length, std::mt19937_64& random) const {
  struct Needle {
    std::string subject, number;
    const Wording* wording;
  };
  const NeedleLists lists = needle_lists(part);
  const bool text_haystack = !texts_.of(part).empty() && random() % 2 == 0;
  std::vector<Needle> needles(1 + pick(random, std::size_t{4}));
  for (Needle& needle : needles) {
    needle.subject = pick(random, lists.subjects);
    needle.subject += ' ';
    needle.subject += pick(random, lists.things);
    needle.number = std::to_string(100000 + random() % 9900000);
    needle.wording = &lists.wordings[pick(random, lists.wordings.size())];
  }
  const auto encode = [&](const std::string& text, bool special = false) {
    std::vector<std::int32_t> ids;
    for (const auto& token : tokenizer_.encode(text, {.parse_special = special, .add_bos = false}))
      ids.push_back(token.id);
    return ids;
  };

  // Several questions at the end give several rows that must look far back.
  std::string tail;
  for (const Needle& needle : needles) {
    const std::string question = fill(needle.wording->question, needle.subject, needle.number);
    const std::string answer = fill(needle.wording->answer, needle.subject, needle.number);
    tail += chat_ ? (tail.empty() ? "\n\n" : "<|im_start|>user\n") + question + "<|im_end|>\n<|im_start|>assistant\n" +
                        answer + "<|im_end|>\n"
                  : "\nQuestion: " + question + "\nAnswer: " + answer + "\n";
  }
  const auto head_ids = encode(chat_ ? "<|im_start|>user\n" + std::string(lists.introduction) + "\n\n" : "", chat_);
  const auto tail_ids = encode(tail, chat_);
  std::vector<std::vector<std::int32_t>> needle_ids;
  std::size_t fixed = head_ids.size() + tail_ids.size();
  for (const Needle& needle : needles) {
    needle_ids.push_back(encode(" " + fill(needle.wording->fact, needle.subject, needle.number)));
    fixed += needle_ids.back().size();
  }
  const std::int64_t haystack = std::max<std::int64_t>(0, length - static_cast<std::int64_t>(fixed));

  std::vector<std::int32_t> hay;
  if (text_haystack && haystack > 0) {
    hay = text_sequence(part, haystack, random);
  } else {
    const std::size_t start = pick(random, lists.sentences.size());
    for (std::size_t i = 0; static_cast<std::int64_t>(hay.size()) < haystack; ++i) {
      const auto sentence = encode((i ? " " : "") + std::string(lists.sentences[(start + i) % lists.sentences.size()]));
      hay.insert(hay.end(), sentence.begin(), sentence.end());
    }
    hay.resize(static_cast<std::size_t>(haystack));
  }
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < needles.size(); ++i) places.push_back(hay.empty() ? 0 : pick(random, hay.size()));
  std::ranges::sort(places);

  std::vector<std::int32_t> ids = head_ids;
  std::size_t from = 0;
  for (std::size_t i = 0; i < places.size(); ++i) {
    ids.insert(ids.end(), hay.begin() + static_cast<std::ptrdiff_t>(from),
               hay.begin() + static_cast<std::ptrdiff_t>(places[i]));
    ids.insert(ids.end(), needle_ids[i].begin(), needle_ids[i].end());
    from = places[i];
  }
  ids.insert(ids.end(), hay.begin() + static_cast<std::ptrdiff_t>(from), hay.end());
  ids.insert(ids.end(), tail_ids.begin(), tail_ids.end());
  // Very short lengths: the end, with the questions, matters most.
  if (static_cast<std::int64_t>(ids.size()) > length) ids.erase(ids.begin(), ids.end() - length);
  return ids;
}

}  // namespace headroom::experiment
