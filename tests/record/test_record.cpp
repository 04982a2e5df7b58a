// SPDX-License-Identifier: Apache-2.0
// A record gives back what was written.
#include <QTemporaryDir>
#include <QtTest>

#include "base/error.h"
#include "record/record_writer.h"
#include "record/run_record.h"
#include "support/synthetic_record.h"

using namespace headroom;
using namespace headroom::record;

class TestRecord : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  std::filesystem::path at(const char* name) { return std::filesystem::path(folder_.path().toStdString()) / name; }

 private slots:
  void synthetic_round_trip() {
    test::SyntheticOptions o;
    o.tokens = 150;
    o.layers = 3;
    o.sliding_layers = {1};
    write_synthetic_record(at("a.h5"), o);
    QVERIFY(!std::filesystem::exists(at("a.h5.part")));
    const auto record = RunRecord::open(at("a.h5"));
    QCOMPARE(record->length(), 150);
    const TokenTable tokens = test::synthetic_tokens(150, 1);
    QCOMPARE(record->tokens().text, tokens.text);
    QCOMPARE(record->tokens().ids, tokens.ids);
    QCOMPARE(record->tokens().end, tokens.end);
    QCOMPARE(record->methods().size(), 3u);
    QCOMPARE(record->methods()[2].id, std::string("indexer-k64-g1"));
    QVERIFY(record->find_method("nonsense") == nullptr);
    for (const auto& method : record->methods()) {
      const LayerStream written = test::synthetic_stream(o, method.id, 2);
      const auto read = record->layer_stream(method.id, 2);
      QCOMPARE(read->q, written.q);
      QCOMPARE(read->k, written.k);
      QCOMPARE(read->lse, written.lse);
      QVERIFY(!record->layer_stream(method.id, 1));
      QVERIFY(!record->availability(method.id, 1).thumbnails);
      QVERIFY(record->thumbnail(method.id, 0, 6) && !record->thumbnail(method.id, 0, 7));
      QCOMPARE(bool(record->supports(method.id, 0, SupportKind::support)), method.id != "dense");
    }
  }
};

QTEST_MAIN(TestRecord)
#include "test_record.moc"
