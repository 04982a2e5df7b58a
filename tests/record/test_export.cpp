// SPDX-License-Identifier: Apache-2.0
// Tables of a record and their forms: what leaves the program as numbers can be read back by others.
#include <QTemporaryDir>
#include <QtTest>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "record/export.h"
#include "record/opening.h"
#include "support/synthetic_record.h"

using namespace headroom;
using namespace headroom::record;

class TestExport : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  std::shared_ptr<const RunRecord> record_;

  static bool refuses(const RunRecord& record, const ExportRequest& request, ErrorKind kind) {
    try {
      export_table(record, request);
    } catch (const Error& error) {
      return error.kind() == kind;
    }
    return false;
  }

 private slots:
  void initTestCase() {
    const std::filesystem::path file = folder_.filePath("r.h5").toStdString();
    test::write_synthetic_record(file, {.tokens = 300, .layers = 3, .sliding_layers = {1}});
    record_ = RunRecord::open(file);
  }

  void forms_of_a_table() {
    Table table{"A & B", {{"run", "x\ny"}}, {"name", "value"}, {}};
    table.rows = {{std::string("a,\"b\"\n"), 0.1},
                  {std::string("50 %_{"), 0.1f},
                  {std::string("\xF0\x9F"), std::int64_t{-3}},
                  {Cell(), std::numeric_limits<double>::quiet_NaN()},
                  {true, 1.5e-9}};
    QCOMPARE(to_csv(table), std::string("name,value\r\n\"a,\"\"b\"\"\n\",0.1\r\n50 "
                                        "%_{,0.1\r\n\xEF\xBF\xBD\xEF\xBF\xBD,-3\r\n,\r\ntrue,1.5e-09\r\n"));
    const auto json = nlohmann::json::parse(to_json(table));
    QCOMPARE(json["rows"][0]["value"].get<double>(), 0.1);
    QCOMPARE(json["rows"][1]["value"].get<double>(), 0.1);
    QVERIFY(json["rows"][3]["name"].is_null() && json["rows"][3]["value"].is_null());
    QCOMPARE(json["facts"]["run"].get<std::string>(), std::string("x\ny"));
    const std::string tex = to_tex(table);
    QVERIFY(tex.starts_with("% A & B\n% run: x y\n\\begin{tabular}{lr}\n"));
    QVERIFY(tex.find("50 \\%\\_\\{ & 0.1 \\\\\n") != std::string::npos);
    QVERIFY(tex.find("$1.5 \\times 10^{-9}$") != std::string::npos);
  }

  void every_view_is_rectangular() {
    for (const std::string& view : export_views()) {
      ExportRequest request;
      request.view = view;
      const Table table = export_table(*record_, request);
      QVERIFY2(!table.rows.empty(), view.c_str());
      for (const auto& row : table.rows) QCOMPARE(row.size(), table.columns.size());
      QVERIFY(nlohmann::json::parse(to_json(table))["rows"].size() == table.rows.size());
    }
  }

  void selections_are_followed() {
    ExportRequest heads{.view = "heads", .method = "dense", .layer = 2, .head = HeadSelector{}};
    const Table table = export_table(*record_, heads);
    QCOMPARE(table.rows.size(), 1u);
    QCOMPARE(std::get<std::string>(table.rows[0][3]), std::string("mean"));
    QCOMPARE(std::get<float>(table.rows[0][4]), record_->head_statistics("dense")->at(2, 6, 0));

    ExportRequest map{.view = "attention",
                      .method = "oracle-k64-g1",
                      .layer = 2,
                      .head = HeadSelector{HeadSelector::Kind::group, 1},
                      .tile = TileAddress{0, 1, 1}};
    const Table cells = export_table(*record_, map);
    QCOMPARE(cells.columns.size(), 7u);
    QCOMPARE(cells.rows.size(), std::size_t{44 * 45 / 2});
    const auto stream = record_->layer_stream("oracle-k64-g1", 2);
    for (const auto& row : cells.rows) {
      const float p = probability(*stream, *map.head, std::get<std::int64_t>(row[0]), std::get<std::int64_t>(row[1]));
      QVERIFY(std::abs(std::get<float>(row[2]) - p) <= 1e-5f * p);
    }

    // A line a method, and a line a layer of each.
    QCOMPARE(export_table(*record_, {.view = "rows"}).rows.size(), record_->methods().size());
    QCOMPARE(export_table(*record_, {.view = "layers"}).rows.size(),
             record_->methods().size() * static_cast<std::size_t>(record_->meta().num_layers()));

    const Table compare = export_table(*record_, {.view = "compare"});
    QCOMPARE(std::get<double>(compare.rows[0][3]), 0.0);
    QVERIFY(std::get<bool>(compare.rows[1][8]) && !std::get<bool>(compare.rows[2][8]));
  }

  void one_map_is_that_of_the_window() {
    // Where nobody chooses: the method and the layer that a newly opened record shows.
    const auto fact = [](const Table& table, std::string_view name) {
      for (const auto& [key, value] : table.facts)
        if (key == name) return value;
      return std::string();
    };
    for (const char* view : {"attention", "text"}) {
      const Table table = export_table(*record_, {.view = view});
      QCOMPARE(fact(table, "method"), opening_method(*record_));
      QCOMPARE(fact(table, "method"), std::string("indexer-k64-g1"));
      QCOMPARE(fact(table, "layer"), std::to_string(first_layer(*record_)));
      QCOMPARE(fact(export_table(*record_, {.view = view, .method = "dense", .layer = 2}), "method"),
               std::string("dense"));
    }
  }

  void wrong_requests_are_usage_errors() {
    for (const ExportRequest& request :
         {ExportRequest{.view = "nothing"}, ExportRequest{.view = "sweep"}, ExportRequest{.method = "oracle"},
          ExportRequest{.layer = 3}, ExportRequest{.view = "heads", .head = HeadSelector{HeadSelector::Kind::head, 6}},
          ExportRequest{.view = "heads", .head = HeadSelector{HeadSelector::Kind::group, 0}},
          ExportRequest{.view = "compare", .baseline = "none"},
          ExportRequest{.view = "attention", .tile = TileAddress{0, 5, 0}}})
      QVERIFY2(refuses(*record_, request, ErrorKind::usage), request.view.c_str());
    QVERIFY(refuses(*record_, {.view = "attention", .layer = 1}, ErrorKind::input));
  }
};

QTEST_GUILESS_MAIN(TestExport)
#include "test_export.moc"
