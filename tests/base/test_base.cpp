// SPDX-License-Identifier: Apache-2.0
// Budgets, bitmaps, hashes and error lines.
#include <QtTest>

#include "base/budget.h"
#include "base/error.h"
#include "base/file_kind.h"
#include "base/json_build.h"
#include "base/json_fields.h"
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
  void files_are_known_by_how_they_begin_data() {
    using namespace std::string_literals;
    QTest::addColumn<std::string>("head");
    QTest::addColumn<std::string>("kind");
    const auto row = [](const char* name, const std::string& head, const char* kind) {
      QTest::newRow(name) << head << std::string(kind);
    };
    row("Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "Git LFS pointer");
    row("HTML", "\n <!DOCTYPE HTML PUBLIC>", "HTML page");
    row("HTML in UTF-8 with a mark", "\xef\xbb\xbf<html><head>", "HTML page");
    row("ZIP", "PK\x03\x04\x14", "ZIP archive");
    row("pickle", "\x80\x02}q", "pickle");
    row("gzip", "\x1f\x8b\x08", "gzip");
    row("tar", std::string(257, 'n') + "ustar\0"s, "tar archive");
    row("HDF5", "\x89HDF\r\n\x1a\n", "HDF5");
    row("run record", "Headroom run record. HDF5 begins", "run record");
    row("GGUF", "GGUF\x03", "GGUF");
    row("old GGML", "tjgg\x03", "before GGUF");
    row("safetensors", "\x40\0\0\0\0\0\0\0{\"t\":"s, "safetensors");
    row("JSON", "  {\"a\": 1}", "JSON");
    row("zeros", std::string(2000, '\0'), "zero bytes");
    row("UTF-16", "\xff\xfeh\0i\0"s, "UTF-16");
    row("text", "Entry not found\n", "text that begins with \"Entry not found\"");
    row("nothing", "", "empty");
    row("unknown", "\x01\x02\xff\xfe\x07", "");
  }
  void files_are_known_by_how_they_begin() {
    QFETCH(std::string, head);
    QFETCH(std::string, kind);
    const std::string found = file_kind(head);
    QVERIFY2(kind.empty() ? found.empty() : found.find(kind) != std::string::npos, found.c_str());
  }
  void encodings_that_are_not_utf8() {
    using namespace std::string_literals;
    QCOMPARE(foreign_encoding("\xff\xfeh\0"s), std::string("UTF-16 (little-endian)"));
    QCOMPARE(foreign_encoding("\xfe\xff\0h"s), std::string("UTF-16 (big-endian)"));
    QCOMPARE(foreign_encoding("\xff\xfe\0\0h\0\0\0"s), std::string("UTF-32 (little-endian)"));
    QCOMPARE(foreign_encoding("h\0e\0l\0l\0o\0"s), std::string("UTF-16 (little-endian)"));
    QCOMPARE(foreign_encoding("\0h\0e\0l\0l\0o"s), std::string("UTF-16 (big-endian)"));
    for (const std::string& text : {"hello"s, "a\0b"s, "\xef\xbb\xbfhello"s, ""s, "a"s})
      QCOMPARE(foreign_encoding(text), std::string());
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
  void json_is_built_as_the_library_does() {
    for (const char* text : {"null", "7", "-7", "1.5e3", "\"a\\u00e9\"", "[]", "{}", "[1, [2, {\"a\": [3]}], {}]",
                             R"({"a": {"b": [1, 2, {"c": null}]}, "d": true, "e": [], "a2": {}})"})
      QCOMPARE(build_json(text, {}), nlohmann::json::parse(text));
    QCOMPARE(build_json(R"({"a": 1, "a": [2]})", {}), nlohmann::json({{"a", {2}}}));
    for (const char* text : {"", "[1,", "{\"a\"}", "nul", "[1] 2", "1e999", "\"\xff\""})
      QVERIFY_THROWS_EXCEPTION(nlohmann::json::exception, build_json(text, {}));
    QVERIFY_THROWS_EXCEPTION(Error, parse_json("[[[[]]]]", "here", 2));
    QCOMPARE(parse_json("[[[]]]", "here", 2), nlohmann::json::parse("[[[]]]"));
  }
  // The library's way with a callback looks through the whole list after each object: hours for this one.
  void long_lists_of_objects_take_no_longer() {
    std::string text = "[{}";
    for (int i = 1; i < 1'000'000; ++i) text += ",{}";
    QCOMPARE(parse_json(text + "]", "here", 4).size(), std::size_t{1'000'000});
  }
  void texts_are_cut_between_characters() {
    const std::string text = "a\xc3\xa9\xf0\x9f\x98\x80z";  // one, two, four and one byte
    const std::size_t heads[] = {0, 1, 1, 3, 3, 3, 3, 7, 8, 8}, tails[] = {0, 1, 1, 1, 1, 5, 5, 7, 8, 8};
    for (std::size_t bytes = 0; bytes < 10; ++bytes) {
      QCOMPARE(utf8_head(text, bytes), std::string_view(text).substr(0, heads[bytes]));
      QCOMPARE(utf8_tail(text, bytes), std::string_view(text).substr(text.size() - tails[bytes]));
    }
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
