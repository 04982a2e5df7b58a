// SPDX-License-Identifier: Apache-2.0
// Parts that only long prompts have: supports as lists, stored tiles, windows on q and k. Short records are made to
// have them, so that each can be compared with what it stands for.
#include <hdf5.h>

#include <QTemporaryDir>
#include <QTest>
#include <cmath>
#include <filesystem>
#include <functional>

#include "base/error.h"
#include "record/directory.h"
#include "record/record_writer.h"
#include "record/run_record.h"
#include "record/sealed_file.h"
#include "record/stream_window.h"
#include "support/synthetic_record.h"

using namespace headroom;
using namespace headroom::record;

namespace {

constexpr std::int64_t length = 700;
const std::string shared_method = "indexer-k64-g1", grouped_method = "kv_topk-k16-g1";

test::SyntheticOptions options_of(bool lists) {
  test::SyntheticOptions o;
  o.tokens = length;
  o.layers = 1;
  o.methods = {"dense", shared_method, grouped_method};
  o.lists = lists;
  if (lists) o.pyramid_levels = {1, 2};
  return o;
}

/// What a test does to the HDF5 part before it is sealed anew, as a hostile writer could.
std::string refusal(const std::filesystem::path& file, const std::function<void(hid_t)>& change,
                    const std::function<void(const RunRecord&)>& use) {
  const std::filesystem::path broken = file.parent_path() / "broken.h5";
  std::filesystem::copy_file(file, broken, std::filesystem::copy_options::overwrite_existing);
  std::filesystem::resize_file(broken, static_cast<std::uintmax_t>(SealedFile(broken).end()));
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
  const hid_t id = H5Fopen(broken.c_str(), H5F_ACC_RDWR, access);
  if (id < 0) return "not opened";
  change(id);
  H5Fclose(id);
  H5Pclose(access);
  seal_file(broken, to_bytes(directory_of_hdf5(broken)));
  try {
    use(*RunRecord::open(broken));
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

/// One element of a dataset is replaced.
template <typename T>
void poke(hid_t file, const std::string& path, hid_t type, std::vector<hsize_t> at, T value) {
  const hid_t set = H5Dopen2(file, path.c_str(), H5P_DEFAULT), space = H5Dget_space(set);
  const std::vector<hsize_t> one(at.size(), 1);
  H5Sselect_hyperslab(space, H5S_SELECT_SET, at.data(), nullptr, one.data(), nullptr);
  const hid_t memory = H5Screate_simple(static_cast<int>(one.size()), one.data(), nullptr);
  H5Dwrite(set, type, memory, space, H5P_DEFAULT, &value);
  H5Sclose(memory);
  H5Sclose(space);
  H5Dclose(set);
}

bool near(float a, float b, double share) {
  return std::isnan(a) ? std::isnan(b)
                       : std::abs(static_cast<double>(a - b)) <= share * std::abs(static_cast<double>(a)) + 1e-9;
}

}  // namespace

class TestLongRecord : public QObject {
  Q_OBJECT

 private slots:
  void initTestCase() {
    QVERIFY(folder_.isValid());
    lists_ = path("lists.h5");
    bitmaps_ = path("bitmaps.h5");
    test::write_synthetic_record(lists_, options_of(true));
    test::write_synthetic_record(bitmaps_, options_of(false));
  }

  void lists_hold_what_bitmaps_hold() {
    const auto a = RunRecord::open(lists_), b = RunRecord::open(bitmaps_);
    for (const auto& [method, groups] : {std::pair{shared_method, 1}, std::pair{grouped_method, 2}}) {
      QVERIFY(a->availability(method, 0).supports);
      for (int group = 0; group < groups; ++group)
        for (const auto kind : {SupportKind::support, SupportKind::target, SupportKind::wasted}) {
          const auto list = a->supports(method, 0, kind, group), bits = b->supports(method, 0, kind, group);
          QVERIFY(list && bits && !list->is_whole() && bits->is_whole());
          QCOMPARE(list->length(), length);
          QCOMPARE(list->count_all(), bits->count_all());
          for (std::int64_t query = 0; query < length; ++query) {
            QCOMPARE(list->row(query), bits->row(query));
            QCOMPARE(list->keys(query), bits->keys(query));
            QCOMPARE(list->count(query, 3, 300), bits->count(query, 3, 300));
          }
          QCOMPARE(list->test(length - 1, length - 1), bits->test(length - 1, length - 1));
        }
      QVERIFY(!a->supports(method, 0, SupportKind::support, groups));
    }
  }

  void rows_are_read_when_they_are_asked_for() {
    const auto record = RunRecord::open(lists_);
    const auto list = record->supports(shared_method, 0, SupportKind::support);
    QVERIFY(!list->is_here(500) && !list->test_if_here(500, 500));
    QVERIFY(list->test(500, 500));
    QVERIFY(list->is_here(500) && list->test_if_here(500, 500) == true && !list->is_here(0));
  }

  void overlays_are_those_of_the_bitmaps() {
    const auto a = RunRecord::open(lists_), b = RunRecord::open(bitmaps_);
    const auto of = [](const RunRecord& record, SupportKind kind) {
      return record.supports(grouped_method, 0, kind, 1);
    };
    for (const TileAddress address :
         {TileAddress{0, 1, 0}, TileAddress{1, 0, 0}, TileAddress{2, 0, 0}, TileAddress{0, 2, 2}}) {
      const auto x = compute_overlay(*of(*a, SupportKind::support), *of(*a, SupportKind::target),
                                     of(*a, SupportKind::wasted).get(), address);
      const auto y = compute_overlay(*of(*b, SupportKind::support), *of(*b, SupportKind::target),
                                     of(*b, SupportKind::wasted).get(), address);
      QVERIFY(x.rows > 0);
      QCOMPARE(x.hit, y.hit);
      QCOMPARE(x.missed, y.missed);
      QCOMPARE(x.wasted, y.wasted);
      QCOMPARE(x.selected, y.selected);
    }
  }

  void stored_tiles_are_those_computed_from_q_and_k() {
    const auto record = RunRecord::open(lists_);
    const auto stored = record->stored_levels(grouped_method, 0);
    using Kind = HeadSelector::Kind;
    const HeadSelector mean, head{Kind::head, 4}, group{Kind::group, 1};
    QVERIFY(!stored.has_tile(mean, 0) && stored.has_tile(mean, 1) && !stored.has_tile(head, 1) &&
            stored.has_tile(head, 2));
    QVERIFY(!stored.has_tile(group, 2) && !record->stored_tile(grouped_method, 0, group, {2, 0, 0}));
    QVERIFY(!record->stored_tile(grouped_method, 0, mean, {0, 0, 0}));
    for (const std::string& method : {std::string("dense"), shared_method, grouped_method}) {
      const auto stream = record->layer_stream(method, 0);
      for (const auto& [selector, levels] : {std::pair{mean, std::vector{1}}, std::pair{head, std::vector{2}}})
        for (const int level : levels)
          for (std::int64_t row = 0; row < 3; ++row)
            for (std::int64_t column = 0; column <= row; ++column) {
              const TileAddress address{level, row, column};
              const auto tile = record->stored_tile(method, 0, selector, address);
              const Tile exact = compute_tile(*stream, selector, address);
              QVERIFY(tile);
              if (exact.rows == 0) {
                QCOMPARE(tile->rows * tile->columns, std::int64_t{0});
                continue;
              }
              QCOMPARE(tile->rows, exact.rows);
              QCOMPARE(tile->columns, exact.columns);
              for (std::size_t i = 0; i < exact.max.size(); ++i) {
                QVERIFY2(near(exact.max[i], tile->max[i], 0.005), qPrintable(QString("max %1").arg(i)));
                QVERIFY2(near(exact.mean[i], tile->mean[i], 0.005), qPrintable(QString("mean %1").arg(i)));
              }
            }
    }
  }

  void stored_counts_and_missed_mass_are_those_of_the_pairs() {
    const auto record = RunRecord::open(lists_);
    using Kind = HeadSelector::Kind;
    const auto check = [&](const std::string& method, int group, HeadSelector head, int level) {
      const auto stream = record->layer_stream(method, 0);
      const auto support = record->supports(method, 0, SupportKind::support, group),
                 target = record->supports(method, 0, SupportKind::target, group),
                 wasted = record->supports(method, 0, SupportKind::wasted, group);
      const auto tile = record->stored_overlay(method, 0, group, head, {level, 0, 0});
      if (!tile) return std::string("not stored");
      OverlayTile exact = compute_overlay(*support, *target, wasted.get(), {level, 0, 0});
      add_missed_mass(exact, *stream, head, *support, *target, 1e12);
      if (exact.hit != tile->hit || exact.missed != tile->missed || exact.wasted != tile->wasted ||
          exact.selected != tile->selected)
        return std::string("counts differ");
      if (exact.missed_mass.size() != tile->missed_mass.size()) return std::string("no mass");
      for (std::size_t i = 0; i < exact.missed_mass.size(); ++i)
        if (!near(exact.missed_mass[i], tile->missed_mass[i], 0.01)) return std::string("mass differs");
      return std::string();
    };
    QCOMPARE(check(shared_method, 0, {}, 1), std::string());
    QCOMPARE(check(shared_method, 0, {}, 2), std::string());
    QCOMPARE(check(shared_method, 0, {Kind::head, 3}, 2), std::string());
    QCOMPARE(check(shared_method, 0, {Kind::group, 1}, 2), std::string());
    QCOMPARE(check(grouped_method, 1, {Kind::head, 5}, 2), std::string());
    QCOMPARE(check(grouped_method, 1, {Kind::group, 1}, 2), std::string());
    QCOMPARE(check(grouped_method, 0, {Kind::head, 0}, 1), std::string("not stored"));
    QVERIFY(!record->stored_overlay("dense", 0, 0, {}, {2, 0, 0}));
  }

  void a_window_gives_what_memory_gives() {
    const auto record = RunRecord::open(bitmaps_);
    const auto whole = record->layer_stream("dense", 0);
    LayerStream windowed = *whole;
    windowed.q.clear();
    windowed.k.clear();
    windowed.lse.clear();
    std::int64_t reads = 0;
    const StreamWindow::Shape q{whole->num_q_heads, length, whole->head_dim, 64, false},
        k{whole->num_kv_heads, length, whole->head_dim, 64, false}, lse{whole->num_q_heads, length, 1, 64, false};
    windowed.window = std::make_shared<StreamWindow>(
        q, k, lse,
        [&](StreamWindow::Part part, std::int64_t head, std::int64_t begin, std::int64_t rows, void* out) {
          ++reads;
          const auto& from = part == StreamWindow::Part::q   ? whole->q
                             : part == StreamWindow::Part::k ? whole->k
                                                             : whole->lse;
          const std::int64_t width = part == StreamWindow::Part::lse ? 1 : whole->head_dim;
          std::copy_n(from.begin() + (head * length + begin) * width, rows * width, static_cast<float*>(out));
        },
        "memory");
    const HeadSelector mean, head{HeadSelector::Kind::head, 3};
    QVERIFY(!is_here(windowed, head, 400, 30) && is_here(*whole, head, 400, 30));
    QCOMPARE(probability(windowed, head, 400, 30), probability(*whole, head, 400, 30));
    QCOMPARE(reads, std::int64_t{3});  // one block each of q, k and lse
    QVERIFY(is_here(windowed, head, 400, 30) && !is_here(windowed, mean, 400, 30));
    for (const HeadSelector& selector : {mean, head}) {
      QCOMPARE(probability_row(windowed, selector, 650), probability_row(*whole, selector, 650));
      QCOMPARE(rank_in_row(windowed, selector, 650, 13), rank_in_row(*whole, selector, 650, 13));
      for (const TileAddress address : {TileAddress{0, 1, 1}, TileAddress{0, 2, 0}, TileAddress{2, 0, 0}}) {
        const Tile a = compute_tile(windowed, selector, address), b = compute_tile(*whole, selector, address);
        QVERIFY(a.rows > 0 && a.rows == b.rows);
        for (std::size_t i = 0; i < a.max.size(); ++i)
          QVERIFY(near(b.max[i], a.max[i], 0) && near(b.mean[i], a.mean[i], 0));
      }
    }
    const auto before = StreamWindow::held_bytes();
    windowed.window.reset();
    QVERIFY(StreamWindow::held_bytes() < before);
  }

  void what_is_held_stays_within_its_bounds() {
    constexpr std::int64_t rows = 40000, keys = 400;
    std::vector<std::int64_t> offsets{0};
    for (std::int64_t t = 0; t < rows; ++t) offsets.push_back(offsets.back() + std::min(keys, t + 1));
    const std::vector<std::int64_t> begins = offsets;
    const Support support(
        offsets,
        [&](std::int64_t begin, std::span<std::int32_t> out) {
          auto row = std::upper_bound(begins.begin(), begins.end(), begin) - begins.begin() - 1;
          for (std::size_t i = 0; i < out.size(); ++i) {
            const std::int64_t at = begin + static_cast<std::int64_t>(i);
            while (at >= begins[static_cast<std::size_t>(row + 1)]) ++row;
            out[i] = static_cast<std::int32_t>(at - begins[static_cast<std::size_t>(row)]);
          }
        },
        "memory");
    for (std::int64_t t = 0; t < rows; t += 7) QVERIFY(support.test(t, 0));
    QVERIFY(support.bytes() <= (std::size_t{13} << 20) + offsets.size() * 8);
    const StreamWindow::Shape wide{1, 2'000'000, 64, 256, true};
    const StreamWindow window(
        wide, wide, wide,
        [](StreamWindow::Part, std::int64_t, std::int64_t, std::int64_t count, void* out) {
          std::fill_n(static_cast<std::uint16_t*>(out), count * 64, std::uint16_t{0});
        },
        "memory");
    std::vector<float> row(64);
    for (std::int64_t t = 0; t < wide.rows; t += 128) window.copy(StreamWindow::Part::k, 0, t, 1, row.data());
    QVERIFY(StreamWindow::held_bytes() <= StreamWindow::most_bytes);
    QVERIFY(StreamWindow::held_bytes() > StreamWindow::most_bytes / 2);
  }

  void lies_are_refused_data() {
    QTest::addColumn<int>("which");
    QTest::addColumn<QString>("words");
    QTest::newRow("offsets that fall") << 0 << "row 99 ends out of range";
    QTest::newRow("a row longer than its history") << 1 << "row 3 holds more keys than it sees";
    QTest::newRow("rows past the keys") << 2 << "ends out of range";
    QTest::newRow("a key after its query") << 3 << "row 0 holds a key out of order or after its query";
    QTest::newRow("a negative key") << 4 << "row 0 holds a key out of order or after its query";
    QTest::newRow("a key twice") << 5 << "row 1 holds a key out of order or after its query";
    QTest::newRow("a cell that is no probability") << 6 << "holds a value that no cell can have";
    QTest::newRow("a count below zero") << 7 << "holds a value that no cell can have";
    QTest::newRow("a cell that is not a number") << 8 << "holds a value that no cell can have";
    QTest::newRow("keys with another type") << 9 << "wrong element type";
    QTest::newRow("offsets of another extent") << 10 << "wrong extent";
  }
  void lies_are_refused() {
    QFETCH(int, which);
    QFETCH(QString, words);
    const std::string layer = "/methods/" + shared_method + "/layers/0/", list = layer + "supports/support";
    const auto change = [&](hid_t f) {
      const hid_t i64 = H5T_NATIVE_INT64, i32 = H5T_NATIVE_INT32, f32 = H5T_NATIVE_FLOAT;
      switch (which) {
        case 0:
          return poke<std::int64_t>(f, list + "/rows", i64, {0, 100}, 10);
        case 1:
          return poke<std::int64_t>(f, list + "/rows", i64, {0, 4}, 60);
        case 2:
          return poke<std::int64_t>(f, list + "/rows", i64, {0, 700}, 1LL << 40);
        case 3:
          return poke<std::int32_t>(f, list + "/keys", i32, {0}, 5);
        case 4:
          return poke<std::int32_t>(f, list + "/keys", i32, {0}, -1);
        case 5:
          return poke<std::int32_t>(f, list + "/keys", i32, {2}, 0);
        case 6:
          return poke<float>(f, layer + "pyramid/1/m_max", f32, {0, 3, 1}, -1.0f);
        case 7:
          return poke<std::int32_t>(f, layer + "pyramid/1/hit", i32, {0, 3, 1}, -4);
        case 8:
          return poke<float>(f, layer + "pyramid/1/m_mean", f32, {0, 3, 1}, std::nanf(""));
        default:
          break;
      }
      // Another dataset in the place of the list's.
      const std::string path = list + (which == 9 ? "/keys" : "/rows");
      H5Ldelete(f, path.c_str(), H5P_DEFAULT);
      const hsize_t dims[] = {which == 9 ? hsize_t{10} : hsize_t{1}, 10};
      const int rank = which == 9 ? 1 : 2;
      const hid_t space = H5Screate_simple(rank, dims, nullptr), plist = H5Pcreate(H5P_DATASET_CREATE);
      H5Pset_chunk(plist, rank, dims);
      const hid_t type = which == 9 ? H5T_STD_U8LE : H5T_STD_I64LE;
      const hid_t set = H5Dcreate2(f, path.c_str(), type, space, H5P_DEFAULT, plist, H5P_DEFAULT);
      const std::vector<std::int64_t> zeros(20, 0);
      H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros.data());
      H5Dclose(set);
      H5Pclose(plist);
      H5Sclose(space);
    };
    const std::string said = refusal(lists_, change, [&](const RunRecord& record) {
      if (const auto support = record.supports(shared_method, 0, SupportKind::support))
        for (std::int64_t query = 0; query < length; ++query) support->keys(query);
      record.stored_tile(shared_method, 0, {}, {1, 0, 0});
      record.stored_overlay(shared_method, 0, 0, {}, {1, 0, 0});
    });
    QVERIFY2(QString::fromStdString(said).contains(words), said.c_str());
    QVERIFY2(QString::fromStdString(said).contains("broken.h5:" + QString::fromStdString(layer)), said.c_str());
  }

  void the_parts_add_up_to_the_file() {
    const auto record = RunRecord::open(lists_);
    std::int64_t sum = 0, pyramids = 0, supports = 0;
    for (const RecordPart& part : record->parts()) {
      QVERIFY(part.bytes >= 0);
      sum += part.bytes;
      if (part.kind == "pyramids") {
        pyramids += part.bytes;
        QCOMPARE(part.layer, 0);
      }
      if (part.kind == "supports") supports += part.bytes;
    }
    QCOMPARE(sum, static_cast<std::int64_t>(std::filesystem::file_size(lists_)));
    QVERIFY(pyramids > 0 && supports > 0);
  }

  void levels_suit_the_length() {
    const LayerMeta large{"full", 32, 8, 64, 0, 0.125}, small{"full", 9, 3, 64, 0, 0.125};
    QCOMPARE(pyramid_levels(131072, large), (PyramidLevels{4, 6}));
    QCOMPARE(pyramid_levels(600, small), (PyramidLevels{-1, -1}));
    QCOMPARE(pyramid_levels(4096, small), (PyramidLevels{3, -1}));
  }

  void a_long_record_is_what_its_q_and_k_say() {
    test::SyntheticOptions o;
    o.tokens = 16384;
    o.layers = 1;
    o.num_q_heads = 4;
    o.num_kv_heads = 2;
    o.head_dim = 32;
    o.methods = {"indexer-k128-g1"};
    const auto file = path("long.h5");
    test::write_long_record(file, o);
    const auto record = RunRecord::open(file);
    const std::string method = o.methods.front();
    const auto stream = record->layer_stream(method, 0);
    const auto stored = record->stored_levels(method, 0);
    const HeadSelector mean, head{HeadSelector::Kind::head, 2};
    double sum = 0;
    for (const float p : probability_row(*stream, mean, 9000)) sum += static_cast<double>(p);
    QVERIFY(std::abs(sum - 1) < 1e-3);
    for (const HeadSelector& selector : {mean, head}) {
      const int level = stored.first[static_cast<std::size_t>(selector == mean ? Plane::m_max : Plane::max)];
      QVERIFY(level >= 0);
      const TileAddress address{level, 0, 0};
      const auto tile = record->stored_tile(method, 0, selector, address);
      const Tile exact = compute_tile(*stream, selector, address);
      QCOMPARE(tile->rows, exact.rows);
      for (std::size_t i = 0; i < exact.max.size(); ++i)
        QVERIFY(near(exact.max[i], tile->max[i], 0.01) && near(exact.mean[i], tile->mean[i], 0.01));
      const auto counted = record->stored_overlay(method, 0, 0, selector, address);
      const auto support = record->supports(method, 0, SupportKind::support),
                 target = record->supports(method, 0, SupportKind::target);
      OverlayTile pairs = compute_overlay(*support, *target, nullptr, address);
      add_missed_mass(pairs, *stream, selector, *support, *target, 1e12);
      QCOMPARE(counted->hit, pairs.hit);
      QCOMPARE(counted->missed, pairs.missed);
      for (std::size_t i = 0; i < pairs.missed_mass.size(); ++i)
        QVERIFY(near(pairs.missed_mass[i], counted->missed_mass[i], 0.02));
    }
  }

 private:
  std::filesystem::path path(const char* name) const { return (folder_.path() + "/" + name).toStdString(); }
  QTemporaryDir folder_;
  std::filesystem::path lists_, bitmaps_;
};

QTEST_GUILESS_MAIN(TestLongRecord)
#include "test_long_record.moc"
