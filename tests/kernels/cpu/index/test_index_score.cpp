// SPDX-License-Identifier: Apache-2.0
// The indexer's kernels of every instruction set: projections against fp64 loops, scores against fp64 and plain fp32
// sums, selection against a stable sort of the computed scores, tiles and threads without a trace.
#include <QtTest>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <random>
#include <thread>

#include "kernels/cpu/index/index_score.h"

using namespace headroom::kernels::cpu;

namespace {

std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
float from_bf16(std::uint16_t value) {
  return std::bit_cast<float>(std::uint32_t{value} << 16);
}

/// Values of an element type, and the same as fp32.
struct Matrix {
  Element element;
  std::vector<float> values;
  std::vector<std::uint16_t> bf16;
  const void* data() const { return element == Element::bf16 ? static_cast<const void*>(bf16.data()) : values.data(); }
};

Matrix random_matrix(Element element, std::int64_t count, std::mt19937& random, float sigma = 1) {
  std::normal_distribution<float> normal(0, sigma);
  Matrix m{element, std::vector<float>(static_cast<std::size_t>(count)), {}};
  for (float& value : m.values) {
    value = normal(random);
    if (element == Element::f32) continue;
    m.bf16.push_back(to_bf16(value));
    value = from_bf16(m.bf16.back());
  }
  return m;
}

void set_value(Matrix& m, std::size_t at, float value) {
  m.values[at] = value;
  if (m.element == Element::bf16) m.bf16[at] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
}

void run_here(std::int64_t count, const std::function<void(std::int64_t)>& task) {
  for (std::int64_t i = 0; i < count; ++i) task(i);
}
void run_on_three_threads(std::int64_t count, const std::function<void(std::int64_t)>& task) {
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 3; ++thread)
    threads.emplace_back([=, &task] {
      for (std::int64_t i = thread; i < count; i += 3) task(i);
    });
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](float x, float y) {
    return std::bit_cast<std::uint32_t>(x) == std::bit_cast<std::uint32_t>(y);
  });
}

/// The definition: forced keys first, the own among them, then the computed scores, ties to the lower position.
std::vector<std::int32_t> best_keys(const float* scores, std::int64_t n, std::int64_t k, const ForcedRange& forced) {
  const auto rank = [&](std::int32_t i) { return i == n - 1 ? 0 : i < forced.first || i >= n - forced.last ? 1 : 2; };
  std::vector<std::int32_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    if (rank(a) != rank(b)) return rank(a) < rank(b);
    return rank(a) == 2 && !std::isnan(scores[a]) && (std::isnan(scores[b]) || scores[a] > scores[b]);
  });
  order.resize(static_cast<std::size_t>(std::min(k, n)));
  std::sort(order.begin(), order.end());
  return order;
}

constexpr Isa all_sets[] = {Isa::baseline, Isa::avx2, Isa::avx512, Isa::avx512_bf16};

void add_sets() {
  QTest::addColumn<int>("isa");
  QTest::addColumn<int>("element");
  for (const Isa isa : all_sets)
    for (const Element element : {Element::bf16, Element::f32})
      QTest::addRow("%s, %s", std::string(name(isa)).c_str(), element == Element::bf16 ? "bf16" : "fp32")
          << static_cast<int>(isa) << static_cast<int>(element);
}

}  // namespace

class TestIndexScore : public QObject {
  Q_OBJECT
 private slots:
  void scores_are_sums_in_fp32_data() { add_sets(); }
  void scores_are_sums_in_fp32() {
    QFETCH(int, isa);
    QFETCH(int, element);
    if (!supported(static_cast<Isa>(isa))) QSKIP("this machine does not have these instructions");
    std::mt19937 random(1);
    for (const std::int64_t dim : {2, 30, 64, 128}) {
      for (const std::int64_t length : {1, 7, 47, 48, 49, 150}) {
        const Matrix q = random_matrix(static_cast<Element>(element), length * dim, random);
        const Matrix k = random_matrix(static_cast<Element>(element), length * dim, random);
        const auto scorer =
            make_index_scorer({q.element, length, dim, q.data(), k.data()}, run_here, static_cast<Isa>(isa));
        const std::int64_t stride = score_stride(length);
        std::vector<float> found(static_cast<std::size_t>(length * stride), NAN);
        scorer->scores(0, length, found.data(), stride);
        double error = 0, plain_error = 0;
        for (std::int64_t t = 0; t < length; ++t) {
          for (std::int64_t s = 0; s < length; ++s) {
            double exact = 0;
            float plain = 0;
            for (std::int64_t i = 0; i < dim; ++i) {
              const float a = q.values[static_cast<std::size_t>(t * dim + i)];
              const float b = k.values[static_cast<std::size_t>(s * dim + i)];
              exact += static_cast<double>(a) * static_cast<double>(b);
              plain += a * b;
            }
            const auto score = static_cast<double>(found[static_cast<std::size_t>(t * stride + s)]);
            const double difference = std::abs(score - exact);
            error = difference <= error ? error : std::isnan(difference) ? INFINITY : difference;
            plain_error = std::max(plain_error, std::abs(static_cast<double>(plain) - exact));
          }
        }
        QVERIFY2(error <= 2 * plain_error + 3e-8 * static_cast<double>(dim),
                 qPrintable(QString("d %1 L %2: %3 of %4").arg(dim).arg(length).arg(error).arg(plain_error)));
      }
    }
  }

  void selection_is_that_of_the_computed_scores_data() { add_sets(); }
  void selection_is_that_of_the_computed_scores() {
    QFETCH(int, isa);
    QFETCH(int, element);
    if (!supported(static_cast<Isa>(isa))) QSKIP("this machine does not have these instructions");
    std::mt19937 random(2);
    for (const std::int64_t length : {1, 33, 501, 1777}) {
      const std::int64_t dim = 16;
      Matrix q = random_matrix(static_cast<Element>(element), length * dim, random);
      Matrix k = random_matrix(static_cast<Element>(element), length * dim, random);
      if (length > 1000) {  // keys and queries that are not finite, and keys that tie
        for (const auto& [row, value] : {std::pair{100, INFINITY}, {101, -INFINITY}, {500, NAN}, {1500, NAN}})
          set_value(k, static_cast<std::size_t>(row * dim + 3), value);
        set_value(q, static_cast<std::size_t>(1600 * dim), NAN);
        set_value(q, static_cast<std::size_t>(1601 * dim), INFINITY);
        for (std::int64_t i = 600 * dim; i < 900 * dim; ++i)
          set_value(k, static_cast<std::size_t>(i), static_cast<float>(i % dim));
      }
      const auto scorer =
          make_index_scorer({q.element, length, dim, q.data(), k.data()}, run_here, static_cast<Isa>(isa));
      const std::int64_t stride = score_stride(length);
      std::vector<float> scores(static_cast<std::size_t>(length * stride));
      scorer->scores(0, length, scores.data(), stride);
      for (const std::int64_t k_keys : {std::int64_t{1}, std::int64_t{40}, std::int64_t{300}, length + 3}) {
        for (const ForcedRange forced : {ForcedRange{0, 1}, ForcedRange{3, 5}}) {
          std::vector<std::int32_t> indices(static_cast<std::size_t>(length * k_keys), -7);
          std::vector<std::int32_t> counts(static_cast<std::size_t>(length));
          scorer->select(0, length, k_keys, forced, indices.data(), k_keys, counts.data());
          for (std::int64_t t = 0; t<length; t += length> 1000 && t % 100 != 0 ? 7 : 1) {
            const auto expected = best_keys(scores.data() + t * stride, t + 1, k_keys, forced);
            QCOMPARE(counts[static_cast<std::size_t>(t)], static_cast<std::int32_t>(expected.size()));
            QVERIFY(std::equal(expected.begin(), expected.end(), indices.begin() + t * k_keys));
            if (static_cast<std::int64_t>(expected.size()) < k_keys)
              QCOMPARE(indices[static_cast<std::size_t>(t * k_keys) + expected.size()], -7);
          }
        }
      }
    }
  }

  void tiles_and_threads_leave_no_trace_data() { add_sets(); }
  void tiles_and_threads_leave_no_trace() {
    QFETCH(int, isa);
    QFETCH(int, element);
    if (!supported(static_cast<Isa>(isa))) QSKIP("this machine does not have these instructions");
    std::mt19937 random(3);
    const std::int64_t length = 4500, dim = 10, k = 200, first = 4000;
    const Matrix q = random_matrix(static_cast<Element>(element), length * dim, random);
    const Matrix keys = random_matrix(static_cast<Element>(element), length * dim, random);
    const IndexInput input{q.element, length, dim, q.data(), keys.data()};
    const auto scorer = make_index_scorer(input, run_here, static_cast<Isa>(isa));
    const auto other = make_index_scorer(input, run_on_three_threads, static_cast<Isa>(isa));
    const std::int64_t rows = length - first;
    std::vector<std::int32_t> indices(static_cast<std::size_t>(rows * k)), counts(static_cast<std::size_t>(rows));
    scorer->select(first, length, k, {0, 1}, indices.data(), k, counts.data());
    const auto again = indices;
    for (const std::int64_t step : {1, 13, 32}) {
      std::fill(indices.begin(), indices.end(), -1);
      for (std::int64_t t = first; t < length; t += step)
        other->select(t, std::min(t + step, length), k, {0, 1}, indices.data() + (t - first) * k, k,
                      counts.data() + (t - first));
      QCOMPARE(indices, again);
    }
    const std::int64_t stride = score_stride(length);
    std::vector<float> all(static_cast<std::size_t>(20 * stride)), one(all.size());
    scorer->scores(length - 20, length, all.data(), stride);
    for (std::int64_t r = 0; r < 20; ++r)
      other->scores(length - 20 + r, length - 19 + r, one.data() + r * stride, stride);
    for (std::int64_t r = 0; r < 20; ++r) {
      const auto row = [&](const std::vector<float>& scores) {
        return std::vector<float>(scores.begin() + r * stride, scores.begin() + r * stride + length - 19 + r);
      };
      QVERIFY(same_bits(row(all), row(one)));
    }
  }

  void projections_match_fp64_data() { add_sets(); }
  void projections_match_fp64() {
    QFETCH(int, isa);
    QFETCH(int, element);
    if (!supported(static_cast<Isa>(isa))) QSKIP("this machine does not have these instructions");
    std::mt19937 random(4);
    for (const auto& [width, dim] : {std::pair{24, 16}, {33, 6}, {576, 128}, {40, 30}}) {
      const bool exact_weights = width != 40;
      const std::int64_t rows = 37, half = dim / 2;
      const Element kind = static_cast<Element>(element);
      const Matrix x = random_matrix(kind, rows * width, random);
      const Element weight_kind = exact_weights ? Element::bf16 : Element::f32;
      const Matrix wq = random_matrix(weight_kind, dim * width, random, 0.1f);
      const Matrix wk = random_matrix(weight_kind, dim * width, random, 0.1f);
      const Matrix norm = random_matrix(Element::f32, dim, random);
      std::vector<float> cosine, sine;
      for (std::int64_t i = 0; i < rows * half; ++i) {
        cosine.push_back(std::cos(0.37f * static_cast<float>(i)));
        sine.push_back(std::sin(0.37f * static_cast<float>(i)));
      }
      const auto projector = make_index_projector(
          {width, dim, wq.values.data(), wk.values.data(), norm.values.data(), 1e-5f}, kind, static_cast<Isa>(isa));
      QCOMPARE(projector->uses_bf16_products(),
               static_cast<Isa>(isa) == Isa::avx512_bf16 && kind == Element::bf16 && exact_weights && width % 2 == 0);
      std::vector<float> values(static_cast<std::size_t>(2 * rows * dim));
      std::vector<std::uint16_t> rounded(values.size());
      const bool bf16 = kind == Element::bf16;
      const auto half_size = static_cast<std::ptrdiff_t>(rows * dim);
      projector->project({rows, x.data(), cosine.data(), sine.data(),
                          bf16 ? static_cast<void*>(rounded.data()) : values.data(),
                          bf16 ? static_cast<void*>(rounded.data() + half_size) : values.data() + half_size});
      if (bf16) std::transform(rounded.begin(), rounded.end(), values.begin(), from_bf16);
      for (std::int64_t t = 0; t < rows; ++t) {
        for (const bool key : {false, true}) {
          const Matrix& w = key ? wk : wq;
          std::vector<double> p(static_cast<std::size_t>(dim));
          double square = 0;
          for (std::int64_t i = 0; i < dim; ++i) {
            double& sum = p[static_cast<std::size_t>(i)];
            for (std::int64_t j = 0; j < width; ++j)
              sum += static_cast<double>(x.values[static_cast<std::size_t>(t * width + j)]) *
                     static_cast<double>(w.values[static_cast<std::size_t>(i * width + j)]);
            square += sum * sum / static_cast<double>(dim);
          }
          for (std::int64_t i = 0; key && i < dim; ++i)
            p[static_cast<std::size_t>(i)] *=
                static_cast<double>(norm.values[static_cast<std::size_t>(i)]) / std::sqrt(square + 1e-5);
          for (std::int64_t i = 0; i < half; ++i) {
            const auto c = static_cast<double>(cosine[static_cast<std::size_t>(t * half + i)]);
            const auto s = static_cast<double>(sine[static_cast<std::size_t>(t * half + i)]);
            const double a = p[static_cast<std::size_t>(i)], b = p[static_cast<std::size_t>(i + half)];
            const std::size_t place = static_cast<std::size_t>((key ? rows * dim : 0) + t * dim + i);
            for (const auto& [at, expected] :
                 {std::pair{place, a * c - b * s}, {place + static_cast<std::size_t>(half), b * c + a * s}}) {
              const double allowed = 2e-5 + (bf16 ? std::abs(expected) / 256 : 0);
              QVERIFY(std::abs(static_cast<double>(values[at]) - expected) < allowed);
            }
          }
        }
      }
    }
  }
};

QTEST_APPLESS_MAIN(TestIndexScore)
#include "test_index_score.moc"
