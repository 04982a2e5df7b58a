// SPDX-License-Identifier: Apache-2.0
// Records with a valid seal that lie, in their HDF5 part or in their directory: each gives an input error that says
// where.
#include <hdf5.h>
#include <zlib.h>

#include <QTemporaryDir>
#include <QtTest>
#include <fstream>
#include <functional>
#include <limits>

#include "base/error.h"
#include "base/sha256.h"
#include "record/directory.h"
#include "record/run_record.h"
#include "record/sealed_file.h"
#include "support/synthetic_record.h"
#include "touch_record.h"

using namespace headroom;

namespace {

const char* const stream = "/methods/dense/layers/1/stream";
const char* const support = "/methods/oracle-k8-g1/layers/0/supports/support";

template <typename T>
void put(hid_t file, const char* path, hid_t type, std::vector<hsize_t> dims, const std::vector<T>& data,
         const std::function<void(hid_t)>& creation = {}) {
  H5Ldelete(file, path, H5P_DEFAULT);
  const hid_t space = H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr);
  const hid_t list = H5Pcreate(H5P_DATASET_CREATE);
  for (auto& n : dims) n = std::min<hsize_t>(n, 64);
  H5Pset_chunk(list, static_cast<int>(dims.size()), dims.data());
  if (creation) creation(list);
  const hid_t dataset = H5Dcreate2(file, path, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
  if (!data.empty()) H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data.data());
  H5Dclose(dataset);
  H5Pclose(list);
  H5Sclose(space);
}

void put_text(hid_t file, const char* path, const std::string& text) {
  put<char>(file, path, H5T_STD_U8LE, {text.size()}, {text.begin(), text.end()});
}

std::string get_text(hid_t file, const char* path) {
  const hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT), space = H5Dget_space(dataset);
  std::string text(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)), '\0');
  H5Dread(dataset, H5T_STD_U8LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data());
  H5Sclose(space);
  H5Dclose(dataset);
  return text;
}

void replace(hid_t file, const char* path, const std::string& from, const std::string& to) {
  std::string text = get_text(file, path);
  const std::size_t at = text.find(from);
  if (at == std::string::npos) throw std::logic_error("nothing to replace: " + from);
  put_text(file, path, text.replace(at, from.size(), to));
}

const std::string full_layer =
    R"({"head_dim": 8, "kind": "full", "num_kv_heads": 2, "num_q_heads": 4, "scale": 0.35, "window": 0})";

/// Another list of layers in the metadata.
void replace_layers(hid_t file, const std::string& list) {
  std::string text = get_text(file, "/meta/json");
  const std::size_t begin = text.find("\"layers\": ") + 10;
  put_text(file, "/meta/json", text.replace(begin, text.find(']', begin) + 1 - begin, list));
}

void set_text_attribute(hid_t file, const char* path, const char* name, const std::string& value) {
  const hid_t object = H5Oopen(file, path, H5P_DEFAULT), space = H5Screate(H5S_SCALAR), type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, value.size());
  H5Adelete(object, name);
  const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, type, value.data());
  H5Aclose(attribute);
  H5Tclose(type);
  H5Sclose(space);
  H5Oclose(object);
}

void set_integer_attribute(hid_t file, const char* path, const char* name, std::int64_t value) {
  const hid_t object = H5Oopen(file, path, H5P_DEFAULT), space = H5Screate(H5S_SCALAR);
  H5Adelete(object, name);
  const hid_t attribute = H5Acreate2(object, name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, H5T_STD_I64LE, &value);
  H5Aclose(attribute);
  H5Sclose(space);
  H5Oclose(object);
}

/// A support with its checksum in order.
void put_support(hid_t file, std::vector<std::uint8_t> bits) {
  put<std::uint8_t>(file, support, H5T_STD_U8LE, {48, 6}, bits);
  set_text_attribute(file, support, "sha256", sha256(bits));
}

void put_variable_text(hid_t file, const char* path) {
  H5Ldelete(file, path, H5P_DEFAULT);
  const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
  H5Tset_size(type, H5T_VARIABLE);
  const hid_t dataset = H5Dcreate2(file, path, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  const char* value = "{}";
  H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, &value);
  H5Dclose(dataset);
  H5Sclose(space);
  H5Tclose(type);
}

/// 48 ids whose one chunk inflates to 64 MB.
void put_bomb(hid_t file) {
  put<std::int32_t>(file, "/tokens/ids", H5T_STD_I32LE, {48}, {}, [](hid_t list) { H5Pset_deflate(list, 9); });
  const std::vector<Bytef> zeros(64 << 20, 0);
  uLongf size = compressBound(zeros.size());
  std::vector<Bytef> packed(size);
  compress2(packed.data(), &size, zeros.data(), zeros.size(), 9);
  const hid_t dataset = H5Dopen2(file, "/tokens/ids", H5P_DEFAULT);
  const hsize_t offset[] = {0};
  H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, offset, size, packed.data());
  H5Dclose(dataset);
}

struct Case {
  const char* name;
  std::function<void(hid_t)> tamper;
  const char* expected;  ///< in the message
};

std::vector<Case> cases() {
  const auto integers = [](auto... values) { return std::vector<std::int64_t>{values...}; };
  std::vector<std::int64_t> falling(48, 3);
  falling[20] = 1;
  std::vector<std::int64_t> far(48, 1 << 20);
  std::vector<std::int32_t> negative(48, 5);
  negative[7] = -1;
  std::vector<std::uint8_t> late(48 * 6, 0);
  late[3 * 6 + 2] = 1;  // row 3, key 16
  std::vector<float> wild(2 * 48 * 8, 1.0f);
  wild[99] = std::numeric_limits<float>::infinity();
  const std::string deep = std::string(200'000, '[');
  return {
      {"no metadata", [](hid_t f) { H5Ldelete(f, "/meta/json", H5P_DEFAULT); }, "/meta/json: dataset is missing"},
      {"metadata is a group",
       [](hid_t f) {
         H5Ldelete(f, "/meta/json", H5P_DEFAULT);
         H5Gclose(H5Gcreate2(f, "/meta/json", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
       },
       "/meta/json: dataset is missing"},
      {"variable-length text", [](hid_t f) { put_variable_text(f, "/meta/json"); }, "/meta/json: dataset is missing"},
      {"not JSON", [](hid_t f) { put_text(f, "/meta/json", "{\"a\": "); }, "not valid JSON"},
      {"deep JSON", [deep](hid_t f) { put_text(f, "/meta/json", deep); }, "JSON"},
      {"another schema", [](hid_t f) { replace(f, "/meta/json", "\"schema_version\": 5", "\"schema_version\": 9"); },
       "another version"},
      {"heads without end",
       [](hid_t f) { replace(f, "/meta/json", "\"num_q_heads\": 4", "\"num_q_heads\": 9223372036854775807"); },
       "num_q_heads"},
      {"a layer too many for the lists",
       [](hid_t f) { replace(f, "/meta/json", "\"layers\": [", "\"layers\": [" + full_layer + ","); },
       "one value a layer"},
      {"no layers", [](hid_t f) { replace_layers(f, "[]"); }, "layers"},
      {"query heads without KV heads",
       [](hid_t f) {
         replace(f, "/meta/json", "\"layers\": [",
                 "\"layers\": [{\"head_dim\": 8, \"kind\": \"sliding\", \"num_kv_heads\": 0, \"num_q_heads\": 4, "
                 "\"scale\": 0.35, \"window\": 9},");
       },
       "num_kv_heads"},
      {"more KV heads than query heads",
       [](hid_t f) {
         replace(f, "/meta/json", "\"layers\": [",
                 "\"layers\": [{\"head_dim\": 8, \"kind\": \"sliding\", \"num_kv_heads\": 3, \"num_q_heads\": 2, "
                 "\"scale\": 0.35, \"window\": 9},");
       },
       "num_kv_heads"},
      {"layers that are no objects", [](hid_t f) { replace_layers(f, "[1, 2]"); }, "layers[0]"},
      {"a layer of no known size", [](hid_t f) { replace_layers(f, "[{\"kind\": \"full\"}]"); }, "num_q_heads"},
      {"a number past 64 bits", [](hid_t f) { replace(f, "/meta/json", "\"head_dim\": 8", "\"head_dim\": 1e400"); },
       "JSON"},
      {"schema 1 in words of schema 5",
       [](hid_t f) { replace(f, "/meta/json", "\"schema_version\": 5", "\"schema_version\": 1"); }, "model_name"},
      {"heads that do not divide",
       [](hid_t f) { replace(f, "/meta/json", "\"num_kv_heads\": 2", "\"num_kv_heads\": 3"); }, "num_kv_heads"},
      {"a method outside", [](hid_t f) { replace(f, "/meta/json", "\"dense\"", "\"../meta\""); }, "methods"},
      {"a method twice", [](hid_t f) { replace(f, "/meta/json", "\"oracle-k8-g1\"", "\"dense\""); }, "methods"},
      {"a method that is not there", [](hid_t f) { replace(f, "/meta/json", "\"oracle-k8-g1\"", "\"oracle-k9-g1\""); },
       "missing"},
      {"another method's summary",
       [](hid_t f) { replace(f, "/methods/dense/summary_json", "\"id\": \"dense\"", "\"id\": \"other\""); },
       "another method"},
      {"a budget that is none",
       [](hid_t f) { replace(f, "/methods/oracle-k8-g1/summary_json", "\"value\": 8", "\"value\": -8"); }, "budget"},
      {"a role that is none",
       [](hid_t f) { replace(f, "/methods/dense/summary_json", "\"role\": \"dense\"", "\"role\": \"king\""); },
       "dense, reference or deployable"},
      {"a look beyond the last",
       [](hid_t f) { replace(f, "/methods/dense/summary_json", "\"look\": 0", "\"look\": 18"); }, "look"},
      {"another scope than its supports'",
       [](hid_t f) {
         replace(f, "/methods/oracle-k8-g1/summary_json", "\"scope\": \"layer\"", "\"scope\": \"kv_head\"");
       },
       "wrong extent"},
      {"ids as float", [](hid_t f) { put<float>(f, "/tokens/ids", H5T_IEEE_F32LE, {48}, std::vector<float>(48)); },
       "wrong element type"},
      {"ids in big-endian", [](hid_t f) { put<std::int32_t>(f, "/tokens/ids", H5T_STD_I32BE, {48}, {}); },
       "/tokens/ids: dataset is missing"},
      {"ids in two dimensions",
       [](hid_t f) {
         put<std::int32_t>(f, "/tokens/ids", H5T_STD_I32LE, {6, 8}, std::vector<std::int32_t>(48));
       },
       "wrong extent"},
      {"ids whose chunk inflates to 64 MB", put_bomb, "/tokens/ids"},
      {"a negative id", [=](hid_t f) { put(f, "/tokens/ids", H5T_STD_I32LE, {48}, negative); }, "negative id"},
      {"fewer offsets than ids", [=](hid_t f) { put(f, "/tokens/end", H5T_STD_I64LE, {3}, integers(1, 2, 3)); },
       "wrong extent"},
      {"offsets that go back", [=](hid_t f) { put(f, "/tokens/begin", H5T_STD_I64LE, {48}, falling); }, "byte range"},
      {"offsets past the text", [=](hid_t f) { put(f, "/tokens/end", H5T_STD_I64LE, {48}, far); }, "byte range"},
      {"a foreign filter",
       [=](hid_t f) { put(f, "/tokens/begin", H5T_STD_I64LE, {48}, falling, [](hid_t list) { H5Pset_nbit(list); }); },
       "/tokens/begin: dataset is missing"},
      {"data in another file",
       [](hid_t f) {
         H5Ldelete(f, "/tokens", H5P_DEFAULT);
         H5Lcreate_external("/etc/passwd", "/x", f, "/tokens", H5P_DEFAULT, H5P_DEFAULT);
       },
       "missing"},
      {"a soft link to itself",
       [](hid_t f) {
         H5Ldelete(f, "/tokens", H5P_DEFAULT);
         H5Lcreate_soft("/tokens", f, "/tokens", H5P_DEFAULT, H5P_DEFAULT);
       },
       "missing"},
      {"statistics of other layers",
       [](hid_t f) {
         put<float>(f, "/methods/dense/head_statistics/values", H5T_IEEE_F32LE, {9, 5, 8}, std::vector<float>(360));
       },
       "wrong extent"},
      {"descending budgets",
       [](hid_t f) {
         std::vector<std::int64_t> b(64, 5);
         b[9] = 2;
         put(f, "/methods/dense/mass_curves/budgets", H5T_STD_I64LE, {64}, b);
       },
       "ascending"},
      {"a support of another size",
       [](hid_t f) {
         put<std::uint8_t>(f, support, H5T_STD_U8LE, {48, 7}, std::vector<std::uint8_t>(336));
       },
       "wrong extent"},
      {"a support with another checksum",
       [](hid_t f) { set_text_attribute(f, support, "sha256", std::string(64, '0')); }, "checksum"},
      {"a support without a checksum",
       [](hid_t f) {
         const hid_t o = H5Oopen(f, support, H5P_DEFAULT);
         H5Adelete(o, "sha256");
         H5Oclose(o);
       },
       "sha256"},
      {"a support after the query", [=](hid_t f) { put_support(f, late); }, "row 3 holds keys after its query"},
      {"infinite keys",
       [=](hid_t f) {
         put(f, (std::string(stream) + "/k").c_str(), H5T_IEEE_F32LE, {2, 48, 8}, wild);
       },
       "not finite"},
      {"rows before the first", [](hid_t f) { set_integer_attribute(f, stream, "query_begin", -4); }, "query_begin"},
      {"a scale that is a text", [](hid_t f) { set_text_attribute(f, stream, "scale", "large"); }, "wrong type"},
      {"thumbnails that do not cover",
       [](hid_t f) { set_integer_attribute(f, "/methods/dense/layers/0/thumbnails", "cell", 1LL << 62); },
       "cover the prompt"},
  };
}

struct DirectoryCase {
  const char* name;
  std::function<void(record::Directory&)> tamper;
  const char* expected;
};

std::vector<DirectoryCase> directory_cases() {
  using record::Directory;
  const auto ids = [](Directory& d) -> record::StoredDataset& { return d.datasets.at("/tokens/ids"); };
  return {
      {"2^50 ids", [=](Directory& d) { ids(d).extent = {1LL << 50}; }, "out of range"},
      {"2^35 ids in one chunk", [=](Directory& d) { ids(d).extent = ids(d).chunk = {1LL << 35}; }, "too large"},
      {"ids that are not stored", [=](Directory& d) { ids(d).extent = ids(d).chunk = {1LL << 23}; },
       "claims more than is stored"},
      {"a negative extent", [=](Directory& d) { ids(d).extent = {-48}; }, "out of range"},
      {"extents whose product overflows",
       [=](Directory& d) {
         ids(d).extent = ids(d).chunk = {1LL << 33, 1LL << 33};
       },
       "large"},
      {"chunks of nothing", [=](Directory& d) { ids(d).chunk = {0}; }, "out of range"},
      {"too few chunks", [=](Directory& d) { ids(d).chunk = {5}; }, "number of chunks"},
      {"five dimensions",
       [=](Directory& d) {
         ids(d).extent = ids(d).chunk = {48, 1, 1, 1, 1};
       },
       "rank"},
      {"a chunk past the end", [=](Directory& d) { ids(d).chunks[0].offset = 1LL << 62; }, "outside the file"},
      {"a chunk in the user block", [=](Directory& d) { ids(d).chunks[0].offset = 8; }, "outside the file"},
      {"an endless chunk", [=](Directory& d) { ids(d).chunks[0].size = 0xffffffff; }, "a chunk's size"},
      {"an empty chunk", [=](Directory& d) { ids(d).chunks[0].size = 0; }, "a chunk's size"},
      {"chunks that overlap", [=](Directory& d) { ids(d).chunks[0] = d.datasets.at("/tokens/end").chunks[0]; },
       "overlap"},
      {"another chunk's bytes", [=](Directory& d) { std::swap(ids(d).chunks, d.datasets.at("/tokens/end").chunks); },
       "/tokens/ids"},
      {"filters that were not applied", [=](Directory& d) { ids(d).chunks[0].skipped = 2; }, "wrong size"},
      {"a filter beyond the pipeline", [=](Directory& d) { ids(d).shuffle = 40; }, "filters"},
      {"an unknown element", [=](Directory& d) { ids(d).element = static_cast<record::Element>(9); }, "element type"},
      {"no attributes", [=](Directory& d) { d.attributes.clear(); }, "is missing"},
  };
}

}  // namespace

class TestRecordHostile : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  std::filesystem::path at(const char* name) { return std::filesystem::path(folder_.path().toStdString()) / name; }

  /// Takes the HDF5 part of the good record, lets `tamper` change it, seals it again.
  void tampered(const std::filesystem::path& file, const std::function<void(hid_t)>& tamper) {
    std::filesystem::copy_file(at("good.h5"), file, std::filesystem::copy_options::overwrite_existing);
    const auto end = record::SealedFile(file).end();
    std::filesystem::resize_file(file, static_cast<std::uintmax_t>(end));
    const hid_t handle = H5Fopen(file.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    QVERIFY(handle >= 0);
    tamper(handle);
    H5Fclose(handle);
    record::seal_file(file, to_bytes(record::directory_of_hdf5(file)));
  }

  void refused(const char* expected) {
    try {
      test::touch_everything(at("lie.h5"));
      QFAIL("was read");
    } catch (const Error& error) {
      QCOMPARE(error.kind(), ErrorKind::input);
      QVERIFY2(QString(error.what()).contains(expected), error.what());
      QVERIFY2(QString(error.what()).contains("lie.h5"), error.what());
    }
  }

 private slots:
  void initTestCase() {
    test::SyntheticOptions o;
    o.tokens = 48;
    o.layers = 2;
    o.num_q_heads = 4;
    o.head_dim = 8;
    o.methods = {"dense", "oracle-k8-g1"};
    test::write_synthetic_record(at("good.h5"), o);
    tampered(at("same.h5"), [](hid_t) {});
    QCOMPARE(test::touch_everything(at("same.h5")), test::touch_everything(at("good.h5")));
  }

  void lies_are_refused_data() {
    QTest::addColumn<int>("index");
    const auto list = cases();
    for (std::size_t i = 0; i < list.size(); ++i) QTest::newRow(list[i].name) << static_cast<int>(i);
  }
  void lies_are_refused() {
    QFETCH(int, index);
    const Case lie = cases()[static_cast<std::size_t>(index)];
    tampered(at("lie.h5"), lie.tamper);
    refused(lie.expected);
  }

  void lying_directories_are_refused_data() {
    QTest::addColumn<int>("index");
    const auto list = directory_cases();
    for (std::size_t i = 0; i < list.size(); ++i) QTest::newRow(list[i].name) << static_cast<int>(i);
  }
  void lying_directories_are_refused() {
    QFETCH(int, index);
    const DirectoryCase lie = directory_cases()[static_cast<std::size_t>(index)];
    std::filesystem::copy_file(at("good.h5"), at("lie.h5"), std::filesystem::copy_options::overwrite_existing);
    const auto end = record::SealedFile(at("lie.h5")).end();
    std::filesystem::resize_file(at("lie.h5"), static_cast<std::uintmax_t>(end));
    record::Directory directory = record::directory_of_hdf5(at("lie.h5"));
    lie.tamper(directory);
    record::seal_file(at("lie.h5"), to_bytes(directory));
    refused(lie.expected);
  }

  void what_is_no_record_is_named() {
    const std::pair<const char*, const char*> texts[] = {{"", "an empty file"}, {"hello", "something else, 5 bytes"}};
    for (const auto& [content, found] : texts) {
      std::ofstream(at("other.h5"), std::ios::binary) << content;
      QVERIFY_EXCEPTION_THROWN(record::RunRecord::open(at("other.h5")), Error);
      try {
        record::RunRecord::open(at("other.h5"));
      } catch (const Error& error) {
        QCOMPARE(error.detail().found, std::string(found));
      }
    }
    QVERIFY_EXCEPTION_THROWN(record::RunRecord::open(at("absent.h5")), Error);
    QVERIFY_EXCEPTION_THROWN(record::RunRecord::open(folder_.path().toStdString()), Error);
    QVERIFY_EXCEPTION_THROWN(record::RunRecord::open("/dev/null"), Error);
  }
};

QTEST_GUILESS_MAIN(TestRecordHostile)
#include "test_record_hostile.moc"
