// SPDX-License-Identifier: Apache-2.0
// A backend executes: it prepares a layer once (its layout, its device) and then offers dense attention, scores,
// selection, sparse attention and the statistics of a record. It knows no policy.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "attention/analysis.h"
#include "attention/layer_query.h"
#include "attention/policy.h"
#include "attention/support.h"

namespace headroom::attention {

/// What index scores are: q_I.k_I in any scale (ranks alone count), or softmax over each row's history.
enum class IndexForm { raw, probabilities };

/// One layer made ready. Immutable; threads may share it. The query it was made from must outlive it. Rows of
/// selections and tiles are 0 … L - 1 throughout.
class PreparedLayer {
 public:
  explicit PreparedLayer(const LayerQuery& query) : query_(query) {}
  virtual ~PreparedLayer() = default;
  PreparedLayer(const PreparedLayer&) = delete;
  PreparedLayer& operator=(const PreparedLayer&) = delete;

  const LayerQuery& query() const { return query_; }

  /// Another query made ready by the same backend, for scores that are not this stream's own.
  virtual std::unique_ptr<PreparedLayer> prepare(const LayerQuery& query, const JobContext& job) const = 0;

  /// An empty [Hq, L, d] of q's type, in the layout that this backend writes fastest.
  virtual at::Tensor make_output() const = 0;
  /// Rows [0, rows) over their whole history into `out`; `lse` [Hq, L] fp32 gets their natural log-sum-exp, or is
  /// undefined.
  virtual void dense(std::int64_t rows, const at::Tensor& out, const at::Tensor& lse, const JobContext& job) const = 0;
  /// Attention mass of each head group: the mean over its heads of softmax(scale q.k) (METHOD.md, "Words";
  /// arXiv 2606.07703), 0 where key > row. Rows before `first_row` are not asked for.
  virtual std::shared_ptr<const RowScores> mass(SupportScope scope, std::int64_t first_row,
                                                const JobContext& job) const = 0;
  /// Index scores (METHOD.md, "Indexer"). Where the model runs in bf16, q_I and k_I are rounded to bf16 (to nearest
  /// even) after norm and RoPE, on every backend: the products are then exact in fp32. Rows before `first_row` are not
  /// asked for. Throws input errors where `index` has no weights for the layer or some of another width.
  virtual std::shared_ptr<const RowScores> index(const IndexSource& index, IndexForm form, std::int64_t first_row,
                                                 const JobContext& job) const = 0;
  /// Supports of rows [begin, end), whole blocks of the rule's granularity. Timed as score and select on `clock`.
  virtual SupportTile select(const RankedKeys& ranked, std::int64_t begin, std::int64_t end, StageClock& clock,
                             const JobContext& job) const = 0;
  /// Attention of the tile's rows over their keys, same scale, same softmax, into `out` from make_output().
  virtual void sparse(const SupportTile& tile, const at::Tensor& out, const JobContext& job) const = 0;
  /// What a record holds of this layer (analysis.h), whose supports are `tiles`; none: it ran dense.
  virtual LayerAnalysis analyse(const std::vector<SupportTile>& tiles, const AnalysisOptions& options,
                                const JobContext& job) const;

  /// Rows that are one unit of work where blocks of `granularity` rows belong together: a multiple of it, so that
  /// results do not depend on threads.
  virtual std::int64_t tile_rows(std::int64_t granularity) const = 0;
  /// Rows from `begin` on that are selected and attended to before a stop is asked for.
  virtual std::int64_t run_rows(std::int64_t begin, std::int64_t tile) const = 0;

  /// The first rows, which attend densely because the rule's budget covers their history: whole tiles of rows, or all.
  std::int64_t rows_within_budget(const SelectionRule& rule) const;

 private:
  const LayerQuery& query_;
};

class Backend {
 public:
  virtual ~Backend() = default;
  /// "headroom", "libtorch", "fa2", "cudnn": in plans and tables.
  virtual std::string id() const = 0;
  /// What executes dense and sparse attention, in words: "Headroom CPU kernels, AVX-512 BF16".
  virtual std::string dense_label() const = 0;
  virtual std::string sparse_label() const = 0;
  /// False where dense attention is another backend's, which is timed under its own name.
  virtual bool dense_is_its_own() const { return true; }
  /// A library's attention: what a run may be timed with beside ours (--baselines).
  virtual bool is_library() const { return false; }
  /// False where scores, selection and sparse attention are those of another backend of the same list.
  virtual bool selects_its_own() const { return true; }
  /// "reference path, not optimised" where sparse attention is no fair time; empty where there is nothing to say.
  virtual std::string note() const { return {}; }
  /// Packs and copies what the backend needs. Throws internal errors for a layer that it does not take.
  virtual std::unique_ptr<PreparedLayer> prepare(const LayerQuery& query, const JobContext& job) const = 0;
};

/// Backends that can run here, by device, dtype and the head sizes of the model's full layers. The first is the one that
/// sparse attention uses; dense attention may use any.
/// `sinks`: the layers have learned sinks, which LibTorch's fused operators and our CUDA kernels do not know.
std::vector<std::shared_ptr<const Backend>> make_backends(c10::Device device, c10::ScalarType dtype,
                                                          std::span<const std::int64_t> head_dims, bool sinks = false);
/// The backend of that id among them, or nullptr.
std::shared_ptr<const Backend> find_backend(std::span<const std::shared_ptr<const Backend>> backends,
                                            std::string_view id);

/// LibTorch on any device (backends/torch_backend.h has its attention operators) and our kernels on the CPU (head sizes
/// of a multiple of 8).
std::shared_ptr<const Backend> make_torch_backend();
std::shared_ptr<const Backend> make_cpu_backend(c10::ScalarType dtype = c10::ScalarType::BFloat16);

}  // namespace headroom::attention
