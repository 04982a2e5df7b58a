// SPDX-License-Identifier: Apache-2.0
// Budgets, bitmaps, hashes and error lines.
#include <QtTest>

#include "base/budget.h"
#include "base/error.h"
#include "base/sha256.h"
#include "base/support_bitmap.h"
#include "base/utf8.h"

using namespace headroom;

class TestBase : public QObject {
  Q_OBJECT
 private slots:
  void budgets_round_trip() {
    for (const char* text : {"512", "1", "10%", "12.5%", "100%", "p0.95", "p1"})
      QCOMPARE(to_string(parse_budget(text)), std::string(text));
    QCOMPARE(budget_tag(parse_budget("10%")), std::string("f10"));
    QCOMPARE(parse_budget("10%").tokens_for(4000), 400);
    QCOMPARE(parse_budget("10%").tokens_for(4001), 401);
  }
  void bad_budgets_are_refused() {
    for (const char* text : {"", "0", "-1", "1.5", "0%", "101%", "p0", "p1.1", "p", "nan", "512x", "1e30"}) {
      try {
        parse_budget(text);
        QFAIL(text);
      } catch (const Error& error) {
        QCOMPARE(error.kind(), ErrorKind::usage);
        QVERIFY(std::string(error.what()).find(text) != std::string::npos);
      }
    }
  }
  void bitmap_counts_ranges() {
    SupportBitmap bitmap(100);
    for (int key : {0, 7, 8, 63, 64, 99}) bitmap.set(99, key);
    QCOMPARE(bitmap.count(99, 0, 100), 6);
    QCOMPARE(bitmap.count(99, 1, 64), 3);
    QCOMPARE(bitmap.count(99, 64, 99), 1);
    QCOMPARE(bitmap.count(98, 0, 100), 0);
    QCOMPARE(bitmap.count_all(), 6);
    QVERIFY(bitmap.test(99, 63) && !bitmap.test(99, 62));
  }
  void sha256_of_abc() {
    const std::uint8_t text[] = {'a', 'b', 'c'};
    QCOMPARE(sha256(text), std::string("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
  }
  void a_line_stays_a_line() {
    QCOMPARE(escape_controls("a\nb\tc\x1b[31m\x7f \xc3\xa9"), std::string("a\\nb\\tc\\x1b[31m\\x7f \xc3\xa9"));
  }
  void errors_say_place_expected_found() {
    QCOMPARE(std::string(input_error("f.gguf", "bad version", "2 or 3", "7").what()),
             std::string("f.gguf: bad version (expected 2 or 3, found 7)"));
  }
};

QTEST_MAIN(TestBase)
#include "test_base.moc"
