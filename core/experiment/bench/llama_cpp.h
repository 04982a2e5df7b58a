// SPDX-License-Identifier: Apache-2.0
// Prefill of the same ids in llama.cpp, through a Python that has llama-cpp-python: the peer that most people use.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"

namespace headroom::experiment {

struct LlamaCppTimes {
  bool flash_attention = false;
  std::vector<double> ms;  ///< of each timed pass, ids to the first token's id; empty where it failed
  std::string error;
};

class LlamaCpp {
 public:
  /// Starts `python` once to see that it has llama-cpp-python. Throws input errors where it has not.
  LlamaCpp(std::string python, const JobContext& job);
  const std::string& version() const { return version_; }

  /// With flash attention and without, each after a warm-up of 64 tokens. `model` is a GGUF file. Throws input errors
  /// where nothing comes back; cancelled where a stop was requested (the child is ended).
  std::vector<LlamaCppTimes> time(const std::filesystem::path& model, std::span<const std::int32_t> ids, int threads,
                                  int repeats, const JobContext& job) const;

 private:
  std::string run(const std::string& request, const JobContext& job) const;

  std::string python_, script_, version_;
};

}  // namespace headroom::experiment
