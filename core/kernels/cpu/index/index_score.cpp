// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/index/index_score.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <vector>

#include "kernels/cpu/index/index_kernels.h"

namespace headroom::kernels::cpu {
namespace {

const IndexKernels& kernels_for(Element element, Isa at_most) {
#if defined(__x86_64__)
  const Isa isa = best_isa(at_most);
  if (isa >= Isa::avx512_bf16 && element == Element::bf16) return index_kernels_avx512_bf16;
  if (isa >= Isa::avx512) return index_kernels_avx512;
  if (isa >= Isa::avx2) return index_kernels_avx2;
#else
  static_cast<void>(element);
  static_cast<void>(at_most);
#endif
  return index_kernels_baseline;
}

/// A matrix [rows, width] as the kernel's dwords.
std::int64_t steps_of(std::int64_t width, const IndexKernels& kernels) {
  return kernels.pairs ? width / 2 : width;
}

/// Element i of a row as dword; `row` of `element`, dwords of the kernel's kind. Pairs exist for bf16 alone.
class RowDwords {
 public:
  RowDwords(const void* rows, Element element, std::int64_t width, const IndexKernels& kernels)
      : rows_(rows), element_(element), width_(width), kernels_(kernels) {}
  /// As they stand: fp32, or bf16 for a kernel of pairs.
  bool in_place() const { return element_ == Element::f32 || kernels_.pairs; }
  const std::uint32_t* in_place_row(std::int64_t row) const {
    return static_cast<const std::uint32_t*>(rows_) + row * steps_of(width_, kernels_);
  }
  void copy(std::int64_t row, std::uint32_t* to) const {
    if (in_place()) {
      std::copy_n(in_place_row(row), steps_of(width_, kernels_), to);
      return;
    }
    const auto* from = static_cast<const std::uint16_t*>(rows_) + row * width_;
    for (std::int64_t i = 0; i < width_; ++i) to[i] = std::uint32_t{from[i]} << 16;
  }
  /// Rows [begin, end) as [rows, steps]; through `buffer` where they must be widened.
  const std::uint32_t* contiguous(std::int64_t begin, std::int64_t end, std::vector<std::uint32_t>& buffer) const {
    if (in_place()) return in_place_row(begin);
    buffer.resize(static_cast<std::size_t>((end - begin) * width_));
    for (std::int64_t row = begin; row < end; ++row) copy(row, buffer.data() + (row - begin) * width_);
    return buffer.data();
  }

 private:
  const void* rows_;
  Element element_;
  std::int64_t width_;
  const IndexKernels& kernels_;
};

std::int64_t panels_of(std::int64_t columns, const IndexKernels& kernels) {
  return (columns + kernels.panel_columns - 1) / kernels.panel_columns;
}

/// Packs one panel: columns of the product are rows of the source.
void pack_panel(const RowDwords& source, std::int64_t columns, std::int64_t steps, std::int64_t panel,
                const IndexKernels& kernels, std::uint32_t* out) {
  std::vector<std::uint32_t> row(static_cast<std::size_t>(steps));
  const std::int64_t begin = panel * kernels.panel_columns;
  for (std::int64_t column = 0; column < kernels.panel_columns; ++column) {
    if (begin + column < columns)
      source.copy(begin + column, row.data());
    else
      std::fill(row.begin(), row.end(), 0u);
    for (std::int64_t i = 0; i < steps; ++i) out[i * kernels.panel_columns + column] = row[static_cast<std::size_t>(i)];
  }
}

class Projector final : public IndexProjector {
 public:
  Projector(const IndexWeights& weights, Element element, const IndexKernels& kernels)
      : width_(weights.width),
        dim_(weights.dim),
        norm_epsilon_(weights.norm_epsilon),
        element_(element),
        kernels_(kernels),
        k_norm_(weights.k_norm, weights.k_norm + weights.dim) {
    const std::int64_t columns = 2 * dim_, steps = steps_of(width_, kernels);
    std::vector<float> both(weights.q_proj, weights.q_proj + dim_ * width_);
    both.insert(both.end(), weights.k_proj, weights.k_proj + dim_ * width_);
    std::vector<std::uint16_t> rounded;
    if (kernels.pairs) {
      rounded.resize(both.size());
      kernels.round(both.data(), static_cast<std::int64_t>(both.size()), rounded.data());
    }
    const RowDwords source(kernels.pairs ? static_cast<const void*>(rounded.data()) : both.data(),
                           kernels.pairs ? Element::bf16 : Element::f32, width_, kernels);
    panels_.resize(static_cast<std::size_t>(panels_of(columns, kernels) * kernels.panel_columns * steps));
    for (std::int64_t panel = 0; panel < panels_of(columns, kernels); ++panel)
      pack_panel(source, columns, steps, panel, kernels, panels_.data() + panel * kernels.panel_columns * steps);
  }

  bool uses_bf16_products() const override { return kernels_.pairs; }

  void project(const IndexRows& in) const override {
    constexpr std::int64_t tile_rows = 32;  // of x: in the L1 cache while each panel of weights goes by
    const std::int64_t stride = score_stride(2 * dim_), steps = steps_of(width_, kernels_), half = dim_ / 2;
    const RowDwords source(in.x, element_, width_, kernels_);
    std::vector<float> products(static_cast<std::size_t>(tile_rows * stride));
    std::vector<std::uint32_t> buffer;
    for (std::int64_t begin = 0; begin < in.rows; begin += tile_rows) {
      const std::int64_t rows = std::min(tile_rows, in.rows - begin);
      kernels_.product({source.contiguous(begin, begin + rows, buffer), steps, rows, steps, panels_.data(), 2 * dim_,
                        products.data(), stride});
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t row = begin + r;
        float* q = products.data() + r * stride;
        float* k = q + dim_;
        const bool f32 = element_ == Element::f32;
        kernels_.rotate({q, k, dim_, k_norm_.data(), norm_epsilon_, in.cosine + row * half, in.sine + row * half,
                         f32 ? static_cast<float*>(in.q) + row * dim_ : q,
                         f32 ? static_cast<float*>(in.k) + row * dim_ : k});
        if (f32) continue;
        kernels_.round(q, dim_, static_cast<std::uint16_t*>(in.q) + row * dim_);
        kernels_.round(k, dim_, static_cast<std::uint16_t*>(in.k) + row * dim_);
      }
    }
  }

 private:
  std::int64_t width_, dim_;
  float norm_epsilon_;
  Element element_;
  const IndexKernels& kernels_;
  std::vector<float> k_norm_;
  std::vector<std::uint32_t> panels_;
};

using Clock = std::chrono::steady_clock;
std::int64_t nanoseconds(Clock::duration time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
}

class Scorer final : public IndexScorer {
 public:
  Scorer(const IndexInput& input, const RunTasks& run, const IndexKernels& kernels, Isa at_most)
      : kernels_(kernels),
        at_most_(at_most),
        steps_(steps_of(input.dim, kernels)),
        q_(input.q, input.element, input.dim, kernels) {
    const RowDwords keys(input.k, input.element, input.dim, kernels);
    const std::int64_t panels = panels_of(input.length, kernels), panel_size = kernels.panel_columns * steps_;
    panels_ = std::make_unique_for_overwrite<std::uint32_t[]>(static_cast<std::size_t>(panels * panel_size));
    constexpr std::int64_t panels_a_task = 8;
    run((panels + panels_a_task - 1) / panels_a_task, [&](std::int64_t task) {
      const std::int64_t end = std::min(panels, (task + 1) * panels_a_task);
      for (std::int64_t panel = task * panels_a_task; panel < end; ++panel)
        pack_panel(keys, input.length, steps_, panel, kernels, panels_.get() + panel * panel_size);
    });
  }

  void scores(std::int64_t begin, std::int64_t end, float* scores, std::int64_t stride) const override {
    thread_local std::vector<std::uint32_t> widened_q;
    kernels_.product(
        {q_.contiguous(begin, end, widened_q), steps_, end - begin, steps_, panels_.get(), end, scores, stride});
  }

  IndexTime select(std::int64_t begin, std::int64_t end, std::int64_t k, const ForcedRange& forced,
                   std::int32_t* indices, std::int64_t width, std::int32_t* counts) const override {
    // Two blocks of the kernel's rows share a reading of the keys, and the tile stays in the L2 cache until it is
    // selected from (at 16K keys: about). 8 and 32 rows take as long.
    constexpr std::int64_t tile_rows = 16;
    thread_local std::vector<float> tile;
    thread_local SelectScratch scratch;
    IndexTime time;
    for (std::int64_t row = begin; row < end; row += tile_rows) {
      const std::int64_t rows_end = std::min(row + tile_rows, end), stride = score_stride(rows_end);
      const auto places = static_cast<std::size_t>((rows_end - row) * stride);
      if (tile.size() < places) tile.resize(places);
      const Clock::time_point start = Clock::now();
      scores(row, rows_end, tile.data(), stride);
      const Clock::time_point scored = Clock::now();
      for (std::int64_t t = row; t < rows_end; ++t)
        counts[t - begin] = static_cast<std::int32_t>(top_k_row(tile.data() + (t - row) * stride, t + 1, k, forced,
                                                                indices + (t - begin) * width, scratch, at_most_));
      time.score_ns += nanoseconds(scored - start);
      time.select_ns += nanoseconds(Clock::now() - scored);
    }
    return time;
  }

 private:
  const IndexKernels& kernels_;
  Isa at_most_;
  std::int64_t steps_;
  RowDwords q_;
  std::unique_ptr<std::uint32_t[]> panels_;
};

}  // namespace

std::unique_ptr<IndexProjector> make_index_projector(const IndexWeights& weights, Element element, Isa at_most) {
  const auto is_bf16 = [](const float* values, std::int64_t n) {
    return std::all_of(values, values + n, [](float v) { return (std::bit_cast<std::uint32_t>(v) & 0xffffu) == 0; });
  };
  const std::int64_t count = weights.dim * weights.width;
  const bool exact = weights.width % 2 == 0 && is_bf16(weights.q_proj, count) && is_bf16(weights.k_proj, count);
  return std::make_unique<Projector>(weights, element, kernels_for(exact ? element : Element::f32, at_most));
}

std::unique_ptr<IndexScorer> make_index_scorer(const IndexInput& input, const RunTasks& run, Isa at_most) {
  return std::make_unique<Scorer>(input, run, kernels_for(input.element, at_most), at_most);
}

}  // namespace headroom::kernels::cpu
