// SPDX-License-Identifier: Apache-2.0
#include "attention/backends/cuda_backend.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "attention/backends/index_projection.h"
#include "attention/backends/torch_backend.h"
#include "base/error.h"
#include "kernels/cuda/cuda_kernels.h"

namespace headroom::attention {
namespace {

namespace cuda = kernels::cuda;
namespace fs = std::filesystem;

constexpr std::int64_t scores_at_once = std::int64_t{1} << 27;  ///< 512 MB of fp32
constexpr std::int64_t most_run_rows = 4096;
constexpr std::int64_t top_k_shared = 81920;  ///< bytes beside a bit for each key (top_k.cuh)

void check(const char* failed, const char* what) {
  if (failed) throw device_error(std::string("the CUDA kernel for ") + what + " failed", {}, failed);
}

void* stream_of(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle();
}

/// q_I.k_I on the tensor cores: bf16 operands, whose products are exact in fp32.
class CudaIndex final : public RowScores {
 public:
  explicit CudaIndex(const IndexProjections& projections)
      : q_(projections.q.to(at::kBFloat16).contiguous()), k_(projections.k.to(at::kBFloat16).contiguous()) {}
  at::Tensor scores(std::int64_t begin, std::int64_t end) const override {
    return at::mm(q_.narrow(0, begin, end - begin), k_.narrow(0, 0, end).t(), at::kFloat).unsqueeze(0);
  }

 private:
  at::Tensor q_, k_;
};

class CudaLayer final : public PreparedLayer {
 public:
  CudaLayer(const LayerQuery& query, std::unique_ptr<PreparedLayer> torch, const cuda::KernelTable& kernels,
            IndexPlacements& placements)
      : PreparedLayer(query), torch_(std::move(torch)), kernels_(kernels), placements_(placements) {}

  at::Tensor make_output() const override { return torch_->make_output(); }
  void dense(std::int64_t rows, const at::Tensor& out, const at::Tensor& lse, const JobContext& job) const override {
    torch_->dense(rows, out, lse, job);
  }
  std::shared_ptr<const RowScores> mass(SupportScope scope, std::int64_t first_row,
                                        const JobContext& job) const override {
    return torch_->mass(scope, first_row, job);
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
    const bool fits = top_k_shared + (end + 31) / 32 * 4 <= cuda::shared_limit;
    if (rule.adds_scores() || ranked.scores->groups() != 1 || !fits || rule.forced.sinks + rule.forced.local > k)
      return torch_->select(ranked, begin, end, clock, job);
    SupportTile tile;
    tile.row_begin = begin;
    tile.row_end = end;
    const auto options = query().q.options().dtype(at::kInt);
    const std::int64_t width = std::min(k, end);
    tile.indices = at::empty({1, end - begin, width}, options);
    tile.counts = at::empty({1, end - begin}, options);
    // Scores that cost memory for every head are asked for in LibTorch's runs.
    const bool index = dynamic_cast<const CudaIndex*>(ranked.scores.get()) != nullptr;
    for (std::int64_t row = begin; row < end;) {
      job.check();
      const std::int64_t rows = index ? std::max<std::int64_t>(128, scores_at_once / end / 128 * 128)
                                      : torch_->run_rows(row, torch_->tile_rows(1));
      const std::int64_t to = std::min(row + rows, end);
      at::Tensor scores;
      {
        const StageScope scope(clock, Stage::score, query().layer);
        scores = aligned(ranked.scores->scores(row, to)[0]);
      }
      const StageScope scope(clock, Stage::select, query().layer);
      cuda::TopKParams params;
      params.scores = scores.const_data_ptr<float>();
      params.row_stride = scores.stride(0);
      params.row_begin = row;
      params.rows = to - row;
      params.k = static_cast<std::int32_t>(width);
      params.sinks = static_cast<std::int32_t>(rule.forced.sinks);
      params.local = static_cast<std::int32_t>(rule.forced.local);
      params.indices = tile.indices.mutable_data_ptr<std::int32_t>() + (row - begin) * width;
      params.counts = tile.counts.mutable_data_ptr<std::int32_t>() + (row - begin);
      check(kernels_.top_k(params, stream_of(query().q.device())), "selection");
      row = to;
    }
    return tile;
  }

  void sparse(const SupportTile& any, const at::Tensor& out, const JobContext& job) const override {
    if (query().sinks.defined()) return torch_->sparse(any, out, job);
    if (any.groups != 1) return torch_->sparse(any, out, job);
    const SupportTile tile = with_indices(any);
    cuda::SparseAttentionParams params;
    cuda::UnionParams& unions = params.unions;
    unions.row_begin = tile.row_begin;
    unions.rows = tile.rows();
    unions.width = tile.indices.size(2);
    unions.capacity = cuda::union_capacity(unions.width, tile.row_end);
    if (cuda::union_shared_bytes(unions.capacity, tile.row_end) > cuda::shared_limit)
      return torch_->sparse(any, out, job);
    const at::Tensor indices = tile.indices.contiguous(), counts = tile.counts.contiguous();
    const auto options = query().q.options();
    const std::int64_t tiles = (tile.rows() + cuda::union_rows - 1) / cuda::union_rows;
    const at::Tensor keys = at::empty({tiles, unions.capacity}, options.dtype(at::kInt));
    const at::Tensor members = at::empty({tiles, unions.capacity}, options.dtype(at::kShort));
    const at::Tensor sizes = at::empty({tiles}, options.dtype(at::kInt));
    unions.indices = indices.const_data_ptr<std::int32_t>();
    unions.counts = counts.const_data_ptr<std::int32_t>();
    unions.keys = keys.mutable_data_ptr<std::int32_t>();
    unions.members = reinterpret_cast<std::uint16_t*>(members.mutable_data_ptr<std::int16_t>());
    unions.sizes = sizes.mutable_data_ptr<std::int32_t>();
    void* const stream = stream_of(query().q.device());
    check(kernels_.build_unions(unions, stream), "unions of supports");

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
    params.head_dim = static_cast<std::int32_t>(query().head_dim());
    params.scale = static_cast<float>(query().scale);
    check(kernels_.sparse_attention(params, stream), "sparse attention");
  }

  std::int64_t tile_rows(std::int64_t granularity) const override { return torch_->tile_rows(granularity); }
  std::int64_t run_rows(std::int64_t begin, std::int64_t tile) const override {
    // What LibTorch selects itself (blocks, mass budgets) stays in its runs.
    return tile > torch_->tile_rows(1) ? torch_->run_rows(begin, tile) : most_run_rows / tile * tile;
  }

 private:
  /// Rows that begin at multiples of 16 bytes, as the kernel reads them.
  static at::Tensor aligned(const at::Tensor& scores) {
    if (scores.stride(0) % 4 == 0 && scores.stride(1) == 1) return scores;
    const at::Tensor padded = at::empty({scores.size(0), (scores.size(1) + 3) / 4 * 4}, scores.options());
    padded.narrow(1, 0, scores.size(1)).copy_(scores);
    return padded;
  }
  /// [heads, L, d] with rows of contiguous elements that begin at multiples of 16 bytes.
  static at::Tensor rows_contiguous(const at::Tensor& tensor) {
    const bool fits = tensor.stride(2) == 1 && tensor.stride(1) % 8 == 0 && tensor.stride(0) % 8 == 0;
    return fits ? tensor : tensor.contiguous();
  }

  std::unique_ptr<PreparedLayer> torch_;
  const cuda::KernelTable& kernels_;
  IndexPlacements& placements_;
};

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const cuda::KernelTable& kernels)
      : kernels_(kernels),
        torch_(make_torch_backend(DenseOperator::cudnn)),
        short_(make_torch_backend(DenseOperator::automatic)) {}
  std::string id() const override { return "headroom"; }
  std::string dense_label() const override { return torch_->dense_label(); }
  std::string sparse_label() const override { return "Headroom CUDA kernels, sm_90a"; }
  bool dense_is_its_own() const override { return false; }
  std::unique_ptr<PreparedLayer> prepare(const LayerQuery& query, const JobContext& job) const override {
    constexpr std::int64_t worth_cudnn = 256;  // it is made for long prompts, and compiles a kernel for every length
    const Backend& dense = query.length() < worth_cudnn ? *short_ : *torch_;
    return std::make_unique<CudaLayer>(query, dense.prepare(query, job), kernels_, placements_);
  }

 private:
  const cuda::KernelTable& kernels_;
  std::shared_ptr<const Backend> torch_, short_;
  mutable IndexPlacements placements_;
};

/// The module beside the program, once for the process; null and `why` where there is none that fits.
const cuda::KernelTable* load_module(std::string& why) {
  static std::string failure;
  static const cuda::KernelTable* const table = []() -> const cuda::KernelTable* {
    std::error_code error;
    const fs::path module = fs::read_symlink("/proc/self/exe", error).parent_path() / "libheadroom_cuda.so";
    if (error || !fs::exists(module)) {
      failure = "no CUDA compiler when this was built";
      return nullptr;
    }
    void* const library = dlopen(module.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      const char* reason = dlerror();
      failure = "the CUDA kernels cannot be opened: " + std::string(reason ? reason : "no reason given");
      return nullptr;
    }
    using Entry = const cuda::KernelTable* (*)();
    const auto entry = reinterpret_cast<Entry>(dlsym(library, cuda::table_symbol));
    const cuda::KernelTable* const found = entry ? entry() : nullptr;
    if (!found || found->version != cuda::table_version) {
      failure = module.string() + " is of another build";
      return nullptr;
    }
    return found;
  }();
  why = failure;
  return table;
}

/// 90 for compute capability 9.0; 0 where it cannot be asked.
int compute_capability(c10::Device device) {
  using Attribute = int (*)(int*, int, int);
  const auto ask = reinterpret_cast<Attribute>(dlsym(RTLD_DEFAULT, "cudaDeviceGetAttribute"));
  int major = 0, minor = 0;
  constexpr int major_attribute = 75, minor_attribute = 76;  // of cudaDeviceAttr
  if (!ask || ask(&major, major_attribute, device.index()) != 0 || ask(&minor, minor_attribute, device.index()) != 0)
    return 0;
  return 10 * major + minor;
}

}  // namespace

CudaKernels open_cuda_kernels(c10::Device device, c10::ScalarType dtype, std::span<const std::int64_t> head_dims) {
  constexpr std::array<std::int64_t, 3> sizes = {64, 128, 256};
  if (dtype != c10::ScalarType::BFloat16) return {nullptr, "the CUDA kernels are for bf16"};
  for (const std::int64_t dim : head_dims)
    if (std::find(sizes.begin(), sizes.end(), dim) == sizes.end())
      return {nullptr, "the CUDA kernels are for heads of 64, 128 or 256, not " + std::to_string(dim)};
  if (const int capability = compute_capability(device); capability != 90)
    return {nullptr, "the CUDA kernels are for compute capability 9.0 (Hopper), this GPU has " +
                         std::to_string(capability / 10) + "." + std::to_string(capability % 10)};
  std::string why;
  const cuda::KernelTable* const kernels = load_module(why);
  return {kernels ? std::make_shared<CudaBackend>(*kernels) : nullptr, why};
}

}  // namespace headroom::attention
