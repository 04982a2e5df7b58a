// SPDX-License-Identifier: Apache-2.0
#include "experiment/training_text.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>

#include "base/error.h"

namespace headroom::experiment {
namespace fs = std::filesystem;
namespace {

constexpr std::uintmax_t max_file_bytes = 16u << 20;

constexpr std::array filler = {"The harbour was quiet before sunrise.",   "Two ferries crossed the bay at noon.",
                               "Someone had left a lantern on the pier.", "Gulls argued over a piece of bread.",
                               "The baker opened his shutters early.",    "Rain moved in from the west by evening.",
                               "A cart rattled over the wet stones.",     "Children counted the boats from the wall.",
                               "The lighthouse keeper wrote his log.",    "Nets were hung to dry along the quay."};
constexpr std::array subjects = {"amber",  "basalt", "cedar",   "dahlia",  "ember", "falcon", "garnet", "heron",
                                 "indigo", "jasper", "kestrel", "lichen",  "maple", "nutmeg", "osprey", "poplar",
                                 "quartz", "raven",  "saffron", "thistle", "umber", "violet", "walnut", "yarrow"};
constexpr std::array things = {"locker", "parcel", "archive", "cabin", "ticket", "engine", "garden", "vault"};

struct Wording {
  const char* fact;      // %1 = subject thing, %2 = number
  const char* question;  // %1
  const char* answer;    // %1, %2
};
constexpr std::array wordings = {
    Wording{"Remember that the access code of the %1 is %2.", "Which access code belongs to the %1?",
            "The access code of the %1 is %2."},
    Wording{"Note: %2 is the serial number printed on the %1.", "State the serial number printed on the %1.",
            "The %1 carries the serial number %2."},
    Wording{"The registry lists the %1 under entry %2.", "Under which entry does the registry list the %1?",
            "The registry lists it under entry %2."}};

std::size_t pick(std::mt19937_64& random, std::size_t count) {
  return static_cast<std::size_t>(random() % count);
}

std::string fill(std::string text, const std::string& subject, const std::string& number) {
  for (const auto& [mark, value] : {std::pair{"%1", &subject}, std::pair{"%2", &number}})
    if (const auto at = text.find(mark); at != std::string::npos) text.replace(at, 2, *value);
  return text;
}

bool readable_text(const std::string& text) {
  return text.size() >= 200 && text.find('\0') == std::string::npos;
}

}  // namespace

std::vector<std::string> read_texts(const std::vector<fs::path>& paths) {
  std::vector<fs::path> files;
  for (const fs::path& path : paths) {
    std::error_code failed;
    if (fs::is_directory(path, failed)) {
      for (const auto& entry :
           fs::recursive_directory_iterator(path, fs::directory_options::skip_permission_denied, failed))
        if (entry.is_regular_file(failed) && entry.file_size(failed) <= max_file_bytes) files.push_back(entry.path());
    } else if (fs::is_regular_file(path, failed)) {
      files.push_back(path);
    } else {
      throw input_error(path.string(), "training text is not there", "a file or a folder");
    }
  }
  std::ranges::sort(files);
  std::vector<std::string> texts;
  for (const fs::path& file : files) {
    std::ifstream stream(file, std::ios::binary);
    std::ostringstream content;
    content << stream.rdbuf();
    if (readable_text(content.str())) texts.push_back(content.str());
  }
  if (texts.empty() && !paths.empty())
    throw input_error(paths.front().string(), "holds no text to train on", "UTF-8 text files of at least 200 bytes",
                      std::to_string(files.size()) + " files, none of them usable");
  return texts;
}

TrainingText::TrainingText(const tokenizer::Tokenizer& tokenizer, std::vector<std::string> texts, bool chat)
    : tokenizer_(tokenizer), texts_(std::move(texts)), chat_(chat) {
  // Files that the tokenizer refuses (invalid UTF-8) are left out here, once, instead of failing in mid-training.
  std::erase_if(texts_, [&](const std::string& text) {
    try {
      tokenizer_.encode(text.substr(0, text.find('\n', 100)));
      return false;
    } catch (const Error&) {
      return true;
    }
  });
  double total = 0;
  for (const std::string& text : texts_) cumulative_bytes_.push_back(total += static_cast<double>(text.size()));
}

std::vector<std::int32_t> TrainingText::sequence(std::int64_t length, std::uint64_t seed) const {
  std::mt19937_64 random(seed * 0x9e3779b97f4a7c15ull + 1);
  if (seed % 2 == 0 && !texts_.empty()) return text_sequence(length, random);
  return needle_sequence(length, random);
}

std::vector<std::int32_t> TrainingText::text_sequence(std::int64_t length, std::mt19937_64& random) const {
  std::vector<std::int32_t> ids;
  while (static_cast<std::int64_t>(ids.size()) < length) {
    const double at = static_cast<double>(random() >> 11) * 0x1p-53 * cumulative_bytes_.back();
    const auto index =
        static_cast<std::size_t>(std::ranges::upper_bound(cumulative_bytes_, at) - cumulative_bytes_.begin());
    const std::string& text = texts_[std::min(index, texts_.size() - 1)];
    // From the start of a random line, six bytes a token at the most.
    std::size_t begin = pick(random, text.size());
    begin = begin == 0 ? 0 : text.rfind('\n', begin);
    begin = begin == std::string::npos ? 0 : begin;
    const std::size_t wanted = static_cast<std::size_t>(length) * 6;
    std::size_t end = std::min(text.size(), begin + wanted);
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) ++end;
    try {
      for (const auto& token : tokenizer_.encode(std::string_view(text).substr(begin, end - begin), {.add_bos = false}))
        ids.push_back(token.id);
    } catch (const Error&) {
      continue;  // invalid UTF-8 further down in the file
    }
  }
  ids.resize(static_cast<std::size_t>(length));
  return ids;
}

std::vector<std::int32_t> TrainingText::needle_sequence(std::int64_t length, std::mt19937_64& random) const {
  struct Needle {
    std::string subject, number;
    const Wording* wording;
  };
  const bool text_haystack = !texts_.empty() && random() % 2 == 0;
  std::vector<Needle> needles(1 + pick(random, 4));
  for (Needle& needle : needles)
    needle = {std::string(subjects[pick(random, subjects.size())]) + ' ' + things[pick(random, things.size())],
              std::to_string(100000 + random() % 9900000), &wordings[pick(random, wordings.size())]};
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
  const auto head_ids =
      encode(chat_ ? "<|im_start|>user\nKeep the following notes in mind. Questions come afterwards.\n\n" : "", chat_);
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
    hay = text_sequence(haystack, random);
  } else {
    const std::size_t start = pick(random, filler.size());
    for (std::size_t i = 0; static_cast<std::int64_t>(hay.size()) < haystack; ++i) {
      const auto sentence = encode(std::string(i ? " " : "") + filler[(start + i) % filler.size()]);
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
