// SPDX-License-Identifier: Apache-2.0
// Distillation from a checkpoint to an indexer that loads, scores and selects; saves, resume, cancel, refusals.
#include <QTemporaryDir>
#include <QtTest>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "checkpoint/checkpoint.h"
#include "experiment/distil/distill.h"
#include "indexer/indexer.h"
#include "support/tiny_model.h"

using namespace headroom;
using experiment::DistillSpec;

class TestDistill : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  std::filesystem::path path(const char* name) const { return folder_.filePath(name).toStdString(); }
  DistillSpec spec(const char* out) const {
    DistillSpec spec;
    spec.model = path("tiny.gguf").string();
    spec.out = path(out).string();
    spec.steps = 24;
    spec.length = 256;
    spec.index_dim = 16;
    spec.warmup = 2;
    spec.eval_every = 12;
    spec.held_out = 1;
    spec.recall_budgets = {32, 8};
    spec.learning_rate = 1e-2;
    spec.device = "cpu";
    spec.dtype = "f32";
    return spec;
  }

 private slots:
  void initTestCase() { test::write_tiny_model(path("tiny.gguf")); }

  void held_out_figures_improve_and_are_saved() {
    std::vector<experiment::DistillFigures> seen;
    experiment::DistillCallbacks callbacks;
    callbacks.evaluated = [&](const auto& figures) { seen.push_back(figures); };
    const auto last = experiment::distill(spec("a.safetensors"), {}, callbacks);
    QCOMPARE(seen.size(), std::size_t{2});
    QCOMPARE(last.together.layers.size(), std::size_t{3});
    const double first_kl = seen[0].together.mean.kl, last_kl = seen[1].together.mean.kl;
    QVERIFY2(last_kl < first_kl, qPrintable(QString("%1 then %2").arg(first_kl).arg(last_kl)));
    const auto indexer = indexer::load_indexer(path("a.safetensors"));
    QCOMPARE(indexer.metadata.steps, 24);
    QCOMPARE(indexer.metadata.trained_length, 256);
    QCOMPARE(indexer.layers.size(), std::size_t{3});
    QCOMPARE(indexer.metadata.base_model_sha256, checkpoint::open_checkpoint(path("tiny.gguf"))->hash());
    QCOMPARE(nlohmann::json::parse(indexer.metadata.held_out)["layers"].size(), std::size_t{3});
    QVERIFY2(indexer.metadata.recipe.find(folder_.path().toStdString()) == std::string::npos,
             "a path of this machine in the file");
  }

  void cancel_keeps_what_was_trained_and_resume_ends_at_the_same_weights() {
    experiment::distill(spec("whole.safetensors"), {});
    std::stop_source stop;
    auto first = spec("parts.safetensors");
    JobContext job{stop.get_token(), [&](const Progress& progress) {
                     if (progress.total == 24 && progress.done == 7) stop.request_stop();
                   }};
    try {
      experiment::distill(first, job);
      QFAIL("was not cancelled");
    } catch (const Error& error) {
      QCOMPARE(error.kind(), ErrorKind::cancelled);
    }
    QCOMPARE(indexer::load_indexer(path("parts.safetensors")).metadata.steps, 7);
    first.resume = true;
    experiment::distill(first, {});
    const auto whole = indexer::load_indexer(path("whole.safetensors")),
               parts = indexer::load_indexer(path("parts.safetensors"));
    for (const auto& [layer, weights] : whole.layers) {
      QVERIFY(weights.q_proj.equal(parts.layers.at(layer).q_proj));
      QVERIFY(weights.k_norm.equal(parts.layers.at(layer).k_norm));
    }
  }

  void refusals_name_the_reason() {
    const auto message = [](const DistillSpec& wrong, ErrorKind kind) -> QString {
      try {
        experiment::distill(wrong, {});
      } catch (const Error& error) {
        return error.kind() == kind ? error.what() : "another kind";
      }
      return "no error";
    };
    auto longer = spec("x.safetensors");
    longer.length = 4096;
    QVERIFY(message(longer, ErrorKind::usage).contains("context of 2048"));
    auto no_text = spec("x.safetensors");
    no_text.texts = {path("nothing").string()};
    QVERIFY(message(no_text, ErrorKind::input).contains("is not there"));
    auto no_state = spec("fresh.safetensors");
    no_state.resume = true;
    QVERIFY(message(no_state, ErrorKind::input).contains("fresh.safetensors.state"));
    auto other_dim = spec("whole.safetensors");
    other_dim.resume = true;
    other_dim.index_dim = 32;
    QVERIFY(message(other_dim, ErrorKind::input).contains("other settings"));
    auto nowhere = spec("x.safetensors");
    nowhere.out = path("no/such/folder/x.safetensors").string();
    nowhere.steps = 1;
    QVERIFY(message(nowhere, ErrorKind::input).contains("cannot be written"));
    for (const char* json :
         {R"({"model":"m"})", R"({"model":"m","out":"o","steps":0})", R"({"model":"m","out":"o","bogus":1})",
          R"({"model":"m","out":"o","dtype":"f64"})", R"({"model":"m","out":"o","recall_budgets":[]})", R"([1])"})
      QVERIFY_THROWS_EXCEPTION(Error, experiment::distill_spec_from_json(nlohmann::json::parse(json)));
  }

  void text_and_needles_are_reported_apart() {
    std::filesystem::create_directory(path("corpus"));
    std::mt19937_64 random(1);
    for (int file = 0; file < 100; ++file) {
      std::ofstream out(path("corpus") / (std::to_string(file) + ".txt"));
      for (int line = 0; line < 12; ++line) out << "line " << random() % 1000 << " of some words " << random() << "\n";
    }
    std::ofstream(path("corpus") / "picture.bin") << std::string(300, '\0');
    auto wanted = spec("text.safetensors");
    wanted.texts = {path("corpus").string()};
    wanted.steps = wanted.eval_every = 4;
    wanted.held_out = 3;
    std::vector<std::string> notices;
    experiment::DistillCallbacks callbacks;
    callbacks.notice = [&](const std::string& text) { notices.push_back(text); };
    const auto figures = experiment::distill(wanted, {}, callbacks);
    QVERIFY(figures.text && figures.needles);
    QCOMPARE(figures.text->sequences, std::int64_t{2});
    QCOMPARE(figures.needles->sequences, std::int64_t{1});
    QCOMPARE(figures.together.sequences, std::int64_t{3});
    QVERIFY(std::abs(figures.together.mean.kl - (2 * figures.text->mean.kl + figures.needles->mean.kl) / 3) < 1e-9);
    QCOMPARE(notices.size(), std::size_t{1});
    QVERIFY2(notices[0].ends_with(": 1 of the files"), notices[0].c_str());

    const auto stored = nlohmann::json::parse(indexer::load_indexer(path("text.safetensors")).metadata.held_out);
    QCOMPARE(stored["split"]["unit"], "files");
    QCOMPARE(stored["split"]["training"]["pieces"].get<int>() + stored["split"]["evaluation"]["pieces"].get<int>(),
             100);
    QVERIFY(stored["split"]["evaluation"]["pieces"] >= 4 && stored["split"]["evaluation"]["bytes"] > 1000);
    QCOMPARE(stored["split"]["passed_over"], 1);
    for (const auto* family : {&stored["text"], &stored["needles"], &stored}) {
      QCOMPARE((*family)["layers"].size(), std::size_t{3});
      for (const auto& layer : (*family)["layers"]) {
        QVERIFY(layer["kl"].is_number() && layer["budgets"].size() == 2);
        for (const char* name : {"budget", "recall", "captured_mass", "oracle_mass"})
          for (const auto& at : layer["budgets"]) QVERIFY2(at[name].is_number(), name);
      }
    }
    QCOMPARE(stored["budgets"][1]["budget"], 8);

    // What is held out must stay what was not trained on.
    wanted.resume = true;
    wanted.texts = {};
    try {
      experiment::distill(wanted, {});
      QFAIL("was not refused");
    } catch (const Error& error) {
      QVERIFY2(QString(error.what()).contains("other text"), error.what());
    }
  }

  void figures_of_needles_alone_have_none_of_text() {
    auto wanted = spec("needles.safetensors");
    wanted.steps = wanted.eval_every = 1;
    wanted.recall_budgets = {500, 8, 400};  // at most half the length, each once
    const auto figures = experiment::distill(wanted, {});
    QVERIFY(!figures.text && figures.needles);
    QCOMPARE(figures.needles->sequences, std::int64_t{1});
    QCOMPARE(figures.together.mean.budgets.size(), std::size_t{2});
    QCOMPARE(figures.together.mean.budgets[0].budget, std::int64_t{128});
    const auto json = to_json(figures);
    QVERIFY(json["text"].is_null() && json["split"]["unit"].is_null());
  }

  void a_device_that_is_not_there_fails() {
    auto wanted = spec("x.safetensors");
    wanted.device = "cuda:99";
    try {
      experiment::distill(wanted, {});
      QFAIL("was not refused");
    } catch (const Error& error) {
      QCOMPARE(error.kind(), ErrorKind::device);
    }
  }
};

QTEST_GUILESS_MAIN(TestDistill)
#include "test_distill.moc"
