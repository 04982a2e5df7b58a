// SPDX-License-Identifier: Apache-2.0
// The run that tests of runs begin with: a tiny model, some hundred tokens, dense and the oracle, once, on the CPU.
#pragma once

#include <filesystem>
#include <string>

#include "protocol/run_spec.h"
#include "support/tiny_model.h"

namespace headroom::test {

/// A prompt of `lines` lines that hardly repeat themselves.
inline std::string numbered_items(int lines) {
  std::string text;
  for (int i = 0; i < lines; ++i) text += "item " + std::to_string(i * 7919 % 1000) + "\n";
  return text;
}

/// Writes the model to `file`. No record is asked for.
inline protocol::RunSpec small_run(const std::filesystem::path& file, const TinyModelOptions& options) {
  write_tiny_model(file, options);
  protocol::RunSpec spec;
  spec.model = file.string();
  spec.prompt = numbered_items(45);
  spec.methods = {"dense", "oracle"};
  spec.budgets = {parse_budget("24")};
  spec.repeats = 1;
  spec.device = "cpu";
  spec.dtype = "f32";
  spec.max_new_tokens = 4;
  return spec;
}

}  // namespace headroom::test
