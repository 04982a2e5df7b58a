// SPDX-License-Identifier: Apache-2.0
// A model that is open: its file, tokenizer and, once a job needs it, its decoder. An engine keeps it between jobs.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "checkpoint/checkpoint.h"
#include "model/decoder.h"
#include "model/model_config.h"
#include "tokenizer/tokenizer.h"

namespace headroom::experiment {

/// What a session holds on its devices.
struct LoadedWeights {
  std::string model;                   ///< as Session::model()
  std::optional<std::string> adapter;  ///< as Session::adapter()
  model::DeviceParts parts;
  c10::ScalarType dtype = c10::ScalarType::Float;
  std::vector<std::int64_t> bytes;  ///< by part

  std::int64_t bytes_on(c10::Device device) const;
};

/// Not safe for use from several threads at once, but for loaded().
class Session {
 public:
  /// `model` is a path, a short name or random weights (random_model.h), `adapter` what --adapter says. Opens the files
  /// and reads the configuration; throws input errors.
  explicit Session(const std::string& model, const std::optional<std::string>& adapter = {},
                   const JobContext& job = {});

  const std::string& model() const { return model_; }
  const std::optional<std::string>& adapter() const { return adapter_; }
  /// Random weights: of them the configuration alone is on a disk, a byte of text is a token, and no answer means
  /// anything.
  bool is_random() const { return random_; }
  /// What was read: the checkpoint's files, of random weights the configuration.
  std::vector<std::filesystem::path> files() const;
  const checkpoint::Checkpoint& checkpoint() const { return *checkpoint_; }
  const model::ModelConfig& config() const { return config_; }
  /// Made at the first call.
  const tokenizer::Tokenizer& tokenizer();
  /// Loaded at the first call, and again where devices, borders or dtype differ from the last one's.
  const model::Decoder& decoder(const model::DeviceParts& parts, c10::ScalarType dtype, const JobContext& job);
  /// None before the first call of decoder(), and while it loads.
  std::optional<LoadedWeights> loaded() const;
  /// False where a file on disk, the adapter's too, has been replaced since it was opened.
  bool is_current() const;

 private:
  struct FileState {
    std::uintmax_t bytes = 0;
    std::filesystem::file_time_type written{};
    bool operator==(const FileState&) const = default;
  };
  static FileState file_state(const std::filesystem::path& path);
  /// Of what was named: the model's file or folder, then the adapter's files.
  std::vector<FileState> states() const;

  std::string model_;
  std::optional<std::string> adapter_;
  bool random_ = false;
  std::filesystem::path config_file_;  ///< of random weights
  std::unique_ptr<checkpoint::Checkpoint> checkpoint_;
  std::vector<FileState> states_;
  model::ModelConfig config_;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_;
  std::unique_ptr<model::Decoder> decoder_;
  mutable std::mutex mutex_;  ///< of loaded_
  std::optional<LoadedWeights> loaded_;
};

/// "auto": bf16 on a GPU and on CPUs that multiply it natively, else f32.
c10::ScalarType resolve_dtype(const std::string& dtype, c10::Device device);
/// "bf16" or "f32".
std::string dtype_name(c10::ScalarType dtype);

}  // namespace headroom::experiment
