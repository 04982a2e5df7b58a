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
#include <ATen/ops/sort.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <limits>

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
        budgets_(curve_budgets(length_)),
        places_(std::ssize(budgets_)),
        stream_(stream_of(query.q.device())),
        rows_(rows > 0 ? rows : device_analysis_rows(length_, q_heads_)) {}

  LayerAnalysis run() {
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
    budget_list_ = at::from_blob(budgets_.data(), {places_}, at::kLong).to(query_.q.device());
    lse_ = at::empty({q_heads_, length_}, floats());
    curve_step_ = (length_ + device_percentile_rows - 1) / device_percentile_rows;
    kept_curves_ = at::empty({heads_, (length_ + curve_step_ - 1) / curve_step_, places_}, floats());
    statistics_ = at::zeros({heads_, static_cast<std::int64_t>(num_head_statistics)}, doubles());
    curve_sums_ = at::zeros({heads_, places_}, doubles());
    curve_minima_ = at::full({heads_, places_}, 1.0, floats());
    column_sums_ = at::zeros({heads_, length_}, doubles());
    cell_ = (length_ + options_.thumbnail_size - 1) / options_.thumbnail_size;
    const std::int64_t size = options_.thumbnail_size;
    if (thumbnails()) {
      thumbnail_max_ = at::zeros({heads_, size, size}, floats());
      thumbnail_sum_ = at::zeros({heads_, size, size}, doubles());
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
    row_counts_ = at::empty({length_, cuda::record_counts}, floats());
    captured_ = at::empty({heads_, length_, 2}, floats());
    column_counts_ = at::zeros({length_}, query_.q.options().dtype(at::kLong));
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
    p.lse = lse_.mutable_data_ptr<float>();
    p.lse_head = length_;
    p.figures = figures.mutable_data_ptr<float>();
    p.head_stride = rows * stride;
    p.stride = stride;
    p.row_begin = begin;
    p.rows = rows;
    p.cell = thumbnails() ? cell_ : 256;
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
      p.counts = row_counts_.mutable_data_ptr<float>() + begin * cuda::record_counts;
    }
    check_kernel(kernels_.row_figures(p, stream_), "figures of rows");

    cut_curves(values, segments, places, shares, flags, begin, rows, stride);
    statistics_.narrow(1, 0, cuda::record_figures).add_(figures.sum(1, false, at::kDouble));
    column_sums_.narrow(1, 0, end).add_(values.narrow(2, 0, end).sum(1));
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
    curve_sums_.add_(curves.masked_fill(counted.logical_not(), 0.0).sum(1, false, at::kDouble));
    const at::Tensor known = curves.masked_fill(counted.logical_not(), 1.0);
    curve_minima_ = at::minimum(curve_minima_, known.amin(1));
    const std::int64_t first = rounded_up(begin, curve_step_) - begin;
    if (first < rows) {
      // Rows that do not count sort behind all others.
      const at::Tensor kept = curves.masked_fill(counted.logical_not(), std::numeric_limits<float>::infinity())
                                  .slice(1, first, rows, curve_step_);
      kept_curves_.narrow(1, (begin + first) / curve_step_, kept.size(1)).copy_(kept);
    }
    if (sparse_) captured_.narrow(1, begin, rows).copy_(captured);
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
    const std::int64_t first = begin / cell_, before = begin - first * cell_,
                       behind = rounded_up(before + rows, cell_) - before - rows;
    const auto cells = [&](const at::Tensor& of_rows) {
      return at::constant_pad_nd(of_rows, {0, 0, before, behind}).view({heads_, -1, cell_, options_.thumbnail_size});
    };
    const at::Tensor largest = cells(max).amax(2);
    const at::Tensor to = thumbnail_max_.narrow(1, first, largest.size(1));
    to.copy_(at::maximum(to, largest));
    thumbnail_sum_.narrow(1, first, largest.size(1)).add_(cells(sum).sum(2, false, at::kDouble));
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
    column_counts_.narrow(0, 0, end).add_(flags.narrow(1, 0, end).bitwise_and(cuda::in_support).sum(0));
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

  static std::vector<float> to_host(const at::Tensor& values) {
    const at::Tensor host = values.to(at::kFloat).to(at::kCPU).contiguous();
    const float* first = host.const_data_ptr<float>();
    return {first, first + host.numel()};
  }

  LayerAnalysis finish() {
    LayerAnalysis& result = result_;
    const at::Tensor seen_by = at::arange(length_, 0, -1, doubles());
    result.mass_received = to_host(column_sums_.div(seen_by));
    result.lse = to_host(lse_);
    statistics_.narrow(1, 0, cuda::record_figures).div_(static_cast<double>(length_));
    const auto column = [&](HeadStatistic which) { return statistics_.select(1, static_cast<std::int64_t>(which)); };
    column(HeadStatistic::learned_sink).fill_(std::numeric_limits<double>::quiet_NaN());  // there is none
    if (sparse_) {
      score_supports(result);
      result.selection_frequency = to_host(column_counts_.to(at::kDouble).div(seen_by));
    } else {
      column(HeadStatistic::captured_mass).fill_(1.0);
      result.attended_pairs = static_cast<double>(length_) * static_cast<double>(length_ + 1) / 2;
    }
    result.statistics = to_host(statistics_);
    finish_curves(result);
    if (thumbnails()) finish_thumbnails(result);
    result.planes = planes_;
    return std::move(result_);
  }

  void score_supports(LayerAnalysis& result) {
    const at::Tensor counts = row_counts_.to(at::kDouble);
    result.attended_pairs = counts.select(1, 0).sum().item<double>();
    const std::int64_t first = std::min(options_.budget_tokens, length_), rows = length_ - first;  // history > k
    const at::Tensor of_rows = captured_.narrow(1, first, rows).to(at::kDouble);
    const at::Tensor means = of_rows.mean(1);  // NaN of no rows: there is nothing to average
    statistics_.select(1, static_cast<std::int64_t>(HeadStatistic::captured_mass)).copy_(means.select(1, 0));
    statistics_.select(1, static_cast<std::int64_t>(HeadStatistic::missed_mass)).copy_(means.select(1, 1));
    statistics_.select(1, static_cast<std::int64_t>(HeadStatistic::uncaptured_mass)).copy_(1 - means.select(1, 0));
    result.captured_mass_mean = means[q_heads_][0].item<double>();
    result.captured_mass_min = rows > 0 ? std::min(1.0, of_rows[q_heads_].select(1, 0).min().item<double>())
                                        : result.captured_mass_mean;
    if (rows > 0) {
      const at::Tensor long_rows = counts.narrow(0, first, rows);
      const at::Tensor recall = 1 - long_rows.select(1, 2).div(long_rows.select(1, 1));
      result.oracle_recall = recall.mean().item<double>();
      const at::Tensor reachable = long_rows.select(1, 4), any = reachable.gt(0);
      const auto with_any = any.sum().item<std::int64_t>();
      if (with_any > 0)
        result.oracle_recall_95 =
            at::where(any, long_rows.select(1, 3).div(reachable), at::zeros({}, doubles())).sum().item<double>() /
            static_cast<double>(with_any);
    }
  }

  void finish_curves(LayerAnalysis& result) const {
    const at::Tensor curves =
        at::full({heads_, 3, places_}, std::numeric_limits<float>::quiet_NaN(), floats().device(at::kCPU));
    // Rows that count come first, as many as there are; their 10th percentile lies between two neighbours.
    const at::Tensor sorted = std::get<0>(at::sort(kept_curves_.transpose(1, 2).contiguous(), 2));
    const at::Tensor below = at::empty({places_}, at::kLong), above = at::empty({places_}, at::kLong);
    const at::Tensor share = at::zeros({places_}, at::kFloat);
    for (std::int64_t i = 0; i < places_; ++i) {
      const std::int64_t budget = budgets_[static_cast<std::size_t>(i)];
      const std::int64_t first = std::min(rounded_up(budget, curve_step_) / curve_step_, sorted.size(2));
      const std::int64_t rows = sorted.size(2) - first;
      const double place = rows > 0 ? 0.1 * static_cast<double>(rows - 1) : 0;
      const auto low = static_cast<std::int64_t>(place);
      below.mutable_data_ptr<std::int64_t>()[i] = low;
      above.mutable_data_ptr<std::int64_t>()[i] = std::min(low + 1, std::max<std::int64_t>(rows, 1) - 1);
      share.mutable_data_ptr<float>()[i] = static_cast<float>(place - static_cast<double>(low));
    }
    const auto at_place = [&](const at::Tensor& place) {
      return sorted.gather(2, place.to(sorted.device()).view({1, places_, 1}).expand({heads_, places_, 1}))
          .squeeze(2)
          .to(at::kCPU);
    };
    const at::Tensor low = at_place(below), percentile = low + share * (at_place(above) - low);
    const at::Tensor sums = curve_sums_.to(at::kCPU), minima = curve_minima_.to(at::kCPU);
    for (std::int64_t i = 0; i < places_; ++i) {
      const std::int64_t budget = budgets_[static_cast<std::size_t>(i)], rows = length_ - budget;
      if (rows <= 0) continue;
      curves.select(1, 0).select(1, i).copy_(sums.select(1, i).div(static_cast<double>(rows)));
      curves.select(1, 2).select(1, i).copy_(minima.select(1, i));
      if (rounded_up(budget, curve_step_) < length_) curves.select(1, 1).select(1, i).copy_(percentile.select(1, i));
    }
    result.curves = to_host(curves);
  }

  void finish_thumbnails(LayerAnalysis& result) const {
    // Causal pairs of each cell.
    const std::int64_t size = options_.thumbnail_size;
    const at::Tensor place = at::arange(size, doubles()).mul(static_cast<double>(cell_));
    const at::Tensor row = place.unsqueeze(1), column = place.unsqueeze(0);
    const double whole = static_cast<double>(cell_ * cell_), half = static_cast<double>(cell_ * (cell_ + 1)) / 2;
    at::Tensor pairs = row.sub(column).sign().add(1).clamp_max(1).mul(whole);
    pairs = at::where(row.eq(column), at::full({}, half, doubles()), pairs);
    // The last cell may be cut off by the prompt's end, in rows; and so may the diagonal one.
    const std::int64_t last = (length_ - 1) / cell_, rows = length_ - last * cell_;
    pairs.select(0, last).narrow(0, 0, last).fill_(static_cast<double>(rows * cell_));
    pairs.select(0, last).select(0, last).fill_(static_cast<double>(rows * (rows + 1)) / 2);
    result.thumbnail_max = to_host(thumbnail_max_);
    result.thumbnail_mean = to_host(thumbnail_sum_.div(pairs.clamp_min(1.0).unsqueeze(0)));
  }

  const LayerQuery& query_;
  const std::vector<SupportTile>& tiles_;
  const AnalysisOptions& options_;
  const cuda::KernelTable& kernels_;
  const JobContext& job_;
  const std::int64_t length_, q_heads_, heads_;
  const bool sparse_;
  std::vector<std::int64_t> budgets_;
  const std::int64_t places_;
  void* const stream_;
  std::int64_t rows_, row_step_ = 1, curve_step_ = 1, cell_ = 1;
  at::Tensor k_, values_, segments_, budget_list_, lse_, kept_curves_, statistics_, curve_sums_, curve_minima_;
  at::Tensor column_sums_, column_counts_, thumbnail_max_, thumbnail_sum_, row_counts_, captured_;
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
                                const AnalysisOptions& options, const cuda::KernelTable& kernels,
                                const JobContext& job, std::int64_t rows) {
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
