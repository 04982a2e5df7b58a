// SPDX-License-Identifier: Apache-2.0
// Chunks that threads compress are the bytes that the HDF5 library would have written.
#include "record/chunk_queue.h"
#include "record/hdf5_io.h"

#include <QtTest>
#include <cstdint>
#include <random>

using namespace headroom::record;

namespace {

template <typename T>
std::vector<T> some_values(std::size_t count, unsigned seed, bool noise) {
  std::mt19937 random(seed);
  std::vector<T> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<T>(noise ? random() : i / 7 % 50);
  return values;
}

/// Every chunk of a dataset as it lies in the file, with what filters left out.
std::vector<std::uint8_t> chunks_of(const std::filesystem::path& path, const char* dataset) {
  const hdf5::Library library;
  const hdf5::Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  const hdf5::Handle set(H5Dopen2(file.get(), dataset, H5P_DEFAULT), H5Dclose);
  const hdf5::Handle space(H5Dget_space(set.get()), H5Sclose);
  hsize_t count = 0;
  std::vector<std::uint8_t> all;
  if (H5Dget_num_chunks(set.get(), space.get(), &count) < 0) return all;
  for (hsize_t i = 0; i < count; ++i) {
    std::vector<hsize_t> offset(8);
    unsigned mask = 0;
    haddr_t address = 0;
    hsize_t bytes = 0;
    if (H5Dget_chunk_info(set.get(), space.get(), i, offset.data(), &mask, &address, &bytes) < 0) return {};
    std::vector<std::uint8_t> chunk(bytes);
    if (H5Dread_chunk(set.get(), H5P_DEFAULT, offset.data(), &mask, chunk.data()) < 0) return {};
    all.push_back(static_cast<std::uint8_t>(mask));
    all.insert(all.end(), chunk.begin(), chunk.end());
  }
  return all;
}

void write_all(const std::filesystem::path& path, bool wait) {
  hdf5::Library library;
  const hdf5::Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110);
  hdf5::Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), H5Fclose);
  const std::string place = path.string();
  if (wait) hdf5::let_chunks_wait(file.get());
  for (const bool noise : {false, true}) {
    const std::string group = noise ? "/noise/" : "/even/";
    hdf5::write<std::int32_t>(file.get(), group + "rows", {700, 611}, some_values<std::int32_t>(700 * 611, 1, noise),
                              place);
    hdf5::write<float>(file.get(), group + "cube", {3, 600, 513}, some_values<float>(3 * 600 * 513, 2, noise), place);
    hdf5::write<std::uint8_t>(file.get(), group + "bytes", {1025, 257}, some_values<std::uint8_t>(1025 * 257, 3, noise),
                              place);
    hdf5::write<double>(file.get(), group + "few", {5}, some_values<double>(5, 4, noise), place);
    hdf5::create(file.get(), group + "bands", Element::f32, {2, 100, 90}, {1, 32, 90}, place);
    const auto band = some_values<float>(32 * 90, 5, noise);
    for (std::int64_t index = 0; index < 2; ++index)
      for (std::int64_t row = 0; row < 100; row += 32)
        hdf5::write_box(file.get(), group + "bands", Element::f32, {index, row, 0},
                        {1, std::min<std::int64_t>(32, 100 - row), 90}, band.data(), place);
    // Half a chunk at a time cannot wait.
    hdf5::create(file.get(), group + "halves", Element::f32, {64, 90}, {32, 90}, place);
    for (std::int64_t row = 0; row < 64; row += 16)
      hdf5::write_box(file.get(), group + "halves", Element::f32, {row, 0}, {16, 90}, band.data(), place);
    hdf5::write<std::int32_t>(file.get(), group + "rows", {40, 3}, some_values<std::int32_t>(120, 6, noise), place);
  }
  hdf5::write_waiting(file.get(), place);
  hdf5::forget_waiting(file.get());
  QVERIFY(file.reset());
}

}  // namespace

class TestChunkQueue : public QObject {
  Q_OBJECT
 private slots:
  void the_bytes_are_the_librarys() {
    const QTemporaryDir folder;
    const std::filesystem::path here = folder.path().toStdString();
    write_all(here / "at_once.h5", false);
    write_all(here / "waited.h5", true);
    for (const std::string group : {"/even/", "/noise/"})
      for (const std::string name : {"rows", "cube", "bytes", "few", "bands", "halves"}) {
        const auto at_once = chunks_of(here / "at_once.h5", (group + name).c_str());
        QVERIFY2(!at_once.empty() && chunks_of(here / "waited.h5", (group + name).c_str()) == at_once, name.c_str());
      }
  }

  void the_library_reads_what_waited() {
    const QTemporaryDir folder;
    const std::string path = folder.filePath("waited.h5").toStdString();
    write_all(path, true);
    hdf5::Library library;
    const hdf5::Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
    const hdf5::Handle cube(H5Dopen2(file.get(), "/noise/cube", H5P_DEFAULT), H5Dclose);
    std::vector<float> values(3 * 600 * 513);
    QVERIFY(H5Dread(cube.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0);  // checks sums
    QVERIFY(values == some_values<float>(values.size(), 2, true));
  }

  void what_is_forgotten_is_not_written() {
    const QTemporaryDir folder;
    const std::string path = folder.filePath("gone.h5").toStdString();
    hdf5::Library library;
    hdf5::Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
    hdf5::let_chunks_wait(file.get());
    hdf5::write<float>(file.get(), "/a", {600, 513}, some_values<float>(600 * 513, 1, true), path);
    hdf5::forget_waiting(file.get());
    QVERIFY(file.reset());  // nothing of it holds the file open
    const hdf5::Handle again(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    QVERIFY(again);
  }
};

QTEST_APPLESS_MAIN(TestChunkQueue)
#include "test_chunk_queue.moc"
