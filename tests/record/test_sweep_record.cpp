// SPDX-License-Identifier: Apache-2.0
// Sweeps on the disk: the store and what can happen to it, the file, shards; what is hostile is refused by its place.
#include <QtTest>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "base/output_file.h"
#include "record/run_record.h"
#include "record/sweep/sweep_file.h"
#include "record/sweep/sweep_merge.h"
#include "record/sweep/sweep_store.h"
#include "sweep_fixture.h"

using namespace headroom;
using namespace headroom::record;
namespace fs = std::filesystem;

namespace {

std::string bytes_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void put_bytes(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
}

/// The message of an input error.
template <typename Work>
QString refused(Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.kind() == ErrorKind::input ? QString::fromStdString(error.what())
                                            : QString("other kind: ") + error.what();
  }
  return "nothing was refused";
}

}  // namespace

class TestSweepRecord : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  fs::path path(const char* name) const { return folder_.filePath(name).toStdString(); }

  fs::path write(const char* name, const SweepRecord& record) const {
    OutputPlace place(path(name), OutputKind::file);
    return write_sweep(place, record);
  }
  fs::path write_store(const char* name, const SweepRecord& record) const {
    const fs::path file = path(name);
    fs::remove(file);
    SweepStore store(file, record.meta, "a processor", nullptr);
    for (const auto& curves : record.curves) store.add(curves);
    for (const auto& row : record.rows) store.add(row);
    return file;
  }

 private slots:
  void a_store_gives_back_what_it_was_given() {
    const SweepRecord record = test::sweep_record(test::sweep_meta(3, 1));
    const SweepStoreContent found = read_sweep_store(write_store("a.rows.jsonl", record));
    QVERIFY(!found.torn);
    QVERIFY(found.record.meta.complete);
    QCOMPARE(found.record.meta.devices, std::vector<std::string>{"a processor"});
    QCOMPARE(found.record.rows.size(), record.rows.size());
    // The file that comes of it is the same to the last byte.
    QCOMPARE(bytes_of(write("direct.h5", record)) == bytes_of(write("stored.h5", found.record)), true);
  }

  void a_torn_end_is_cut_off_wherever_it_is() {
    const SweepRecord record = test::sweep_record(test::sweep_meta(1, 0));
    const fs::path file = write_store("torn.rows.jsonl", record);
    const std::string whole = bytes_of(file);
    const std::size_t last = whole.rfind('\n', whole.size() - 2) + 1;
    for (std::size_t cut = last; cut < whole.size(); ++cut) {
      put_bytes(file, whole.substr(0, cut));
      const SweepStoreContent found = read_sweep_store(file);
      QCOMPARE(found.torn, cut > last);
      QCOMPARE(found.record.rows.size(), record.rows.size() - 1);
      if (cut % 97 != 0 && cut + 1 != whole.size()) continue;
      SweepStore store(file, found.record.meta, "a processor", &found);
      store.add(record.rows.back());
      QCOMPARE(bytes_of(file) == whole, true);
    }
    // The first line, too: then there is nothing yet.
    for (const std::size_t cut : {0, 5, 40}) {
      put_bytes(file, whole.substr(0, cut));
      const SweepStoreContent found = read_sweep_store(file);
      QCOMPARE(found.whole_bytes, std::int64_t{0});
      SweepStore store(file, record.meta, "a processor", &found);
      store.add(record.rows.front());
      QCOMPARE(read_sweep_store(file).record.rows.size(), std::size_t{1});
    }
    // Zeros that a crash of the machine left.
    put_bytes(file, whole + std::string(100, '\0'));
    QVERIFY(read_sweep_store(file).torn);
  }

  void what_is_damaged_is_refused_by_file_and_line() {
    const SweepRecord record = test::sweep_record(test::sweep_meta(1, 0));
    const fs::path file = write_store("bad.rows.jsonl", record);
    const std::string whole = bytes_of(file);
    const auto read = [&](const std::string& bytes) {
      put_bytes(file, bytes);
      return refused([&] { read_sweep_store(file); });
    };
    std::size_t third = 0;
    for (int line = 1; line < 3; ++line) third = whole.find('\n', third) + 1;
    std::string flipped = whole;
    flipped[third + 50] ^= 1;
    QVERIFY2(read(flipped).contains("bad.rows.jsonl:3: is damaged"), qPrintable(read(flipped)));
    const std::string row = whole.substr(third, whole.find('\n', third) + 1 - third);
    QVERIFY(read(whole + row).contains("this row is there already"));
    QVERIFY(read("hello\n").contains("holds no sweep"));
    QVERIFY(read(row + whole).contains("the settings of the sweep stand in the first line"));
    QVERIFY(refused([&] { read_sweep_store(path("none")); }).contains("there is no store to go on with"));
  }

  /// Lines with a checksum that fits, but values that cannot be.
  void impossible_rows_are_refused_by_field() {
    const SweepMeta meta = test::sweep_meta(2, 1);
    const SweepRow good = test::sweep_row(meta, {0, 512, 1, false}, 1);
    const auto reading = [&](const char* field, const nlohmann::json& value) {
      nlohmann::json object = to_json(meta, good);
      object[field] = value;
      return refused([&] { sweep_row_from_json(meta, object, "S.rows.jsonl:7"); });
    };
    for (const auto& [field, value] : {std::pair<const char*, nlohmann::json>{"task", "another"},
                                       {"length", 513},
                                       {"seed", 2},
                                       {"seed", -1},
                                       {"method", "none"},
                                       {"fingerprint", "x"},
                                       {"tokens", 0},
                                       {"score", 101},
                                       {"score", "1"},
                                       {"density", 1.5},
                                       {"density", nullptr},
                                       {"output_l2", {1}},
                                       {"answer", 3},
                                       {"calibration", 1},
                                       {"forced", 3}}) {
      const QString message = reading(field, value);
      QVERIFY2(message.startsWith("S.rows.jsonl:7") && message.contains(field), qPrintable(message));
    }
    QVERIFY(reading("calibration", true).contains("seed"));
    SweepRow shared = test::sweep_row(meta, {0, 512, 1, false}, 4);  // blocks of 64: not causal
    shared.prompt_nll = 1;
    QVERIFY(refused([&] { sweep_row_from_json(meta, to_json(meta, shared), "x"); }).contains("prompt_nll"));
  }

  void impossible_settings_are_refused_by_name() {
    const auto reading = [&](const char* field, const nlohmann::json& value) {
      nlohmann::json object = to_json(test::sweep_meta());
      object[field] = value;
      return refused([&] { sweep_meta_from_json(object, "place"); });
    };
    for (const auto& [field, value] : {std::pair<const char*, nlohmann::json>{"tasks", nlohmann::json::array()},
                                       {"lengths", {5, 5}},
                                       {"samples", 0},
                                       {"samples", 1e9},
                                       {"methods", nlohmann::json::array()},
                                       {"shard", {3, 2}},
                                       {"shard", {1}},
                                       {"layers", nlohmann::json::array()},
                                       {"dense_layers", {3}},
                                       {"seed", -1},
                                       {"prompt_samples", {{9, 0}}},
                                       {"complete", 1}}) {
      const QString message = reading(field, value);
      QVERIFY2(message.contains(field), qPrintable(message));
    }
    QVERIFY(reading("schema_version", 2).contains("another version"));
    nlohmann::json many = to_json(test::sweep_meta());
    many["samples"] = 99'999;
    many["lengths"] = nlohmann::json::array();
    for (int i = 0; i < 200; ++i) many["lengths"].push_back(i);
    QVERIFY(refused([&] { sweep_meta_from_json(many, "place"); }).contains("samples"));
  }

  void bytes_that_are_changed_at_random_end_in_a_sentence() {
    const fs::path file = write_store("fuzz.rows.jsonl", test::sweep_record(test::sweep_meta(1, 1)));
    const std::string whole = bytes_of(file);
    std::mt19937 random(1);
    for (int round = 0; round < 400; ++round) {
      std::string bytes = whole;
      for (int change = 0; change < 1 + round % 4; ++change)
        bytes[random() % bytes.size()] = static_cast<char>(random());
      if (round % 3 == 0) bytes.resize(random() % bytes.size());
      put_bytes(file, bytes);
      const QString message = refused([&] { read_sweep_store(file); });
      QVERIFY2(message == "nothing was refused" || message.contains("fuzz.rows.jsonl"), qPrintable(message));
    }
  }

  void two_processes_do_not_write_one_store() {
    const SweepRecord record = test::sweep_record(test::sweep_meta(1, 0));
    const fs::path file = path("locked.rows.jsonl");
    const SweepStore store(file, record.meta, "a processor", nullptr);
    const SweepStoreContent found = read_sweep_store(file);
    QVERIFY(refused([&] {
              SweepStore(file, record.meta, "a processor", &found);
            }).contains("another process is writing it"));
  }

  void a_file_gives_back_what_it_was_given() {
    const SweepRecord record = test::sweep_record();
    const fs::path file = write("whole.h5", record);
    QVERIFY(is_sweep(file));
    const SweepRecord found = read_sweep(file);
    QCOMPARE(found.rows.size(), record.rows.size());
    for (std::size_t i = 0; i < found.rows.size(); ++i)
      QCOMPARE(to_json(found.meta, found.rows[i]).dump(), to_json(record.meta, record.rows[i]).dump());
    QCOMPARE(to_json(found.meta).dump(), to_json(record.meta).dump());
    QCOMPARE(found.curves.size(), record.curves.size());
    for (std::size_t i = 0; i < found.curves.size(); ++i)
      QCOMPARE(to_json(found.meta, found.curves[i]).dump(), to_json(record.meta, record.curves[i]).dump());
    QTest::qWait(1100);  // no time gets into the bytes
    QCOMPARE(bytes_of(write("again.h5", found)) == bytes_of(file), true);
    // A run's record is no sweep, and the other way round.
    QVERIFY(refused([&] { RunRecord::open(file); }).contains("/meta/json"));
    QVERIFY(!is_sweep(path("none.h5")));
  }

  void an_empty_sweep_is_a_file_too() {
    SweepRecord record = test::sweep_record(test::sweep_meta(1, 0));
    record.rows.clear();
    record.meta.complete = false;
    const SweepRecord found = read_sweep(write("empty.h5", record));
    QVERIFY(found.rows.empty());
    QVERIFY(!found.meta.complete);
  }

  /// Written by us, so that seal and sizes are right, with values that cannot be.
  void impossible_files_are_refused_by_dataset() {
    const auto reading = [&](auto&& change) {
      SweepRecord record = test::sweep_record(test::sweep_meta(2, 1));
      change(record);
      return refused([&] { read_sweep(write("impossible.h5", record)); });
    };
    QVERIFY(reading([](SweepRecord& r) { r.rows[0].sample.task = 7; }).contains("/rows/task"));
    QVERIFY(reading([](SweepRecord& r) { r.rows[0].method = 9; }).contains("/rows/method"));
    QVERIFY(reading([](SweepRecord& r) { r.rows[0].sample.seed = 99; }).contains("/rows/seed"));
    QVERIFY(reading([](SweepRecord& r) { r.rows[1] = r.rows[0]; }).contains("/rows/seed"));
    QVERIFY(reading([](SweepRecord& r) { r.rows[5].score = -1; }).contains("/rows/score"));
    QVERIFY(reading([](SweepRecord& r) { r.rows[5].density = std::nan(""); }).contains("/rows/density"));
    QVERIFY(reading([](SweepRecord& r) { r.rows[5].forced->top1_flips = 11; }).contains("/rows/positions"));
    QVERIFY(reading([](SweepRecord& r) { r.rows[5].forced->kl_mean = -1; }).contains("/rows/kl_mean"));
    QVERIFY(reading([](SweepRecord& r) { r.curves[0].values[0] = 2; }).contains("/curves/values"));
    QVERIFY(reading([](SweepRecord& r) { r.curves[0].budgets[0] = 0; }).contains("/curves/budgets"));
    QVERIFY(reading([](SweepRecord& r) { r.rows.pop_back(); }).contains("rows are missing"));
    const std::string whole = bytes_of(write("flipped.h5", test::sweep_record(test::sweep_meta(2, 1))));
    std::mt19937 random(2);
    for (int round = 0; round < 100; ++round) {
      std::string bytes = whole;
      bytes[random() % bytes.size()] ^= static_cast<char>(1 + random() % 255);
      put_bytes(path("flipped.h5"), bytes);
      const QString message = refused([&] { read_sweep(path("flipped.h5")); });
      QVERIFY2(message == "nothing was refused" || message.contains("flipped.h5"), qPrintable(message));
    }
  }

  void shards_make_the_whole() {
    const SweepRecord whole = test::sweep_record();
    std::vector<SweepPart> parts;
    std::size_t rows = 0;
    for (int shard = 1; shard <= 3; ++shard) {
      SweepMeta meta = test::sweep_meta();
      meta.shard = shard;
      meta.shards = 3;
      parts.push_back({"S" + std::to_string(shard) + ".h5", test::sweep_record(meta)});
      rows += parts.back().record.rows.size();
    }
    QCOMPARE(rows, whole.rows.size());
    const SweepRecord merged = merge_sweeps(parts);
    QVERIFY(merged.meta.complete);
    QCOMPARE(bytes_of(write("merged.h5", merged)) == bytes_of(write("one.h5", whole)), true);
    QVERIFY(missing_of(merged, 3).empty());

    const SweepRecord two = merge_sweeps({parts[0], parts[2]});
    QVERIFY(!two.meta.complete);
    QCOMPARE(missing_of(two, 3).size(), std::size_t{1});
    QVERIFY(missing_of(two, 3).front().starts_with("shard 2 of 3: 0 of "));

    const QString twice = refused([&] { merge_sweeps({parts[0], parts[1], parts[0]}); });
    QVERIFY2(twice.contains("S1.h5") && twice.contains("holds a row that"), qPrintable(twice));
    const auto changed = [&](auto&& change) {
      auto other = parts;
      change(other[1].record.meta);
      return refused([&] { merge_sweeps(other); });
    };
    QVERIFY(changed([](SweepMeta& m) { m.model_sha256 = "b"; }).contains("another model than S1.h5"));
    QVERIFY(changed([](SweepMeta& m) { m.samples = 7; }).contains("\"samples\""));
    QVERIFY(changed([](SweepMeta& m) { m.dtype = "bf16"; }).contains("\"dtype\""));
    QVERIFY(changed([](SweepMeta& m) { m.methods.pop_back(); }).contains("\"methods\""));
    QVERIFY(changed([](SweepMeta& m) { m.methods[1].fingerprint = "x"; }).contains("\"methods\""));
    QVERIFY(changed([](SweepMeta& m) { m.shards = 4; }).contains("another division"));
  }
};

QTEST_APPLESS_MAIN(TestSweepRecord)
#include "test_sweep_record.moc"
