// SPDX-License-Identifier: Apache-2.0
// The shipped indexer on SmolLM2 in bf16: what the kernels select against LibTorch's fp32 operators without rounding,
// and the attention mass that either captures.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "../attention/layer_inputs.h"
#include "attention/backends/index_projection.h"
#include "attention/backends/torch_backend.h"
#include "attention/rotary.h"
#include "indexer/indexer.h"
#include "model/decoder.h"

#include <QtTest>
#include <cmath>

#include "base/error.h"
#include "base/paths.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_file.h"

using namespace headroom;
using namespace headroom::attention;
using namespace headroom::indexer;

namespace {

/// METHOD.md's indexer by LibTorch's operators in fp32, nothing rounded.
IndexProjections unrounded(const LayerWeights& weights, const Metadata& metadata, const LayerQuery& query) {
  const at::Tensor x = query.x.to(at::kFloat), positions = at::arange(query.length());
  const at::Tensor k = at::matmul(x, weights.k_proj.to(at::kFloat).t());
  const at::Tensor normed =
      k * at::rsqrt(k.square().mean(1, true).add_(metadata.norm_epsilon)) * weights.k_norm.to(at::kFloat);
  return {rotate(at::matmul(x, weights.q_proj.to(at::kFloat).t()), positions, query.rope_base),
          rotate(normed, positions, query.rope_base)};
}

/// 0 and 1 [rows, L] for the own key and the best of the history before it, `k` in all.
at::Tensor best_keys(const IndexProjections& projections, const at::Tensor& rows, std::int64_t k) {
  const at::Tensor keys = at::arange(projections.k.size(0)).unsqueeze(0), own = rows.unsqueeze(1);
  at::Tensor scores = at::matmul(projections.q.index_select(0, rows), projections.k.t());
  scores.masked_fill_(keys.gt(own), -INFINITY).masked_fill_(keys.eq(own), INFINITY);
  return at::zeros_like(scores).scatter_(1, std::get<1>(at::topk(scores, k, 1)), 1.0);
}

}  // namespace

class TestIndexerModel : public QObject {
  Q_OBJECT
 private slots:
  void rounding_hardly_moves_the_selection() {
    at::set_num_threads(2);
    std::filesystem::path file;
    try {
      file = resolve_model("smollm2");
    } catch (const Error& error) {
      QSKIP(error.what());
    }
    const auto text = checkpoint::SafetensorsFile::open(HEADROOM_SOURCE_DIR "/tests/model/smollm2_logits.safetensors");
    std::vector<float> values(static_cast<std::size_t>(text->find("ids")->elements()));
    text->read_f32("ids", values);
    const std::vector<std::int32_t> ids(values.begin(), values.end());
    const auto indexer = std::make_shared<Indexer>(
        load_indexer(HEADROOM_SOURCE_DIR "/sample_data/indexers/smollm2-135m-instruct-d128.safetensors"));

    std::vector<LayerQuery> queries;
    const auto dense = make_dense_policy();
    const auto backend = make_cpu_backend();
    model::PrefillOptions prefill;
    prefill.policy = dense.get();
    prefill.backend = prefill.dense_backend = backend.get();
    prefill.observer = [&](const PreparedLayer& layer, const at::Tensor&, const std::vector<SupportTile>&) {
      if (layer.query().layer % 7 == 1) queries.push_back(layer.query());
    };
    model::load_decoder(*checkpoint::open_checkpoint(file), {.dtype = at::kBFloat16}, {})->prefill(ids, prefill);
    QVERIFY(!queries.empty());

    constexpr std::int64_t k = 128;
    const auto policy = attention::testing::policy_of("indexer", std::to_string(k), 1, {}, indexer);
    IndexPlacements placements;
    const at::Tensor rows = at::arange(k + 5, static_cast<std::int64_t>(ids.size()), 11);
    for (const LayerQuery& query : queries) {
      const LayerWeights& weights = indexer->layers.at(query.layer);
      const IndexProjections exact = unrounded(weights, indexer->metadata, query);
      const IndexProjections rounded = as_float(placements.project(*indexer, query, {}));
      for (const auto& [a, b] : {std::pair{exact.q, rounded.q}, std::pair{exact.k, rounded.k}}) {
        QVERIFY(b.to(at::kBFloat16).to(at::kFloat).equal(b));
        QVERIFY(a.sub(b).abs().sub(a.abs().div(250)).max().item<double>() < 1e-4);
      }
      const attention::testing::Attended found = attention::testing::attend(*policy, query);
      at::Tensor selected = at::zeros({rows.size(0), query.length()});
      for (std::int64_t r = 0; r < rows.size(0); ++r) {
        const auto& support = found.supports[static_cast<std::size_t>(rows[r].item<std::int64_t>())];
        QCOMPARE(support.size(), std::size_t{k});
        for (const std::int64_t key : support) selected[r][key] = 1.0f;
      }
      // LibTorch's sums of the same products: another order, so keys of all but equal score may change places.
      const double same = (best_keys(rounded, rows, k) * selected).sum().item<double>();
      QVERIFY(same >= 0.9995 * static_cast<double>(k * rows.size(0)));
      const at::Tensor as_if_exact = best_keys(exact, rows, k), mass =
                           mass_of_rows(query, rows, query.length(), SupportScope::layer).squeeze(0);
      const double overlap = (as_if_exact * selected).sum(1).mean().item<double>() / k;
      const double captured = (mass * selected).sum(1).mean().item<double>();
      const double captured_exact = (mass * as_if_exact).sum(1).mean().item<double>();
      qInfo("layer %d: overlap %.4f, captured mass %.5f, without rounding %.5f", query.layer, overlap, captured,
            captured_exact);
      QVERIFY(overlap > 0.995);
      QVERIFY(std::abs(captured - captured_exact) < 2e-4);
    }
  }
};

QTEST_GUILESS_MAIN(TestIndexerModel)
#include "test_indexer_model.moc"
