// SPDX-License-Identifier: Apache-2.0
// Every registered policy on every backend of this machine, through one interface: the same supports (up to keys of all
// but equal score), outputs as exact as LibTorch's in the same precision, statistics that agree.
// LibTorch before Qt, whose `slots` is a macro.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "layer_inputs.h"

#include <QtTest>
#include <algorithm>
#include <cmath>
#include <numeric>

using namespace headroom;
using namespace headroom::attention;
using namespace headroom::attention::testing;

namespace {

constexpr std::int64_t width = 24, dim = 16;

class SmallIndex final : public IndexSource {
 public:
  SmallIndex() {
    std::mt19937 random(5);
    weights_ = {random_tensor({::dim, width}, random, 0.4), random_tensor({::dim, width}, random, 0.4),
                random_tensor({::dim}, random)};
  }
  const IndexWeights* find_layer(int layer) const override { return layer == 3 ? &weights_ : nullptr; }
  std::int64_t dim() const override { return ::dim; }
  double norm_epsilon() const override { return 1e-6; }
  std::string layers_text() const override { return "one layer"; }
  std::string fingerprint() const override { return "small"; }

 private:
  IndexWeights weights_;
};

/// A layer's own stream in place of a dense run's.
class OwnLayer final : public StreamSource {
 public:
  explicit OwnLayer(const LayerQuery& query) : layer_{query.q, query.k} {}
  const StreamLayer* find_layer(int) const override { return &layer_; }

 private:
  StreamLayer layer_;
};

std::vector<std::int64_t> whole(std::int64_t row) {
  std::vector<std::int64_t> keys;
  for (std::int64_t key = 0; key <= row; ++key) keys.push_back(key);
  return keys;
}

}  // namespace

class TestBackends : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() { at::set_num_threads(2); }

  void agree_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<QString>("budget");
    QTest::addColumn<int>("granularity");
    for (const PolicyEntry& entry : policies()) {
      const PolicyTraits& traits = entry.traits;
      const QString name = QString::fromStdString(std::string(traits.name));
      if (traits.is_dense()) QTest::addRow("%s", qPrintable(name)) << name << QString() << 1;
      for (const char* budget : {"1", "40", "20%", "1000", "p0.9"}) {
        if (traits.is_dense() || (budget[0] == 'p' && !traits.takes_mass_budget)) continue;
        for (const int granularity : {1, 16, 64}) {
          if (granularity > 1 && !traits.takes_granularity) continue;
          if (granularity < traits.least_granularity || (granularity == 64 && traits.least_granularity == 1)) continue;
          QTest::addRow("%s %s, %d rows a block", qPrintable(name), budget, granularity)
              << name << QString(budget) << granularity;
        }
      }
    }
  }
  void agree() {
    QFETCH(QString, name);
    QFETCH(QString, budget);
    QFETCH(int, granularity);
    PolicySettings settings;
    if (!budget.isEmpty()) settings.budget = parse_budget(budget.toStdString());
    settings.granularity = granularity;
    settings.index = std::make_shared<SmallIndex>();
    for (const Shape& shape : {Shape{1, 3, 3, 16}, Shape{37, 9, 3, 64, at::kBFloat16}, Shape{301, 4, 1, 16},
                               Shape{190, 6, 2, 128, at::kBFloat16}}) {
      const LayerQuery query = make_query(shape, 41, width);
      const reference::Inputs in = reference::inputs_of(query);
      settings.dense_stream = std::make_shared<OwnLayer>(query);
      const auto policy = make_policy(name.toStdString(), settings);
      const auto groups = static_cast<std::size_t>(
          num_support_groups(policy->traits().scope, shape.num_q_heads, shape.num_kv_heads));
      const Attended ours = attend(*policy, query, *make_cpu_backend());
      const Attended torch = attend(*policy, query, *make_torch_backend());
      std::size_t different = 0, all = 0;
      std::vector<reference::Supports> of_ours, of_torch;
      for (std::size_t group = 0; group < groups && !policy->is_dense(); ++group) {
        of_ours.push_back(supports_of(ours.tiles, static_cast<std::int64_t>(group)));
        of_torch.push_back(supports_of(torch.tiles, static_cast<std::int64_t>(group)));
        const auto &a = of_ours.back(), &b = of_torch.back();
        QCOMPARE(a.size(), b.size());
        for (std::size_t row = 0; row < a.size(); ++row) {
          QVERIFY(std::is_sorted(b[row].begin(), b[row].end()));
          if (budget[0] != 'p') QCOMPARE(a[row].size(), b[row].size());
          all += a[row].size();
          for (const std::int64_t key : a[row]) different += !std::binary_search(b[row].begin(), b[row].end(), key);
        }
      }
      const std::string where = policy->id() + " " + shape.text();
      QVERIFY2(different * 2000 <= all, (where + ": " + std::to_string(different)).c_str());
      for (const Attended* found : {&ours, &torch}) {
        std::vector<reference::Supports> supports = found == &ours ? of_ours : of_torch;
        if (policy->is_dense()) supports.resize(1);
        for (std::int64_t row = 0; policy->is_dense() && row < shape.length; ++row) supports[0].push_back(whole(row));
        const auto expected = reference::sparse(in, supports).out;
        const double allowed = 2 * max_error(same_precision(query, supports), expected) + 1e-6;
        QVERIFY2(max_error(found->out, expected) <= allowed, where.c_str());
      }
    }
  }

  void offer_the_same_numbers() {
    const LayerQuery query = make_query({150, 6, 2, 32}, 42, width);
    const reference::Inputs in = reference::inputs_of(query);
    const auto dense = reference::dense(in);
    const SmallIndex index;
    const auto ours = make_cpu_backend(), torch = make_torch_backend();
    const auto a = ours->prepare(query, {}), b = torch->prepare(query, {});
    for (const PreparedLayer* layer : {a.get(), b.get()}) {
      const at::Tensor lse = at::empty({6, 150}, at::kFloat), out = layer->make_output();
      layer->dense(150, out, lse, {});
      QVERIFY(max_error(lse, dense.lse) < 1e-5);
      QVERIFY(max_error(out, dense.out) < 1e-5);
      const at::Tensor mass = layer->mass(SupportScope::layer, 0, {})->scores(100, 117);
      QCOMPARE(mass.sizes().vec(), (std::vector<std::int64_t>{1, 17, 117}));
      for (std::int64_t row = 100; row < 117; ++row) {
        std::vector<double> expected = reference::mass(in, row);
        expected.resize(117);
        QVERIFY(max_error(mass[0][row - 100], expected) < 1e-6);
      }
    }
    for (const SupportScope scope : {SupportScope::kv_head, SupportScope::q_head}) {
      const at::Tensor x = a->mass(scope, 0, {})->scores(40, 60), y = b->mass(scope, 0, {})->scores(40, 60);
      QCOMPARE(x.sizes(), y.sizes());
      QVERIFY(x.sub(y).abs().max().item<float>() < 1e-6f);
    }
    for (const IndexForm form : {IndexForm::raw, IndexForm::probabilities}) {
      at::Tensor x = a->index(index, form, 0, {})->scores(149, 150), y = b->index(index, form, 0, {})->scores(149, 150);
      if (form == IndexForm::raw) x = x.div(4);  // any scale will do for ranks: the kernel leaves d_I^-1/2 out
      QVERIFY(x.sub(y).abs().max().item<float>() < 1e-5f);
    }
  }

  // A learned logit that joins each row's softmax and has no value: outputs shrink, masses add up to less than 1, and
  // what a record would draw, exp(scale q.k - lse), with them.
  void sinks_take_their_share() {
    for (const Shape& shape : {Shape{1, 3, 3, 16}, Shape{150, 6, 2, 32}, Shape{190, 6, 2, 64, at::kBFloat16}}) {
      LayerQuery query = make_query(shape, 44, width);
      if (shape.length == 1) query.k.mul_(0.02);  // its only key would leave nothing to any sink
      query.sinks = at::empty({shape.num_q_heads}, at::kFloat);
      for (std::int64_t head = 0; head < shape.num_q_heads; ++head)
        query.sinks[head] = 0.7 * static_cast<double>(head) + 3;
      const reference::Inputs in = reference::inputs_of(query);
      const auto dense = reference::dense(in);
      const auto without =
          reference::dense({in.length, in.num_q_heads, in.num_kv_heads, in.head_dim, in.scale, in.q, in.k, in.v});
      const bool narrow = shape.dtype == at::kBFloat16;
      for (const auto& backend : {make_cpu_backend(shape.dtype), make_torch_backend()}) {
        const auto layer = backend->prepare(query, {});
        const at::Tensor lse = at::empty({shape.num_q_heads, shape.length}, at::kFloat), out = layer->make_output();
        layer->dense(shape.length, out, lse, {});
        QVERIFY2(max_error(lse, dense.lse) < (narrow ? 2e-2 : 1e-5), shape.text().c_str());
        QVERIFY2(max_error(out, dense.out) < (narrow ? 2e-2 : 1e-5), shape.text().c_str());
        const double shrunk = max_error(out, without.out);
        QVERIFY2(shrunk > 1e-2, (shape.text() + ": " + std::to_string(shrunk)).c_str());
        const at::Tensor mass = layer->mass(SupportScope::layer, 0, {})->scores(0, shape.length);
        for (std::int64_t row = 0; row < shape.length; row += 7) {
          std::vector<double> expected = reference::mass(in, row);
          double share = 0;
          for (const double value : expected) share += value;
          QVERIFY(share < 0.9999);
          expected.resize(static_cast<std::size_t>(shape.length));
          const double error = max_error(mass[0][row], expected);
          QVERIFY2(error < 1e-5, (backend->id() + ", " + shape.text() + ", row " + std::to_string(row) + ": " +
                                  std::to_string(error)).c_str());
        }
        for (const SupportScope scope : {SupportScope::kv_head, SupportScope::q_head}) {
          const at::Tensor groups = layer->mass(scope, 0, {})->scores(0, shape.length);
          QVERIFY(groups.mean(0).sub(mass[0]).abs().max().item<float>() < 1e-5f);
        }
        const Attended found = attend(*policy_of("oracle", "12"), query, *backend);
        const auto sparse = reference::sparse(in, found.supports).out;
        QVERIFY2(max_error(found.out, sparse) < (narrow ? 2e-2 : 1e-5), shape.text().c_str());
        const LayerAnalysis analysis = layer->analyse({}, {}, {});
        for (std::size_t i = 0; i < dense.lse.size(); ++i)
          QVERIFY(std::abs(static_cast<double>(analysis.lse[i]) - dense.lse[i]) < 1e-4);
        // What the sinks take is told apart from what a support leaves out.
        AnalysisOptions options;
        options.budget_tokens = 12;
        const LayerAnalysis of_oracle = layer->analyse(found.tiles, options, {});
        for (std::int64_t head = 0; head < shape.num_q_heads; ++head) {
          const auto said = [&](const LayerAnalysis& one, HeadStatistic which) {
            return static_cast<double>(one.statistics[static_cast<std::size_t>(head) * num_head_statistics +
                                                      static_cast<std::size_t>(which)]);
          };
          double sink = 0, captured = 0, rest = 0, long_rows = 0;
          for (std::int64_t row = 0; row < shape.length; ++row) {
            const auto p = reference::probabilities(in, head, row);
            const double keys = std::accumulate(p.begin(), p.end(), 0.0);
            sink += (1 - keys) / static_cast<double>(shape.length);
            if (row < 12) continue;
            ++long_rows;
            const double held = reference::captured_mass(p, found.supports[static_cast<std::size_t>(row)]);
            captured += held;
            rest += keys - held;
          }
          QVERIFY(std::abs(said(analysis, HeadStatistic::learned_sink) - sink) < 1e-4);
          if (long_rows == 0) continue;
          QVERIFY(std::abs(said(of_oracle, HeadStatistic::captured_mass) - captured / long_rows) < 1e-4);
          QVERIFY(std::abs(said(of_oracle, HeadStatistic::uncaptured_mass) - rest / long_rows) < 1e-4);
        }
      }
    }
  }

  void a_label_says_what_runs() {
    const std::vector<std::int64_t> eights = {64, 64}, odd = {64, 20};
    const auto kernels = make_backends(c10::Device(c10::DeviceType::CPU), at::kFloat, eights);
    QCOMPARE(kernels.front()->id(), std::string("headroom"));
    const auto torch = make_backends(c10::Device(c10::DeviceType::CPU), at::kFloat, odd);
    QCOMPARE(torch.front()->id(), std::string("libtorch"));
    QVERIFY(torch.front()->sparse_label().find("LibTorch") != std::string::npos);
    QVERIFY(!torch.front()->note().empty());
    const LayerQuery query = make_query({60, 2, 1, 20}, 43);
    const auto oracle = policy_of("oracle", "12");
    const Attended found = attend(*oracle, query, *torch.front());
    QVERIFY(max_error(found.out, reference::sparse(reference::inputs_of(query), found.supports).out) < 1e-5);
  }
};

QTEST_APPLESS_MAIN(TestBackends)
#include "test_backends.moc"
