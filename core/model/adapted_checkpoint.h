// SPDX-License-Identifier: Apache-2.0
// A base and its LoRA adapter as one checkpoint: tensors are merged in fp32 as they are read, rows at a time, whatever
// type the base stores; there is never a second copy of the model. GGUF's names and its order of rows follow from the
// family's plans of both formats. And opening what a command names: model, short name, adapter.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/progress.h"
#include "checkpoint/adapter.h"
#include "checkpoint/checkpoint.h"
#include "model/model_config.h"

namespace headroom::model {

/// Throws input errors: a module that the base does not have or no part of an adapter may change, factors of another
/// shape, a module that the configuration names and the file does not hold or the reverse, and an architecture that
/// belongs to another base or does not fit it. Hashes the base (polling `job`) where the adapter says which it needs.
std::unique_ptr<checkpoint::Checkpoint> apply_adapter(std::unique_ptr<checkpoint::Checkpoint> base,
                                                      std::shared_ptr<const checkpoint::Adapter> adapter,
                                                      const JobContext& job = {});

/// What a command names: a path or a short name, and an adapter's folder or file. Throws input errors.
std::unique_ptr<checkpoint::Checkpoint> open_model(const std::string& path_or_name,
                                                   const std::optional<std::string>& adapter = {},
                                                   const JobContext& job = {});

/// Kinds of layers, window, RoPE's base and context as the adapter says. Throws input errors where that does not fit.
void change_architecture(const checkpoint::ArchitectureChange& change, ModelConfig& config);

}  // namespace headroom::model
