// SPDX-License-Identifier: GPL-3.0-or-later
// One layer more exactly: the job that does it, what is compared with the record, and the field of New run.
#include <QCheckBox>
#include <QLineEdit>
#include <QSpinBox>
#include <QTemporaryDir>
#include <QtTest>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "gui/engine_client.h"
#include "gui/exact_layers.h"
#include "gui/new_run_dialog.h"
#include "gui/settings_store.h"
#include "support/synthetic_record.h"

using namespace headroom;
using namespace headroom::gui;

class TestExactLayers : public QObject {
  Q_OBJECT
  QTemporaryDir dir_;

  views::RecordPtr record(const char* name, const std::string& spec, std::uint64_t seed = 1) {
    test::SyntheticOptions options;
    options.tokens = 200;
    options.layers = 5;
    options.keep_layers = {1};
    options.sliding_layers = {3};
    options.spec_json = spec;
    options.seed = seed;
    const std::string file = dir_.filePath(name).toStdString();
    test::write_synthetic_record(file, options);
    return record::RunRecord::open(file);
  }
  static std::string job() {
    protocol::RunSpec spec;
    spec.model = "/models/a.gguf";
    spec.prompt = "The harbour light";
    spec.methods = {"dense", "oracle", "indexer"};
    spec.budgets = {{BudgetKind::tokens, 64}};
    spec.repeats = 7;
    spec.keep_queries = 50;
    spec.out = "/somewhere/first.h5";
    return protocol::to_json(spec).dump();
  }

 private slots:
  void initTestCase() { qputenv("XDG_DATA_HOME", dir_.filePath("data").toUtf8()); }

  void the_job_is_the_records_own() {
    const auto shown = record("a.h5", job());
    const auto spec = spec_with_exact_layer(*shown, 4);
    QVERIFY(spec);
    QCOMPARE(spec->keep_layers, (std::vector<int>{1, 4}));  // what was exact stays so
    QCOMPARE(spec->model, std::string("/models/a.gguf"));
    QCOMPARE(*spec->prompt, std::string("The harbour light"));
    QCOMPARE(spec->methods, (std::vector<std::string>{"dense", "oracle", "indexer"}));
    QCOMPARE(spec->repeats, 1);
    QCOMPARE(spec->keep_queries, std::int64_t{0});
    QVERIFY(*spec->out != "/somewhere/first.h5");
    QVERIFY(spec->record_limit >= (256LL << 20) + exact_layer_bytes(*shown, 1) + exact_layer_bytes(*shown, 4));
    QVERIFY(!spec_with_exact_layer(*shown, 3));  // sliding
    QVERIFY(!spec_with_exact_layer(*shown, 9));
    QVERIFY(!spec_with_exact_layer(*record("b.h5", {}), 4));  // says no job that could be run
    QVERIFY(!spec_with_exact_layer(*record("c.h5", "not json"), 4));
  }

  void model_and_prompt_are_compared() {
    const auto shown = record("d.h5", job());
    QCOMPARE(other_run_text(*shown, shown->meta(), 200), QString());
    record::RunMeta meta = shown->meta();
    meta.model_sha256 = std::string(64, 'f');
    QVERIFY(other_run_text(*shown, meta, 200).contains("The model is another one now: SHA-256 ffffffffffff"));
    QVERIFY(other_run_text(*shown, shown->meta(), 201).contains("The prompt is another one now: 201 tokens"));
    auto ids = shown->tokens().ids;
    QCOMPARE(other_run_text(*shown, shown->meta(), 200, &ids), QString());
    ++ids[50];
    QVERIFY(other_run_text(*shown, shown->meta(), 200, &ids).contains("has 200 others"));
  }

  void jobs_are_known_by_where_they_write() {
    const auto shown = record("e.h5", job());
    const auto spec = spec_with_exact_layer(*shown, 2);
    ExactLayers layers;
    layers.add("7", {shown, 2, *spec->out});
    QVERIFY(layers.recording(*shown, 2) && !layers.recording(*shown, 4));
    record::RunMeta meta = shown->meta();
    QVERIFY(layers.job_of(meta).isEmpty());  // the record's own job wrote elsewhere
    meta.spec_json = protocol::to_json(*spec).dump();
    QCOMPARE(layers.job_of(meta), QString("7"));
    meta.spec_json = "[]";
    QVERIFY(layers.job_of(meta).isEmpty());
    QVERIFY(layers.take("7") && !layers.take("7") && !layers.recording(*shown, 2));
  }

  void new_run_asks_for_the_libraries_times() {
    EngineClient engine;
    SettingsStore settings(dir_.filePath("s.ini"));
    NewRunRequest request;
    request.spec = protocol::run_spec_from_json(nlohmann::json::parse(job()));
    NewRunDialog dialog(engine, settings, request, nullptr);
    auto* libraries = dialog.findChild<QCheckBox*>("baselines");
    QVERIFY(!libraries->isChecked() && dialog.spec().baselines.empty());
    libraries->click();
    QCOMPARE(dialog.spec().baselines, (std::vector<std::string>{"all"}));
    request.spec->baselines = {"fa2"};
    NewRunDialog again(engine, settings, request, nullptr);
    QCOMPARE(again.spec().baselines, request.spec->baselines);
    again.findChild<QCheckBox*>("baselines")->click();
    QVERIFY(again.spec().baselines.empty());
  }

  void new_run_asks_which_layers() {
    EngineClient engine;
    SettingsStore settings(dir_.filePath("s.ini"));
    NewRunRequest request;
    request.spec = protocol::run_spec_from_json(nlohmann::json::parse(job()));
    NewRunDialog dialog(engine, settings, request, nullptr);
    auto* layers = dialog.findChild<QLineEdit*>("keep_layers");
    auto* limit = dialog.findChild<QSpinBox*>("record_limit");
    QCOMPARE(layers->text(), QString("suggested"));
    QCOMPARE(limit->value(), 256);
    QVERIFY(dialog.spec().keep_layers.empty());
    QCOMPARE(dialog.spec().record_limit, 256LL << 20);
    layers->setText("5, 11");
    limit->setValue(512);
    QCOMPARE(dialog.spec().keep_layers, (std::vector<int>{5, 11}));
    QCOMPARE(dialog.spec().record_limit, 512LL << 20);
    layers->setText("All");
    QVERIFY(!limit->isEnabled());
    QVERIFY(dialog.spec().keep_layers.empty() && dialog.spec().record_limit >= 1LL << 40);
    layers->setText("5, x");
    QVERIFY_EXCEPTION_THROWN(dialog.spec(), Error);
    request.spec->keep_layers = {2, 3};
    request.spec->record_limit = 100LL << 20;
    NewRunDialog again(engine, settings, request, nullptr);
    QCOMPARE(again.findChild<QLineEdit*>("keep_layers")->text(), QString("2, 3"));
    QCOMPARE(again.spec().record_limit, 100LL << 20);
    request.spec->keep_layers.clear();
    request.spec->record_limit = 1LL << 41;
    NewRunDialog all(engine, settings, request, nullptr);
    QCOMPARE(all.findChild<QLineEdit*>("keep_layers")->text(), QString("all"));
  }
};

QTEST_MAIN(TestExactLayers)
#include "test_exact_layers.moc"
