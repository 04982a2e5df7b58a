// SPDX-License-Identifier: Apache-2.0
// A record that another program changed is refused, and written anew where it still is one: with the change, with all
// else as it was. What is no record, or breaks the HDF5 library, ends with a sentence.
#include <hdf5.h>

#include <QTemporaryDir>
#include <QtTest>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "record/reseal.h"
#include "record/run_record.h"
#include "support/synthetic_record.h"
#include "touch_record.h"

using namespace headroom;

class TestReseal : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  std::string original_;

  std::string path(const char* name) const { return folder_.filePath(name).toStdString(); }
  /// A copy of the original, changed as another program would.
  std::string changed(const std::function<void(hid_t)>& change) const {
    const std::string copy = path("changed.h5");
    std::filesystem::copy_file(original_, copy, std::filesystem::copy_options::overwrite_existing);
    const hid_t file = H5Fopen(copy.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    if (file < 0) qFatal("cannot be opened for writing");
    change(file);
    H5Fclose(file);
    return copy;
  }
  std::string resealed(const std::string& in) const {
    OutputPlace out(path("new.h5"), OutputKind::file);
    return record::reseal(in, out).string();
  }
  QString refusal(const std::string& in) const {
    try {
      resealed(in);
    } catch (const Error& error) {
      return error.kind() == ErrorKind::input ? QString::fromUtf8(error.what()) : "of another kind";
    }
    return "not refused";
  }
  static bool opens(const std::string& file) {
    try {
      test::touch_everything(file);
      return true;
    } catch (const Error&) {
      return false;
    }
  }
  template <typename T>
  static void change_value(hid_t file, const char* name, hid_t type,
                           const std::function<void(std::vector<T>&)>& change) {
    const hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT), space = H5Dget_space(dataset);
    std::vector<T> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)));
    H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
    change(values);
    H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
    H5Sclose(space);
    H5Dclose(dataset);
  }

 private slots:
  void initTestCase() {
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    original_ = path("original.h5");
    test::SyntheticOptions options;
    options.tokens = 120;
    options.layers = 2;
    options.methods = {"dense", "oracle-k16-g1", "kv_topk-k16-g1"};
    test::write_synthetic_record(original_, options);
    QVERIFY(opens(original_));
  }
  void init() { QFile::remove(folder_.filePath("new.h5")); }

  void the_change_is_in_and_all_else_as_it_was() {
    const auto before = record::RunRecord::open(original_);
    const auto file = changed([](hid_t id) {
      change_value<std::int32_t>(id, "/tokens/ids", H5T_STD_I32LE, [](auto& ids) { ids[3] = 77; });
    });
    QVERIFY(!opens(file));
    const auto after = record::RunRecord::open(resealed(file));
    QCOMPARE(after->tokens().ids[3], 77);
    QCOMPARE(after->tokens().text, before->tokens().text);
    QCOMPARE(after->methods().size(), before->methods().size());
    const auto was = before->layer_stream("dense", 1), is = after->layer_stream("dense", 1);
    QVERIFY(was && is && was->q == is->q && was->lse == is->lse && was->scale == is->scale);
    for (int group = 0; group < 2; ++group) {
      const auto a = before->supports("kv_topk-k16-g1", 1, record::SupportKind::support, group);
      const auto b = after->supports("kv_topk-k16-g1", 1, record::SupportKind::support, group);
      QVERIFY(a && b && a->length() == b->length());
      for (std::int64_t query = 0; query < a->length(); ++query) QCOMPARE(a->row(query), b->row(query));
    }
    QVERIFY(opens(path("new.h5")));
  }

  void hashes_of_changed_supports_are_made_anew_data() {
    QTest::addColumn<QByteArray>("method");
    QTest::newRow("of the layer") << QByteArray("oracle-k16-g1");
    QTest::newRow("of KV heads") << QByteArray("kv_topk-k16-g1");
  }
  void hashes_of_changed_supports_are_made_anew() {
    QFETCH(QByteArray, method);
    const QByteArray name = "/methods/" + method + "/layers/0/supports/wasted";
    const auto file = changed([&](hid_t id) {
      change_value<std::uint8_t>(id, name.constData(), H5T_STD_U8LE,
                                 [](auto& bits) { std::ranges::fill(bits, std::uint8_t{0}); });
    });
    const auto after = record::RunRecord::open(resealed(file));
    QCOMPARE(after->supports(method.toStdString(), 0, record::SupportKind::wasted)->count_all(), std::int64_t{0});
  }

  void what_is_no_record_is_refused_data() {
    QTest::addColumn<QStringList>("words");
    QTest::newRow("a method is gone") << QStringList{"no record", "oracle-k16-g1"};
    QTest::newRow("another type") << QStringList{"/tokens/ids", "little-endian"};
    QTest::newRow("a soft link") << QStringList{"/extra", "soft or external link"};
    QTest::newRow("an external link") << QStringList{"/extra", "soft or external link"};
    QTest::newRow("text of any length") << QStringList{"/methods", "note"};
    QTest::newRow("a value out of range") << QStringList{"no record", "token"};
  }
  void what_is_no_record_is_refused() {
    QFETCH(QStringList, words);
    const QString lie = QTest::currentDataTag();
    const auto file = changed([&](hid_t id) {
      if (lie == "a method is gone") H5Ldelete(id, "/methods/oracle-k16-g1", H5P_DEFAULT);
      if (lie == "another type") {
        H5Ldelete(id, "/tokens/ids", H5P_DEFAULT);
        const hsize_t size = 120;
        const hid_t space = H5Screate_simple(1, &size, nullptr);
        H5Dclose(H5Dcreate2(id, "/tokens/ids", H5T_STD_I32BE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
        H5Sclose(space);
      }
      if (lie == "a soft link") H5Lcreate_soft("/tokens", id, "/extra", H5P_DEFAULT, H5P_DEFAULT);
      if (lie == "an external link") H5Lcreate_external("/etc/passwd", "/", id, "/extra", H5P_DEFAULT, H5P_DEFAULT);
      if (lie == "text of any length") {
        const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
        H5Tset_size(type, H5T_VARIABLE);
        const hid_t group = H5Gopen2(id, "/methods", H5P_DEFAULT);
        const hid_t note = H5Acreate2(group, "note", type, space, H5P_DEFAULT, H5P_DEFAULT);
        const char* text = "hello";
        H5Awrite(note, type, &text);
        for (const hid_t attribute : {note}) H5Aclose(attribute);
        H5Gclose(group);
        H5Sclose(space);
        H5Tclose(type);
      }
      if (lie == "a value out of range")
        change_value<std::int64_t>(id, "/tokens/end", H5T_STD_I64LE, [](auto& end) { end[5] = 1 << 30; });
    });
    const QString said = refusal(file);
    QVERIFY2(said.contains("changed.h5") || said.contains("no record"), qPrintable(said));
    for (const QString& word : words) QVERIFY2(said.contains(word), qPrintable(said));
    QVERIFY(!QFile::exists(folder_.filePath("new.h5")));
    QCOMPARE(QDir(folder_.path()).entryList({"*part*"}, QDir::Files | QDir::Hidden), QStringList());
  }

  /// Bytes of the HDF5 part are overwritten at many places: each ends with a record or a sentence, never with this
  /// process.
  void damaged_files_end_with_a_sentence() {
    QFile file(QString::fromStdString(original_));
    QVERIFY(file.open(QIODevice::ReadOnly));
    const QByteArray whole = file.readAll();
    QRandomGenerator random(3);
    int refused = 0;
    for (int round = 0; round < 60; ++round) {
      QByteArray bytes = whole;
      if (round % 6 == 0) bytes.truncate(static_cast<int>(random.bounded(1, static_cast<int>(whole.size()))));
      for (int i = 0; i < 40; ++i) {
        const auto at = 512 + random.bounded(static_cast<int>(std::max<qsizetype>(1, bytes.size() - 512)));
        if (at < bytes.size()) bytes[at] = static_cast<char>(random.bounded(256));
      }
      QFile damaged(folder_.filePath("damaged.h5"));
      QVERIFY(damaged.open(QIODevice::WriteOnly) && damaged.write(bytes) == bytes.size());
      damaged.close();
      try {
        QVERIFY(opens(resealed(path("damaged.h5"))));
        QFile::remove(folder_.filePath("new.h5"));
      } catch (const Error& error) {
        ++refused;
        QVERIFY(!QFile::exists(folder_.filePath("new.h5")));
      }
    }
    QVERIFY(refused > 30);
    QVERIFY(refusal(path("nowhere.h5")).contains("nowhere.h5"));
  }

  void a_stop_and_a_limit_of_time_end_it() {
    OutputPlace out(path("new.h5"), OutputKind::file);
    std::stop_source source;
    source.request_stop();
    QVERIFY_THROWS_EXCEPTION(Error, record::reseal(original_, out, {source.get_token(), {}}));
    QVERIFY_THROWS_EXCEPTION(Error, record::reseal(original_, out, {}, 0));
    QVERIFY(!QFile::exists(folder_.filePath("new.h5")));
  }
};

QTEST_GUILESS_MAIN(TestReseal)
#include "test_reseal.moc"
