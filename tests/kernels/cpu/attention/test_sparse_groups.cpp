// SPDX-License-Identifier: Apache-2.0
// Sparse attention over supports of head groups: the layer's heads, those of a KV head, single ones and any other run,
// on every instruction set, against fp64 loops.
#include <QtTest>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <thread>

#include "kernels/cpu/attention/attention.h"

using namespace headroom::kernels::cpu;

namespace {

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

struct Shape {
  std::int64_t num_q_heads, num_kv_heads, length, head_dim;
  Element element;
  std::string text() const {
    return std::to_string(num_q_heads) + ":" + std::to_string(num_kv_heads) + " heads of " + std::to_string(head_dim) +
           (element == Element::bf16 ? " bf16" : " f32");
  }
};

float rounded(Element element, float value) {
  if (element == Element::f32 || std::isnan(value)) return value;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u);
}

/// Values that the element type holds, and as it stores them.
struct Matrix {
  std::vector<float> values;
  std::vector<std::uint16_t> bf16;
  const void* data() const { return bf16.empty() ? static_cast<const void*>(values.data()) : bf16.data(); }
};
Matrix matrix(Element element, std::vector<float> values) {
  Matrix m;
  for (float& value : values) {
    value = rounded(element, value);
    if (element == Element::bf16)
      m.bf16.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16));
  }
  m.values = std::move(values);
  return m;
}

struct Input {
  explicit Input(const Shape& wanted, unsigned seed = 1) : shape(wanted) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 1.4f);
    const auto values = [&](std::int64_t heads) {
      std::vector<float> result(static_cast<std::size_t>(heads * shape.length * shape.head_dim));
      for (float& value : result) value = normal(random);
      return result;
    };
    q = matrix(shape.element, values(shape.num_q_heads));
    k = matrix(shape.element, values(shape.num_kv_heads));
    v = matrix(shape.element, values(shape.num_kv_heads));
  }
  void set_value(std::int64_t kv_head, std::int64_t key, float value) {
    const auto at = static_cast<std::size_t>((kv_head * shape.length + key) * shape.head_dim + 3);
    v.values[at] = value;
    if (!v.bf16.empty()) v.bf16[at] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
  }
  float scale() const { return 1 / std::sqrt(static_cast<float>(shape.head_dim)); }
  LayerInput layer() const {
    return {shape.element, shape.num_q_heads, shape.num_kv_heads, shape.length, shape.head_dim,
            scale(),       q.data(),          k.data(),           v.data()};
  }
  Shape shape;
  Matrix q, k, v;
};

/// Supports of a run of rows and heads, as they are handed over and what they mean.
struct Group {
  std::int64_t row_begin, first_head, num_heads, width = 0;
  std::vector<std::int32_t> indices, counts;
  std::vector<std::set<std::int64_t>> meaning;
  SupportRows view() const {
    return {row_begin, std::ssize(counts), indices.data(), width, counts.data(), first_head, num_heads};
  }
};

/// Up to `k` random keys a row; every `empty`-th row has none. Some rows are out of order, name a key twice or one of
/// the future.
Group random_group(std::int64_t row_begin, std::int64_t row_end, std::int64_t first_head, std::int64_t num_heads,
                   std::int64_t k, std::int64_t empty, std::mt19937& random) {
  Group group{row_begin, first_head, num_heads, k + 2, {}, {}, {}};
  for (std::int64_t row = row_begin; row < row_end; ++row) {
    std::vector<std::int32_t> all(static_cast<std::size_t>(row + 1)), keys;
    std::iota(all.begin(), all.end(), 0);
    if (row % empty != 0) std::sample(all.begin(), all.end(), std::back_inserter(keys), k, random);
    group.meaning.emplace_back(keys.begin(), keys.end());
    if (row % 5 == 2 && !keys.empty()) {
      std::shuffle(keys.begin(), keys.end(), random);
      keys.push_back(keys.front());
      keys.push_back(static_cast<std::int32_t>(row + 1));
    }
    group.counts.push_back(static_cast<std::int32_t>(keys.size()));
    keys.resize(static_cast<std::size_t>(group.width), -1);
    group.indices.insert(group.indices.end(), keys.begin(), keys.end());
  }
  return group;
}

std::vector<SupportRows> views(const std::vector<Group>& groups) {
  std::vector<SupportRows> result;
  for (const Group& group : groups) result.push_back(group.view());
  return result;
}

void run_here(std::int64_t count, const std::function<void(std::int64_t)>& task) {
  for (std::int64_t i = 0; i < count; ++i) task(i);
}
void run_on_three_threads(std::int64_t count, const std::function<void(std::int64_t)>& task) {
  std::vector<std::jthread> threads;
  for (int thread = 2; thread >= 0; --thread)
    threads.emplace_back([=, &task] {
      for (std::int64_t i = thread; i < count; i += 3) task(i);
    });
}

/// [Hq, L, d] and [Hq, L] full of a value that no result is.
class Output {
 public:
  explicit Output(const Shape& shape)
      : shape_(shape),
        bytes_(static_cast<std::size_t>(shape.num_q_heads * shape.length * shape.head_dim * size()), canary),
        lse_(static_cast<std::size_t>(shape.num_q_heads * shape.length), untouched) {}
  LayerOutput view() { return {bytes_.data(), shape_.length * shape_.head_dim, shape_.head_dim, lse_.data()}; }
  bool operator==(const Output& other) const {
    return bytes_ == other.bytes_ && std::memcmp(lse_.data(), other.lse_.data(), lse_.size() * sizeof(float)) == 0;
  }
  float lse(std::int64_t head, std::int64_t row) const {
    return lse_[static_cast<std::size_t>(head * shape_.length + row)];
  }
  double value(std::int64_t head, std::int64_t row, std::int64_t i) const {
    const unsigned char* from = bytes_.data() + ((head * shape_.length + row) * shape_.head_dim + i) * size();
    std::uint32_t bits = 0;
    std::memcpy(&bits, from, static_cast<std::size_t>(size()));
    return static_cast<double>(std::bit_cast<float>(shape_.element == Element::f32 ? bits : bits << 16));
  }
  bool row_untouched(std::int64_t head, std::int64_t row) const {
    const unsigned char* from = bytes_.data() + (head * shape_.length + row) * shape_.head_dim * size();
    return lse(head, row) == untouched &&
           std::all_of(from, from + shape_.head_dim * size(), [](unsigned char c) { return c == canary; });
  }

 private:
  static constexpr unsigned char canary = 0x5a;
  static constexpr float untouched = 12345.5f;
  std::int64_t size() const { return shape_.element == Element::bf16 ? 2 : 4; }
  Shape shape_;
  std::vector<unsigned char> bytes_;
  std::vector<float> lse_;
};

bool near(double found, double expected, double tolerance) {
  if (std::isnan(expected)) return std::isnan(found);
  return found == expected || std::abs(found - expected) <= tolerance;
}

/// One row of one head in fp64: out [d], and log-sum-exp.
double attend(const Input& in, std::int64_t head, std::int64_t row, const std::set<std::int64_t>& keys,
              std::vector<double>& out) {
  const Shape& shape = in.shape;
  const std::int64_t kv = head / (shape.num_q_heads / shape.num_kv_heads), dim = shape.head_dim;
  out.assign(static_cast<std::size_t>(dim), 0);
  std::vector<double> scores;
  for (const std::int64_t key : keys) {
    double dot = 0;
    for (std::int64_t i = 0; i < dim; ++i)
      dot += static_cast<double>(in.q.values[static_cast<std::size_t>((head * shape.length + row) * dim + i)]) *
             static_cast<double>(in.k.values[static_cast<std::size_t>((kv * shape.length + key) * dim + i)]);
    scores.push_back(dot * static_cast<double>(in.scale()));
  }
  if (scores.empty()) return -std::numeric_limits<double>::infinity();
  const double top = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (const double score : scores) sum += std::exp(score - top);
  std::size_t at = 0;
  for (const std::int64_t key : keys) {
    const double p = std::exp(scores[at++] - top) / sum;
    for (std::int64_t i = 0; i < dim; ++i)
      out[static_cast<std::size_t>(i)] +=
          p * static_cast<double>(in.v.values[static_cast<std::size_t>((kv * shape.length + key) * dim + i)]);
  }
  return top + std::log(sum);
}

/// Empty, or what differs: each row of each head against the group that names it, all others as they were.
std::string differs(const Input& in, const std::vector<Group>& groups, const Output& out) {
  const Shape& shape = in.shape;
  const double tolerance = shape.element == Element::bf16 ? 0.03 : 1e-5;
  std::vector<double> expected;
  for (std::int64_t head = 0; head < shape.num_q_heads; ++head) {
    for (std::int64_t row = 0; row < shape.length; ++row) {
      const std::string where = "head " + std::to_string(head) + " row " + std::to_string(row) + ": ";
      const auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& g) {
        return row >= g.row_begin && row < g.row_begin + std::ssize(g.counts) &&
               (g.num_heads == 0 || (head >= g.first_head && head < g.first_head + g.num_heads));
      });
      if (group == groups.end()) {
        if (!out.row_untouched(head, row)) return where + "written";
        continue;
      }
      const double lse =
          attend(in, head, row, group->meaning[static_cast<std::size_t>(row - group->row_begin)], expected);
      if (!near(static_cast<double>(out.lse(head, row)), lse, 3e-6 * std::max(1.0, std::abs(lse))))
        return where + "lse " + std::to_string(out.lse(head, row)) + " not " + std::to_string(lse);
      for (std::int64_t i = 0; i < shape.head_dim; ++i)
        if (!near(out.value(head, row, i), expected[static_cast<std::size_t>(i)], tolerance))
          return where + std::to_string(out.value(head, row, i)) + " not " +
                 std::to_string(expected[static_cast<std::size_t>(i)]);
    }
  }
  return {};
}

/// Runs of heads that groups have.
enum class Cut { layer, kv_heads, single_heads, odd };
std::vector<std::pair<std::int64_t, std::int64_t>> head_runs(const Shape& shape, Cut cut) {
  std::vector<std::pair<std::int64_t, std::int64_t>> runs;
  const std::int64_t group = shape.num_q_heads / shape.num_kv_heads;
  const std::int64_t step = cut == Cut::kv_heads ? group : 1;
  if (cut == Cut::layer) runs.emplace_back(0, 0);
  if (cut == Cut::kv_heads || cut == Cut::single_heads)
    for (std::int64_t head = 0; head < shape.num_q_heads; head += step) runs.emplace_back(head, step);
  if (cut == Cut::odd) {  // across KV heads, not all heads, not in order
    const std::int64_t middle = shape.num_q_heads * 2 / 3;
    runs.emplace_back(middle, shape.num_q_heads - middle);
    runs.emplace_back(1, middle - 1);
  }
  return runs;
}

std::vector<Isa> isas(Element element) {
  std::vector<Isa> result;
  for (const Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512, Isa::avx512_bf16})
    if (supported(isa) && (isa != Isa::avx512_bf16 || element == Element::bf16)) result.push_back(isa);
  return result;
}

}  // namespace

class TestSparseGroups : public QObject {
  Q_OBJECT
 private slots:
  void every_run_of_heads_attends_to_its_own_keys_data() {
    QTest::addColumn<Shape>("shape");
    for (const Element element : {Element::f32, Element::bf16})
      for (const auto& [q, kv, dim] :
           {std::tuple{9, 3, 64}, {8, 1, 24}, {6, 2, 128}, {32, 8, 64}, {5, 1, 40}, {4, 4, 16}, {7, 1, 256}}) {
        const Shape shape{q, kv, q > 20 ? 45 : 83, dim, element};
        QTest::newRow(shape.text().c_str()) << shape;
      }
  }
  void every_run_of_heads_attends_to_its_own_keys() {
    QFETCH(Shape, shape);
    Input in(shape);
    for (const bool finite : {true, false}) {
      if (!finite) in.set_value(shape.num_kv_heads - 1, 5, not_a_number);
      for (const Cut cut : {Cut::layer, Cut::kv_heads, Cut::single_heads, Cut::odd}) {
        std::mt19937 random(3);
        std::vector<Group> groups;
        for (const auto& [first, heads] : head_runs(shape, cut))  // rows and empty rows differ between groups
          groups.push_back(random_group(cut == Cut::layer ? 3 : first % 3, shape.length - first % 2, first, heads, 12,
                                        4 + first % 3, random));
        for (const Isa isa : isas(shape.element)) {
          const auto layer = make_attention_layer(in.layer(), run_here, isa);
          for (const SparseKernel kernel : {SparseKernel::gather, SparseKernel::union_tile}) {
            Output out(shape), again(shape);
            int runs = 0;
            layer->sparse(views(groups), kernel, out.view(), [&](std::int64_t count, const auto& task) {
              ++runs;
              run_here(count, task);
            });
            const std::string wrong = differs(in, groups, out);
            QVERIFY2(wrong.empty(),
                     (std::string(name(isa)) + (kernel == SparseKernel::gather ? " gather " : " union ") + "cut " +
                      std::to_string(static_cast<int>(cut)) + " " + wrong)
                         .c_str());
            QVERIFY(runs <= 2);  // however many groups there are
            layer->sparse(views(groups), kernel, again.view(), run_on_three_threads);
            QVERIFY(again == out);
          }
        }
      }
    }
  }

  void groups_in_one_call_are_what_they_are_in_calls_of_their_own() {
    const Shape shape{9, 3, 150, 64, Element::bf16};
    const Input in(shape);
    std::mt19937 random(4);
    const Group all = random_group(0, shape.length, 0, 0, 30, 1000, random);
    for (const Isa isa : isas(shape.element)) {
      const auto layer = make_attention_layer(in.layer(), run_here, isa);
      for (const SparseKernel kernel : {SparseKernel::gather, SparseKernel::union_tile}) {
        Output whole(shape), together(shape), apart(shape);
        layer->sparse(all.view(), kernel, whole.view(), run_here);
        std::vector<SupportRows> groups;
        for (std::int64_t head = 0; head < 9; head += 3) {
          groups.push_back(all.view());
          groups.back().first_head = head;
          groups.back().num_heads = 3;
          layer->sparse(groups.back(), kernel, apart.view(), run_on_three_threads);
        }
        layer->sparse(groups, kernel, together.view(), run_on_three_threads);
        QVERIFY(together == whole);
        QVERIFY(apart == whole);
      }
      const SupportRows view = all.view();
      SupportRows one = view;
      one.first_head = 4;
      one.num_heads = 1;
      QCOMPARE(layer->union_keys(one), layer->union_keys(view));
    }
    const auto layer = make_attention_layer(in.layer(), run_here);
    Output none(shape);
    layer->sparse(std::span<const SupportRows>{}, SparseKernel::gather, none.view(), run_here);
    QVERIFY(none == Output(shape));
  }

  void groups_that_cannot_be_are_refused() {
    const Shape shape{6, 2, 40, 16, Element::f32};
    const Input in(shape);
    const auto layer = make_attention_layer(in.layer(), run_here);
    std::mt19937 random(5);
    const auto refused = [&](const std::vector<Group>& groups) {
      Output out(shape);
      try {
        layer->sparse(views(groups), SparseKernel::gather, out.view(), run_here);
      } catch (const std::exception&) {
        return out == Output(shape);
      }
      return false;
    };
    const auto group = [&](std::int64_t row_begin, std::int64_t row_end, std::int64_t first_head,
                           std::int64_t num_heads) {
      return random_group(row_begin, row_end, first_head, num_heads, 4, 100, random);
    };
    QVERIFY(!refused({group(0, 40, 0, 3), group(0, 40, 3, 3)}));
    QVERIFY(!refused({group(0, 20, 0, 0), group(20, 40, 0, 0)}));
    QVERIFY(!refused({group(7, 7, 0, 0), group(0, 40, 2, 1)}));
    QVERIFY(refused({group(0, 40, 0, 3), group(39, 40, 2, 1)}));
    QVERIFY(refused({group(0, 40, 0, 0), group(0, 40, 5, 1)}));
    QVERIFY(refused({group(0, 40, 4, 3)}) && refused({group(0, 40, 6, 1)}));
    QVERIFY(refused({group(0, 40, -1, 2)}) && refused({group(0, 40, 0, -1)}) && refused({group(0, 40, 2, 0)}));
    QVERIFY(refused({group(0, 40, 0, 3), group(0, 41, 3, 3)}));
  }
};

QTEST_APPLESS_MAIN(TestSparseGroups)
#include "test_sparse_groups.moc"
