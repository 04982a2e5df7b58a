// SPDX-License-Identifier: Apache-2.0
// The CPU attention kernels where it is easy to be wrong: values that are not finite, extreme scores; and what must
// leave no trace in the bits: repeats, threads, the order of tasks, how rows are split into calls, what other rows
// hold.
#include <ATen/Parallel.h>
#include <ATen/ops/matmul.h>

#include <QtTest>

#include "kernel_fixture.h"

using namespace headroom;
using namespace headroom::attention;
using namespace headroom::attention::testing;
using cpu::Isa;
using cpu::SparseKernel;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

enum class Kernel { dense, gather, unions };
const char* name_of(Kernel kernel) {
  return kernel == Kernel::dense ? "dense" : kernel == Kernel::gather ? "gather" : "union";
}

void run(const KernelLayer& layer, Kernel kernel, const KernelSupport& support, const cpu::LayerOutput& to,
         const cpu::RunTasks& tasks = run_in_order) {
  if (kernel == Kernel::dense)
    layer->dense(std::ssize(support.meaning), to, tasks);
  else
    layer->sparse(support.view(), kernel == Kernel::gather ? SparseKernel::gather : SparseKernel::union_tile, to,
                  tasks);
}

/// NaN and infinities where expected, the rest near. Empty, or the first place that is not.
std::string differs(double found, double expected, double tolerance, const std::string& where) {
  bool same = std::abs(found - expected) <= tolerance;
  if (std::isnan(expected)) same = std::isnan(found);
  if (std::isinf(expected)) same = found == expected;
  return same ? "" : where + ": " + std::to_string(found) + " not " + std::to_string(expected);
}

std::string compare(const KernelOutput& out, const reference::Outputs& expected, const reference::Supports& supports,
                    const LayerQuery& query, double tolerance) {
  const at::Tensor values = out.values();
  const double* found = values.const_data_ptr<double>();
  const std::int64_t length = query.length(), dim = query.head_dim();
  for (std::int64_t head = 0; head < query.num_q_heads(); ++head)
    for (std::int64_t row = 0; row < length; ++row) {
      const std::string where = " head " + std::to_string(head) + " row " + std::to_string(row);
      const std::int64_t at = head * length + row;
      const double lse = expected.lse[static_cast<std::size_t>(at)];
      // Scores themselves are sums in fp32.
      std::string wrong =
          differs(static_cast<double>(out.lse()[at]), lse, 3e-6 * std::max(1.0, std::abs(lse)), where + " lse");
      for (std::int64_t i = at * dim; i < (at + 1) * dim && wrong.empty(); ++i) {
        const bool empty = supports[static_cast<std::size_t>(row)].empty();
        wrong = differs(found[i], empty ? 0 : expected.out[static_cast<std::size_t>(i)], tolerance, where + " out");
      }
      if (!wrong.empty()) return wrong;
    }
  return {};
}

KernelSupport everything(std::int64_t length) {
  std::vector<std::vector<std::int32_t>> rows;
  for (const auto& row : whole_histories(length)) rows.emplace_back(row.begin(), row.end());
  return kernel_support(length, 0, rows);
}

/// All kernels of all instruction sets on a query, against fp64. Empty, or what differs.
/// Mass takes log-sum-exp as an fp32 number, which says nothing any more where scores exceed 1e6.
std::string check_all(const LayerQuery& query, const KernelSupport& support, double tolerance_f32 = 1e-5,
                      bool with_mass = true) {
  const std::int64_t length = query.length();
  const reference::Inputs in = reference::inputs_of(query);
  const auto all = whole_histories(length);
  const reference::Outputs dense = reference::dense(in), sparse = reference::sparse(in, support.meaning);
  const c10::ScalarType dtype = query.q.scalar_type();
  const double tolerance = dtype == at::kBFloat16 ? 0.03 : tolerance_f32;
  for (const Isa isa : isas_for(dtype)) {
    const KernelLayer layer(query, isa);
    for (const Kernel kernel : {Kernel::dense, Kernel::gather, Kernel::unions}) {
      const bool whole = kernel == Kernel::dense;
      const KernelOutput out(query, Layout::rows_first);
      run(layer, kernel, support, out.view());
      const std::string wrong = compare(out, whole ? dense : sparse, whole ? all : support.meaning, query, tolerance);
      if (!wrong.empty()) return std::string(name(isa)) + " " + name_of(kernel) + wrong;
    }
    const KernelOutput lse(query, Layout::rows_first);
    layer->log_sum_exp(0, length, lse.lse(), run_in_order);
    for (std::size_t i = 0; i < dense.lse.size(); ++i) {
      const std::string wrong =
          differs(static_cast<double>(lse.lse()[i]), dense.lse[i], 3e-6 * std::max(1.0, std::abs(dense.lse[i])),
                  " lse alone, place " + std::to_string(i));
      if (!wrong.empty()) return std::string(name(isa)) + wrong;
    }
    for (std::int64_t begin = 0; begin < length && with_mass; begin += cpu::mass_rows) {
      const std::int64_t end = std::min(begin + cpu::mass_rows, length), stride = begin + cpu::mass_rows;
      std::vector<float> mass(static_cast<std::size_t>((end - begin) * stride), -1);
      layer->mass(begin, end, lse.lse(), mass.data(), stride);
      for (std::int64_t row = begin; row < end; ++row) {
        const std::vector<double> expected = reference::mass(in, row);
        for (std::int64_t key = 0; key < stride; ++key) {
          // log-sum-exp is an fp32 number: what large scores lose there, their probabilities lose.
          const double wanted = key <= row ? expected[static_cast<std::size_t>(key)] : 0;
          const double scale = std::abs(dense.lse[static_cast<std::size_t>(row)]);
          const std::string wrong =
              differs(static_cast<double>(mass[static_cast<std::size_t>((row - begin) * stride + key)]), wanted,
                      std::isfinite(scale) ? 1e-6 * (4 + scale) : 4e-6,
                      " mass row " + std::to_string(row) + " key " + std::to_string(key));
          if (!wrong.empty()) return std::string(name(isa)) + wrong;
        }
      }
    }
  }
  return {};
}

const std::vector<Shape>& two_shapes() {
  static const std::vector<Shape> all = {
      {90, 5, 1, 24}, {90, 6, 2, 64, at::kBFloat16}, {83, 3, 1, 64}, {70, 4, 1, 40, at::kBFloat16}};
  return all;
}

}  // namespace

#define VERIFY_ALL(query, support, ...)                                              \
  do {                                                                               \
    const std::string wrong_ = check_all(query, support __VA_OPT__(, ) __VA_ARGS__); \
    QVERIFY2(wrong_.empty(), (shape.text() + ": " + wrong_).c_str());                \
  } while (false)

class TestCpuLayerEdges : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() { at::set_num_threads(2); }

  void what_is_not_finite_stands_where_it_should() {
    for (const Shape& shape : two_shapes()) {
      std::mt19937 random(1);
      const KernelSupport support = kernel_support(shape.length, 0, random_rows(0, shape.length, 9, random));
      const std::int64_t last = shape.length - 1;
      for (const float value : {not_a_number, infinity, -infinity}) {
        // One element, or a whole position, of q, k, v: first and last position, within a tile, at the end of a block.
        for (const std::int64_t position :
             {std::int64_t{0}, std::int64_t{37}, std::int64_t{63}, std::int64_t{64}, last}) {
          for (int where = 0; where < 6; ++where) {
            LayerQuery query = make_query(shape, 30);
            at::Tensor& tensor = where % 3 == 0 ? query.q : where % 3 == 1 ? query.k : query.v;
            const at::Tensor place = tensor[tensor.size(0) - 1][position];
            if (where < 3)
              place[shape.head_dim - 1].fill_(value);
            else
              place.fill_(value);
            const std::string wrong = check_all(query, support);
            QVERIFY2(wrong.empty(), (shape.text() + " " + std::to_string(value) + " in " + "qkv"[where % 3] + " at " +
                                     std::to_string(position) + ": " + wrong)
                                        .c_str());
          }
        }
      }
      // All at once: both infinities among the values of one row, NaN queries beside sound ones.
      LayerQuery query = make_query(shape, 31);
      query.v[0][3].fill_(infinity);
      query.v[0][40].fill_(-infinity);
      query.k[0][20].fill_(not_a_number);
      query.q[0][66].fill_(not_a_number);
      VERIFY_ALL(query, support);
    }
  }

  void what_a_row_does_not_see_does_not_matter() {
    for (const Shape& shape : two_shapes()) {
      std::mt19937 random(2);
      // Rows 48 … 63 leave out keys 10 … 19; nothing before row 70 sees key 70.
      auto rows = random_rows(0, shape.length, 30, random);
      for (std::int64_t row = 48; row < 64; ++row)
        std::erase_if(rows[static_cast<std::size_t>(row)], [](std::int32_t key) { return key >= 10 && key < 20; });
      const KernelSupport support = kernel_support(shape.length, 0, rows);
      const LayerQuery clean = make_query(shape, 32);
      for (const float value : {not_a_number, infinity, 1e30f}) {
        LayerQuery dirty = make_query(shape, 32);
        for (at::Tensor* tensor : {&dirty.k, &dirty.v}) {
          tensor->narrow(1, 10, 10).fill_(value);
          if (shape.length > 70) tensor->narrow(1, 70, shape.length - 70).fill_(value);
        }
        dirty.q.narrow(1, 64, shape.length - 64).fill_(value);
        for (const Isa isa : isas_for(shape.dtype)) {
          const KernelLayer clean_layer(clean, isa), dirty_layer(dirty, isa);
          for (const Kernel kernel : {Kernel::dense, Kernel::gather, Kernel::unions}) {
            const KernelOutput a(clean, Layout::rows_first), b(dirty, Layout::rows_first);
            run(clean_layer, kernel, support, a.view());
            run(dirty_layer, kernel, support, b.view());
            const std::int64_t begin = kernel == Kernel::dense ? 0 : 48, count = kernel == Kernel::dense ? 10 : 16;
            const at::Tensor x = a.values().narrow(1, begin, count), y = b.values().narrow(1, begin, count);
            // Another path may be taken where values are not finite; the numbers stay the same but for rounding.
            const double difference = x.sub(y).abs().max().item<double>();
            QVERIFY2(
                difference < (shape.dtype == at::kBFloat16 ? 0.02 : 1e-5),
                (shape.text() + " " + std::string(name(isa)) + " " + name_of(kernel) + " " + std::to_string(difference))
                    .c_str());
          }
        }
      }
    }
  }

  void scores_may_be_extreme() {
    for (const Shape& shape : two_shapes()) {
      std::mt19937 random(3);
      const KernelSupport support = kernel_support(shape.length, 0, random_rows(0, shape.length, 20, random));
      // Scores of 1e4 are known to 1e-3 in fp32, and so are probabilities; beyond, one key has it all (or twins share).
      const std::pair<double, double> factors[] = {{1e3, 2e-3}, {1e5, 1e-5}, {1e8, 1e-5}, {1e12, 1e-5}, {1e25, 1e-5}};
      for (const auto& [factor, tolerance] : factors) {
        LayerQuery query = make_query(shape, 33);
        // Whole numbers: products and sums are exact, so close scores are equal ones.
        query.q = query.q.to(at::kFloat)
                      .mul(2)
                      .round()
                      .clamp(-8, 8)
                      .mul(std::exp2(std::round(std::log2(factor))))
                      .to(shape.dtype);
        query.k = query.k.to(at::kFloat).mul(2).round().clamp(-8, 8).to(shape.dtype);
        query.scale = 0.25;
        const std::string wrong = check_all(query, support, tolerance, factor < 1e6);
        QVERIFY2(wrong.empty(), (shape.text() + " times " + std::to_string(factor) + ": " + wrong).c_str());
      }
      LayerQuery equal = make_query(shape, 34);
      equal.q.zero_();
      VERIFY_ALL(equal, support);
      LayerQuery negative = make_query(shape, 35);  // far below zero, all of them
      negative.q.abs_().add_(1);
      negative.k.abs_().add_(1).neg_();
      negative.q.mul_(64);
      VERIFY_ALL(negative, support, 2e-3);
      LayerQuery denormal = make_query(shape, 36);
      for (at::Tensor* tensor : {&denormal.q, &denormal.k}) tensor->mul_(1e-30).mul_(1e-9);
      VERIFY_ALL(denormal, support);
      denormal.v.mul_(1e-30).mul_(1e-9);
      VERIFY_ALL(denormal, support, 1e-37);
    }
  }

  void rows_whose_scores_are_all_minus_infinity_are_nan() {
    for (const Shape& shape : two_shapes()) {
      LayerQuery query = make_query(shape, 37);
      query.k.select(2, 0).fill_(1);
      query.q.select(1, 50).select(1, 0).fill_(-infinity);
      VERIFY_ALL(query, everything(shape.length));
      query.q.select(1, 0).select(1, 0).fill_(infinity);  // +inf has no softmax either
      VERIFY_ALL(query, everything(shape.length));
    }
  }

  void bits_depend_on_nothing_but_the_input() {
    for (const Shape& shape :
         {Shape{203, 9, 3, 64, at::kBFloat16}, Shape{130, 7, 1, 72}, Shape{100, 2, 1, 256, at::kBFloat16}}) {
      const LayerQuery query = make_query(shape, 40);
      std::mt19937 random(4);
      const std::int64_t length = shape.length;
      const KernelSupport support = kernel_support(length, 0, random_rows(0, length, 40, random));
      for (const Isa isa : isas_for(shape.dtype)) {
        for (const Kernel kernel : {Kernel::dense, Kernel::gather, Kernel::unions}) {
          const KernelLayer layer(query, isa);
          const KernelOutput expected(query, Layout::rows_first);
          run(layer, kernel, support, expected.view());
          const std::vector<cpu::RunTasks> runners = {run_in_order,      run_backwards,     run_shuffled(1),
                                                      run_shuffled(2),   run_on_threads(1), run_on_threads(2),
                                                      run_on_threads(3), run_on_threads(7)};
          for (const cpu::RunTasks& runner : runners) {
            const KernelLayer again(query, isa, runner, false);
            const KernelOutput out(query, Layout::rows_first);
            run(again, kernel, support, out.view(), runner);
            QVERIFY2(out.same_bits(expected),
                     (shape.text() + " " + std::string(name(isa)) + " " + name_of(kernel)).c_str());
          }
          // In several calls: gather anywhere, unions between tiles.
          if (kernel == Kernel::dense) continue;
          const KernelOutput pieces(query, Layout::rows_first);
          const std::vector<std::int64_t> cuts = kernel == Kernel::gather
                                                     ? std::vector<std::int64_t>{0, 1, 18, 64, 99, length}
                                                     : std::vector<std::int64_t>{0, 16, 64, 96, length};
          for (std::size_t i = cuts.size() - 1; i-- > 0;)
            layer->sparse(support.rows(cuts[i], cuts[i + 1]),
                          kernel == Kernel::gather ? SparseKernel::gather : SparseKernel::union_tile, pieces.view(),
                          run_on_threads(3));
          QVERIFY2(pieces.same_bits(expected), (shape.text() + " pieces " + name_of(kernel)).c_str());
        }
        const KernelLayer layer(query, isa);
        const KernelOutput whole(query, Layout::rows_first), parts(query, Layout::rows_first);
        layer->log_sum_exp(0, length, whole.lse(), run_on_threads(3));
        for (const std::int64_t begin : {90, 32, 0}) layer->log_sum_exp(begin, length, parts.lse(), run_backwards);
        QVERIFY(parts.same_bits(whole));
        std::vector<float> first(16 * 64), again(16 * 64);
        layer->mass(48, 64, whole.lse(), first.data(), 64);
        run_on_threads(3)(3, [&](std::int64_t task) {
          std::vector<float> mine(16 * 64);
          layer->mass(48, 64, whole.lse(), mine.data(), 64);
          if (task == 1) again = mine;
        });
        QCOMPARE(again, first);
      }
    }
  }

  void a_task_that_throws_is_heard() {
    const Shape shape{100, 2, 1, 8};
    const LayerQuery query = make_query(shape, 41);
    const KernelLayer layer(query, Isa::avx512_bf16);
    const KernelOutput out(query, Layout::rows_first);
    const cpu::RunTasks broken = [](std::int64_t, const std::function<void(std::int64_t)>&) {
      throw std::runtime_error("stop");
    };
    QVERIFY_THROWS_EXCEPTION(std::runtime_error, layer->dense(100, out.view(), broken));
    QVERIFY(out.untouched_outside(0, 0));
    QVERIFY_THROWS_EXCEPTION(std::runtime_error, KernelLayer(make_query({100, 2, 1, 24}, 1), Isa::avx512, broken));
  }

  void what_cannot_be_is_refused() {
    const LayerQuery query = make_query({50, 4, 2, 16}, 42);
    const KernelLayer layer(query, Isa::avx512_bf16);
    std::vector<float> mass(16 * 64);
    const KernelOutput out(query, Layout::rows_first);
    layer->log_sum_exp(0, 50, out.lse(), run_in_order);
    const auto mass_fails = [&](std::int64_t begin, std::int64_t end, std::int64_t stride) {
      try {
        layer->mass(begin, end, out.lse(), mass.data(), stride);
      } catch (const std::exception&) {
        return true;
      }
      return false;
    };
    QVERIFY(!mass_fails(48, 50, 64));
    QVERIFY(mass_fails(48, 51, 64) && mass_fails(8, 16, 64) && mass_fails(0, 17, 64) && mass_fails(16, 16, 64));
    QVERIFY(mass_fails(48, 50, 63) && mass_fails(-16, 0, 64));
    const std::int32_t key = 0, count = 1;
    for (const cpu::SupportRows rows :
         {cpu::SupportRows{-1, 1, &key, 1, &count}, cpu::SupportRows{50, 1, &key, 1, &count},
          cpu::SupportRows{0, -1, &key, 1, &count}, cpu::SupportRows{49, 2, &key, 1, &count}}) {
      QVERIFY_THROWS_EXCEPTION(std::exception, layer->sparse(rows, SparseKernel::gather, out.view(), run_in_order));
      QVERIFY_THROWS_EXCEPTION(std::exception, layer->union_keys(rows));
    }
    cpu::LayerInput input{cpu::Element::f32, 4, 2, 50, 16, 0.25f, mass.data(), mass.data(), mass.data()};
    const auto refused = [&](auto change) {
      cpu::LayerInput bad = input;
      change(bad);
      try {
        cpu::make_attention_layer(bad, run_in_order);
      } catch (const std::exception&) {
        return true;
      }
      return false;
    };
    QVERIFY(refused([](cpu::LayerInput& in) { in.head_dim = 12; }) &&
            refused([](cpu::LayerInput& in) { in.head_dim = 0; }));
    QVERIFY(refused([](cpu::LayerInput& in) { in.num_kv_heads = 3; }) &&
            refused([](cpu::LayerInput& in) { in.num_kv_heads = 0; }));
    QVERIFY(refused([](cpu::LayerInput& in) { in.length = 0; }) &&
            refused([](cpu::LayerInput& in) { in.num_q_heads = 0; }));
  }
};

QTEST_APPLESS_MAIN(TestCpuLayerEdges)
#include "test_cpu_layer_edges.moc"
