// SPDX-License-Identifier: Apache-2.0
// What the tests of the CPU attention kernels share: inputs between guard pages, outputs among canaries, task runners
// of every kind, supports of every kind (well-formed or not).
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>

#include "kernels/cpu/attention/attention.h"
#include "layer_inputs.h"

namespace headroom::attention::testing {
namespace cpu = kernels::cpu;

/// Memory that ends (or begins) at a page which must not be touched.
class GuardedBlock {
 public:
  explicit GuardedBlock(std::size_t bytes, bool at_end = true) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t inside = (bytes + page - 1) / page * page;
    size_ = inside + 2 * page;
    void* mapped = mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::runtime_error("mmap");
    start_ = static_cast<char*>(mapped);
    if (mprotect(start_ + page, inside, PROT_READ | PROT_WRITE) != 0) throw std::runtime_error("mprotect");
    data_ = start_ + page + (at_end ? inside - bytes : 0);
  }
  ~GuardedBlock() { munmap(start_, size_); }
  GuardedBlock(const GuardedBlock&) = delete;
  GuardedBlock& operator=(const GuardedBlock&) = delete;
  char* data() const { return data_; }

 private:
  char* start_;
  char* data_;
  std::size_t size_;
};

inline std::vector<cpu::Isa> isas_for(c10::ScalarType dtype) {
  std::vector<cpu::Isa> result;
  for (const cpu::Isa isa : {cpu::Isa::baseline, cpu::Isa::avx2, cpu::Isa::avx512, cpu::Isa::avx512_bf16})
    if (cpu::supported(isa) && (isa != cpu::Isa::avx512_bf16 || dtype == at::kBFloat16)) result.push_back(isa);
  return result;
}

inline void run_in_order(std::int64_t count, const std::function<void(std::int64_t)>& task) {
  for (std::int64_t i = 0; i < count; ++i) task(i);
}
inline void run_backwards(std::int64_t count, const std::function<void(std::int64_t)>& task) {
  for (std::int64_t i = count - 1; i >= 0; --i) task(i);
}
inline cpu::RunTasks run_shuffled(unsigned seed) {
  return [seed](std::int64_t count, const std::function<void(std::int64_t)>& task) {
    std::vector<std::int64_t> order(static_cast<std::size_t>(count));
    std::iota(order.begin(), order.end(), 0);
    std::mt19937 random(seed);
    std::shuffle(order.begin(), order.end(), random);
    for (const std::int64_t i : order) task(i);
  };
}
inline cpu::RunTasks run_on_threads(int threads) {
  return [threads](std::int64_t count, const std::function<void(std::int64_t)>& task) {
    std::atomic<std::int64_t> next = 0;
    std::vector<std::jthread> workers;
    for (int i = 0; i < threads; ++i)
      workers.emplace_back([&] {
        for (std::int64_t at = next++; at < count; at = next++) task(at);
      });
  };
}

/// A layer of the kernels on copies of a query's tensors, each flush with a guard page.
class KernelLayer {
 public:
  KernelLayer(const LayerQuery& query, cpu::Isa isa, const cpu::RunTasks& run = run_in_order, bool at_end = true) {
    cpu::LayerInput input;
    input.element = query.q.scalar_type() == at::kBFloat16 ? cpu::Element::bf16 : cpu::Element::f32;
    input.num_q_heads = query.num_q_heads();
    input.num_kv_heads = query.num_kv_heads();
    input.length = query.length();
    input.head_dim = query.head_dim();
    input.scale = static_cast<float>(query.scale);
    input.q = keep(query.q, at_end);
    input.k = keep(query.k, at_end);
    input.v = keep(query.v, at_end);
    layer_ = cpu::make_attention_layer(input, run, isa);
  }
  const cpu::AttentionLayer& operator*() const { return *layer_; }
  const cpu::AttentionLayer* operator->() const { return layer_.get(); }

 private:
  const void* keep(const at::Tensor& tensor, bool at_end) {
    const at::Tensor values = tensor.contiguous();
    blocks_.push_back(std::make_unique<GuardedBlock>(values.nbytes(), at_end));
    std::memcpy(blocks_.back()->data(), values.const_data_ptr(), values.nbytes());
    return blocks_.back()->data();
  }
  std::vector<std::unique_ptr<GuardedBlock>> blocks_;
  std::unique_ptr<cpu::AttentionLayer> layer_;
};

enum class Layout { heads_first, rows_first, gaps };

/// Room for an output between guard pages, full of canaries.
class KernelOutput {
 public:
  KernelOutput(const LayerQuery& query, Layout layout, bool with_lse = true)
      : dtype_(query.q.scalar_type()), heads_(query.num_q_heads()), length_(query.length()), dim_(query.head_dim()) {
    output_.head_stride = layout == Layout::heads_first  ? length_ * dim_
                          : layout == Layout::rows_first ? dim_
                                                         : dim_ + 5;
    output_.row_stride = layout == Layout::heads_first  ? dim_
                         : layout == Layout::rows_first ? heads_ * dim_
                                                        : heads_ * (dim_ + 5) + 3;
    const std::int64_t elements = (heads_ - 1) * output_.head_stride + (length_ - 1) * output_.row_stride + dim_;
    bytes_ = static_cast<std::size_t>(elements) * c10::elementSize(dtype_);
    lse_bytes_ = static_cast<std::size_t>(heads_ * length_) * sizeof(float);
    block_ = std::make_unique<GuardedBlock>(bytes_);
    lse_block_ = std::make_unique<GuardedBlock>(lse_bytes_);
    std::memset(block_->data(), canary, bytes_);
    std::memset(lse_block_->data(), canary, lse_bytes_);
    output_.out = block_->data();
    if (with_lse) output_.lse = lse();
  }
  const cpu::LayerOutput& view() const { return output_; }
  float* lse() const { return reinterpret_cast<float*>(lse_block_->data()); }

  /// [Hq, L, d] in fp64.
  at::Tensor values() const {
    const at::Tensor result = at::empty({heads_, length_, dim_}, at::TensorOptions().dtype(dtype_));
    const std::size_t size = c10::elementSize(dtype_);
    auto* to = static_cast<char*>(result.mutable_data_ptr());
    for (std::int64_t head = 0; head < heads_; ++head)
      for (std::int64_t row = 0; row < length_; ++row, to += static_cast<std::size_t>(dim_) * size)
        std::memcpy(to, at(head, row), static_cast<std::size_t>(dim_) * size);
    return result.to(at::kDouble);
  }
  bool lse_touched(std::int64_t head, std::int64_t row) const {
    return !is_canary(lse_block_->data() + (head * length_ + row) * static_cast<std::int64_t>(sizeof(float)),
                      sizeof(float));
  }
  /// Whether what lies outside rows [begin, end) is as it was, log-sum-exp included.
  bool untouched_outside(std::int64_t begin, std::int64_t end) const {
    std::vector<bool> ours(bytes_);
    const std::size_t row_bytes = static_cast<std::size_t>(dim_) * c10::elementSize(dtype_);
    for (std::int64_t head = 0; head < heads_; ++head)
      for (std::int64_t row = begin; row < end; ++row)
        std::fill_n(ours.begin() + (at(head, row) - block_->data()), row_bytes, true);
    for (std::size_t i = 0; i < bytes_; ++i)
      if (!ours[i] && block_->data()[i] != canary) return false;
    for (std::int64_t head = 0; head < heads_; ++head)
      for (std::int64_t row = 0; row < length_; ++row)
        if ((row < begin || row >= end) && lse_touched(head, row)) return false;
    return true;
  }
  bool same_bits(const KernelOutput& other) const {
    return bytes_ == other.bytes_ && std::memcmp(block_->data(), other.block_->data(), bytes_) == 0 &&
           std::memcmp(lse_block_->data(), other.lse_block_->data(), lse_bytes_) == 0;
  }

 private:
  static constexpr char canary = 0x5a;
  static bool is_canary(const char* from, std::size_t count) {
    return std::all_of(from, from + count, [](char c) { return c == canary; });
  }
  char* at(std::int64_t head, std::int64_t row) const {
    return block_->data() + (head * output_.head_stride + row * output_.row_stride) *
                                static_cast<std::int64_t>(c10::elementSize(dtype_));
  }
  c10::ScalarType dtype_;
  std::int64_t heads_, length_, dim_;
  std::size_t bytes_ = 0, lse_bytes_ = 0;
  cpu::LayerOutput output_;
  std::unique_ptr<GuardedBlock> block_, lse_block_;
};

/// Supports as the kernels take them, and what they mean: the distinct keys within the history.
struct KernelSupport {
  std::int64_t row_begin = 0, width = 0;
  std::vector<std::int32_t> indices, counts;
  reference::Supports meaning;  ///< of all rows of the layer; empty outside

  cpu::SupportRows view() const { return rows(0, static_cast<std::int64_t>(counts.size())); }
  /// Rows [from, to) of it.
  cpu::SupportRows rows(std::int64_t from, std::int64_t to) const {
    return {row_begin + from, to - from, indices.data() + from * width, width, counts.data() + from};
  }
  std::int64_t row_end() const { return row_begin + static_cast<std::int64_t>(counts.size()); }
};

/// From rows [row_begin, row_begin + rows.size()) of keys as they are to be handed over.
inline KernelSupport kernel_support(std::int64_t length, std::int64_t row_begin,
                                    const std::vector<std::vector<std::int32_t>>& rows) {
  KernelSupport result;
  result.row_begin = row_begin;
  result.meaning.resize(static_cast<std::size_t>(length));
  for (const auto& row : rows) result.width = std::max(result.width, std::ssize(row));
  result.indices.assign(rows.size() * static_cast<std::size_t>(result.width), -1);
  for (std::size_t row = 0; row < rows.size(); ++row) {
    std::copy(rows[row].begin(), rows[row].end(),
              result.indices.begin() + std::ssize(result.indices) / std::ssize(rows) * static_cast<std::int64_t>(row));
    result.counts.push_back(static_cast<std::int32_t>(rows[row].size()));
    std::set<std::int64_t> keys;
    for (const std::int32_t key : rows[row])
      if (key >= 0 && key <= row_begin + static_cast<std::int64_t>(row)) keys.insert(key);
    result.meaning[static_cast<std::size_t>(row_begin) + row].assign(keys.begin(), keys.end());
  }
  return result;
}

/// min(k, history) random keys a row.
inline std::vector<std::vector<std::int32_t>> random_rows(std::int64_t row_begin, std::int64_t row_end, std::int64_t k,
                                                          std::mt19937& random) {
  std::vector<std::vector<std::int32_t>> rows;
  for (std::int64_t row = row_begin; row < row_end; ++row) {
    std::vector<std::int32_t> all(static_cast<std::size_t>(row + 1)), chosen;
    std::iota(all.begin(), all.end(), 0);
    std::sample(all.begin(), all.end(), std::back_inserter(chosen), k, random);
    rows.push_back(chosen);
  }
  return rows;
}

/// Blocks of `block` rows share the keys of their last row, cut by causality.
inline std::vector<std::vector<std::int32_t>> shared_rows(std::int64_t length, std::int64_t block, std::int64_t k,
                                                          std::mt19937& random) {
  std::vector<std::vector<std::int32_t>> rows = random_rows(0, length, k, random);
  for (std::int64_t row = 0; row < length; ++row) {
    const std::int64_t last = std::min((row / block + 1) * block, length) - 1;
    rows[static_cast<std::size_t>(row)] = rows[static_cast<std::size_t>(last)];
    std::erase_if(rows[static_cast<std::size_t>(row)], [&](std::int32_t key) { return key > row; });
  }
  return rows;
}

inline reference::Supports whole_histories(std::int64_t length) {
  reference::Supports all(static_cast<std::size_t>(length));
  for (std::int64_t row = 0; row < length; ++row) {
    all[static_cast<std::size_t>(row)].resize(static_cast<std::size_t>(row + 1));
    std::iota(all[static_cast<std::size_t>(row)].begin(), all[static_cast<std::size_t>(row)].end(), 0);
  }
  return all;
}

}  // namespace headroom::attention::testing
