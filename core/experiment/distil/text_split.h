// SPDX-License-Identifier: Apache-2.0
// The user's text for distillation, cut into a part to train on and a part that is held out. What decides is a hash of
// the content: neither the order nor the names of files, and copies of one file never lie in both parts.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "experiment/distil/needle_lists.h"

namespace headroom::experiment {

struct Texts {
  std::vector<std::string> files;            ///< contents: UTF-8 of at least 200 bytes, without zero bytes
  std::vector<std::filesystem::path> paths;  ///< of these files
  std::int64_t passed_over = 0;              ///< files that are no such text or, in folders, larger than 16 MB
};
/// Reads every regular file below the given files and folders, in sorted order. Throws input errors: nothing readable,
/// a path that is not there.
Texts read_texts(const std::vector<std::filesystem::path>& paths);

/// How the text was split, for figures and messages.
struct TextSplit {
  struct Counts {
    std::int64_t pieces = 0, bytes = 0;
  };
  std::string unit;  ///< "files"; "blocks" where whole files would leave too little in a part; empty without text
  Counts training, evaluation;
  std::int64_t passed_over = 0;  ///< files, see Texts
  std::string fingerprint;       ///< SHA-256 of all contents and the unit, whatever their order; empty without text
};

struct SplitTexts {
  TextSplit split;
  std::array<std::vector<std::string>, 2> texts;  ///< by Part

  const std::vector<std::string>& of(Part part) const { return texts[static_cast<std::size_t>(part)]; }
  std::vector<std::string>& of(Part part) { return texts[static_cast<std::size_t>(part)]; }
};

/// Where the content belongs: one in eight, by its SHA-256, is held out for evaluation.
Part part_of(std::string_view content);
/// By whole files where each part then has at least four of them and a 64th of the bytes, else by blocks of one to four
/// KB that end at a line's end (neighbours of the same part stay together). Throws an input error where even blocks
/// leave fewer than four to a part. No text at all is no error: both parts are empty then.
SplitTexts split_texts(Texts texts);

}  // namespace headroom::experiment
