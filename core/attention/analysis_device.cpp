// SPDX-License-Identifier: Apache-2.0
#include "attention/analysis_device.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "attention/analysis_sums.h"
#include "attention/backends/cuda_module.h"
#include "attention/backends/torch_backend.h"
#include "base/error.h"

namespace headroom::attention {
namespace {

namespace cuda = kernels::cuda;

constexpr std::int64_t device_pairs_at_once = std::int64_t{1} << 27;  // 512 MB of fp32
constexpr std::int64_t device_least_rows = 128, device_most_rows = 4096;
constexpr std::int64_t device_percentile_rows = 16384;  // as analysis.cpp

std::int64_t rounded_up(std::int64_t value, std::int64_t to) {
  return (value + to - 1) / to * to;
}
std::int64_t cells_at(std::int64_t length, int level) {
  return (length + (std::int64_t{1} << level) - 1) >> level;
}

/// [.., r, c] in blocks of `height` x `width`, which divide both: [.., r / height, height, c / width, width].
at::Tensor blocks(const at::Tensor& values, std::int64_t height, std::int64_t width) {
  const std::int64_t rows = values.size(-2), columns = values.size(-1);
  if (values.dim() == 2) return values.view({rows / height, height, columns / width, width});
  return values.view({values.size(0), rows / height, height, columns / width, width});
}

class DeviceAnalyser {
 public:
  DeviceAnalyser(const LayerQuery& query, const std::vector<SupportTile>& tiles, const AnalysisOptions& options,
                 const cuda::KernelTable& kernels, const JobContext& job, std::int64_t rows)
      : query_(query),
        tiles_(tiles),
        options_(options),
        kernels_(kernels),
        job_(job),
        length_(query.length()),
        q_heads_(query.num_q_heads()),
        heads_(q_heads_ + 1),
        sparse_(!tiles.empty()),
        places_(std::ssize(curve_budgets(length_))),
        stream_(stream_of(query.q.device())),
        rows_(rows > 0 ? rows : device_analysis_rows(length_, q_heads_)) {}

  LayerAnalysis run() {
    sums_.length = length_;
    sums_.q_heads = q_heads_;
    sums_.sparse = sparse_;
    sums_.budgets = curve_budgets(length_);
    prepare();
    for (std::int64_t begin = 0; begin < length_; begin += rows_) {
      job_.check();
      chunk(begin, std::min(begin + rows_, length_));
    }
    return finish();
  }

 private:
  at::TensorOptions floats() const { return query_.q.options().dtype(at::kFloat); }
  at::TensorOptions doubles() const { return query_.q.options().dtype(at::kDouble); }
  at::TensorOptions bytes() const { return query_.q.options().dtype(at::kByte); }
  bool thumbnails() const { return options_.thumbnails; }

  void prepare() {
    std::int64_t whole_cells = 1;
    for (const int level : {options_.mean_level, options_.head_level})
      if (level >= 0) whole_cells = std::max(whole_cells, std::int64_t{1} << level);
    row_step_ = std::max<std::int64_t>(cuda::record_stride, whole_cells);
    const std::int64_t padded = rounded_up(length_, row_step_);
    // Keys behind the prompt are zero: their scores are, and the kernels put 0 behind a row's own key.
    k_ = at::constant_pad_nd(query_.k, {0, 0, 0, padded - length_});
    if (query_.q.is_cpu() || query_.q.scalar_type() == at::kFloat) k_ = k_.to(at::kFloat);
    rows_ = std::max(rows_ / whole_cells, std::int64_t{1}) * whole_cells;
    const std::int64_t rows = std::min(rows_, length_);
    values_ = at::empty({heads_ * rows * padded}, floats());
    segments_ = at::empty({rows * padded}, bytes());
    budget_list_ = at::from_blob(sums_.budgets.data(), {places_}, at::kLong).to(query_.q.device());
    sums_.lse = at::empty({q_heads_, length_}, floats());
    sums_.curve_step = (length_ + device_percentile_rows - 1) / device_percentile_rows;
    sums_.kept_curves = at::empty({heads_, (length_ + sums_.curve_step - 1) / sums_.curve_step, places_}, floats());
    sums_.statistics = at::zeros({heads_, static_cast<std::int64_t>(num_head_statistics)}, doubles());
    sums_.curve_sums = at::zeros({heads_, places_}, doubles());
    sums_.curve_minima = at::full({heads_, places_}, 1.0, floats());
    sums_.column_sums = at::zeros({heads_, length_}, doubles());
    sums_.cell = (length_ + options_.thumbnail_size - 1) / options_.thumbnail_size;
    const std::int64_t size = options_.thumbnail_size;
    if (thumbnails()) {
      sums_.thumbnail_max = at::zeros({heads_, size, size}, floats());
      sums_.thumbnail_sum = at::zeros({heads_, size, size}, doubles());
    }
    if (options_.head_level >= 0) {
      const std::int64_t side = cells_at(length_, options_.head_level);
      planes_.max = at::zeros({q_heads_, side, side}, floats());
      planes_.sum = at::zeros({q_heads_, side, side}, floats());
      if (sparse_) planes_.missed_mass = at::zeros({q_heads_, side, side}, floats());
    }
    if (options_.mean_level >= 0) {
      const std::int64_t side = cells_at(length_, options_.mean_level);
      planes_.m_max = at::zeros({side, side}, floats());
      planes_.m_sum = at::zeros({side, side}, floats());
      if (sparse_) {
        planes_.m_missed_mass = at::zeros({side, side}, floats());
        for (at::Tensor* counts : {&planes_.hit, &planes_.missed, &planes_.wasted, &planes_.selected})
          *counts = at::zeros({side, side}, query_.q.options().dtype(at::kInt));
      }
    }
    if (!sparse_) return;
    if (options_.bitmaps) {
      bits_ = at::zeros({3, options_.packed ? length_ : rows, (length_ + 7) / 8}, bytes());
      if (options_.packed)
        result_.packed = bits_;
      else
        for (auto* bitmaps : {&result_.support, &result_.target, &result_.wasted})
          bitmaps->assign(1, SupportBitmap(length_));
    }
    sums_.row_counts = at::empty({length_, cuda::record_counts}, floats());
    sums_.captured = at::empty({heads_, length_, 2}, floats());
    sums_.column_counts = at::zeros({length_}, query_.q.options().dtype(at::kLong));
  }

  void chunk(std::int64_t begin, std::int64_t end) {
    const std::int64_t rows = end - begin, stride = rounded_up(end, row_step_);
    const at::Tensor values = values_.narrow(0, 0, heads_ * rows * stride).view({heads_, rows, stride});
    multiply(values, begin, rows, stride);
    const at::Tensor figures = at::empty({heads_, rows, cuda::record_figures}, floats());
    at::Tensor cell_max, cell_sum;
    if (thumbnails()) {
      cell_max = at::zeros({heads_, rows, options_.thumbnail_size}, floats());
      cell_sum = at::zeros({heads_, rows, options_.thumbnail_size}, floats());
    }
    cuda::RowFiguresParams p;
    p.values = values.mutable_data_ptr<float>();
    p.lse = sums_.lse.mutable_data_ptr<float>();
    p.lse_head = length_;
    p.figures = figures.mutable_data_ptr<float>();
    p.head_stride = rows * stride;
    p.stride = stride;
    p.row_begin = begin;
    p.rows = rows;
    p.cell = thumbnails() ? sums_.cell : 256;
    p.heads = static_cast<std::int32_t>(q_heads_);
    p.scale = static_cast<float>(query_.scale);
    if (thumbnails()) {
      p.cell_max = cell_max.mutable_data_ptr<float>();
      p.cell_sum = cell_sum.mutable_data_ptr<float>();
      p.cells = options_.thumbnail_size;
    }
    check_kernel(kernels_.row_figures(p, stream_), "figures of rows");

    const at::Tensor mass = values[q_heads_];
    at::mean_out(const_cast<at::Tensor&>(mass), values.narrow(0, 0, q_heads_), {0});
    at::Tensor flags;
    if (sparse_) flags = flags_of(mass, begin, end, stride);
    const at::Tensor segments = segments_.narrow(0, 0, rows * stride).view({rows, stride});
    const at::Tensor places = at::empty({rows, places_}, bytes()), shares = at::empty({rows, places_}, floats());
    p.values = mass.mutable_data_ptr<float>();
    p.lse = nullptr;
    p.scale = 0;
    p.heads = 1;
    p.figures += q_heads_ * rows * cuda::record_figures;
    if (thumbnails()) {
      p.cell_max += q_heads_ * rows * options_.thumbnail_size;
      p.cell_sum += q_heads_ * rows * options_.thumbnail_size;
    }
    p.budgets = budget_list_.const_data_ptr<std::int64_t>();
    p.num_budgets = static_cast<std::int32_t>(places_);
    p.segments = segments.mutable_data_ptr<std::uint8_t>();
    p.places = places.mutable_data_ptr<std::uint8_t>();
    p.shares = shares.mutable_data_ptr<float>();
    if (sparse_) {
      p.flags = flags.mutable_data_ptr<std::uint8_t>();
      p.counts = sums_.row_counts.mutable_data_ptr<float>() + begin * cuda::record_counts;
    }
    check_kernel(kernels_.row_figures(p, stream_), "figures of rows");

    cut_curves(values, segments, places, shares, flags, begin, rows, stride);
    sums_.statistics.narrow(1, 0, cuda::record_figures).add_(figures.sum(1, false, at::kDouble));
    sums_.column_sums.narrow(1, 0, end).add_(values.narrow(2, 0, end).sum(1));
    if (thumbnails()) add_thumbnail_rows(cell_max, cell_sum, begin, rows);
    if (options_.mean_level >= 0) add_mean_cells(mass, flags, begin, rows, stride);
    if (sparse_) keep_supports(flags, begin, rows, end, stride);
  }

  /// q.k of all heads into their place among `values`.
  void multiply(const at::Tensor& values, std::int64_t begin, std::int64_t rows, std::int64_t stride) const {
    const std::int64_t kv_heads = query_.num_kv_heads(), group = q_heads_ / kv_heads, d = query_.head_dim();
    for (std::int64_t kv = 0; kv < kv_heads; ++kv) {
      const at::Tensor q = query_.q.narrow(0, kv * group, group).narrow(1, begin, rows).reshape({group * rows, d});
      const at::Tensor k = k_[kv].narrow(0, 0, stride).t();
      at::Tensor out = values.narrow(0, kv * group, group).view({group * rows, stride});
      if (k.scalar_type() == at::kFloat)
        at::mm_out(out, q.to(at::kFloat), k);
      else
        at::mm_out(out, q, k, at::kFloat);
    }
  }

  /// S and T of the rows: bytes [rows, stride].
  at::Tensor flags_of(const at::Tensor& mass, std::int64_t begin, std::int64_t end, std::int64_t stride) const {
    const std::int64_t rows = end - begin;
    // What stands behind a row's count lands in a column of its own, which is cut off.
    const at::Tensor wide = at::zeros({rows, stride + 8}, bytes());
    for (const SupportTile& tile : tiles_) {
      const std::int64_t from = std::max(begin, tile.row_begin), to = std::min(end, tile.row_end);
      if (from >= to) continue;
      const at::Tensor place = wide.narrow(0, from - begin, to - from);
      if (tile.mask.defined()) {
        place.narrow(1, 0, tile.row_end)
            .bitwise_or_(tile.mask[0].narrow(0, from - tile.row_begin, to - from).to(at::kByte));
        continue;
      }
      mark(place, tile.indices[0].narrow(0, from - tile.row_begin, to - from), stride, cuda::in_support);
    }
    const std::int64_t k = options_.budget_tokens, width = std::min(k, end);
    const at::Tensor target = at::zeros({rows, stride + 8}, bytes());
    if (kernels_.top_k && options_.forced.sinks + options_.forced.local <= width &&
        cuda::top_k_shared_bytes(end) <=
            (kernels_.has_attention() ? cuda::shared_limit : cuda::portable_shared_limit)) {
      const at::Tensor indices = at::empty({rows, width}, query_.q.options().dtype(at::kInt));
      const at::Tensor counts = at::empty({rows}, query_.q.options().dtype(at::kInt));
      cuda::TopKParams p;
      p.scores = mass.const_data_ptr<float>();
      p.row_stride = stride;
      p.row_begin = begin;
      p.rows = rows;
      p.k = static_cast<std::int32_t>(width);
      p.sinks = static_cast<std::int32_t>(options_.forced.sinks);
      p.local = static_cast<std::int32_t>(std::max<std::int64_t>(1, options_.forced.local));
      p.indices = indices.mutable_data_ptr<std::int32_t>();
      p.counts = counts.mutable_data_ptr<std::int32_t>();
      check_kernel(kernels_.top_k(p, stream_), "selection");
      mark(target, indices, stride, cuda::in_target);
    } else {
      const SelectionRule rule{{BudgetKind::tokens, static_cast<double>(k)}, 1, options_.forced};
      target.narrow(1, 0, end).copy_(
          select_mask(mass.narrow(1, 0, end).unsqueeze(0), begin, rule, k)[0].to(at::kByte).mul_(cuda::in_target));
    }
    return wide.bitwise_or_(target).narrow(1, 0, stride).contiguous();
  }

  static void mark(const at::Tensor& rows, const at::Tensor& indices, std::int64_t nowhere, std::uint8_t flag) {
    const at::Tensor place = indices.to(at::kLong);
    rows.scatter_(1, place.masked_fill(place < 0, nowhere), static_cast<std::int64_t>(flag));
  }

  void cut_curves(const at::Tensor& values, const at::Tensor& segments, const at::Tensor& places,
                  const at::Tensor& shares, const at::Tensor& flags, std::int64_t begin, std::int64_t rows,
                  std::int64_t stride) {
    const at::Tensor curves = at::empty({heads_, rows, places_}, floats());
    const at::Tensor captured = sparse_ ? at::empty({heads_, rows, 2}, floats()) : at::Tensor();
    at::Tensor cell_max, cell_sum, cell_missed;
    const int level = options_.head_level;
    const std::int64_t cells = level >= 0 ? stride >> level : 0;
    if (level >= 0) {
      cell_max = at::zeros({q_heads_, rows, cells}, floats());
      cell_sum = at::zeros({q_heads_, rows, cells}, floats());
      if (sparse_) cell_missed = at::zeros({q_heads_, rows, cells}, floats());
    }
    cuda::CurveRowsParams p;
    p.values = values.const_data_ptr<float>();
    p.segments = segments.const_data_ptr<std::uint8_t>();
    p.places = places.const_data_ptr<std::uint8_t>();
    p.shares = shares.const_data_ptr<float>();
    p.curves = curves.mutable_data_ptr<float>();
    p.head_stride = rows * stride;
    p.stride = stride;
    p.row_begin = begin;
    p.rows = rows;
    p.budgets = budget_list_.const_data_ptr<std::int64_t>();
    p.heads = static_cast<std::int32_t>(heads_);
    p.num_budgets = static_cast<std::int32_t>(places_);
    if (level >= 0) {
      p.cell_max = cell_max.mutable_data_ptr<float>();
      p.cell_sum = cell_sum.mutable_data_ptr<float>();
      if (sparse_) p.cell_missed = cell_missed.mutable_data_ptr<float>();
      p.cells = cells;
      p.cell_heads = static_cast<std::int32_t>(q_heads_);
      p.cell_level = level;
    }
    if (sparse_) {
      p.flags = flags.const_data_ptr<std::uint8_t>();
      p.captured = captured.mutable_data_ptr<float>();
    }
    check_kernel(kernels_.curve_rows(p, stream_), "mass curves");

    // Rows with more history than a budget: t >= budget.
    const at::Tensor row = at::arange(begin, begin + rows, query_.q.options().dtype(at::kLong));
    const at::Tensor counted = row.unsqueeze(1).ge(budget_list_.unsqueeze(0)).unsqueeze(0);
    sums_.curve_sums.add_(curves.masked_fill(counted.logical_not(), 0.0).sum(1, false, at::kDouble));
    const at::Tensor known = curves.masked_fill(counted.logical_not(), 1.0);
    sums_.curve_minima = at::minimum(sums_.curve_minima, known.amin(1));
    const std::int64_t first = rounded_up(begin, sums_.curve_step) - begin;
    if (first < rows) {
      // Rows that do not count sort behind all others.
      const at::Tensor kept = curves.masked_fill(counted.logical_not(), std::numeric_limits<float>::infinity())
                                  .slice(1, first, rows, sums_.curve_step);
      sums_.kept_curves.narrow(1, (begin + first) / sums_.curve_step, kept.size(1)).copy_(kept);
    }
    if (sparse_) sums_.captured.narrow(1, begin, rows).copy_(captured);
    if (level < 0) return;
    const std::int64_t cell = std::int64_t{1} << level, side = planes_.max.size(1);
    const std::int64_t padding = rounded_up(rows, cell) - rows;
    const auto rows_of_cells = [&](const at::Tensor& of_rows) {
      const at::Tensor whole = padding > 0 ? at::constant_pad_nd(of_rows, {0, 0, 0, padding}) : of_rows;
      return whole.view({q_heads_, -1, cell, cells});
    };
    const std::int64_t wide = std::min(cells, side);
    const auto place = [&](const at::Tensor& plane, const at::Tensor& cells_of) {
      plane.narrow(1, begin >> level, cells_of.size(1)).narrow(2, 0, wide).copy_(cells_of.narrow(2, 0, wide));
    };
    place(planes_.max, rows_of_cells(cell_max).amax(2));
    place(planes_.sum, rows_of_cells(cell_sum).sum(2));
    if (sparse_) place(planes_.missed_mass, rows_of_cells(cell_missed).sum(2));
  }

  /// Rows of a thumbnail's cells; the first and the last of them may belong to two chunks.
  void add_thumbnail_rows(const at::Tensor& max, const at::Tensor& sum, std::int64_t begin, std::int64_t rows) {
    const std::int64_t first = begin / sums_.cell, before = begin - first * sums_.cell,
                       behind = rounded_up(before + rows, sums_.cell) - before - rows;
    const auto cells = [&](const at::Tensor& of_rows) {
      return at::constant_pad_nd(of_rows, {0, 0, before, behind})
          .view({heads_, -1, sums_.cell, options_.thumbnail_size});
    };
    const at::Tensor largest = cells(max).amax(2);
    const at::Tensor to = sums_.thumbnail_max.narrow(1, first, largest.size(1));
    to.copy_(at::maximum(to, largest));
    sums_.thumbnail_sum.narrow(1, first, largest.size(1)).add_(cells(sum).sum(2, false, at::kDouble));
  }

  void add_mean_cells(const at::Tensor& mass, const at::Tensor& flags, std::int64_t begin, std::int64_t rows,
                      std::int64_t stride) {
    const int level = options_.mean_level;
    const std::int64_t cell = std::int64_t{1} << level, side = planes_.m_max.size(0);
    const std::int64_t padding = rounded_up(rows, cell) - rows, wide = std::min(stride >> level, side);
    const auto whole = [&](const at::Tensor& values) {
      return blocks(padding > 0 ? at::constant_pad_nd(values, {0, 0, 0, padding}) : values, cell, cell);
    };
    const auto place = [&](const at::Tensor& plane, const at::Tensor& cells) {
      plane.narrow(0, begin >> level, cells.size(0)).narrow(1, 0, wide).copy_(cells.narrow(1, 0, wide));
    };
    place(planes_.m_max, whole(mass).amax({1, 3}));
    place(planes_.m_sum, whole(mass).sum({1, 3}));
    if (!sparse_) return;
    const at::Tensor both = flags.bitwise_and(cuda::in_support | cuda::in_target);
    const at::Tensor missed = both.eq(cuda::in_target);
    place(planes_.m_missed_mass, whole(mass.mul(missed)).sum({1, 3}));
    const auto count = [&](const at::Tensor& plane, const at::Tensor& pairs) {
      place(plane, whole(pairs).sum({1, 3}, false, at::kInt));
    };
    count(planes_.missed, missed);
    count(planes_.hit, both.eq(cuda::in_support | cuda::in_target));
    count(planes_.wasted, flags.ge(cuda::is_wasted));
    count(planes_.selected, flags.bitwise_and(cuda::in_support));
  }

  void keep_supports(const at::Tensor& flags, std::int64_t begin, std::int64_t rows, std::int64_t end,
                     std::int64_t stride) {
    sums_.column_counts.narrow(0, 0, end).add_(flags.narrow(1, 0, end).bitwise_and(cuda::in_support).sum(0));
    if (!options_.bitmaps) return;
    cuda::PackFlagsParams p;
    p.flags = flags.const_data_ptr<std::uint8_t>();
    p.stride = stride;
    p.rows = rows;
    p.bytes = (end + 7) / 8;
    p.row_bytes = (length_ + 7) / 8;
    const std::int64_t first = options_.packed ? begin : 0;
    const at::Tensor place = bits_.narrow(1, first, rows), bits[] = {place[0], place[1], place[2]};
    p.support = bits[0].mutable_data_ptr<std::uint8_t>();
    p.target = bits[1].mutable_data_ptr<std::uint8_t>();
    p.wasted = bits[2].mutable_data_ptr<std::uint8_t>();
    check_kernel(kernels_.pack_flags(p, stream_), "bitmaps of supports");
    if (options_.packed) return;
    SupportBitmap* const whole[] = {&result_.support[0], &result_.target[0], &result_.wasted[0]};
    for (std::size_t i = 0; i < 3; ++i)
      at::from_blob(whole[i]->row(begin).data(), {rows, p.row_bytes}, at::kByte).copy_(bits[i]);
  }

  LayerAnalysis finish() {
    finish_device_sums(sums_, options_, result_);
    result_.planes = planes_;
    return std::move(result_);
  }

  const LayerQuery& query_;
  const std::vector<SupportTile>& tiles_;
  const AnalysisOptions& options_;
  const cuda::KernelTable& kernels_;
  const JobContext& job_;
  const std::int64_t length_, q_heads_, heads_;
  const bool sparse_;
  const std::int64_t places_;
  void* const stream_;
  std::int64_t rows_, row_step_ = 1;
  at::Tensor k_, values_, segments_, budget_list_;
  DeviceSums sums_;
  at::Tensor bits_;  ///< [3, rows, bytes] support, target, wasted of a chunk; columns behind its end stay 0
  LayerAnalysis result_;
  CellPlanes planes_;
};

}  // namespace

bool device_analyses(const LayerQuery& query, const std::vector<SupportTile>& tiles, const AnalysisOptions& options) {
  if (query.sinks.defined() || query.num_q_heads() > 65535) return false;
  if (options.head_level >= 0 && options.head_level < cuda::record_least_cell) return false;
  for (const SupportTile& tile : tiles)
    if (tile.groups != 1) return false;
  return tiles.empty() || (options.scope == SupportScope::layer && options.budget_tokens > 0);
}

std::int64_t device_analysis_rows(std::int64_t length, std::int64_t num_q_heads) {
  const std::int64_t fitting = device_pairs_at_once / (num_q_heads + 1) / length / device_least_rows;
  return std::clamp<std::int64_t>(fitting * device_least_rows, device_least_rows, device_most_rows);
}

LayerAnalysis analyse_on_device(const LayerQuery& query, const std::vector<SupportTile>& tiles,
                                const AnalysisOptions& options, const cuda::KernelTable& kernels, const JobContext& job,
                                std::int64_t rows) {
  check_query(query);
  if (options.thumbnail_size < 1) throw Error(ErrorKind::internal, "thumbnails need at least one cell");
  const c10::InferenceMode guard;
  return DeviceAnalyser(query, tiles, options, kernels, job, rows).run();
}

std::int64_t device_analysis_bytes(std::int64_t length, std::int64_t num_q_heads, std::int64_t num_kv_heads,
                                   std::int64_t head_dim, int mean_level, int head_level, bool supports) {
  const std::int64_t heads = num_q_heads + 1, rows = std::min(device_analysis_rows(length, num_q_heads), length);
  const std::int64_t row = rows * length;
  std::int64_t bytes = heads * row * 4 + row + num_kv_heads * length * head_dim * 2;
  bytes += 3 * heads * std::min(length, device_percentile_rows) * most_curve_budgets * 4;
  bytes += heads * length * 8 + num_q_heads * length * 4 + 6 * heads * rows * (128 + most_curve_budgets) * 4;
  // m's temporaries, and of supports: flags twice, indices in 64 bits, comparisons.
  bytes += row * 4 + (supports ? row * (4 + 2 + 4) + heads * length * 8 : 0);
  if (mean_level >= 0) bytes += cells_at(length, mean_level) * cells_at(length, mean_level) * 4 * (supports ? 7 : 2);
  if (head_level >= 0) {
    const std::int64_t side = cells_at(length, head_level);
    bytes += num_q_heads * (side * side + 3 * rows * side) * 4 * (supports ? 3 : 2);
  }
  return bytes;
}

}  // namespace headroom::attention
