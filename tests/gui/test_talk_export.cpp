// SPDX-License-Identifier: GPL-3.0-or-later
// What talks are exported as: PDF, pictures, and the HTML file, whose numbers are the record's.
#include <QFile>
#include <QImage>
#include <QProcess>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "gui/talk_html.h"
#include "protocol/base64.h"
#include "talk_bench.h"
#include "views/common/record_queries.h"

using namespace headroom;
using namespace headroom::gui;
using nlohmann::json;

class TestTalkExport : public QObject {
  Q_OBJECT
  test::TalkBench bench_;

 private slots:
  void initTestCase() { bench_.make(); }

  void exports_hold_what_the_record_holds() {
    QString file;
    double missed_from = 0;
    {
      test::TalkWindow b(bench_.ini(), bench_.with({bench_.first, bench_.second}));
      file = bench_.make_talk(b, "export.headroom-talk");
      b.talks().show_step(0);
      QTRY_COMPARE(b.window.current_page(), 1);
      b.window.selection().change([&](views::ViewState& s) {
        s.method = "indexer-k64-g1";  // the oracle misses nothing
        missed_from = s.display.missed_from = 1e-4;
      });
      b.talks().update_step();
      b.talks().save_to(file);
      QTRY_VERIFY(!b.book().changed_since_saved());
    }
    const auto run = [&](const QStringList& arguments, QByteArray* out = nullptr) {
      QProcess process;
      process.start(HEADROOM_BINARY_DIR "/headroom-gui", arguments);
      if (!process.waitForFinished(120000)) return -1;
      if (out) *out = process.readAllStandardOutput() + process.readAllStandardError();
      return process.exitCode();
    };
    QByteArray said;
    QCOMPARE(run({"--check-talk", file}, &said), 0);
    QVERIFY2(said.contains("3 steps, 2 records"), said);
    const QString html = bench_.file("talk.html"), pdf = bench_.file("talk.pdf"), pictures = bench_.file("slides");
    QVERIFY2(run({"--export-talk", file, "-o", html}, &said) == 0, said);
    QVERIFY2(said.contains("3 steps, "), said);
    QCOMPARE(run({"--export-talk", file, "-o", pdf}), 0);
    QCOMPARE(run({"--export-talk", file, "-o", pictures}), 0);
    QCOMPARE(run({"--export-talk", file, "-o", pictures}, &said), 3);
    QVERIFY2(said.contains("is there already"), said);
    QCOMPARE(QDir(pictures).entryList(QDir::Files).size(), 3);
    const QImage slide(pictures + "/01-where-the-last-token-looks.png");
    QCOMPARE(slide.size(), QSize(2560, 1440));
    QFile paper(pdf);
    QVERIFY(paper.open(QIODevice::ReadOnly));
    const QByteArray pages = paper.readAll();
    QVERIFY(pages.startsWith("%PDF-") && pages.contains("/Count 3") && pages.contains("/MediaBox [0 0 960"));

    QFile page(html);
    QVERIFY(page.open(QIODevice::ReadOnly));
    const QByteArray text = page.readAll();
    QVERIFY(text.size() < 8 << 20);
    // Nothing outside is named: the only addresses are data, and the page forbids itself any other.
    for (const char* outside :
         {"http:", "https:", "<link", "@import", "url(", "src=\"/", "fetch(", "XMLHttp", "import("})
      QVERIFY2(!text.contains(outside), outside);
    QVERIFY(text.contains("default-src 'none'"));
    QCOMPARE(text.count("</script>"), 2);  // a caption ends no script
    const QByteArray mark = "id=\"talk-data\">";
    const auto from = text.indexOf(mark) + mark.size();
    const json data = json::parse(text.mid(from, text.indexOf("</script>", from) - from).toStdString());
    QCOMPARE(data["steps"].size(), std::size_t(3));
    QCOMPARE(data["steps"][0]["notes"].get<std::string>(), std::string("Breathe."));
    QVERIFY(data["steps"][2]["picture"].get<std::string>().starts_with("data:image/"));
    // The map's cells are those of the record.
    const auto record = record::RunRecord::open(bench_.first.toStdString());
    const json& map = data["steps"][0]["map"];
    const views::MapDataPtr whole = views::load_map_data(
        {record, QString::fromStdString(views::read_talk(file.toStdString()).steps[0].view["method"]), 1, {}});
    QVERIFY(whole->stream);
    int compared = 0;
    for (const json& grid : data["maps"][map["grids"].get<std::string>()]) {
      const auto bytes = protocol::base64_decode(grid["max"].get<std::string>(), "grid");
      const std::int64_t query = grid["query"], key = grid["key"], cell = grid["cell"], rows = grid["rows"],
                         columns = grid["columns"];
      std::size_t at = 0;
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < columns; ++c) {
          if (key + c * cell > query + (r + 1) * cell - 1) continue;
          const auto code = static_cast<std::uint16_t>(bytes[2 * at] | bytes[2 * at + 1] << 8);
          ++at;
          if (cell != 1 || (r * columns + c) % 7) continue;
          const double exact = record::probability(*whole->stream, {}, query + r, key + c);
          if (exact < 1e-11) continue;
          QVERIFY2(
              std::abs(probability_of(code) / exact - 1) < 0.001,
              qPrintable(QString("%1 %2: %3, %4").arg(query + r).arg(key + c).arg(probability_of(code)).arg(exact)));
          ++compared;
        }
      QCOMPARE(2 * at, bytes.size());
    }
    QVERIFY(compared > 200);
    // So are the marks: each single pair of the part that the step shows, by the record's supports.
    QVERIFY(map["marks"].is_object() && map["marks"]["missed"].is_boolean());
    int marks[3] = {};
    for (const json& grid : data["maps"][map["grids"].get<std::string>()]) {
      const auto bytes = protocol::base64_decode(grid["marks"].get<std::string>(), "marks");
      const std::int64_t query = grid["query"], key = grid["key"], cell = grid["cell"], rows = grid["rows"],
                         columns = grid["columns"];
      std::size_t at = 0;
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < columns; ++c) {
          if (key + c * cell > query + (r + 1) * cell - 1) continue;
          const std::uint8_t shown = bytes[at++];
          if (cell != 1) continue;
          const std::int64_t q = query + r, k = key + c;
          const bool in_support = whole->support->test(q, k), in_target = whole->target->test(q, k);
          const double p = record::probability(*whole->stream, {}, q, k);
          QCOMPARE(bool(shown & html_hit), in_support && in_target);
          if (std::abs(p - missed_from) > 1e-6)
            QCOMPARE(bool(shown & html_missed), in_target && !in_support && p >= missed_from);
          QCOMPARE(bool(shown & html_wasted), whole->wasted && whole->wasted->test(q, k));
          for (int bit = 0; bit < 3; ++bit) marks[bit] += shown >> bit & 1;
        }
      QCOMPARE(at, bytes.size());
    }
    QVERIFY(marks[0] > 0 && marks[1] > 0);
    QCOMPARE(data["records"][map["record"].get<std::size_t>()]["tokens"].size(), std::size_t(200));
    // The curves, too, and the read-out's density is the page's.
    const json& budget = data["steps"][1]["budget"];
    const auto curves = views::recall_curves(*record, *record->mass_curves("dense"), -1);
    QCOMPARE(budget["mean"].get<std::vector<double>>(), curves.mean);
    QCOMPARE(budget["budget"].get<double>(), 40.0);
  }
};

QTEST_MAIN(TestTalkExport)
#include "test_talk_export.moc"
