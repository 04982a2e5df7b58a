// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/session.h"

#include <algorithm>

#include "base/error.h"
#include "checkpoint/adapter.h"
#include "experiment/run/random_model.h"
#include "model/adapted_checkpoint.h"

namespace headroom::experiment {

namespace {

constexpr std::int64_t random_context = std::int64_t{1} << 20;

}  // namespace

Session::FileState Session::file_state(const std::filesystem::path& path) {
  std::error_code ignored;
  FileState state;
  state.written = std::filesystem::last_write_time(path, ignored);
  if (std::filesystem::is_regular_file(path, ignored)) state.bytes = std::filesystem::file_size(path, ignored);
  return state;
}

std::vector<Session::FileState> Session::states() const {
  std::vector<FileState> found = {file_state(random_ ? config_file_ : checkpoint_->path())};
  if (const auto* adapter = checkpoint_->adapter())
    for (const auto& file : adapter->files()) found.push_back(file_state(file));
  return found;
}

Session::Session(const std::string& model, const std::optional<std::string>& adapter, const JobContext& job)
    : model_(model), adapter_(adapter), random_(names_random_model(model)) {
  if (random_) {
    if (adapter) throw usage_error("--adapter belongs to a model, not to random weights");
    RandomModel made = open_random_model(model.substr(random_model_prefix.size()));
    checkpoint_ = std::move(made.checkpoint);
    config_ = std::move(made.config);
    config_file_ = std::move(made.file);
    config_.name += ", random weights";
    config_.context_length = std::max(config_.context_length, random_context);  // trained for no length
  } else {
    checkpoint_ = model::open_model(model, adapter, job);
    config_ = model::read_model_config(*checkpoint_);
  }
  states_ = states();
}

std::vector<std::filesystem::path> Session::files() const {
  return random_ ? std::vector{config_file_} : checkpoint_->files();
}

const tokenizer::Tokenizer& Session::tokenizer() {
  if (!tokenizer_)
    tokenizer_ = random_ ? make_byte_tokenizer(config_.vocabulary)
                         : tokenizer::make_tokenizer(*checkpoint_, config_.vocabulary);
  return *tokenizer_;
}

std::int64_t LoadedWeights::bytes_on(c10::Device device) const {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) sum += parts[i].device == device ? bytes[i] : 0;
  return sum;
}

const model::Decoder& Session::decoder(const model::DeviceParts& parts, c10::ScalarType dtype, const JobContext& job) {
  if (!decoder_ || decoder_->parts() != parts || decoder_->dtype() != dtype) {
    const auto say = [this](std::optional<LoadedWeights> weights) {
      const std::lock_guard lock(mutex_);
      loaded_ = std::move(weights);
    };
    say(std::nullopt);
    decoder_.reset();  // never two copies of the weights at once
    decoder_ = model::load_decoder(*checkpoint_, config_, {parts, dtype}, job);
    say(LoadedWeights{model_, adapter_, parts, dtype, decoder_->part_bytes()});
  }
  return *decoder_;
}

std::optional<LoadedWeights> Session::loaded() const {
  const std::lock_guard lock(mutex_);
  return loaded_;
}

bool Session::is_current() const {
  return states() == states_;
}

c10::ScalarType resolve_dtype(const std::string& dtype, c10::Device device) {
  if (dtype == "bf16") return c10::ScalarType::BFloat16;
  if (dtype == "f32") return c10::ScalarType::Float;
  return !device.is_cpu() || model::cpu_has_bf16() ? c10::ScalarType::BFloat16 : c10::ScalarType::Float;
}

std::string dtype_name(c10::ScalarType dtype) {
  return dtype == c10::ScalarType::BFloat16 ? "bf16" : "f32";
}

}  // namespace headroom::experiment
