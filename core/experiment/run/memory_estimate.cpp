// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/memory_estimate.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "attention/analysis.h"
#include "attention/analysis_device.h"
#include "base/error.h"
#include "base/machine_limits.h"
#include "experiment/bench/floor.h"
#include "experiment/passes/dense_streams.h"
#include "experiment/passes/recorded_pass.h"
#include "kernels/cpu/isa.h"
#include "model/decoder.h"
#include "model/family.h"
#include "model/row_pieces.h"
#include "model/weights.h"
#include "record/pyramid.h"

namespace headroom::experiment {
namespace {

constexpr std::int64_t mib = 1 << 20;
// Resident size of program and LibTorch with their threads, before a model is loaded (measured).
constexpr std::int64_t program_bytes = 160 * mib;
// What the CUDA half, its context and pinned buffers add on the host.
constexpr std::int64_t cuda_host_bytes = 1500 * mib;
// Pairs of one run of rows (PreparedLayer::run_rows): on the CPU of one head group; on a device of all heads, in fp32
// with two more tensors of that size while a softmax or a ranking is made of them, or candidates of a fused selection.
constexpr std::int64_t cpu_run_pairs = 8 * mib, cpu_run_rows = 2048;
constexpr std::int64_t device_scores_bytes = 4 * 512 * mib;
constexpr std::int64_t logits_rows = 256;  // of the whole vocabulary at a time (core/model/decoder.cpp)
constexpr std::int64_t narrow_rows = 16;   // from more rows on the output matrix is widened (model/row_kernels.cpp)
// Of the C library: a thread's stack, and the heap that it reserves for a thread when that first allocates.
constexpr std::int64_t thread_stack_bytes = 8 * mib, thread_heap_bytes = 64 * mib;

class Estimator {
 public:
  Estimator(const checkpoint::Checkpoint& file, const model::ModelConfig& config, c10::ScalarType dtype,
            c10::Device device, const MemoryWorkload& work)
      : file_(file),
        config_(config),
        bf16_(dtype == c10::ScalarType::BFloat16),
        on_cpu_(device.is_cpu()),
        device_(device),
        work_(work),
        element_(bf16_ ? 2 : 4),
        sizes_(config.typical_layer().attention),
        mlp_width_(config.typical_layer().mlp.active_width()),
        q_values_(sizes_.num_q_heads * work.length * sizes_.head_dim),
        kv_values_(sizes_.num_kv_heads * work.length * sizes_.head_dim) {}

  MemoryEstimate operator()() const {
    MemoryEstimate estimate;
    for (const auto& tensor : file_.tensors()) estimate.weights += tensor.elements() * element_;
    const auto timed = pass() + cache(0) + (work_.own ? work_.own(work_.length) : 0) + widest([&](const auto& method) {
                         return attention(method) + (work_.analysed ? 0 : kept_supports(method));
                       });
    const auto recorded = pass() + cache(work_.new_tokens) +
                          widest([&](const auto& method) {
                            const auto chosen = kept_supports(method);
                            return chosen + std::max(attention(method), on_cpu_ ? 0 : device_analysis(method));
                          });
    const auto scored = cache(work_.new_tokens) * (work_.compared ? 2 : 1) + predictions();
    const auto on_host = [&](const auto& method) { return marginals(method) + std::max(analysis(method), compared()); };
    if (on_cpu_) {
      auto most = std::max({timed, loading() - estimate.weights, work_.floor ? floor() : 0});
      if (work_.analysed) {
        const auto observed = pass() + cache(work_.new_tokens) + widest([&](const auto& method) {
                                return prepared(method) + kept_supports(method) + on_host(method);
                              });
        const auto kept = widest([&](const auto& method) { return marginals(method); });
        most = std::max({most, recorded + kept, observed, scored + kept});
      }
      estimate.host = program_bytes + indexer_bytes() + dense_streams() + most;
    } else {
      estimate.device = 4 * indexer_values() + std::max({timed, work_.analysed ? std::max(recorded, scored) : 0,
                                                         work_.floor ? device_floor() : 0});
      estimate.cache = cache(0);
      estimate.host = program_bytes + cuda_host_bytes + 4 * indexer_values() + dense_streams() +
                      std::max(loading(), work_.analysed ? widest(on_host) : 0);
    }
    return estimate;
  }

 private:
  std::int64_t rows_values(std::int64_t width) const { return work_.length * width; }
  bool fp32_arithmetic() const { return !bf16_ || kernels::cpu::preferred_isa() != kernels::cpu::Isa::avx512_bf16; }

  /// Most of the host at one time while weights are made, those that stay there included: threads hold pieces, as fp32
  /// where the values change their type, and of a device's what passes through the host.
  std::int64_t loading() const {
    std::int64_t made = 0, largest = 0;
    for (const auto& tensor : file_.tensors()) {
      made += on_cpu_ ? tensor.elements() * element_ : 0;
      largest = std::max(largest, tensor.elements());
    }
    const std::int64_t bytes = (bf16_ || !on_cpu_ ? 4 : 0) + (bf16_ && !on_cpu_ ? 2 : 0);
    return made + at::get_num_threads() * std::min(model::load_piece_bytes, largest * bytes);
  }

  /// q and k of a dense run, where a method chooses by them.
  std::int64_t dense_streams() const {
    return widest([&](const auto& method) {
      return method.traits().needs_dense_stream ? DenseStreams::bytes(config_, work_.length, element_) : 0;
    });
  }

  /// Elements of the weights of all indexers, each counted once.
  std::int64_t indexer_values() const {
    std::set<const attention::IndexSource*> seen;
    std::int64_t values = 0;
    for (const auto* method : work_.methods) {
      const auto* index = method->settings().index.get();
      if (!index || !seen.insert(index).second) continue;
      for (std::int64_t layer = 0; layer < config_.num_layers(); ++layer)
        if (const auto* weights = index->find_layer(static_cast<int>(layer)))
          values += weights->q_proj.numel() + weights->k_proj.numel();
    }
    return values;
  }
  /// As they were read, in fp32, and as the kernels read them.
  std::int64_t indexer_bytes() const { return indexer_values() * (4 + (fp32_arithmetic() ? 4 : 2)); }

  /// What an MLP holds for each of the rows that it is given at one time.
  std::int64_t mlp_row_bytes(const model::MlpSpec& mlp) const {
    if (!mlp.has_experts()) return 3 * mlp.width * element_;
    // mlps/experts.cpp and clamped_experts.cpp: the row in fp32 with the router's logits and their softmax; then for
    // each expert used the row itself, gate and up, their product, what comes back, once more in order and once more
    // weighted.
    const std::int64_t router = (config_.width + 2 * mlp.experts) * 4;
    std::int64_t used = (4 * config_.width + 3 * mlp.width) * element_;
    if (mlp.kind == model::MlpKind::clamped_experts)  // biases, and the arithmetic between in fp32
      used += (config_.width + 2 * mlp.width) * element_ + (2 + 5) * mlp.width * 4;
    const std::int64_t shared = mlp.shared_width > 0 ? (3 * mlp.shared_width + 2 * config_.width) * element_ : 0;
    return router + mlp.experts_used * used + shared;
  }

  /// The decoder's own tensors during a pass, without the cache.
  std::int64_t pass() const {
    const auto hidden = 2 * rows_values(config_.width) * element_;
    const auto rope = rows_values(sizes_.head_dim) * 4;
    const model::RowPieces pieces(0, work_.length, device_);
    const auto columns = (sizes_.num_q_heads + 2 * sizes_.num_kv_heads) * sizes_.head_dim + config_.width;
    std::int64_t mlp = 0;
    for (const model::LayerSpec& spec : config_.layers) mlp = std::max(mlp, mlp_row_bytes(spec.mlp));
    const auto buffers = pieces.workers() * pieces.largest() * (columns * element_ + mlp);
    // Of linear layers the joint projection and what the rule gives, and its fp32 operands of a segment.
    std::int64_t linear = 0;
    for (const model::LayerSpec& spec : config_.layers) {
      if (spec.kind != model::LayerKind::linear) continue;
      const std::int64_t wide = spec.delta.channels() + 2 * spec.delta.value_width() + 2 * spec.delta.value_heads;
      constexpr std::int64_t segment = 8192, operands = 8;  // mixers/delta_net.cpp
      linear = rows_values(wide) * element_ + std::min(segment, work_.length) * wide * operands * 4;
    }
    const auto layer = std::max((2 * q_values_ + 2 * kv_values_) * element_, linear);
    return hidden + rope + buffers + layer + (work_.all_logits ? every_logit() : 2 * config_.vocabulary * 4);
  }

  /// Keys and values of all layers, with room for what is decoded.
  std::int64_t cache(std::int64_t more) const {
    if (work_.all_logits) return 0;
    return config_.kv_values_per_token() * (work_.length + more) * element_;
  }

  /// fp32 logits of every position, those of one piece of rows beside them, and the matrix that makes them.
  std::int64_t every_logit() const {
    const auto piece = std::min(work_.length, logits_rows);
    return (work_.length + (work_.length > logits_rows ? piece : 0)) * config_.vocabulary * 4 + widened_output(piece);
  }
  std::int64_t widened_output(std::int64_t rows) const {
    return on_cpu_ && bf16_ && rows > narrow_rows ? config_.vocabulary * config_.width * 4 : 0;
  }

  /// fp32 logits of dense's answer, and a piece of what a method predicts along it (passes/scored_pass.cpp).
  std::int64_t predictions() const {
    const auto kept = work_.compared ? 1 + work_.new_tokens : 2;
    return (kept + narrow_rows) * config_.vocabulary * 4;
  }

  std::int64_t widest(const std::function<std::int64_t(const attention::Policy&)>& of) const {
    std::int64_t most = 0;
    for (const auto* method : work_.methods) most = std::max(most, of(*method));
    return most;
  }

  /// Keys and values as the kernels read them: widened, or values in pairs.
  std::int64_t prepared(const attention::Policy&) const {
    if (!on_cpu_) return 0;
    return fp32_arithmetic() ? (bf16_ ? 2 * kv_values_ * 4 : 0) : kv_values_ * 2;
  }

  /// Inside one layer's attention.
  std::int64_t attention(const attention::Policy& method) const {
    if (!on_cpu_) return method.is_dense() ? q_values_ * element_ : device_scores_bytes + tile_bytes(method);
    // LibTorch's dense makes an output of its own.
    if (method.is_dense()) return std::max(prepared(method), q_values_ * element_);
    return prepared(method) + scores(method) + run_tile(method);
  }

  std::int64_t groups(const attention::Policy& method) const {
    return num_support_groups(method.traits().scope, sizes_.num_q_heads, sizes_.num_kv_heads);
  }
  std::int64_t run_rows() const {
    return std::min({work_.length, cpu_run_rows, std::max<std::int64_t>(128, cpu_run_pairs / work_.length)});
  }
  bool by_mass(const attention::Policy& method) const {
    return method.settings().budget && method.settings().budget->kind == BudgetKind::mass;
  }

  /// What keys are ranked by: log-sum-exp for attention mass, the index's projections; and a run's scores, where they
  /// are not ranked tile by tile as they are made.
  std::int64_t scores(const attention::Policy& method) const {
    const auto run = groups(method) * run_rows() * work_.length * 4;
    const bool added = method.settings().granularity > 1 || by_mass(method);
    switch (method.traits().score) {
      case ScoreKind::mass:
        return groups(method) == 1 ? sizes_.num_q_heads * work_.length * 4 : run;
      case ScoreKind::index: {
        const std::int64_t dim = method.settings().index ? method.settings().index->dim() : 0;
        // q and k, and k as the scorer reads it; softmax needs them in fp32, and a run's scores.
        return rows_values(dim) * (3 * element_ + 4) + (added ? rows_values(dim) * 3 * 4 + run : 0);
      }
      case ScoreKind::other:  // a run's scores, and one tensor of a tile's while they are made
        return run;
      default:
        return 0;
    }
  }

  /// The supports of one run: of mass budgets as wide as the history, then cut to the widest row.
  std::int64_t run_tile(const attention::Policy& method) const {
    const auto width = by_mass(method) ? work_.length + support_width(method) : support_width(method);
    return groups(method) * run_rows() * (width + 1) * 4;
  }

  /// Keys in the widest row of a support.
  std::int64_t support_width(const attention::Policy& method) const {
    if (!method.settings().budget) return 0;
    // How many keys a mass takes only the prompt tells; half of them is more than was seen.
    if (by_mass(method)) return (work_.length + 1) / 2;
    return std::min(method.most_tokens(work_.length), work_.length);
  }
  std::int64_t tile_bytes(const attention::Policy& method) const {
    return groups(method) * work_.length * (support_width(method) + 1) * 4;
  }
  std::int64_t kept_supports(const attention::Policy& method) const {
    return work_.supports_kept ? tile_bytes(method) : 0;
  }

  /// A method's rows of mass received and selection frequency, of all layers until it is done.
  std::int64_t marginals(const attention::Policy& method) const {
    const auto rows = sizes_.num_q_heads + 1 + (method.is_dense() ? 0 : groups(method));
    return work_.analysed ? config_.num_layers() * rows * work_.length * 4 : 0;
  }

  /// One layer's analysis (core/attention/analysis.cpp): q and k are read as fp32 and packed; then curve values, sums
  /// over columns, bitmaps (and their copies for the working file), thumbnails, blocks.
  std::int64_t analysis(const attention::Policy& method) const {
    if (!work_.analysed) return 0;
    const auto length = work_.length, heads = sizes_.num_q_heads + 1;
    const auto sets = method.is_dense() ? 0 : groups(method);
    const auto packed = (q_values_ + kv_values_) * 4, read = (bf16_ ? 2 : 1) * packed;
    const auto curves = heads * attention::most_curve_budgets * std::min<std::int64_t>(length, 16384) * 4;
    const auto columns = (heads + sets) * length * (8 + 4) + 2 * sizes_.num_q_heads * length * 4;
    const auto thumbnails = 2 * heads * RecordedPass::thumbnail_size * RecordedPass::thumbnail_size * 4;
    const std::int64_t threads = at::get_num_threads();
    const auto blocks = threads * (heads * 8 + 2 * (heads + sets)) * length * 4;
    const auto bits = sets * length * ((length + 7) / 8);
    const auto bitmaps = (work_.maps_kept ? 6 : 3) * bits;
    return std::max(bits + read, packed + curves + columns + bitmaps + thumbnails + blocks);
  }

  /// The same where the layer is (core/attention/analysis_device.cpp).
  std::int64_t device_analysis(const attention::Policy& method) const {
    if (!work_.analysed) return 0;
    record::PyramidLevels levels;
    if (work_.maps_kept)
      levels = record::pyramid_levels(work_.length,
                                      {"full", sizes_.num_q_heads, sizes_.num_kv_heads, sizes_.head_dim, 0, 0});
    return attention::device_analysis_bytes(work_.length, sizes_.num_q_heads, sizes_.num_kv_heads, sizes_.head_dim,
                                            levels.mean, levels.heads, !method.is_dense());
  }

  /// Hidden states beside the dense run's, as fp32.
  std::int64_t compared() const {
    return work_.analysed ? 3 * rows_values(config_.width) * 4 + 2 * rows_values(config_.width) * element_ : 0;
  }

  /// LibTorch's products of these shapes, with random matrices that are made in fp32 (bench/floor.cpp).
  std::int64_t floor() const {
    const auto q_width = sizes_.num_q_heads * sizes_.head_dim, kv_width = sizes_.num_kv_heads * sizes_.head_dim;
    const auto inputs = rows_values(2 * config_.width + q_width + mlp_width_);
    const auto matrices = config_.width * (2 * q_width + 2 * kv_width + 3 * mlp_width_);
    const auto output = config_.vocabulary * config_.width;
    const auto made = (inputs + matrices + output) * element_ + (bf16_ ? output * 4 : 0);
    const auto run =
        (inputs + matrices + output + 2 * q_values_ + 2 * kv_values_ + rows_values(2 * mlp_width_)) * element_;
    return std::max(made, run);
  }

  /// The same on a GPU: products of so many rows at most, attention of all; nothing passes through the host.
  std::int64_t device_floor() const {
    const auto q_width = sizes_.num_q_heads * sizes_.head_dim, kv_width = sizes_.num_kv_heads * sizes_.head_dim;
    const auto rows = Floor::product_rows(work_.length, device_);
    const auto inputs = rows * (2 * config_.width + q_width + mlp_width_), largest = rows * 2 * mlp_width_;
    const auto matrices = config_.width * (2 * q_width + 2 * kv_width + 3 * mlp_width_) +
                          config_.vocabulary * config_.width;
    return (inputs + largest + matrices + 2 * q_values_ + 2 * kv_values_) * element_ +
           (work_.own ? work_.own(work_.length) : 0);
  }

  const checkpoint::Checkpoint& file_;
  const model::ModelConfig& config_;
  bool bf16_, on_cpu_;
  c10::Device device_;
  const MemoryWorkload& work_;
  std::int64_t element_;
  const model::AttentionSpec& sizes_;  ///< of the layers; those of a full one where they differ
  std::int64_t mlp_width_, q_values_, kv_values_;
};

}  // namespace

MemoryEstimate estimate_memory(const checkpoint::Checkpoint& file, const model::ModelConfig& config,
                               c10::ScalarType dtype, c10::Device device, const MemoryWorkload& workload) {
  return Estimator(file, config, dtype, device, workload)();
}

std::string size_text(std::int64_t bytes) {
  char text[32];
  if (bytes >= 10LL << 30)
    std::snprintf(text, sizeof text, "%.0f GB", static_cast<double>(bytes) / (1 << 30));
  else if (bytes >= 1LL << 30)
    std::snprintf(text, sizeof text, "%.1f GB", static_cast<double>(bytes) / (1 << 30));
  else
    std::snprintf(text, sizeof text, "%.0f MB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

std::int64_t resident_program_bytes(c10::Device device) {
  return std::min(model::resident_bytes(), program_bytes + (device.is_cpu() ? 0 : cuda_host_bytes));
}

HostMemory host_memory(c10::Device device) {
  const MachineLimits limits = machine_limits();
  HostMemory memory;
  memory.limit = limits.memory_limit;
  memory.total = limits.total_bytes;
  if (limits.free_bytes > 0) memory.free = limits.free_bytes + resident_program_bytes(device);
  // Threads map more than they use. The interrupt's thread and those that load the model are among them.
  if (limits.is_address_space)
    memory.mapped_only = (at::get_num_threads() + 1) * (thread_stack_bytes + thread_heap_bytes);
  return memory;
}

std::int64_t longest_that_fits(std::int64_t length, std::int64_t free,
                               const std::function<std::int64_t(std::int64_t)>& needed) {
  std::int64_t fits = 0, too_long = length;
  while (too_long - fits > 1) {
    const auto middle = fits + (too_long - fits) / 2;
    (needed(middle) <= free ? fits : too_long) = middle;
  }
  // Two digits are as much as the estimate knows.
  std::int64_t step = 1;
  while (fits / step >= 100) step *= 10;
  return fits / step * step;
}

void refuse_memory(const std::string& place, const MemoryNeed& need) {
  if (need.free <= 0 || need.needed <= need.free) return;
  std::string text = "the job does not fit into the memory of " + place + ": it needs " + size_text(need.needed) +
                     ", and " + (need.limit.empty() ? "there is " : need.limit + " leaves ") + size_text(need.free);
  if (!need.help.empty()) text += "; " + need.help;
  throw device_error(text);
}

std::string memory_help(std::int64_t length, std::int64_t free, c10::ScalarType dtype, c10::Device device,
                        const std::function<std::int64_t(std::int64_t)>& needed) {
  const auto fits = longest_that_fits(length, free, needed);
  std::string help = fits > 0 ? "a prompt of about " + std::to_string(fits) + " tokens would fit"
                              : "no prompt would, not even one of a single token";
  if (dtype == c10::ScalarType::Float && (!device.is_cpu() || model::cpu_has_bf16()))
    help += "; --dtype bf16 halves the weights";
  return help;
}

namespace {

/// Empty where it does not fit.
model::DeviceParts try_to_place(const checkpoint::Checkpoint& file, const model::ModelConfig& config,
                                c10::ScalarType dtype, const std::vector<model::DeviceChoice>& devices,
                                const std::vector<std::int64_t>& free, const MemoryWorkload& work,
                                MemoryEstimate& estimate) {
  estimate = estimate_memory(file, config, dtype, devices.front().device, work);
  const model::Family family = model::find_family(config.architecture, file.path().string());
  model::PlacedBytes bytes = model::weight_bytes(family.plan(file, config), dtype);
  for (std::size_t i = 0; i < bytes.layers.size(); ++i)
    if (const auto all = config.kv_values_per_token())
      bytes.layers[i] += estimate.cache / all * config.layers[i].kv_values_per_token();
  std::vector<c10::Device> places;
  for (const auto& device : devices) places.push_back(device.device);
  return model::place_layers(bytes, estimate.device - estimate.cache, places, free);
}

}  // namespace

model::DeviceParts place_decoder(const checkpoint::Checkpoint& file, const model::ModelConfig& config,
                                 c10::ScalarType dtype, const model::DeviceChoice& device,
                                 const MemoryWorkload& workload, const std::vector<std::int64_t>& given_back) {
  const auto devices = each_of(device);
  if (devices.size() == 1) return model::on_one_device(device.device);
  if (static_cast<std::int64_t>(devices.size()) > config.num_layers())
    throw device_error("a device for each layer is as much as a model can use",
                       "at most " + std::to_string(config.num_layers()) + " devices", std::to_string(devices.size()));
  std::vector<std::int64_t> free;
  std::string found;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    free.push_back(devices[i].free_bytes + (i < given_back.size() ? given_back[i] : 0));
    found += (i ? ", " : "") + devices[i].device.str() + " " + size_text(free.back());
  }
  MemoryEstimate estimate;
  const auto parts = try_to_place(file, config, dtype, devices, free, workload, estimate);
  if (!parts.empty()) return parts;
  const auto fits = longest_that_fits(workload.length, 0, [&](std::int64_t tokens) {
    MemoryWorkload work = workload;
    MemoryEstimate ignored;
    work.length = tokens;
    return std::int64_t{try_to_place(file, config, dtype, devices, free, work, ignored).empty()};
  });
  throw device_error("the job does not fit into the memory of " + description_of_all(device) + ": it needs " +
                     size_text(estimate.weights + estimate.cache) + " for weights, keys and values and " +
                     size_text(estimate.device - estimate.cache) + " more on each, and free are " + found + "; " +
                     (fits > 0 ? "a prompt of about " + std::to_string(fits) + " tokens would fit"
                               : "no prompt would, not even one of a single token"));
}

std::string memory_account(const MemoryEstimate& estimate, const model::DeviceChoice& device) {
  if (device.device.is_cpu()) return {};
  std::string text = "the work was estimated to need " + size_text(estimate.weights + estimate.device) + " there";
  if (device.free_bytes > 0)
    text += ", and " + size_text(device.free_bytes) + " were free before it; another program may have taken some since";
  return text;
}

MemoryEstimate refuse_what_cannot_fit(const checkpoint::Checkpoint& file, const model::ModelConfig& config,
                                      c10::ScalarType dtype, const model::DeviceChoice& device, MemoryWorkload work) {
  const auto length = work.length;
  const auto estimate = [&](std::int64_t tokens) {
    work.length = tokens;
    return estimate_memory(file, config, dtype, device.device, work);
  };
  const bool on_cpu = device.device.is_cpu();
  const auto refuse = [&](const std::string& place, std::int64_t free, const std::string& limit,
                          const std::function<std::int64_t(std::int64_t)>& needed) {
    const auto most = needed(length);
    if (free <= 0 || most <= free) return;
    refuse_memory(place, {most, free, limit, memory_help(length, free, dtype, device.device, needed)});
  };
  if (!device.others.empty()) {
    place_decoder(file, config, dtype, device, work);
  } else if (!on_cpu) {
    refuse(device.description, device.free_bytes, {}, [&](std::int64_t tokens) {
      const auto needed = estimate(tokens);
      return needed.weights + needed.device;
    });
  }
  const HostMemory host = host_memory(device.device);
  refuse(on_cpu ? device.description : "this machine", host.free, host.limit, [&](std::int64_t tokens) {
    const auto needed = estimate(tokens);
    return needed.host + (on_cpu ? needed.weights : 0) + host.mapped_only;
  });
  return estimate(length);
}

}  // namespace headroom::experiment
