// SPDX-License-Identifier: Apache-2.0
// The host side of the CPU attention kernels: packs a layer, checks supports, cuts the work into tiles.
#include "kernels/cpu/attention/attention.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/cpu/attention/attention_kernels.h"
#include "kernels/cpu/attention/attention_supports.h"

namespace headroom::kernels::cpu {
namespace {

constexpr std::int64_t pack_rows = 512;
/// Vectors are read from a row's start; a cache line before it keeps them from straddling two.
constexpr std::size_t alignment_floats = 16;

float* workspace(std::int64_t floats) {
  thread_local std::vector<float> memory;
  const auto wanted = static_cast<std::size_t>(floats) + alignment_floats;
  if (memory.size() < wanted) memory.resize(wanted);
  void* start = memory.data();
  std::size_t space = memory.size() * sizeof(float);
  return static_cast<float*>(std::align(alignment_floats * sizeof(float), 1, start, space));
}

const AttentionKernels& kernels_for(Isa isa, Element element) {
  switch (isa) {
    case Isa::avx512_bf16:
      return element == Element::bf16 ? attention_kernels_avx512_bf16() : attention_kernels_avx512();
    case Isa::avx512:
      return attention_kernels_avx512();
    case Isa::avx2:
      return attention_kernels_avx2();
    case Isa::baseline:
      break;
  }
  return attention_kernels_baseline();
}

bool is_finite(Element element, const void* values, std::int64_t count) {
  bool finite = true;
  if (element == Element::f32) {
    const auto* words = static_cast<const std::uint32_t*>(values);
    for (std::int64_t i = 0; i < count; ++i) finite &= (words[i] & 0x7f800000u) != 0x7f800000u;
  } else {
    const auto* words = static_cast<const std::uint16_t*>(values);
    for (std::int64_t i = 0; i < count; ++i) finite &= (words[i] & 0x7f80u) != 0x7f80u;
  }
  return finite;
}

void widen(const std::uint16_t* from, std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t word = static_cast<std::uint32_t>(from[i]) << 16;
    std::memcpy(to + i, &word, sizeof word);
  }
}

class PackedLayer final : public AttentionLayer {
 public:
  PackedLayer(const LayerInput& input, const RunTasks& run, Isa isa)
      : kernels_(kernels_for(isa, input.element)), isa_(isa), group_(input.num_q_heads / input.num_kv_heads) {
    view_.element = input.element;
    view_.num_q_heads = input.num_q_heads;
    view_.num_kv_heads = input.num_kv_heads;
    view_.length = input.length;
    view_.head_dim = input.head_dim;
    view_.scale = input.scale;
    view_.q = input.q;
    view_.padded_dim = (input.head_dim + kernels_.row_multiple - 1) / kernels_.row_multiple * kernels_.row_multiple;
    view_.keys = place(input.k, keys_, run);
    view_.values = place(input.v, values_, run);
    view_.grouped_values = view_.values;
    if (kernels_.pairs) group_values(static_cast<const std::uint16_t*>(input.v), run);
    std::atomic<bool> finite = true;
    const std::int64_t row_bytes = input.head_dim * element_bytes();
    by_rows(run, [&](std::int64_t kv, std::int64_t begin, std::int64_t end) {
      const char* from = static_cast<const char*>(input.v) + (kv * view_.length + begin) * row_bytes;
      if (!is_finite(input.element, from, (end - begin) * view_.head_dim)) finite = false;
    });
    values_finite_ = finite;
    heads_ = tiles_of(0, view_.num_q_heads);
  }

  void log_sum_exp(std::int64_t begin, std::int64_t end, float* lse, const RunTasks& run) const override {
    LayerOutput output;
    output.lse = lse;
    end = std::min(end, view_.length);
    begin = std::clamp<std::int64_t>(begin, 0, end) / tile_rows * tile_rows;
    dense_tiles(begin, end, output, run);
  }

  void dense(std::int64_t rows, const LayerOutput& output, const RunTasks& run) const override {
    rows = std::clamp<std::int64_t>(rows, 0, view_.length);
    if (values_finite_)
      dense_tiles(0, rows, output, run);
    else
      dense_by_rows(rows, output, run);
  }

  void sparse(std::span<const SupportRows> groups, SparseKernel kernel, const LayerOutput& output,
              const RunTasks& run) const override {
    check_supports(groups, view_.length, view_.num_q_heads);
    const std::vector<CheckedRows> checked = checked_rows(groups, run);
    if (kernel == SparseKernel::gather || !values_finite_)
      gather(checked, output, run);
    else
      by_unions(checked, output, run);
  }

  void mass(std::int64_t begin, std::int64_t end, const float* lse, float* mass, std::int64_t stride) const override {
    if (begin < 0 || begin % mass_rows != 0 || end <= begin || end - begin > mass_rows || end > view_.length ||
        stride < (end + mass_rows - 1) / mass_rows * mass_rows)
      throw Error(ErrorKind::internal, "attention mass of rows that do not form a tile");
    kernels_.mass_tile(view_, begin, end - begin, lse, mass, stride, workspace(kernels_.workspace(view_, 0)));
  }

  std::int64_t union_keys(const SupportRows& support) const override {
    check_supports({&support, 1}, view_.length, view_.num_q_heads);
    const std::vector<CheckedRows> checked = checked_rows({&support, 1}, one_after_another);
    UnionBuilder builder;
    std::int64_t keys = 0;
    for (std::int64_t begin = 0; begin < support.rows; begin += tile_rows) {
      const std::int64_t end = std::min<std::int64_t>(begin + tile_rows, support.rows);
      keys += builder.build(checked.front(), begin, end).count * (end - begin);
    }
    return keys;
  }

  Isa isa() const override { return isa_; }

 private:
  static void one_after_another(std::int64_t count, const std::function<void(std::int64_t)>& task) {
    for (std::int64_t i = 0; i < count; ++i) task(i);
  }
  std::int64_t element_bytes() const { return view_.element == Element::bf16 ? 2 : 4; }

  /// Query heads [first_head, first_head + num_heads) in runs that share keys.
  std::vector<Tile> tiles_of(std::int64_t first_head, std::int64_t num_heads) const {
    std::vector<Tile> tiles;
    for (std::int64_t head = first_head, end = first_head + num_heads; head < end;) {
      Tile tile;
      tile.kv_head = head / group_;
      tile.first_head = head;
      tile.heads =
          static_cast<int>(std::min({std::int64_t{max_tile_heads}, end - head, (tile.kv_head + 1) * group_ - head}));
      tiles.push_back(tile);
      head += tile.heads;
    }
    return tiles;
  }
  std::vector<Tile> tiles_of(const SupportRows& support) const {
    return tiles_of(support.first_head, support.num_heads > 0 ? support.num_heads : view_.num_q_heads);
  }

  template <typename F>
  void by_rows(const RunTasks& run, F&& work) const {
    const std::int64_t chunks = (view_.length + pack_rows - 1) / pack_rows;
    run(view_.num_kv_heads * chunks, [&](std::int64_t task) {
      const std::int64_t begin = task % chunks * pack_rows;
      work(task / chunks, begin, std::min(begin + pack_rows, view_.length));
    });
  }

  /// The input itself where the kernels can read it, else a copy in `storage`, widened and padded as they need it.
  const void* place(const void* input, std::vector<float>& storage, const RunTasks& run) {
    const bool widens = view_.element == Element::bf16 && !kernels_.pairs;
    const std::int64_t dim = view_.head_dim, padded = view_.padded_dim;
    if (!widens && dim == padded) return input;
    const std::int64_t elements = view_.num_kv_heads * view_.length * padded;
    storage.assign(static_cast<std::size_t>(kernels_.pairs ? (elements + 1) / 2 : elements), 0.0f);
    by_rows(run, [&](std::int64_t kv, std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = kv * view_.length + begin; row < kv * view_.length + end; ++row) {
        if (widens)
          widen(static_cast<const std::uint16_t*>(input) + row * dim, dim, storage.data() + row * padded);
        else
          std::memcpy(reinterpret_cast<char*>(storage.data()) + row * padded * element_bytes(),
                      static_cast<const char*>(input) + row * dim * element_bytes(),
                      static_cast<std::size_t>(dim * element_bytes()));
      }
    });
    return storage.data();
  }

  void group_values(const std::uint16_t* values, const RunTasks& run) {
    const std::int64_t groups = (view_.length + 1) / 2, dim = view_.head_dim;
    grouped_.resize(static_cast<std::size_t>(view_.num_kv_heads * groups * dim));
    by_rows(run, [&](std::int64_t kv, std::int64_t begin, std::int64_t end) {  // begin is even
      for (std::int64_t row = begin; row < end; row += 2) {
        const std::uint16_t* even = values + (kv * view_.length + row) * dim;
        std::uint32_t* to = grouped_.data() + (kv * groups + row / 2) * dim;
        const bool paired = row + 1 < view_.length;
        for (std::int64_t i = 0; i < dim; ++i)
          to[i] = even[i] | (paired ? static_cast<std::uint32_t>(even[dim + i]) << 16 : 0u);
      }
    });
    view_.grouped_values = grouped_.data();
  }

  void gather(std::span<const CheckedRows> groups, const LayerOutput& output, const RunTasks& run) const {
    struct Part {
      const CheckedRows* rows;
      Tile tile;
      std::int64_t first_task;
    };
    std::vector<Part> parts;
    for (const CheckedRows& rows : groups)
      for (const Tile& tile : tiles_of(rows.support())) parts.push_back({&rows, tile, 0});
    // One KV head after the other: its keys and values stay in the cache.
    std::stable_sort(parts.begin(), parts.end(),
                     [](const Part& a, const Part& b) { return a.tile.kv_head < b.tile.kv_head; });
    std::int64_t tasks = 0, longest = 0;
    for (Part& part : parts) {
      part.first_task = tasks;
      tasks += (part.rows->size() + gather_rows - 1) / gather_rows;
      longest = std::max(longest, part.rows->longest());
    }
    run(tasks, [&](std::int64_t task) {
      const Part& part = *std::prev(std::upper_bound(parts.begin(), parts.end(), task,
                                                     [](std::int64_t at, const Part& p) { return at < p.first_task; }));
      const CheckedRows& rows = *part.rows;
      Tile tile = part.tile;
      float* work = workspace(kernels_.workspace(view_, longest));
      const std::int64_t begin = (task - part.first_task) * gather_rows,
                         end = std::min(begin + gather_rows, rows.size());
      for (std::int64_t row = begin; row < end; ++row) {
        tile.row_begin = rows.support().row_begin + row;
        tile.next_keys = row + 1 < end && rows.count(row + 1) >= rows.count(row) ? rows.keys(row + 1) : nullptr;
        if (rows.count(row) > 0)
          kernels_.gather_row(view_, tile, rows.keys(row), rows.count(row), output, work);
        else
          clear_row(tile, output);
      }
    });
  }

  void clear_row(const Tile& tile, const LayerOutput& output) const {
    for (std::int64_t head = tile.first_head; head < tile.first_head + tile.heads; ++head) {
      char* row = static_cast<char*>(output.out) +
                  (head * output.head_stride + tile.row_begin * output.row_stride) * element_bytes();
      std::memset(row, 0, static_cast<std::size_t>(view_.head_dim * element_bytes()));
      if (output.lse) output.lse[head * view_.length + tile.row_begin] = -std::numeric_limits<float>::infinity();
    }
  }

  void by_unions(std::span<const CheckedRows> groups, const LayerOutput& output, const RunTasks& run) const {
    struct Union {
      const CheckedRows* rows;
      std::int64_t begin;
    };
    std::vector<Union> unions;
    for (const CheckedRows& rows : groups)
      for (std::int64_t begin = 0; begin < rows.size(); begin += tile_rows) unions.push_back({&rows, begin});
    run(std::ssize(unions), [&](std::int64_t task) {
      const auto [rows, begin] = unions[static_cast<std::size_t>(task)];
      const std::int64_t end = std::min<std::int64_t>(begin + tile_rows, rows->size());
      thread_local UnionBuilder builder;
      const UnionKeys keys = builder.build(*rows, begin, end);
      for (Tile tile : tiles_of(rows->support())) {
        tile.row_begin = rows->support().row_begin + begin;
        tile.rows = static_cast<int>(end - begin);
        kernels_.union_tile(view_, tile, keys, output, workspace(kernels_.workspace(view_, 0)));
      }
    });
  }

  void dense_tiles(std::int64_t begin, std::int64_t end, const LayerOutput& output, const RunTasks& run) const {
    const auto chunks = static_cast<std::int64_t>(heads_.size());
    const std::int64_t blocks = (end - begin + tile_rows - 1) / tile_rows;
    run(blocks * chunks, [&](std::int64_t task) {  // the longest histories first
      Tile tile = heads_[static_cast<std::size_t>(task % chunks)];
      tile.row_begin = begin + (blocks - 1 - task / chunks) * tile_rows;
      tile.rows = static_cast<int>(std::min<std::int64_t>(tile_rows, end - tile.row_begin));
      kernels_.dense_tile(view_, tile, output, workspace(kernels_.workspace(view_, 0)));
    });
  }

  /// Where a value is not finite, tiles will not do: a masked 0 times infinity is NaN.
  void dense_by_rows(std::int64_t rows, const LayerOutput& output, const RunTasks& run) const {
    std::vector<std::int32_t> history(static_cast<std::size_t>(view_.length));
    for (std::size_t i = 0; i < history.size(); ++i) history[i] = static_cast<std::int32_t>(i);
    run(rows, [&](std::int64_t task) {
      const std::int64_t row = rows - 1 - task;
      for (Tile tile : heads_) {
        tile.row_begin = row;
        kernels_.gather_row(view_, tile, history.data(), row + 1, output, workspace(kernels_.workspace(view_, row + 1)));
      }
    });
  }

  const AttentionKernels& kernels_;
  Isa isa_;
  std::int64_t group_;
  LayerView view_;
  std::vector<float> keys_, values_;  ///< copies, where the input could not be used
  std::vector<std::uint32_t> grouped_;
  std::vector<Tile> heads_;  ///< all heads in runs that share keys
  bool values_finite_ = true;
};

}  // namespace

std::unique_ptr<AttentionLayer> make_attention_layer(const LayerInput& input, const RunTasks& run, Isa at_most) {
  if (input.length < 1 || input.head_dim < 8 || input.head_dim % 8 != 0 || input.num_kv_heads < 1 ||
      input.num_q_heads < input.num_kv_heads || input.num_q_heads % input.num_kv_heads != 0)
    throw Error(ErrorKind::internal,
                "the CPU attention kernels take heads of a multiple of 8, not " + std::to_string(input.num_q_heads) + ":" +
                    std::to_string(input.num_kv_heads) + " heads of " + std::to_string(input.head_dim));
  return std::make_unique<PackedLayer>(input, run, best_isa(at_most));
}

}  // namespace headroom::kernels::cpu
