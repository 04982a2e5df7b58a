// SPDX-License-Identifier: GPL-3.0-or-later
// Every family from its checkpoint to the window: dense, oracle and an indexer run on the tiny models of
// tests/model/families; only full layers are sparsified, windows are shown with their band, linear layers as such.
#include <QComboBox>
#include <QTemporaryDir>
#include <QtTest>
#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "experiment/distil/distill.h"
#include "experiment/run/run.h"
#include "gui/icons.h"
#include "indexer/indexer.h"
#include "model/family_case.h"
#include "record/run_record.h"
#include "record/tiles.h"
#include "support/window_bench.h"
#include "views/common/record_queries.h"
#include "views/map/attention_map_widget.h"
#include "views/map/attention_page.h"
#include "views/map/map_readout.h"
#include "views/overview/head_grid_widget.h"
#include "views/overview/overview_page.h"

using namespace headroom;
using headroom::test::WindowBench;

namespace {

constexpr std::int64_t k = 20;

/// A character a token, as many as the tiny models' vocabularies have room for: 128.
std::string characters_alone() {
  nlohmann::json vocabulary = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}, {"\n", 3}};
  for (char c = ' '; c <= '~'; ++c) vocabulary[std::string(1, c)] = vocabulary.size();
  for (std::size_t id = vocabulary.size(); id < 128; ++id) vocabulary["<extra " + std::to_string(id) + ">"] = id;
  return nlohmann::json{{"added_tokens", nlohmann::json::array()},
                        {"normalizer", nullptr},
                        {"pre_tokenizer", nullptr},
                        {"post_processor", nullptr},
                        {"decoder", nullptr},
                        {"model",
                         {{"type", "BPE"},
                          {"vocab", vocabulary},
                          {"merges", nlohmann::json::array()},
                          {"unk_token", "<unk>"}}}}
      .dump();
}

}  // namespace

class TestFamilyRuns : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::unique_ptr<WindowBench> bench_;

  std::string path(const std::string& name) const { return folder_.path().toStdString() + "/" + name; }

  /// Full, sliding or linear: F, S or L, a letter a layer.
  static std::string kinds_of(const record::RunMeta& meta) {
    std::string kinds;
    for (const record::LayerMeta& layer : meta.layers) kinds += static_cast<char>(std::toupper(layer.kind[0]));
    return kinds;
  }
  std::string distilled(const std::string& model) const {
    experiment::DistillSpec spec;
    spec.model = path(model);
    spec.out = path(model + "-indexer.safetensors");
    spec.steps = 2;
    spec.length = 128;
    spec.index_dim = 8;
    spec.warmup = spec.eval_every = spec.held_out = 1;
    spec.recall_budgets = {k};
    spec.device = "cpu";
    spec.dtype = "f32";
    experiment::distill(spec, {});
    return spec.out;
  }
  void check_record(const record::RunRecord& record, const std::string& kinds, std::int64_t window) const {
    QCOMPARE(kinds_of(record.meta()), kinds);
    QCOMPARE(record.methods().size(), std::size_t{3});
    for (std::size_t layer = 0; layer < kinds.size(); ++layer) {
      const bool full = kinds[layer] == 'F';
      const auto at = static_cast<int>(layer);
      QCOMPARE(record.meta().layer(at).window, kinds[layer] == 'S' ? window : 0);
      for (const auto& method : record.methods()) {
        const auto available = record.availability(method.id, at);
        QCOMPARE(available.stream, full);
        QCOMPARE(available.supports, full && !method.is_dense());
        QCOMPARE(std::isfinite(method.captured_mass_per_layer[layer]), full);
        if (!full || method.is_dense()) continue;
        QVERIFY(method.captured_mass_per_layer[layer] > 0 && method.captured_mass_per_layer[layer] < 1);
        const auto support = record.supports(method.id, at, record::SupportKind::support);
        for (const std::int64_t row : {std::int64_t{0}, k - 1, k, record.length() - 1})
          QCOMPARE(support->count(row, 0, record.length()), std::min(row + 1, k));
      }
    }
    for (const auto& method : record.methods())
      if (method.role == MethodRole::reference) QVERIFY(std::abs(*method.oracle_recall_mean - 1) < 1e-9);
  }
  /// What learned sinks take: none of a family without them, else what rows of probabilities leave.
  void check_sinks(const record::RunRecord& record, const std::string& kinds, bool sinks) const {
    const auto statistics = record.head_statistics("dense");
    const auto name = std::ranges::find(statistics->names, "learned_sink");
    QVERIFY(name != statistics->names.end());
    const auto column = static_cast<std::size_t>(name - statistics->names.begin());
    for (int layer = 0; layer < record.meta().num_layers(); ++layer) {
      if (kinds[static_cast<std::size_t>(layer)] != 'F') continue;
      const auto stream = record.layer_stream("dense", layer);
      for (int head = 0; head < record.meta().layer(layer).num_q_heads; ++head) {
        const auto said = static_cast<double>(statistics->at(layer, head, column));
        QCOMPARE(std::isfinite(said), sinks);
        double taken = 0;
        for (std::int64_t row = 0; row < record.length(); ++row) {
          const auto p = record::probability_row(*stream, {record::HeadSelector::Kind::head, head}, row);
          taken += 1 - std::accumulate(p.begin(), p.end(), 0.0);
        }
        taken /= static_cast<double>(record.length());
        QVERIFY2(std::abs(taken - (sinks ? said : 0)) < 1e-4, qPrintable(QString("%1, not %2").arg(taken).arg(said)));
        QCOMPARE(taken > 0.01, sinks);
      }
    }
  }
  void check_window(const std::string& file, const std::string& kinds, std::int64_t window, bool sinks) {
    WindowBench& b = *bench_;
    b.window.open_record(QString::fromStdString(file));
    QTRY_VERIFY_WITH_TIMEOUT(b.window.selection().record() && b.window.selection().record()->path() == file, 20'000);
    const auto show = [&](const char* page) {
      b.window.show_page(gui::page_index(b.window.pages(), page));
      QCoreApplication::processEvents();
    };
    show("overview");
    auto* overview = b.page<views::OverviewPage>("overview");
    auto* choices = overview->findChildren<QComboBox*>().first();
    for (auto* box : overview->findChildren<QComboBox*>())
      if (box->findData("sink_mass") >= 0) choices = box;
    QCOMPARE(choices->findData("learned_sink") >= 0, sinks);
    const int mean = static_cast<int>(b.window.selection().record()->meta().max_q_heads());
    picture("overview", file);
    show("attention");
    auto* page = b.page<views::AttentionPage>("attention");
    for (std::size_t layer = 0; layer < kinds.size(); ++layer) {
      const char kind = kinds[layer];
      const QString said = overview->grid()->read_out(static_cast<int>(layer), mean);
      if (kind == 'S') QVERIFY2(said.contains(QString("sliding attention, %1 keys").arg(window)), qPrintable(said));
      if (kind == 'L') QVERIFY2(said.contains("linear attention; runs unchanged"), qPrintable(said));
      b.window.selection().change([&](views::ViewState& state) { state.layer = static_cast<int>(layer); });
      QTRY_VERIFY_WITH_TIMEOUT(page->map()->data() && page->map()->data()->source.layer == static_cast<int>(layer) &&
                                   page->settled(),
                               20'000);
      QCOMPARE(page->map()->notice().isEmpty(), kind == 'F');
      QCOMPARE(page->map()->data()->has_band(), kind == 'S');
      if (kind == 'L') QVERIFY(page->map()->notice().contains("a linear-attention layer"));
      if (kind == 'F') {
        QTRY_COMPARE_WITH_TIMEOUT(page->readout()->value("sink").endsWith("of the row"), sinks, 20'000);
        QCOMPARE(page->readout()->box("sink")->isHidden(), !sinks);
      }
      if (kind != 'S') continue;
      QVERIFY2(page->map()->notice().contains(QString("the %1 keys before it").arg(window - 1)),
               qPrintable(page->map()->notice()));
      check_band(*page->map(), b.window.selection().record()->length(), window);
      if (layer == kinds.find('S')) picture("band", file);
    }
  }
  /// A pair inside the band has another colour than one that is older, and that one the colour of nothing.
  void check_band(views::AttentionMapWidget& map, std::int64_t length, std::int64_t window) const {
    map.plot()->replot();
    const QImage image = map.plot()->grab().toImage();
    const QRect area = map.plot()->axisRect(1)->rect();
    const double scale = image.devicePixelRatio();
    const auto colour = [&](std::int64_t query, std::int64_t key) {
      const auto at = [&](std::int64_t token, int side) {
        return (static_cast<double>(token) + 0.5) / static_cast<double>(length) * side;
      };
      return image.pixel(static_cast<int>((area.left() + at(key, area.width())) * scale),
                         static_cast<int>((area.top() + at(query, area.height())) * scale));
    };
    const std::int64_t last = length - 2;
    QCOMPARE(colour(last, last - window / 2), colour(last, last - window + 2));
    QVERIFY(colour(last, last - window / 2) != colour(last, last - window - 2));
    QCOMPARE(colour(last, last - window - 2), colour(last, 2));
  }
  /// For people to judge, where a folder for them is named.
  void picture(const char* what, const std::string& file) {
    const QString folder = qEnvironmentVariable("HEADROOM_PICTURES");
    if (folder.isEmpty()) return;
    QTest::qWait(200);
    const QString name = QFileInfo(QString::fromStdString(file)).completeBaseName();
    bench_->window.grab().save(QString("%1/%2-%3.png").arg(folder, name, what));
  }

 private slots:
  void initTestCase() {
    gui::load_resources();
    qputenv("XDG_DATA_HOME", folder_.filePath("data").toUtf8());
    bench_ = std::make_unique<WindowBench>(folder_.filePath("settings.ini"), WindowBench::without_engine({}),
                                           QSize(1280, 720), false);
  }
  void cleanupTestCase() { bench_.reset(); }

  void from_the_checkpoint_to_the_window_data() {
    QTest::addColumn<std::string>("kinds");
    QTest::addColumn<int>("window");
    const auto row = [](const char* name, const char* kinds, int window = 0) {
      QTest::newRow(name) << std::string(kinds) << window;
    };
    row("llama", "FFF");
    row("mistral_unbound", "FFF");
    row("ministral", "SFS", 16);
    row("qwen2", "FFF");
    row("qwen2_windows", "FSS", 10);
    row("qwen3", "FFF");
    row("qwen3_moe", "FFF");
    row("gemma3", "SSSSSFS", 12);
    row("qwen3_5", "LLLF");
    row("qwen3_5_moe", "LLLF");
    row("qwen3_next", "LLLF");
    row("gpt_oss", "SFSF", 12);
  }
  void from_the_checkpoint_to_the_window() {
    QFETCH(std::string, kinds);
    QFETCH(int, window);
    const std::string name = QTest::currentDataTag();
    const std::filesystem::path model =
        headroom::test::write_checkpoint(headroom::test::read_family_case(name), path(name));
    std::ofstream(model / "tokenizer.json") << characters_alone();
    protocol::RunSpec spec;
    spec.model = model.string();
    spec.prompt = std::string();
    for (int i = 0; i < 8; ++i) *spec.prompt += "item " + std::to_string(i * 7919 % 1000) + "\n";
    spec.methods = {"dense", "oracle", "indexer"};
    spec.indexer = distilled(name);
    spec.budgets = {Budget{BudgetKind::tokens, static_cast<double>(k)}};
    spec.repeats = 1;
    spec.device = "cpu";
    spec.dtype = "f32";
    spec.max_new_tokens = 3;
    spec.plan = "none";
    spec.out = path(name + ".h5");
    experiment::run(spec, {});

    const auto indexer = indexer::load_indexer(*spec.indexer);
    QCOMPARE(indexer.layers.size(), static_cast<std::size_t>(std::ranges::count(kinds, 'F')));
    const auto record = record::RunRecord::open(*spec.out);
    check_record(*record, kinds, window);
    if (QTest::currentTestFailed()) return;
    check_sinks(*record, kinds, name == "gpt_oss");
    if (QTest::currentTestFailed()) return;
    check_window(*spec.out, kinds, window, name == "gpt_oss");
  }

  // Mistral's first model slides everywhere: there is nothing to sparsify, and that is what is said.
  void a_model_that_slides_everywhere_is_refused() {
    const std::filesystem::path model =
        headroom::test::write_checkpoint(headroom::test::read_family_case("mistral"), path("mistral"));
    std::ofstream(model / "tokenizer.json") << characters_alone();
    protocol::RunSpec spec;
    spec.model = model.string();
    spec.prompt = "a prompt";
    spec.device = "cpu";
    try {
      experiment::run(spec, {});
    } catch (const Error& error) {
      QVERIFY(error.kind() == ErrorKind::input && std::string(error.what()).find("nothing to sparsify") < 400);
      return;
    }
    QFAIL("nothing was refused");
  }
};

QTEST_MAIN(TestFamilyRuns)
#include "test_family_runs.moc"
