// SPDX-License-Identifier: Apache-2.0
#include "attention/backends/cuda_backend.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <array>
#include <vector>

#include "attention/analysis_device.h"
#include "attention/backends/cuda_module.h"
#include "attention/backends/index_projection.h"
#include "attention/backends/torch_backend.h"
#include "base/error.h"
#include "kernels/cuda/cuda_kernels.h"

namespace headroom::attention {
namespace {

namespace cuda = kernels::cuda;

constexpr std::int64_t scores_at_once = std::int64_t{1} << 27;      ///< 512 MB of fp32
constexpr std::int64_t candidates_at_once = std::int64_t{1} << 27;  ///< 1 GB of scores with their keys
constexpr std::int64_t run_rows_at_once = 32768;                    ///< which fill the GPU with row tiles
constexpr std::int64_t union_rows_at_once = 8192;
constexpr std::int64_t worth_cudnn = 256;  // it is made for long prompts, and compiles a kernel for every length

/// [heads, L, d] with rows of contiguous elements that begin at multiples of 16 bytes.
at::Tensor rows_contiguous(const at::Tensor& tensor) {
  const bool fits = tensor.stride(2) == 1 && tensor.stride(1) % 8 == 0 && tensor.stride(0) % 8 == 0;
  return fits ? tensor : tensor.contiguous();
}

/// q_I.k_I on the tensor cores: bf16 operands, whose products are exact in fp32.
class CudaIndex final : public RowScores {
 public:
  explicit CudaIndex(const IndexProjections& projections)
      : q_(projections.q.to(at::kBFloat16).contiguous()), k_(projections.k.to(at::kBFloat16).contiguous()) {}
  at::Tensor scores(std::int64_t begin, std::int64_t end) const override {
    return at::mm(q_.narrow(0, begin, end - begin), k_.narrow(0, 0, end).t(), at::kFloat).unsqueeze(0);
  }

  /// Whether keys can be chosen without writing the scores out.
  bool fuses(std::int64_t k) const { return k <= cuda::index_most_top && (q_.size(1) == 64 || q_.size(1) == 128); }
  /// The best k keys of rows [begin, end) into `params`' outputs, which hold the first of those rows.
  void choose(const cuda::KernelTable& kernels, cuda::IndexTopKParams params, std::int64_t begin, std::int64_t end,
              void* stream, const JobContext& job) const {
    params.q = q_.const_data_ptr();
    params.k = k_.const_data_ptr();
    params.q_row = q_.stride(0);
    params.k_row = k_.stride(0);
    params.dim = static_cast<std::int32_t>(q_.size(1));
    const std::int64_t fitting = candidates_at_once / cuda::index_capacity(params.top) / cuda::index_row_tile;
    const std::int64_t most = std::min(std::max<std::int64_t>(1, fitting) * cuda::index_row_tile, end - begin);
    const at::Tensor workspace =
        at::empty({cuda::index_workspace_bytes(most, end, params.top, params.dim)}, q_.options().dtype(at::kByte));
    params.workspace = workspace.mutable_data_ptr();
    for (std::int64_t row = begin; row < end; row += most) {
      job.check();
      params.row_begin = row;
      params.rows = std::min(most, end - row);
      check_kernel(kernels.index_top_k(params, stream), "the index");
      params.indices += params.rows * params.top;
      params.counts += params.rows;
    }
  }

 private:
  at::Tensor q_, k_;
};

/// Attention mass of the layer's heads: log-sum-exp from the fastest dense attention that returns it, then the scores
/// once more.
class CudaMass final : public RowScores {
 public:
  CudaMass(const LayerQuery& query, const cuda::KernelTable& kernels)
      : query_(query), kernels_(kernels), q_(rows_contiguous(query.q)), k_(rows_contiguous(query.k)) {
    const at::Tensor q = q_.unsqueeze(0), k = k_.unsqueeze(0), v = rows_contiguous(query.v).unsqueeze(0);
    const at::Tensor lse =
        query.length() < worth_cudnn
            ? std::get<1>(at::_scaled_dot_product_flash_attention(q, k, v, 0.0, true, false, query.scale))
            : std::get<1>(at::_scaled_dot_product_cudnn_attention(q, k, v, {}, true, 0.0, true, false, query.scale));
    lse_ = lse.reshape({query.num_q_heads(), -1}).narrow(1, 0, query.length()).contiguous();
  }
  at::Tensor scores(std::int64_t begin, std::int64_t end) const override {
    const at::Tensor mass = at::empty({1, end - begin, (end + 3) / 4 * 4}, q_.options().dtype(at::kFloat));
    cuda::MassParams params;
    params.q = q_.const_data_ptr();
    params.k = k_.const_data_ptr();
    params.lse = lse_.const_data_ptr<float>();
    params.mass = mass.mutable_data_ptr<float>();
    params.q_head = q_.stride(0), params.q_row = q_.stride(1);
    params.k_head = k_.stride(0), params.k_row = k_.stride(1);
    params.lse_head = lse_.stride(0);
    params.mass_row = mass.stride(1);
    params.row_begin = begin;
    params.rows = end - begin;
    params.num_q_heads = static_cast<std::int32_t>(query_.num_q_heads());
    params.num_kv_heads = static_cast<std::int32_t>(query_.num_kv_heads());
    params.head_dim = static_cast<std::int32_t>(query_.head_dim());
    params.scale = static_cast<float>(query_.scale);
    check_kernel(kernels_.mass(params, stream_of(q_.device())), "attention mass");
    return mass.narrow(2, 0, end);
  }

 private:
  const LayerQuery& query_;
  const cuda::KernelTable& kernels_;
  at::Tensor q_, k_, lse_;
};

/// Rows [begin, end) of a tile.
SupportTile rows_of(const SupportTile& tile, std::int64_t begin, std::int64_t end) {
  SupportTile part = tile;
  part.row_begin = begin;
  part.row_end = end;
  const std::int64_t first = begin - tile.row_begin, rows = end - begin;
  if (tile.mask.defined()) part.mask = tile.mask.narrow(1, first, rows).narrow(2, 0, end);
  if (tile.indices.defined()) {
    part.indices = tile.indices.narrow(1, first, rows);
    part.counts = tile.counts.narrow(1, first, rows);
  }
  return part;
}

class CudaLayer final : public PreparedLayer {
 public:
  CudaLayer(const LayerQuery& query, std::unique_ptr<PreparedLayer> torch, const cuda::KernelTable& kernels,
            IndexPlacements& placements)
      : PreparedLayer(query), torch_(std::move(torch)), kernels_(kernels), placements_(placements) {}

  std::unique_ptr<PreparedLayer> prepare(const LayerQuery& query, const JobContext& job) const override {
    return std::make_unique<CudaLayer>(query, torch_->prepare(query, job), kernels_, placements_);
  }

  at::Tensor make_output() const override { return torch_->make_output(); }
  void dense(std::int64_t rows, const at::Tensor& out, const at::Tensor& lse, const JobContext& job) const override {
    torch_->dense(rows, out, lse, job);
  }
  std::shared_ptr<const RowScores> mass(SupportScope scope, std::int64_t first_row,
                                        const JobContext& job) const override {
    if (scope != SupportScope::layer || query().sinks.defined() || !kernels_.mass)
      return torch_->mass(scope, first_row, job);
    return std::make_shared<CudaMass>(query(), kernels_);
  }
  std::shared_ptr<const RowScores> index(const IndexSource& index, IndexForm form, std::int64_t first_row,
                                         const JobContext& job) const override {
    if (form != IndexForm::raw) return torch_->index(index, form, first_row, job);
    return std::make_shared<CudaIndex>(placements_.project(index, query(), job));
  }

  SupportTile select(const RankedKeys& ranked, std::int64_t begin, std::int64_t end, StageClock& clock,
                     const JobContext& job) const override {
    const SelectionRule& rule = ranked.rule;
    const std::int64_t k = rule.tokens(query().length());
    if (rule.budget.kind == BudgetKind::mass || ranked.scores->groups() != 1 ||
        cuda::top_k_shared_bytes(end) > shared_limit() || rule.forced.sinks + rule.forced.local > k)
      return select_by_torch(ranked, begin, end, clock, job);
    SupportTile tile;
    tile.row_begin = begin;
    tile.row_end = end;
    tile.shared_rows = rule.granularity;
    const auto options = query().q.options().dtype(at::kInt);
    const std::int64_t width = std::min(k, end);
    tile.indices = at::empty({1, end - begin, width}, options);
    tile.counts = at::empty({1, end - begin}, options);
    const auto* index = dynamic_cast<const CudaIndex*>(ranked.scores.get());
    if (index && kernels_.index_top_k && index->fuses(width)) {
      const StageScope scope(clock, Stage::select, query().layer);
      cuda::IndexTopKParams params;
      params.top = static_cast<std::int32_t>(width);
      params.sinks = static_cast<std::int32_t>(rule.forced.sinks);
      params.local = static_cast<std::int32_t>(rule.forced.local);
      params.indices = tile.indices.mutable_data_ptr<std::int32_t>();
      params.counts = tile.counts.mutable_data_ptr<std::int32_t>();
      index->choose(kernels_, params, begin, end, stream_of(query().q.device()), job);
      return tile;
    }
    // Scores that cost memory for every head are asked for in LibTorch's runs.
    const bool small = index || dynamic_cast<const CudaMass*>(ranked.scores.get());
    for (std::int64_t row = begin; row < end;) {
      job.check();
      const std::int64_t rows = small ? std::max<std::int64_t>(128, scores_at_once / end / 128 * 128)
                                      : torch_->run_rows(row, torch_->tile_rows(rule.granularity));
      const std::int64_t to = std::min(row + rows, end);
      at::Tensor scores;
      {
        const StageScope scope(clock, Stage::score, query().layer);
        scores = aligned(ranked.scores->scores(row, to)[0]);
      }
      const StageScope scope(clock, Stage::select, query().layer);
      if (rule.granularity > 1) scores = block_sums(scores, row, rule.granularity);
      cuda::TopKParams params;
      params.scores = scores.const_data_ptr<float>();
      params.row_stride = scores.stride(0);
      params.row_begin = row;
      params.rows = to - row;
      params.shared_rows = rule.granularity;
      params.k = static_cast<std::int32_t>(width);
      params.sinks = static_cast<std::int32_t>(rule.forced.sinks);
      params.local = static_cast<std::int32_t>(rule.forced.local);
      params.indices = tile.indices.mutable_data_ptr<std::int32_t>() + (row - begin) * width;
      params.counts = tile.counts.mutable_data_ptr<std::int32_t>() + (row - begin);
      check_kernel(kernels_.top_k(params, stream_of(query().q.device())), "selection");
      row = to;
    }
    return tile;
  }

  void sparse(const SupportTile& any, const at::Tensor& out, const JobContext& job) const override {
    if (any.groups != 1 || query().sinks.defined() || !kernels_.sparse_attention) {  // which the kernels do not know
      for (std::int64_t row = any.row_begin; row < any.row_end;) {
        const std::int64_t to = std::min(row + torch_->run_rows(row, torch_->tile_rows(1)), any.row_end);
        torch_->sparse(rows_of(any, row, to), out, job);
        row = to;
      }
      return;
    }
    for (std::int64_t row = any.row_begin; row < any.row_end; row += union_rows_at_once) {
      job.check();
      attend(with_indices(rows_of(any, row, std::min(row + union_rows_at_once, any.row_end))), out);
    }
  }

  LayerAnalysis analyse(const std::vector<SupportTile>& tiles, const AnalysisOptions& options,
                        const JobContext& job) const override {
    if (query().length() < device_analysis_least_length || !device_analyses(query(), tiles, options))
      return PreparedLayer::analyse(tiles, options, job);
    return analyse_on_device(query(), tiles, options, kernels_, job);
  }

  std::int64_t tile_rows(std::int64_t granularity) const override { return torch_->tile_rows(granularity); }
  std::int64_t run_rows(std::int64_t begin, std::int64_t tile) const override {
    static_cast<void>(begin);
    return std::max<std::int64_t>(1, run_rows_at_once / tile) * tile;
  }

 private:
  std::int64_t shared_limit() const {
    return kernels_.has_attention() ? cuda::shared_limit : cuda::portable_shared_limit;
  }
  /// Rows that begin at multiples of 16 bytes, as the kernel reads them.
  static at::Tensor aligned(const at::Tensor& scores) {
    if (scores.stride(0) % 4 == 0 && scores.stride(1) == 1) return scores;
    const at::Tensor padded = at::empty({scores.size(0), (scores.size(1) + 3) / 4 * 4}, scores.options());
    padded.narrow(1, 0, scores.size(1)).copy_(scores);
    return padded;
  }

  /// Row i: the sum over rows [i, i + 1) * granularity of the run, which begins with a block.
  at::Tensor block_sums(const at::Tensor& scores, std::int64_t begin, std::int64_t granularity) const {
    const std::int64_t blocks = (scores.size(0) + granularity - 1) / granularity;
    const at::Tensor sums = at::empty({blocks, scores.stride(0)}, scores.options());
    cuda::BlockSumParams params;
    params.scores = scores.const_data_ptr<float>();
    params.sums = sums.mutable_data_ptr<float>();
    params.row_stride = scores.stride(0);
    params.row_begin = begin;
    params.rows = scores.size(0);
    params.shared_rows = granularity;
    check_kernel(kernels_.block_sums(params, stream_of(scores.device())), "sums over blocks");
    return sums;
  }

  /// Selection by tensor operators, in runs that its masks have room for.
  SupportTile select_by_torch(const RankedKeys& ranked, std::int64_t begin, std::int64_t end, StageClock& clock,
                              const JobContext& job) const {
    const std::int64_t tile_rows = torch_->tile_rows(ranked.rule.granularity);
    std::vector<at::Tensor> indices, counts;
    std::int64_t width = 1;
    SupportTile tile;
    for (std::int64_t row = begin; row < end;) {
      job.check();
      const std::int64_t to = std::min(row + torch_->run_rows(row, tile_rows), end);
      tile = torch_->select(ranked, row, to, clock, job);
      if (row == begin && to == end) return tile;
      const StageScope scope(clock, Stage::select, query().layer);
      tile = with_indices(tile);
      indices.push_back(tile.indices);
      counts.push_back(tile.counts);
      width = std::max(width, tile.indices.size(2));
      row = to;
    }
    for (at::Tensor& part : indices) part = at::constant_pad_nd(part, {0, width - part.size(2)}, -1);
    tile.row_begin = begin;
    tile.row_end = end;
    tile.mask = at::Tensor();
    tile.indices = at::cat(indices, 1);
    tile.counts = at::cat(counts, 1);
    return tile;
  }

  /// Rows over their own keys, of which all heads have the same.
  void attend(const SupportTile& tile, const at::Tensor& out) const {
    cuda::SparseAttentionParams params;
    cuda::UnionParams& unions = params.unions;
    unions.row_begin = tile.row_begin;
    unions.rows = tile.rows();
    unions.width = tile.indices.size(2);
    unions.capacity = cuda::union_capacity(cuda::union_rows, unions.width, tile.row_end);
    unions.half_capacity = cuda::union_capacity(cuda::half_union_rows, unions.width, tile.row_end);
    params.head_dim = static_cast<std::int32_t>(query().head_dim());
    unions.wide_rate = cuda::wide_rate(params.head_dim);
    const at::Tensor indices = tile.indices.contiguous(), counts = tile.counts.contiguous();
    const std::int64_t tiles = (tile.rows() + cuda::union_rows - 1) / cuda::union_rows;
    // For whole tiles and for halves: keys, members, sizes.
    const auto ints = [&](std::int64_t rows, std::int64_t columns) {
      return at::empty({rows, columns}, query().q.options().dtype(at::kInt));
    };
    const at::Tensor keys = ints(tiles, unions.capacity), members = ints(tiles, unions.capacity),
                     sizes = ints(tiles, 1);
    const at::Tensor half_keys = ints(2 * tiles, unions.half_capacity), half_sizes = ints(2 * tiles, 1);
    const at::Tensor half_members = ints(2 * tiles, unions.half_capacity);
    const auto at = [](const at::Tensor& tensor) { return tensor.mutable_data_ptr<std::int32_t>(); };
    unions.indices = indices.const_data_ptr<std::int32_t>();
    unions.counts = counts.const_data_ptr<std::int32_t>();
    unions.keys = at(keys);
    unions.members = reinterpret_cast<std::uint32_t*>(at(members));
    unions.sizes = at(sizes);
    unions.half_keys = at(half_keys);
    unions.half_members = reinterpret_cast<std::uint32_t*>(at(half_members));
    unions.half_sizes = at(half_sizes);
    void* const stream = stream_of(query().q.device());
    check_kernel(kernels_.build_unions(unions, stream), "unions of supports");

    const at::Tensor q = rows_contiguous(query().q), k = rows_contiguous(query().k), v = rows_contiguous(query().v);
    params.q = q.const_data_ptr();
    params.k = k.const_data_ptr();
    params.v = v.const_data_ptr();
    params.out = out.mutable_data_ptr();
    params.q_head = q.stride(0), params.q_row = q.stride(1);
    params.k_head = k.stride(0), params.k_row = k.stride(1);
    params.v_head = v.stride(0), params.v_row = v.stride(1);
    params.out_head = out.stride(0), params.out_row = out.stride(1);
    params.length = query().length();
    params.num_q_heads = static_cast<std::int32_t>(query().num_q_heads());
    params.num_kv_heads = static_cast<std::int32_t>(query().num_kv_heads());
    params.scale = static_cast<float>(query().scale);
    check_kernel(kernels_.sparse_attention(params, stream), "sparse attention");
  }

  std::unique_ptr<PreparedLayer> torch_;
  const cuda::KernelTable& kernels_;
  IndexPlacements& placements_;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(const cuda::KernelTable& kernels, std::string lacks)
      : kernels_(kernels),
        lacks_(std::move(lacks)),
        torch_(make_torch_backend(DenseOperator::cudnn)),
        short_(make_torch_backend(DenseOperator::automatic)) {}
  std::string id() const override { return "headroom"; }
  std::string dense_label() const override { return torch_->dense_label(); }
  std::string sparse_label() const override {
    return kernels_.has_attention() ? "Headroom CUDA kernels, sm_90a"
                                    : torch_->sparse_label() + "; top-k by Headroom CUDA kernels, sm_80";
  }
  std::string note() const override {
    return kernels_.has_attention() ? std::string() : "reference path, not optimised (" + lacks_ + ")";
  }
  bool dense_is_its_own() const override { return false; }
  std::unique_ptr<PreparedLayer> prepare(const LayerQuery& query, const JobContext& job) const override {
    const Backend& dense = query.length() < worth_cudnn ? *short_ : *torch_;
    return std::make_unique<CudaLayer>(query, dense.prepare(query, job), kernels_, placements_);
  }

 private:
  const cuda::KernelTable& kernels_;
  std::string lacks_;  ///< why there are no kernels of attention; empty where there are
  std::shared_ptr<const Backend> torch_, short_;
  mutable IndexPlacements placements_;
};

}  // namespace

CudaKernels open_cuda_kernels(c10::Device device, c10::ScalarType dtype, std::span<const std::int64_t> head_dims) {
  constexpr std::array<std::int64_t, 3> sizes = {64, 128, 256};
  if (dtype != c10::ScalarType::BFloat16) return {nullptr, "the CUDA kernels are for bf16"};
  for (const std::int64_t dim : head_dims)
    if (std::find(sizes.begin(), sizes.end(), dim) == sizes.end())
      return {nullptr, "the CUDA kernels are for heads of 64, 128 or 256, not " + std::to_string(dim)};
  const CudaModule module = open_cuda_module(device, dtype);
  return {module.kernels ? std::make_shared<CudaBackend>(*module.kernels, module.why_not) : nullptr, module.why_not};
}

}  // namespace headroom::attention
