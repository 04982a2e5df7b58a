// SPDX-License-Identifier: Apache-2.0
// The CPU attention kernels on what SmolLM2 really hands them: outputs of every instruction set against fp64 beside
// LibTorch in the same precision, over dense, oracle and indexer supports; and logits of whole prefills against
// LibTorch's path over the same supports.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <c10/core/InferenceMode.h>

#include <QtTest>
#include <fstream>
#include <map>
#include <sstream>

#include "../attention/kernel_fixture.h"
#include "base/error.h"
#include "base/paths.h"
#include "checkpoint/checkpoint.h"
#include "indexer/indexer.h"
#include "model/decoder.h"
#include "tokenizer/tokenizer.h"

using namespace headroom;
using namespace headroom::attention;
using namespace headroom::attention::testing;
using cpu::Isa;
using cpu::SparseKernel;

namespace {

using Tiles = std::vector<SupportTile>;

/// fp64 attention and log-sum-exp by LibTorch's operators (the loops of reference.h give the same, in an hour).
struct Exact {
  at::Tensor out, lse;
  Exact(const LayerQuery& query, const reference::Supports& supports) {
    const std::int64_t group = query.num_q_heads() / query.num_kv_heads();
    const at::Tensor k = query.k.to(at::kDouble).repeat_interleave(group, 0);
    const at::Tensor v = query.v.to(at::kDouble).repeat_interleave(group, 0);
    const at::Tensor scores = at::matmul(query.q.to(at::kDouble), k.transpose(1, 2))
                                  .mul(query.scale)
                                  .add(additive_mask(supports, at::kDouble));
    out = at::matmul(at::softmax(scores, -1), v);
    lse = at::logsumexp(scores, {-1});
  }
};

double largest_error(const at::Tensor& found, const at::Tensor& expected) {
  return found.to(at::kDouble).sub(expected).abs().max().item<double>();
}
double mean_error(const at::Tensor& found, const at::Tensor& expected) {
  return found.to(at::kDouble).sub(expected).abs().mean().item<double>();
}

/// Attends over supports that another run selected.
class Replay final : public Policy {
 public:
  explicit Replay(const std::map<int, Tiles>& tiles) : Policy({.name = "replay"}, {.budget = parse_budget("128")}) {
    for (const auto& [layer, list] : tiles) supports_[layer] = supports_of(list);
  }
  Selection select(const PreparedLayer& layer, StageClock&, const JobContext&) const override {
    const reference::Supports& rows = supports_.at(layer.query().layer);
    WrittenKeys keys;
    keys.most = layer.query().length();
    keys.write = WrittenKeys::by_row([&rows](std::int64_t, std::int64_t row, std::int32_t* out) {
      const auto& support = rows[static_cast<std::size_t>(row)];
      std::copy(support.begin(), support.end(), out);
      return std::ssize(support);
    });
    return keys;
  }

 private:
  std::map<int, reference::Supports> supports_;
};

/// Row pointers of a sink's tiles, as one support for the kernels.
KernelSupport joined(const Tiles& tiles, std::int64_t length) {
  std::vector<std::vector<std::int32_t>> rows;
  for (const auto& row : supports_of(tiles)) rows.emplace_back(row.begin(), row.end());
  return kernel_support(length, 0, rows);
}

}  // namespace

class TestRealAttention : public QObject {
  Q_OBJECT

  std::unique_ptr<checkpoint::Checkpoint> checkpoint_;
  std::shared_ptr<const indexer::Indexer> indexer_;
  std::vector<std::int32_t> ids_;
  std::shared_ptr<const Backend> torch_ = make_torch_backend(), kernels_ = make_cpu_backend();
  std::map<c10::ScalarType, std::unique_ptr<model::Decoder>> decoders_;

  std::unique_ptr<Policy> policy(const std::string& name, const std::string& budget) const {
    return policy_of(name, budget, 1, {}, indexer_);
  }

  const model::Decoder& decoder(c10::ScalarType dtype) {
    auto& found = decoders_[dtype];
    if (!found) found = model::load_decoder(*checkpoint_, {.dtype = dtype}, {});
    return *found;
  }

  /// [last_rows, vocabulary] of the prompt's end.
  at::Tensor logits(c10::ScalarType dtype, const Policy& policy, const Backend& backend,
                    const model::LayerObserver& observer = {}) {
    model::PrefillOptions options;
    options.policy = &policy;
    options.backend = options.dense_backend = &backend;
    options.observer = observer;
    options.logit_rows = last_rows;
    return decoder(dtype).prefill(ids_, options).tail_logits.to(at::kDouble);
  }
  static constexpr std::int64_t last_rows = 64;

 private slots:
  void initTestCase() {
    at::set_num_threads(2);
    std::filesystem::path file;
    try {
      file = resolve_model("smollm2");
    } catch (const Error& error) {
      QSKIP(error.what());
    }
    checkpoint_ = checkpoint::open_checkpoint(file);
    const auto shipped = indexer::find_shipped_indexer(checkpoint_->hash());
    QVERIFY(shipped.has_value());
    indexer_ = std::make_shared<const indexer::Indexer>(indexer::load_indexer(*shipped));
    std::ifstream stream(HEADROOM_SOURCE_DIR "/sample_data/prompts/garden-handbook.txt", std::ios::binary);
    std::ostringstream text;
    text << stream.rdbuf();
    for (const auto& token : tokenizer::make_tokenizer(*checkpoint_)->encode(text.str())) ids_.push_back(token.id);
    QVERIFY(ids_.size() >= 901);
    ids_.resize(901);  // no multiple of any tile
  }

  void kernels_are_as_exact_as_libtorch_on_real_inputs_data() {
    QTest::addColumn<bool>("bf16");
    QTest::newRow("bf16") << true;
    QTest::newRow("fp32") << false;
  }
  void kernels_are_as_exact_as_libtorch_on_real_inputs() {
    if (!checkpoint_) QSKIP("no model");
    QFETCH(bool, bf16);
    const c10::ScalarType dtype = bf16 ? at::kBFloat16 : at::kFloat;
    std::vector<LayerQuery> queries;
    logits(dtype, *policy("dense", ""), *torch_, [&](const PreparedLayer& layer, const at::Tensor&, const Tiles&) {
      const LayerQuery& query = layer.query();
      if (query.layer != 0 && query.layer != 7 && query.layer != 18 && query.layer != 29) return;
      queries.push_back(query);
      for (at::Tensor* tensor : {&queries.back().q, &queries.back().k, &queries.back().v, &queries.back().x})
        *tensor = tensor->clone();
    });
    QCOMPARE(queries.size(), std::size_t{4});
    const std::int64_t length = std::ssize(ids_);
    double worst = 0, worst_lse = 0;
    for (const LayerQuery& query : queries) {
      std::vector<std::pair<std::string, KernelSupport>> cases;
      for (const auto& [name, budget] : {std::pair{"oracle", "64"}, std::pair{"oracle", "128"},
                                         std::pair{"indexer", "64"}, std::pair{"indexer", "128"}}) {
        if ((query.layer % 2 == 0) == (std::string(budget) == "64")) continue;  // one budget a layer is enough
        const Tiles tiles = attend(*policy(name, budget), query).tiles;
        cases.emplace_back(std::string(name) + " " + budget, joined(tiles, length));
      }
      cases.emplace_back("dense", KernelSupport{});
      for (const auto& [name, support] : cases) {
        const bool whole = name == "dense";
        const reference::Supports meaning = whole ? whole_histories(length) : support.meaning;
        const Exact expected(query, meaning);
        const at::Tensor steps = same_precision(query, meaning), kernel = libtorch_kernel(query, meaning);
        const double allowed = 2 * std::min(largest_error(steps, expected.out), largest_error(kernel, expected.out));
        const double allowed_mean = 2 * std::min(mean_error(steps, expected.out), mean_error(kernel, expected.out));
        for (const Isa isa : isas_for(dtype)) {
          const KernelLayer layer(query, isa, run_on_threads(2));
          for (const SparseKernel how : {SparseKernel::gather, SparseKernel::union_tile}) {
            const KernelOutput out(query, Layout::rows_first);
            if (whole)
              layer->dense(length, out.view(), run_on_threads(2));
            else
              layer->sparse(support.view(), how, out.view(), run_on_threads(2));
            const std::string where =
                "layer " + std::to_string(query.layer) + " " + name + " " + std::string(cpu::name(isa));
            const double error = largest_error(out.values(), expected.out),
                         mean = mean_error(out.values(), expected.out);
            worst = std::max(worst, 2 * error / allowed);
            QVERIFY2(error <= allowed + 1e-6,
                     qPrintable(QString("%1: %2 of %3").arg(where.c_str()).arg(error).arg(allowed)));
            QVERIFY2(mean <= allowed_mean + 1e-7, (where + ": mean " + std::to_string(mean)).c_str());
            const at::Tensor lse = at::empty({query.num_q_heads(), length}, at::TensorOptions().dtype(at::kFloat));
            std::memcpy(lse.mutable_data_ptr(), out.lse(), lse.nbytes());
            const double lse_error =
                largest_error(lse, expected.lse) / std::max(1.0, expected.lse.abs().max().item<double>());
            worst_lse = std::max(worst_lse, lse_error);
            QVERIFY2(lse_error <= 2e-6, (where + ": lse " + std::to_string(lse_error)).c_str());
            if (whole) break;
          }
        }
      }
    }
    qInfo("largest error %.2f times LibTorch's, log-sum-exp %.1e", worst, worst_lse);
  }

  void logits_stay_what_libtorch_makes_them() {
    if (!checkpoint_) QSKIP("no model");
    // Through thirty layers a bf16 rounding here or there moves the logits of one position by luck: the last positions
    // are averaged. fp32 is compared as it is.
    const std::vector<std::int32_t> all = ids_;
    ids_.resize(600);
    const auto dense = policy("dense", "");
    const at::Tensor exact = logits(at::kFloat, *dense, *torch_), rounded = logits(at::kBFloat16, *dense, *torch_);
    QCOMPARE(exact.sizes().vec(), (std::vector<std::int64_t>{last_rows, decoder(at::kFloat).config().vocabulary}));
    const double rounding = mean_error(rounded, exact);
    for (const std::string name : {"dense", "oracle", "indexer"}) {
      for (const c10::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
        std::map<int, Tiles> tiles;
        at::Tensor ours, theirs;
        if (name == "dense") {
          ours = logits(dtype, *dense, *kernels_);
          theirs = dtype == at::kFloat ? exact : rounded;
        } else {
          ours = logits(
              dtype, *policy(name, "128"), *kernels_,
              [&](const PreparedLayer& layer, const at::Tensor&, const Tiles& found) {
                tiles[layer.query().layer] = found;
              });
          theirs = logits(dtype, Replay(tiles), *torch_);
        }
        QVERIFY2(ours[-1].argmax().item<std::int64_t>() == theirs[-1].argmax().item<std::int64_t>(), name.c_str());
        if (dtype == at::kBFloat16) {
          const double moved = mean_error(ours, theirs);
          qInfo("%s: bf16 logits differ by %.3f on average; bf16 and fp32 by %.3f", name.c_str(), moved, rounding);
          QVERIFY2(moved <= 2 * rounding, name.c_str());
        } else {
          const double error = largest_error(ours, theirs);
          qInfo("%s: fp32 logits differ by %.1e", name.c_str(), error);
          QVERIFY2(error < 2e-4, name.c_str());
          QVERIFY2(ours.argmax(-1).equal(theirs.argmax(-1)), name.c_str());
        }
      }
    }
    ids_ = all;
  }
};

QTEST_GUILESS_MAIN(TestRealAttention)
#include "test_real_attention.moc"
