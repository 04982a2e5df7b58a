// SPDX-License-Identifier: Apache-2.0
// The decoder's row-wise steps against fp64: odd widths, every instruction set, both element types, NaN and infinity.
#include <QtTest>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/cpu/rows/decoder_rows.h"

using namespace headroom::kernels::cpu;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

/// Values of one element type, with a guard behind them that nothing may write.
class Values {
 public:
  Values(Element element, std::size_t count) : element_(element), count_(count), bytes_((count + guard) * size()) {
    std::memset(bytes_.data(), 0x7b, bytes_.size());
  }
  Values(Element element, const std::vector<float>& values) : Values(element, values.size()) {
    for (std::size_t i = 0; i < count_; ++i) set(i, values[i]);
  }
  void* data() { return bytes_.data(); }
  std::size_t count() const { return count_; }
  float operator[](std::size_t i) const {
    if (element_ == Element::f32) return read<float>(i);
    return std::bit_cast<float>(static_cast<std::uint32_t>(read<std::uint16_t>(i)) << 16);
  }
  void set(std::size_t i, float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t half = std::isnan(value) ? (bits >> 16) | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    if (element_ == Element::f32) {
      write(i, value);
    } else {
      write(i, static_cast<std::uint16_t>(half));
    }
  }
  bool guarded() const {
    for (std::size_t i = count_ * size(); i < bytes_.size(); ++i) {
      if (bytes_[i] != 0x7b) return false;
    }
    return true;
  }
  bool operator==(const Values& other) const { return bytes_ == other.bytes_; }

 private:
  static constexpr std::size_t guard = 40;
  std::size_t size() const { return element_ == Element::f32 ? 4 : 2; }
  template <typename T>
  T read(std::size_t i) const {
    T value;
    std::memcpy(&value, bytes_.data() + i * sizeof value, sizeof value);
    return value;
  }
  template <typename T>
  void write(std::size_t i, T value) {
    std::memcpy(bytes_.data() + i * sizeof value, &value, sizeof value);
  }
  Element element_;
  std::size_t count_;
  std::vector<unsigned char> bytes_;
};

float rounded(Element element, float value) {
  return Values(element, std::vector<float>{value})[0];
}

std::vector<float> random_values(std::size_t count, float scale, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

/// value is expected, rounded to the element type, but for a relative slack; NaN where NaN is expected.
bool close(Element element, float value, double expected, double slack) {
  if (std::isnan(expected)) return std::isnan(value);
  const double unit = element == Element::f32 ? 0x1p-23 : 0x1p-7;
  if (std::abs(expected) > std::numeric_limits<float>::max()) return value == static_cast<float>(expected);
  return std::abs(static_cast<double>(value) - expected) <= (unit / 2 + slack) * std::abs(expected) + 1e-30;
}

const std::vector<std::int64_t> widths = {1, 7, 16, 31, 33, 48, 100, 576, 577};
const std::vector<Element> elements = {Element::bf16, Element::f32};
constexpr std::int64_t num_rows = 5;

std::vector<const DecoderRows*> sets() {
  std::vector<const DecoderRows*> all;
  for (const Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512}) {
    if (supported(isa)) all.push_back(&decoder_rows(isa));
  }
  return all;
}

std::size_t size(std::int64_t count) {
  return static_cast<std::size_t>(count);
}

}  // namespace

#define VERIFY_AT(condition, i)                                                                                       \
  QVERIFY2(condition, qPrintable(QString("set %1, element %2, width %3, value %4")                                    \
                                     .arg(QString::fromUtf8(name(set->isa).data(), qsizetype(name(set->isa).size()))) \
                                     .arg(int(element))                                                               \
                                     .arg(width)                                                                      \
                                     .arg(i)))

class TestDecoderRows : public QObject {
  Q_OBJECT
 private slots:
  void every_set_is_its_own() {
    for (const DecoderRows* set : sets()) QCOMPARE(static_cast<int>(best_isa(set->isa)), static_cast<int>(set->isa));
    QCOMPARE(&decoder_rows(), sets().back());
  }

  void norm() {
    for (const Element element : elements) {
      for (const std::int64_t width : widths) {
        const std::size_t count = size(num_rows * width);
        std::vector<float> start = random_values(count, 2.0f, 1);
        start[0] = not_a_number;        // row 0
        start[size(width)] = infinity;  // row 1
        for (std::int64_t j = 0; j < width; ++j) start[size(2 * width + j)] = 0;
        const Values addend(element, random_values(count, 1.0f, 2)), before(element, start);
        const auto weight = random_values(size(width), 1.0f, 3);
        std::vector<Values> first;
        for (const DecoderRows* set : sets()) {
          for (const bool adds : {false, true}) {
            Values hidden = before, out(element, count), terms = addend;
            NormRows arguments = {
                hidden.data(), adds ? terms.data() : nullptr, weight.data(), 1e-5f, out.data(), num_rows, width};
            set->norm(element, arguments);
            QVERIFY(hidden.guarded() && out.guarded());
            for (std::int64_t r = 0; r < num_rows; ++r) {
              double squares = 0;
              for (std::size_t i = size(r * width); i < size((r + 1) * width); ++i) {
                const float sum = rounded(element, adds ? before[i] + addend[i] : before[i]);  // rounded to the element
                VERIFY_AT(std::isnan(sum) ? std::isnan(hidden[i]) : hidden[i] == sum, i);
                squares += static_cast<double>(hidden[i]) * static_cast<double>(hidden[i]);
              }
              const double rms = std::sqrt(squares / static_cast<double>(width) + 1e-5);
              for (std::size_t i = size(r * width), j = 0; j < size(width); ++i, ++j)
                VERIFY_AT(
                    close(element, out[i], static_cast<double>(hidden[i]) / rms * static_cast<double>(weight[j]), 1e-6),
                    i);
            }
            // In place of the addend, row by row, and the sum alone: the same bits.
            Values again = before, place = addend;
            for (std::int64_t r = 0; adds && r < num_rows; ++r) {
              const std::size_t offset = size(r * width) * (element == Element::f32 ? 4 : 2);
              void* row = static_cast<char*>(place.data()) + offset;
              set->norm(element, {static_cast<char*>(again.data()) + offset, row, weight.data(), 1e-5f, row, 1, width});
            }
            if (adds) QVERIFY(again == hidden && place == out);
            Values sum = before;
            if (adds) set->norm(element, {sum.data(), terms.data(), nullptr, 0, nullptr, num_rows, width});
            if (adds) QVERIFY(sum == hidden);
            if (adds && set == sets().front()) first = {hidden, out};
            if (adds) VERIFY_AT(first[0] == hidden && first[1] == out, -1);
          }
        }
      }
    }
  }

  void gate() {
    const std::vector<float> special = {not_a_number, infinity, -infinity, 0.0f,  -0.0f,  1e-40f,
                                        -1e-40f,      88.0f,    -88.0f,    89.5f, -89.5f, 1e30f,
                                        -1e30f,       20.0f,    -20.0f,    0.5f,  -0.5f,  3e38f};
    for (const Element element : elements) {
      for (const std::int64_t width : widths) {
        const std::size_t count = size(num_rows * width);
        std::vector<float> values = random_values(2 * count, 4.0f, 4);
        for (std::size_t i = 0; i < special.size() && i < size(width); ++i) values[i] = special[i];
        Values gate_up(element, values);
        std::vector<Values> first;
        for (const DecoderRows* set : sets()) {
          Values out(element, count);
          set->gate(element, {gate_up.data(), out.data(), num_rows, width});
          QVERIFY(out.guarded());
          for (std::int64_t r = 0; r < num_rows; ++r) {
            for (std::int64_t j = 0; j < width; ++j) {
              const double x = static_cast<double>(gate_up[size(2 * r * width + j)]);
              const double up = static_cast<double>(gate_up[size((2 * r + 1) * width + j)]);
              const float value = out[size(r * width + j)];
              // Twice rounded in bf16. Below -80 silu counts as 0 as far as anyone can tell.
              const double expected = x / (1 + std::exp(-x)) * up;
              const double slack = element == Element::bf16 ? 0x1.1p-8 : 4e-7;
              VERIFY_AT(close(element, value, expected, slack) || (x < -80 && std::abs(value) < 1e-30f), r * width + j);
            }
          }
          if (set == sets().front()) first = {out};
          VERIFY_AT(first[0] == out, -1);
          Values rows(element, count);
          for (std::int64_t r = 0; r < num_rows; ++r) {
            const std::size_t offset = size(r * width) * (element == Element::f32 ? 4 : 2);
            set->gate(element, {static_cast<char*>(gate_up.data()) + 2 * offset,
                                static_cast<char*>(rows.data()) + offset, 1, width});
          }
          QVERIFY(rows == out);
        }
      }
    }
  }

  void rope() {
    constexpr std::int64_t num_q = 6, num_kv = 2, places = num_rows + 4, first_place = 3;
    for (const Element element : elements) {
      for (const std::int64_t width : {2, 6, 8, 30, 64, 80, 128, 256}) {  // of a head
        const std::int64_t half = width / 2, columns = (num_q + 2 * num_kv) * width;
        auto values = random_values(size(num_rows * columns), 3.0f, 5);
        values[1] = not_a_number;
        values[size(columns)] = -infinity;
        Values qkv(element, values);
        const auto cosine = random_values(size(num_rows * half), 0.7f, 6);
        const auto sine = random_values(size(num_rows * half), 0.7f, 7);
        std::vector<Values> first;
        for (const DecoderRows* set : sets()) {
          Values q(element, std::vector<float>(size(num_q * places * width), 9.0f));
          Values k(element, std::vector<float>(size(num_kv * places * width), 9.0f)), v = k;
          set->rope(element, {.qkv = qkv.data(),
                              .cosine = cosine.data(),
                              .sine = sine.data(),
                              .num_q_heads = num_q,
                              .num_kv_heads = num_kv,
                              .head_dim = width,
                              .rows = num_rows,
                              .first = first_place,
                              .places = places,
                              .q = q.data(),
                              .k = k.data(),
                              .v = v.data()});
          QVERIFY(q.guarded() && k.guarded() && v.guarded());
          for (std::int64_t h = 0; h < num_q + 2 * num_kv; ++h) {
            const Values& to = h < num_q ? q : h < num_q + num_kv ? k : v;
            const std::int64_t head = h < num_q ? h : (h - num_q) % num_kv;
            for (std::int64_t place = 0; place < places; ++place) {
              const std::int64_t r = place - first_place;
              for (std::int64_t i = 0; i < width; ++i) {
                const float value = to[size((head * places + place) * width + i)];
                if (r < 0 || r >= num_rows) {
                  QCOMPARE(value, 9.0f);
                  continue;
                }
                const std::int64_t j = i % half;
                const float a = qkv[size(r * columns + h * width + j)],
                            b = qkv[size(r * columns + h * width + half + j)];
                const float c = cosine[size(r * half + j)], s = sine[size(r * half + j)];
                const float ac = a * c, bs = b * s, bc = b * c, as = a * s;
                float expected = i < half ? ac - bs : bc + as;
                if (h >= num_q + num_kv) expected = i < half ? a : b;
                VERIFY_AT(std::isnan(expected) ? std::isnan(value) : value == rounded(element, expected), i);
              }
            }
          }
          if (set == sets().front()) first = {q, k, v};
          VERIFY_AT(first[0] == q && first[1] == k && first[2] == v, -1);
        }
      }
    }
  }
};

QTEST_APPLESS_MAIN(TestDecoderRows)
#include "test_decoder_rows.moc"
