// SPDX-License-Identifier: Apache-2.0
// The CPU attention kernels of every instruction set against the fp64 reference and LibTorch: dense, log-sum-exp,
// sparse by gather and by union tiles, mass; and that they touch nothing but their rows. What is not finite, ordering
// and threads: test_cpu_layer_edges.cpp.
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

/// Every ratio of heads from 1 to 16, every head size with a path of its own, lengths around the tiles of 16 and 64.
const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all = {
      {1, 1, 1, 8},      {2, 2, 1, 16},   {15, 3, 1, 24},  {16, 4, 1, 40},   {17, 10, 2, 64},
      {63, 6, 1, 72},    {64, 7, 1, 80},  {65, 8, 1, 96},  {100, 18, 2, 64}, {33, 10, 1, 192},
      {31, 11, 1, 8},    {20, 12, 1, 16}, {48, 13, 1, 40}, {17, 14, 1, 24},  {65, 15, 1, 64},
      {130, 16, 1, 128}, {203, 4, 2, 64}, {333, 9, 3, 64}, {100, 4, 4, 256}, {65, 8, 2, 256},
      {203, 5, 1, 128},  {333, 5, 1, 8},  {64, 6, 2, 128}, {129, 2, 1, 72},  {90, 3, 1, 256},
  };
  return all;
}

/// Largest difference relative to max(1, |expected|); where both are the same infinity, none.
double lse_error(const KernelOutput& found, const std::vector<double>& expected, const reference::Supports& supports) {
  double error = 0;
  const std::int64_t length = std::ssize(supports);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (!found.lse_touched(static_cast<std::int64_t>(i) / length, static_cast<std::int64_t>(i) % length)) continue;
    const double value = static_cast<double>(found.lse()[i]);
    if (value == expected[i]) continue;
    const double difference = std::abs(value - expected[i]) / std::max(1.0, std::abs(expected[i]));
    error = difference <= error ? error : std::isnan(difference) ? INFINITY : difference;
  }
  return error;
}

struct Errors {
  double largest = 0, mean = 0;
};

/// Over rows [begin, end); rows without keys must be zeros (LibTorch's are NaN and do not count).
Errors errors(const at::Tensor& out, const reference::Outputs& expected, const reference::Supports& supports,
              std::int64_t begin, std::int64_t end, bool zeros_wanted = true) {
  const at::Tensor values = out.to(at::kDouble).contiguous();
  const double* found = values.const_data_ptr<double>();
  const std::int64_t heads = out.size(0), length = out.size(1), dim = out.size(2);
  Errors result;
  for (std::int64_t head = 0; head < heads; ++head)
    for (std::int64_t row = begin; row < end; ++row) {
      const bool empty = supports[static_cast<std::size_t>(row)].empty();
      if (empty && !zeros_wanted) continue;
      for (std::int64_t i = 0; i < dim; ++i) {
        const std::int64_t at = (head * length + row) * dim + i;
        const double error = std::abs(found[at] - (empty ? 0 : expected.out[static_cast<std::size_t>(at)]));
        result.largest = error <= result.largest ? result.largest : std::isnan(error) ? INFINITY : error;
        if (empty && error != 0) result.largest = INFINITY;
        result.mean += error / static_cast<double>(heads * (end - begin) * dim);
      }
    }
  return result;
}

/// A case: inputs, what is attended to, the right answer, and how far LibTorch is from it in the same precision.
struct Case {
  std::string name;
  LayerQuery query;
  reference::Supports supports;
  std::int64_t begin, end;
  reference::Outputs expected;
  Errors libtorch;

  Case(std::string text, const LayerQuery& q, const reference::Inputs& in, reference::Supports s, std::int64_t from,
       std::int64_t to)
      : name(std::move(text)),
        query(q),
        supports(std::move(s)),
        begin(from),
        end(to),
        expected(reference::sparse(in, supports)) {
    // The better of the textbook's steps and LibTorch's own kernel, which keeps scores in fp32.
    const Errors steps = errors(same_precision(query, supports), expected, supports, begin, end, false);
    const Errors kernel = errors(libtorch_kernel(query, supports), expected, supports, begin, end, false);
    libtorch = {std::min(steps.largest, kernel.largest), std::min(steps.mean, kernel.mean)};
  }
  /// Empty, or what is wrong.
  std::string judge(const KernelOutput& found, const std::string& kernel) const {
    const Errors ours = errors(found.values(), expected, supports, begin, end);
    const bool bf16 = query.q.scalar_type() == at::kBFloat16;
    // Output rounding alone where LibTorch happens to be exact (one key).
    const double slack = bf16 ? 1e-5 : 1e-6;
    std::string wrong;
    if (!(ours.largest <= 2 * libtorch.largest + slack))
      wrong += " error " + std::to_string(ours.largest) + " LibTorch " + std::to_string(libtorch.largest);
    if (!(ours.mean <= 2 * libtorch.mean + slack / 4))
      wrong += " mean error " + std::to_string(ours.mean) + " LibTorch " + std::to_string(libtorch.mean);
    if (const double error = lse_error(found, expected.lse, supports); !(error <= 2e-6))
      wrong += " lse error " + std::to_string(error);
    if (!found.untouched_outside(begin, end)) wrong += " wrote outside its rows";
    return wrong.empty() ? wrong : name + " " + kernel + ":" + wrong;
  }
};

std::string label(Isa isa, const char* what) {
  return std::string(name(isa)) + " " + what;
}

/// Mass of all rows tile by tile into a canary buffer, against fp64. Empty, or what is wrong.
std::string judge_mass(const cpu::AttentionLayer& layer, const float* lse, const reference::Inputs& in,
                       const std::vector<double>& expected_lse) {
  for (std::int64_t begin = 0; begin < in.length; begin += cpu::mass_rows) {
    const std::int64_t end = std::min(begin + cpu::mass_rows, in.length);
    const std::int64_t padded = begin + cpu::mass_rows, stride = padded + (begin % 64 == 0 ? 0 : 21);
    const float canary = -7;
    const std::size_t floats = static_cast<std::size_t>((end - begin - 1) * stride + padded);
    const GuardedBlock block(floats * sizeof(float));
    auto* mass = reinterpret_cast<float*>(block.data());
    std::fill_n(mass, floats, canary);
    layer.mass(begin, end, lse, mass, stride);
    for (std::int64_t row = begin; row < end; ++row) {
      const std::vector<double> expected = reference::mass(in, row);
      const float* found = mass + (row - begin) * stride;
      double largest = 0;  // log-sum-exp, whose fp32 rounding is a factor to a head's probabilities
      for (std::int64_t head = 0; head < in.num_q_heads; ++head)
        largest = std::max(largest, std::abs(expected_lse[static_cast<std::size_t>(head * in.length + row)]));
      const double relative = 5e-6 + 1.5e-7 * largest;  // the scores are fp32 sums
      const std::string where = "mass of row " + std::to_string(row) + " key ";
      for (std::int64_t key = 0; key < padded; ++key) {
        const double wanted = key <= row ? expected[static_cast<std::size_t>(key)] : 0;
        if (!(std::abs(static_cast<double>(found[key]) - wanted) <= relative * wanted + (key <= row ? 1e-12 : 0)))
          return where + std::to_string(key) + ": " + std::to_string(found[key]) + " not " + std::to_string(wanted);
      }
      for (std::int64_t key = padded; key < stride && row + 1 < end; ++key)
        if (found[key] != canary) return where + std::to_string(key) + ": written";
    }
  }
  return {};
}

}  // namespace

class TestCpuLayer : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() { at::set_num_threads(2); }

  void every_shape_data() {
    QTest::addColumn<int>("index");
    QTest::addColumn<bool>("bf16");
    for (std::size_t i = 0; i < shapes().size(); ++i)
      for (const bool bf16 : {false, true}) {
        Shape shape = shapes()[i];
        if (bf16) shape.dtype = at::kBFloat16;
        QTest::newRow(shape.text().c_str()) << static_cast<int>(i) << bf16;
      }
  }
  void every_shape() {
    QFETCH(int, index);
    QFETCH(bool, bf16);
    Shape shape = shapes()[static_cast<std::size_t>(index)];
    if (bf16) shape.dtype = at::kBFloat16;
    const std::int64_t length = shape.length;
    const LayerQuery query = make_query(shape, 20u + static_cast<unsigned>(index));
    const reference::Inputs in = reference::inputs_of(query);
    std::mt19937 random(static_cast<unsigned>(index));

    const Case dense("dense", query, in, whole_histories(length), 0, length);
    // Supports of single rows and of blocks; a budget above many histories; some rows without keys.
    const std::int64_t from = std::min<std::int64_t>(length - 1, 5 + index % 3);
    auto rows = random_rows(from, length, 1 + index * 7 % 60, random);
    for (std::size_t row = 0; row < rows.size(); row += 9) rows[row].clear();
    const KernelSupport single = kernel_support(length, from, rows);
    const Case sparse("sparse", query, in, single.meaning, from, length);
    const KernelSupport blocks = kernel_support(length, 0, shared_rows(length, 32, 24, random));
    const Case shared("shared blocks", query, in, blocks.meaning, 0, length);

    const auto layout = static_cast<Layout>(index % 3);
    for (const Isa isa : isas_for(shape.dtype)) {
      const KernelLayer layer(query, isa, run_in_order, index % 2 == 0);
      QCOMPARE(layer->isa(), isa);
      const auto check = [&](const Case& which, const char* kernel, const auto& run) {
        const KernelOutput out(query, layout);
        run(out.view());
        const std::string wrong = which.judge(out, label(isa, kernel));
        if (!wrong.empty()) QTest::qFail(wrong.c_str(), __FILE__, __LINE__);
      };
      check(dense, "dense", [&](const cpu::LayerOutput& to) { layer->dense(length, to, run_in_order); });
      check(sparse, "gather",
            [&](const cpu::LayerOutput& to) { layer->sparse(single.view(), SparseKernel::gather, to, run_in_order); });
      check(sparse, "union", [&](const cpu::LayerOutput& to) {
        layer->sparse(single.view(), SparseKernel::union_tile, to, run_in_order);
      });
      check(shared, "gather",
            [&](const cpu::LayerOutput& to) { layer->sparse(blocks.view(), SparseKernel::gather, to, run_in_order); });
      check(shared, "union", [&](const cpu::LayerOutput& to) {
        layer->sparse(blocks.view(), SparseKernel::union_tile, to, run_in_order);
      });

      const KernelOutput with_lse(query, layout), lse_alone(query, layout);
      layer->dense(length, with_lse.view(), run_in_order);
      layer->log_sum_exp(0, length, lse_alone.lse(), run_in_order);
      QVERIFY(std::equal(with_lse.lse(), with_lse.lse() + shape.num_q_heads * length, lse_alone.lse()));
      const std::string wrong = judge_mass(*layer, lse_alone.lse(), in, dense.expected.lse);
      QVERIFY2(wrong.empty(), label(isa, wrong.c_str()).c_str());
    }
  }

  void hostile_supports_are_defined() {
    const Shape shapes_here[] = {{77, 9, 3, 64, at::kBFloat16}, {77, 5, 1, 24}};
    for (const Shape& shape : shapes_here) {
      const LayerQuery query = make_query(shape, 3);
      const reference::Inputs in = reference::inputs_of(query);
      std::mt19937 random(4);
      for (const std::int64_t begin : {0, 3, 16, 61, 76}) {
        auto rows = random_rows(begin, 77, 12, random);
        for (std::size_t i = 0; i < rows.size(); ++i) {
          auto& row = rows[i];
          switch (i % 8) {
            case 0:
              std::reverse(row.begin(), row.end());
              break;
            case 1:
              row.insert(row.end(), row.begin(), row.end());
              break;  // all twice
            case 2:
              row.insert(row.begin(), {-1, -5, std::numeric_limits<std::int32_t>::min()});
              break;
            case 3:
              row.insert(row.end(), {77, 78, std::numeric_limits<std::int32_t>::max()});
              break;
            case 4:
              row.push_back(static_cast<std::int32_t>(begin + static_cast<std::int64_t>(i) + 1));
              break;  // the next one
            case 5:
              row = {-1, 1000, 77};
              break;  // nothing left
            case 6:
              row.insert(row.end(), 5, row.front());
              break;
            default:
              row.clear();
              break;
          }
        }
        KernelSupport support = kernel_support(77, begin, rows);
        const Case expected("hostile from " + std::to_string(begin), query, in, support.meaning, begin, 77);
        for (const Isa isa : isas_for(shape.dtype))
          for (const SparseKernel kernel : {SparseKernel::gather, SparseKernel::union_tile}) {
            const KernelLayer layer(query, isa);
            const KernelOutput out(query, Layout::gaps);
            layer->sparse(support.view(), kernel, out.view(), run_in_order);
            const std::string wrong =
                expected.judge(out, label(isa, kernel == SparseKernel::gather ? "gather" : "union"));
            QVERIFY2(wrong.empty(), wrong.c_str());
          }
        // Counts beyond the width or below zero are cut.
        for (std::size_t i = 0; i < support.counts.size(); ++i) {
          if (support.counts[i] == support.width) support.counts[i] = 1 << 30;
          if (support.counts[i] == 0) support.counts[i] = -3;
        }
        const KernelLayer layer(query, Isa::avx512_bf16);
        const KernelOutput out(query, Layout::rows_first);
        layer->sparse(support.view(), SparseKernel::gather, out.view(), run_in_order);
        QVERIFY2(expected.judge(out, "odd counts").empty(), expected.judge(out, "odd counts").c_str());
      }
    }
  }

  void only_the_rows_asked_for_are_written() {
    for (const Shape& shape : {Shape{100, 6, 2, 64, at::kBFloat16}, Shape{100, 7, 1, 40}}) {
      const LayerQuery query = make_query(shape, 5);
      const reference::Inputs in = reference::inputs_of(query);
      for (const Isa isa : isas_for(shape.dtype)) {
        const KernelLayer layer(query, isa);
        const KernelOutput all(query, Layout::rows_first);
        layer->dense(100, all.view(), run_in_order);
        for (const std::int64_t rows : {0, 1, 15, 16, 17, 63, 65, 99}) {
          const KernelOutput out(query, Layout::rows_first);
          layer->dense(rows, out.view(), run_in_order);
          QVERIFY2(out.untouched_outside(0, rows), label(isa, "dense").c_str());
          QVERIFY(out.values().narrow(1, 0, rows).equal(all.values().narrow(1, 0, rows)));  // bit for bit
        }
        const KernelOutput too_many(query, Layout::rows_first);
        layer->dense(1000, too_many.view(), run_in_order);
        QVERIFY(too_many.same_bits(all));
        for (const std::int64_t begin : {0, 7, 16, 50, 99})
          for (const std::int64_t end : {begin, begin + 1, std::int64_t{100}}) {
            const KernelOutput out(query, Layout::rows_first);
            layer->log_sum_exp(begin, end, out.lse(), run_in_order);
            for (std::int64_t head = 0; head < shape.num_q_heads; ++head)
              for (std::int64_t row = 0; row < 100; ++row) {
                // Rows before `begin` in its tile may be written, with what is right for them.
                if (row >= begin && row < end) QVERIFY(out.lse_touched(head, row));
                if (row < begin / 16 * 16 || row >= end) QVERIFY(!out.lse_touched(head, row));
                if (out.lse_touched(head, row)) QCOMPARE(out.lse()[head * 100 + row], all.lse()[head * 100 + row]);
              }
          }
        // Without a place for log-sum-exp nothing else changes.
        const KernelOutput plain(query, Layout::rows_first, false);
        layer->dense(100, plain.view(), run_in_order);
        QVERIFY(plain.values().equal(all.values()));
      }
    }
  }

  void unions_are_counted() {
    std::mt19937 random(6);
    const LayerQuery query = make_query({150, 2, 1, 8}, 7);
    const KernelLayer layer(query, Isa::avx512_bf16);
    for (const std::int64_t begin : {0, 5, 96, 149})
      for (const std::int64_t k : {0, 1, 20, 200}) {
        const KernelSupport support = kernel_support(150, begin, random_rows(begin, 150, k, random));
        std::int64_t expected = 0;
        for (std::int64_t tile = begin; tile < 150; tile += 16) {
          const std::int64_t end = std::min<std::int64_t>(tile + 16, 150);
          std::set<std::int64_t> keys;
          for (std::int64_t row = tile; row < end; ++row)
            keys.insert(support.meaning[static_cast<std::size_t>(row)].begin(),
                        support.meaning[static_cast<std::size_t>(row)].end());
          expected += std::ssize(keys) * (end - tile);
        }
        QCOMPARE(layer->union_keys(support.view()), expected);
      }
  }
};

QTEST_APPLESS_MAIN(TestCpuLayer)
#include "test_cpu_layer.moc"
