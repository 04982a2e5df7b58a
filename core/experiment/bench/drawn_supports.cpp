// SPDX-License-Identifier: Apache-2.0
#include "experiment/bench/drawn_supports.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "base/error.h"

namespace headroom::experiment {
namespace {

constexpr std::int64_t drawn_tile = 32, drawn_half = 16;
constexpr std::int64_t drawn_at_once = std::int64_t{1} << 24;  // numbers of 64 bits

/// 31 bits from a row and a place in it.
at::Tensor scattered(const at::Tensor& row, const at::Tensor& place) {
  constexpr std::int64_t mask = 0x7fffffff;
  at::Tensor x = row.mul(73856093).add(place.mul(19349663)).add_(12345).bitwise_and_(mask);
  for (const std::int64_t factor : {2654435761, 2246822519}) {
    x = x.mul_(factor).bitwise_and_(mask);
    x = x.bitwise_xor(x.bitwise_right_shift(15));
  }
  return x;
}

/// A place in the piece [i n / pieces, (i + 1) n / pieces) of n places, chosen by 31 bits; n >= pieces.
at::Tensor in_piece(const at::Tensor& i, const at::Tensor& n, const at::Tensor& pieces, const at::Tensor& bits) {
  const at::Tensor begin = i.mul(n).floor_divide(pieces), end = i.add(1).mul(n).floor_divide(pieces);
  return begin.add(bits.mul(end.sub(begin)).bitwise_right_shift(31));
}

class DrawnLayer final : public attention::PreparedLayer {
 public:
  DrawnLayer(const attention::LayerQuery& query, std::unique_ptr<attention::PreparedLayer> inner,
             const DrawnSupports& drawn)
      : PreparedLayer(query), inner_(std::move(inner)), drawn_(drawn) {}

  std::unique_ptr<PreparedLayer> prepare(const attention::LayerQuery& query, const JobContext& job) const override {
    return inner_->prepare(query, job);
  }
  at::Tensor make_output() const override { return inner_->make_output(); }
  void dense(std::int64_t rows, const at::Tensor& out, const at::Tensor& lse, const JobContext& job) const override {
    inner_->dense(rows, out, lse, job);
  }
  std::shared_ptr<const attention::RowScores> mass(SupportScope scope, std::int64_t first_row,
                                                   const JobContext& job) const override {
    return inner_->mass(scope, first_row, job);
  }
  std::shared_ptr<const attention::RowScores> index(const attention::IndexSource& index, attention::IndexForm form,
                                                    std::int64_t first_row, const JobContext& job) const override {
    return inner_->index(index, form, first_row, job);
  }
  attention::SupportTile select(const attention::RankedKeys& ranked, std::int64_t begin, std::int64_t end,
                                StageClock& clock, const JobContext& job) const override {
    attention::SupportTile tile = inner_->select(ranked, begin, end, clock, job);
    if (tile.groups != 1 || ranked.rule.granularity != 1 ||
        ranked.rule.tokens(query().length()) != drawn_.indices.size(2))
      return tile;
    tile.mask = at::Tensor();
    tile.indices = drawn_.indices.narrow(1, begin, end - begin);
    tile.counts = drawn_.counts.narrow(1, begin, end - begin);
    return tile;
  }
  void sparse(const attention::SupportTile& tile, const at::Tensor& out, const JobContext& job) const override {
    inner_->sparse(tile, out, job);
  }
  attention::LayerAnalysis analyse(const std::vector<attention::SupportTile>& tiles,
                                   const attention::AnalysisOptions& options, const JobContext& job) const override {
    return inner_->analyse(tiles, options, job);
  }
  std::int64_t tile_rows(std::int64_t granularity) const override { return inner_->tile_rows(granularity); }
  std::int64_t run_rows(std::int64_t begin, std::int64_t tile) const override { return inner_->run_rows(begin, tile); }

 private:
  std::unique_ptr<attention::PreparedLayer> inner_;
  const DrawnSupports& drawn_;
};

class DrawnBackend final : public attention::Backend {
 public:
  DrawnBackend(const attention::Backend& inner, const DrawnSupports& drawn) : inner_(inner), drawn_(drawn) {}
  std::string id() const override { return inner_.id(); }
  std::string dense_label() const override { return inner_.dense_label(); }
  std::string sparse_label() const override { return inner_.sparse_label(); }
  bool dense_is_its_own() const override { return inner_.dense_is_its_own(); }
  bool is_library() const override { return inner_.is_library(); }
  bool selects_its_own() const override { return inner_.selects_its_own(); }
  std::string note() const override { return inner_.note(); }
  std::unique_ptr<attention::PreparedLayer> prepare(const attention::LayerQuery& query,
                                                    const JobContext& job) const override {
    return std::make_unique<DrawnLayer>(query, inner_.prepare(query, job), drawn_);
  }

 private:
  const attention::Backend& inner_;
  const DrawnSupports& drawn_;
};

}  // namespace

DrawnSupports draw_supports(std::int64_t length, std::int64_t k, c10::Device device) {
  if (k < 1 || k > length || length >= std::int64_t{1} << 31)
    throw Error(ErrorKind::internal, "supports cannot be drawn: k is not within the prompt");
  const auto longs = at::TensorOptions().dtype(at::kLong).device(device);
  DrawnSupports drawn;
  drawn.indices = at::empty({1, length, k}, longs.dtype(at::kInt));
  const at::Tensor all = at::arange(length, longs);
  drawn.counts = all.add(1).clamp_max(k).to(at::kInt).unsqueeze(0);
  const auto whole = static_cast<std::int64_t>(measured_union_32 * static_cast<double>(k)),
             half = static_cast<std::int64_t>(measured_union_16 * static_cast<double>(k));
  const at::Tensor place = at::arange(k, longs).unsqueeze(0), keys = at::full({1}, k, longs);
  const std::int64_t at_once = std::max<std::int64_t>(drawn_tile, drawn_at_once / k / drawn_tile * drawn_tile);
  for (std::int64_t first = 0; first < length; first += at_once) {
    const std::int64_t rows = std::min(at_once, length - first);
    const at::Tensor row = all.narrow(0, first, rows).unsqueeze(1), tile = row.floor_divide(drawn_tile);
    const at::Tensor seen = tile.mul(drawn_tile).add(1).clamp_min(k);  // by the tile's first row; k where all are taken
    const at::Tensor pool = seen.clamp_max(whole), part = pool.clamp_max(half);
    const at::Tensor later = row.remainder(drawn_tile).ge(drawn_half);  // the half whose part ends the pool
    const at::Tensor chosen =
        in_piece(place, part, keys, scattered(row, place)).add(at::where(later, pool.sub(part), at::zeros_like(pool)));
    const at::Tensor key = in_piece(chosen, seen, pool, scattered(tile, chosen));
    key.select(1, k - 1).copy_(row.squeeze(1));
    const at::Tensor few = row.lt(k);  // rows that see no more have all
    const at::Tensor kept = at::where(few, at::where(place.le(row), place, at::full({}, -1, longs)), key);
    drawn.indices[0].narrow(0, first, rows).copy_(kept);
  }
  return drawn;
}

std::shared_ptr<const attention::Backend> with_drawn_supports(const attention::Backend& inner,
                                                              const DrawnSupports& drawn) {
  return std::make_shared<DrawnBackend>(inner, drawn);
}

}  // namespace headroom::experiment
