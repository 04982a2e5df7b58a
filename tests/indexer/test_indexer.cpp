// SPDX-License-Identifier: Apache-2.0
// The indexer's forward pass and supports against plain fp64 loops; its file, whole and damaged.
// LibTorch before Qt, whose `slots` is a macro.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/matmul.h>

#include "../attention/layer_inputs.h"
#include "attention/backends/index_projection.h"
#include "indexer/indexer.h"
#include "kernels/cpu/index/index_score.h"

#include <QTemporaryDir>
#include <QtTest>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <numeric>

#include "base/error.h"
#include "checkpoint/safetensors_file.h"

using namespace headroom;
using namespace headroom::attention;
using namespace headroom::attention::testing;
using namespace headroom::indexer;
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t width = 24, dim = 16;

std::shared_ptr<Indexer> make_indexer(unsigned seed = 1) {
  std::mt19937 random(seed);
  auto indexer = std::make_shared<Indexer>();
  indexer->metadata.index_dim = dim;
  indexer->metadata.base_model_sha256 = std::string(64, 'a');
  indexer->metadata.base_model_name = "Test model \"1\"";
  indexer->metadata.trained_length = 4096;
  indexer->metadata.steps = 900;
  indexer->metadata.norm_epsilon = 1e-6;
  indexer->metadata.recipe = R"({"lr": 0.001})";
  indexer->metadata.held_out = R"({"kl": [0.25]})";
  for (const int layer : {0, 3}) {
    indexer->layers[layer] = {random_tensor({dim, width}, random, 0.3).to(at::kBFloat16).to(at::kFloat),
                              random_tensor({dim, width}, random, 0.3).to(at::kBFloat16).to(at::kFloat),
                              random_tensor({dim}, random).to(at::kBFloat16).to(at::kFloat)};
  }
  return indexer;
}

std::vector<double> values_of(const at::Tensor& tensor) {
  const at::Tensor copy = tensor.to(at::kDouble).contiguous();
  return {copy.const_data_ptr<double>(), copy.const_data_ptr<double>() + copy.numel()};
}

/// q_I and k_I, rows of `dim` values.
struct PlainProjections {
  std::vector<std::vector<double>> q, k;
};

/// METHOD.md, "Indexer", as plain loops, with no rounding.
PlainProjections plain_projections(const Indexer& indexer, const LayerQuery& query) {
  const LayerWeights& weights = indexer.layers.at(query.layer);
  const auto x = values_of(query.x), wq = values_of(weights.q_proj), wk = values_of(weights.k_proj),
             norm = values_of(weights.k_norm);
  const auto project = [&](const std::vector<double>& w, std::int64_t row) {
    std::vector<double> out(dim);
    for (std::int64_t i = 0; i < dim; ++i)
      for (std::int64_t j = 0; j < width; ++j)
        out[static_cast<std::size_t>(i)] +=
            w[static_cast<std::size_t>(i * width + j)] * x[static_cast<std::size_t>(row * width + j)];
    return out;
  };
  const auto rope = [&](std::vector<double> v, std::int64_t position) {
    for (std::size_t i = 0; i < dim / 2; ++i) {
      const double angle =
          static_cast<double>(position) * std::pow(query.rope_base, -2.0 * static_cast<double>(i) / dim);
      const double a = v[i], b = v[i + dim / 2];
      v[i] = a * std::cos(angle) - b * std::sin(angle);
      v[i + dim / 2] = b * std::cos(angle) + a * std::sin(angle);
    }
    return v;
  };
  PlainProjections out;
  for (std::int64_t t = 0; t < query.length(); ++t) {
    std::vector<double> k = project(wk, t);
    double square = 0;
    for (const double value : k) square += value * value / dim;
    for (std::size_t i = 0; i < dim; ++i) k[i] *= norm[i] / std::sqrt(square + indexer.metadata.norm_epsilon);
    out.k.push_back(rope(k, t));
    out.q.push_back(rope(project(wq, t), t));
  }
  return out;
}

/// Rows of I.
std::vector<std::vector<double>> plain_scores(const PlainProjections& projections) {
  std::vector<std::vector<double>> rows;
  for (const auto& q : projections.q) {
    rows.emplace_back();
    for (std::size_t s = 0; s < rows.size(); ++s) {
      double dot = 0;
      for (std::size_t i = 0; i < q.size(); ++i) dot += q[i] * projections.k[s][i];
      rows.back().push_back(dot / std::sqrt(static_cast<double>(q.size())));
    }
  }
  return rows;
}

std::vector<std::vector<double>> softmax_rows(std::vector<std::vector<double>> rows) {
  for (auto& row : rows) {
    const double largest = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (double& value : row) sum += value = std::exp(value - largest);
    for (double& value : row) value /= sum;
  }
  return rows;
}

/// q_I and k_I as the policy uses them on the CPU, fp32.
IndexProjections project(const std::shared_ptr<Indexer>& indexer, const LayerQuery& query) {
  IndexPlacements placements;
  return as_float(placements.project(*indexer, query, {}));
}

std::string read_text(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write_text(const fs::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

ErrorKind load_error(const fs::path& file) {
  try {
    load_indexer(file);
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::internal;
}

}  // namespace

class TestIndexer : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() { at::set_num_threads(2); }

  void projections_match_plain_loops() {
    const auto indexer = make_indexer();
    for (const Shape& shape : {Shape{1, 2, 1, 16}, Shape{301, 2, 1, 16}, Shape{77, 2, 1, 16, at::kBFloat16}}) {
      const LayerQuery query = make_query(shape, 1, width);
      const IndexProjections found = project(indexer, query);
      const PlainProjections expected = plain_projections(*indexer, query);
      for (const auto& [tensor, rows] : {std::pair{found.q, expected.q}, std::pair{found.k, expected.k}}) {
        QCOMPARE(tensor.scalar_type(), at::kFloat);
        // In a bf16 model the values are bf16's: half a unit in the last place of 8 bits.
        const bool rounded = shape.dtype == at::kBFloat16;
        if (rounded) QVERIFY(tensor.to(at::kBFloat16).to(at::kFloat).equal(tensor));
        const auto values = values_of(tensor);
        for (std::size_t t = 0; t < rows.size(); ++t)
          for (std::size_t i = 0; i < dim; ++i)
            QVERIFY(std::abs(values[t * dim + i] - rows[t][i]) < 1e-5 + (rounded ? std::abs(rows[t][i]) / 256 : 0));
      }
    }
  }

  void scores_are_as_exact_as_libtorchs() {
    std::mt19937 random(6);
    for (const std::int64_t d : {16, 64, 128}) {
      for (const auto dtype : {at::kBFloat16, at::kFloat}) {
        const std::int64_t length = 333;
        const at::Tensor q = random_tensor({length, d}, random).to(dtype),
                         k = random_tensor({length, d}, random).to(dtype);
        const auto scorer = kernels::cpu::make_index_scorer(
            {dtype == at::kFloat ? kernels::cpu::Element::f32 : kernels::cpu::Element::bf16, length, d,
             q.const_data_ptr(), k.const_data_ptr()},
            [](std::int64_t count, const std::function<void(std::int64_t)>& task) {
              for (std::int64_t i = 0; i < count; ++i) task(i);
            });
        const std::int64_t stride = kernels::cpu::score_stride(length);
        std::vector<float> scores(static_cast<std::size_t>(length * stride));
        scorer->scores(0, length, scores.data(), stride);
        const auto libtorch = values_of(at::matmul(q.to(at::kFloat), k.to(at::kFloat).t()));
        const auto exact = values_of(at::matmul(q.to(at::kDouble), k.to(at::kDouble).t()));
        double error = 0, allowed = 0;
        for (std::int64_t t = 0; t < length; ++t) {
          for (std::int64_t s = 0; s < length; ++s) {
            const auto at = static_cast<std::size_t>(t * length + s);
            error = std::max(
                error, std::abs(static_cast<double>(scores[static_cast<std::size_t>(t * stride + s)]) - exact[at]));
            allowed = std::max(allowed, 2 * std::abs(libtorch[at] - exact[at]));
          }
        }
        QVERIFY2(error <= allowed, qPrintable(QString("%1 of %2").arg(error).arg(allowed)));
      }
    }
  }

  void supports_are_the_best_scores() {
    const auto indexer = make_indexer();
    const LayerQuery query = make_query({210, 4, 1, 16}, 2, width);
    const auto rows = plain_scores(plain_projections(*indexer, query));
    const auto probabilities = softmax_rows(rows);
    for (const std::string budget : {"1", "24", "20%", "p0.8"}) {
      for (const std::int64_t granularity : {1, 32}) {
        const Attended found = attend(*policy_of("indexer", budget, granularity, {}, indexer), query);
        const auto expected = reference::select(probabilities, parse_budget(budget), granularity);
        std::size_t different = 0, all = 0;
        QCOMPARE(found.supports.size(), expected.size());
        for (std::size_t row = 0; row < expected.size(); ++row) {
          QCOMPARE(found.supports[row].size(), expected[row].size());
          const auto shared = reference::shared_scores(probabilities, static_cast<std::int64_t>(row), granularity);
          double captured = reference::captured_mass(shared, found.supports[row]);
          QVERIFY(std::abs(captured / reference::captured_mass(shared, expected[row]) - 1) < 1e-5);
          for (const std::int64_t key : expected[row]) {
            ++all;
            different += !std::binary_search(found.supports[row].begin(), found.supports[row].end(), key);
          }
        }
        QVERIFY2(different * 1000 <= all, std::to_string(different).c_str());  // keys of all but equal score
        const auto outputs = reference::sparse(reference::inputs_of(query), found.supports);
        QVERIFY(max_error(found.out, outputs.out) < 1e-5);
      }
    }
  }

  void rounded_projections_decide_in_a_bf16_model() {
    const auto indexer = make_indexer();
    const LayerQuery query = make_query({500, 4, 1, 16, at::kBFloat16}, 7, width);
    const IndexProjections projected = project(indexer, query);
    // Sums of products that are exact: equal to fp64's but for the last bits.
    const auto q = values_of(projected.q), k = values_of(projected.k);
    const Attended found = attend(*policy_of("indexer", "40", 1, {}, indexer), query);
    QCOMPARE(found.supports.size(), std::size_t{500});
    for (std::size_t t = 0; t < found.supports.size(); ++t) {
      std::vector<double> scores;
      for (std::size_t s = 0; s <= t; ++s)
        scores.push_back(std::inner_product(&q[t * dim], &q[t * dim] + dim, &k[s * dim], 0.0));
      const auto& support = found.supports[t];
      QCOMPARE(support.size(), std::min<std::size_t>(40, t + 1));
      QCOMPARE(support.back(), static_cast<std::int64_t>(t));
      double worst_taken = INFINITY, best_left = -INFINITY;
      for (std::size_t s = 0; s < t; ++s) {
        if (std::binary_search(support.begin(), support.end(), static_cast<std::int64_t>(s)))
          worst_taken = std::min(worst_taken, scores[s]);
        else
          best_left = std::max(best_left, scores[s]);
      }
      QVERIFY(worst_taken > best_left - 1e-5);
    }
  }

  void results_do_not_depend_on_threads() {
    const auto indexer = make_indexer();
    for (const auto dtype : {at::kBFloat16, at::kFloat}) {
      const LayerQuery query = make_query({611, 4, 1, 16, dtype}, 3, width);
      const auto policy = policy_of("indexer", "50", 1, {}, indexer);
      const Attended two = attend(*policy, query), again = attend(*policy, query);
      QVERIFY(again.out.equal(two.out));
      QCOMPARE(again.supports, two.supports);
      for (const int threads : {1, 3}) {
        at::set_num_threads(threads);
        const Attended other = attend(*policy, query);
        QVERIFY(other.out.equal(two.out));
        QCOMPARE(other.supports, two.supports);
      }
      at::set_num_threads(2);
    }
  }

  void a_model_that_does_not_fit_is_named() {
    const auto indexer = make_indexer();
    const auto policy = policy_of("indexer", "5", 1, {}, indexer);
    LayerQuery query = make_query({20, 2, 1, 16}, 4, width);
    query.layer = 1;
    QVERIFY_THROWS_EXCEPTION(Error, attend(*policy, query));
    query = make_query({20, 2, 1, 16}, 4, width + 1);
    try {
      attend(*policy, query);
      QFAIL("another width was accepted");
    } catch (const Error& error) {
      QCOMPARE(error.kind(), ErrorKind::input);
      QVERIFY(std::string(error.what()).find("width 25") != std::string::npos);
    }
    QVERIFY_THROWS_EXCEPTION(Error, policy_of("indexer", "5", 1, {}, nullptr));
    QVERIFY_THROWS_EXCEPTION(Error, policy_of("indexer", "5", 5, {}, indexer));
    QVERIFY_THROWS_EXCEPTION(Error, policy_of("indexer", "", 1, {}, indexer));
  }

  void a_file_round_trips() {
    const QTemporaryDir folder;
    const fs::path file = fs::path(folder.path().toStdString()) / "i.safetensors";
    const auto indexer = make_indexer();
    save_indexer(*indexer, file);
    const Indexer loaded = load_indexer(file);
    QCOMPARE(loaded.metadata.index_dim, dim);
    QCOMPARE(loaded.metadata.base_model_name, indexer->metadata.base_model_name);
    QCOMPARE(loaded.metadata.trained_length, 4096);
    QCOMPARE(loaded.metadata.norm_epsilon, 1e-6);
    QCOMPARE(loaded.metadata.recipe, indexer->metadata.recipe);
    QCOMPARE(loaded.metadata.held_out, indexer->metadata.held_out);
    QCOMPARE(loaded.layers.size(), std::size_t{2});
    for (const auto& [layer, weights] : indexer->layers) {
      QVERIFY(loaded.layers.at(layer).q_proj.equal(weights.q_proj));
      QVERIFY(loaded.layers.at(layer).k_proj.equal(weights.k_proj));
      QVERIFY(loaded.layers.at(layer).k_norm.equal(weights.k_norm));
    }
    QCOMPARE(QDir(folder.path()).entryList(QDir::Files), QStringList("i.safetensors"));
  }

  void a_shipped_indexer_is_found_by_the_models_hash() {
    const QTemporaryDir folder;
    const fs::path data = folder.path().toStdString();
    fs::create_directories(data / "sample_data/indexers");
    save_indexer(*make_indexer(), data / "sample_data/indexers/b.safetensors");
    write_text(data / "sample_data/indexers/a.safetensors", "damaged");
    setenv("HEADROOM_DATA", data.c_str(), 1);
    QCOMPARE(find_shipped_indexer(std::string(64, 'a')).value().filename().string(), std::string("b.safetensors"));
    QVERIFY(!find_shipped_indexer(std::string(64, 'b')));
    QVERIFY(!find_shipped_indexer(""));
    unsetenv("HEADROOM_DATA");
  }

  void hostile_files_are_refused() {
    const QTemporaryDir folder;
    const fs::path base = folder.path().toStdString(), good = base / "good.safetensors", bad = base / "bad.safetensors";
    save_indexer(*make_indexer(), good);
    const std::string text = read_text(good);
    const auto replaced = [&](const std::string& from, const std::string& to) {
      std::string copy = text;
      const std::size_t at = copy.find(from);
      if (at == std::string::npos) return std::string("not found");
      return copy.replace(at, from.size(), to);
    };
    // Same lengths, so the header stays whole and only what it says is wrong.
    const std::pair<const char*, const char*> edits[] = {
        {"\"index_dim\":\"16\"", "\"index_dim\":\"-6\""},
        {"\"index_dim\":\"16\"", "\"index_dim\":\"15\""},
        {"\"index_dim\":\"16\"", "\"index_dim\":\"18\""},
        {"\"norm_epsilon\":\"1", "\"norm_epsilon\":\"-"},
        {"layers.3.self_attn.indexer.k_norm", "layers.3.self_attn.indexer.x_norm"},
        {"layers.3.self_attn.indexer.k_norm", "layers.4.self_attn.indexer.k_norm"},
        {"headroom-indexer", "headroom-someting"},
        {"[16,24]", "[24,16]"},
        {"\"steps\":\"900\"", "\"steps\":\"9x0\""},
        {"{\\\"lr\\\"", "{{\\\"l\\\""}};
    for (const auto& [from, to] : edits) {
      const std::string edited = replaced(from, to);
      QVERIFY2(edited != "not found", from);
      write_text(bad, edited);
      QVERIFY2(load_error(bad) == ErrorKind::input, from);
    }
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{7}, std::size_t{200}, text.size() / 2, text.size() - 1}) {
      write_text(bad, text.substr(0, size));
      QVERIFY2(load_error(bad) == ErrorKind::input, std::to_string(size).c_str());
    }
    std::string not_finite = text;
    not_finite[not_finite.size() - 1] = '\x7f';
    not_finite[not_finite.size() - 2] = '\xc0';
    write_text(bad, not_finite);
    QVERIFY(load_error(bad) == ErrorKind::input);
    QVERIFY(load_error(base / "none.safetensors") == ErrorKind::input);
    // Flipped bits anywhere in the header: an error or a load, never a crash.
    std::mt19937 random(5);
    const std::size_t header = 8 + static_cast<unsigned char>(text[0]) + 256u * static_cast<unsigned char>(text[1]);
    for (int i = 0; i < 400; ++i) {
      std::string flipped = text;
      for (int flips = 0; flips < 3; ++flips) flipped[random() % header] ^= static_cast<char>(1u << random() % 8);
      write_text(bad, flipped);
      load_error(bad);
    }
  }
};

QTEST_APPLESS_MAIN(TestIndexer)
#include "test_indexer.moc"
