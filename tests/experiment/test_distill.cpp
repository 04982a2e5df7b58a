// SPDX-License-Identifier: Apache-2.0
// Distillation from a checkpoint to an indexer that loads, scores and selects; saves, resume, cancel, refusals.
#include <QTemporaryDir>
#include <QtTest>
#include <fstream>
#include <nlohmann/json.hpp>

#include "experiment/distill.h"
#include "experiment/training_text.h"
#include "indexer/indexer.h"
#include "support/tiny_model.h"
#include "tokenizer/tokenizer.h"

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
    spec.recall_budget = 32;
    spec.learning_rate = 1e-2;
    spec.device = "cpu";
    spec.dtype = "f32";
    return spec;
  }

 private slots:
  void initTestCase() { test::write_tiny_model(path("tiny.gguf")); }

  void held_out_figures_improve_and_are_saved() {
    std::vector<experiment::DistillFigures> seen;
    const auto last =
        experiment::distill(spec("a.safetensors"), {}, [&](const auto& figures) { seen.push_back(figures); });
    QCOMPARE(seen.size(), std::size_t{2});
    QCOMPARE(last.layers.size(), std::size_t{3});
    QVERIFY2(seen[1].kl < seen[0].kl, qPrintable(QString("%1 then %2").arg(seen[0].kl).arg(seen[1].kl)));
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
          R"({"model":"m","out":"o","dtype":"f64"})", R"([1])"})
      QVERIFY_THROWS_EXCEPTION(Error, experiment::distill_spec_from_json(nlohmann::json::parse(json)));
  }

  void sequences_have_the_length_and_repeat() {
    const auto checkpoint = checkpoint::open_checkpoint(path("tiny.gguf"));
    const auto tokenizer = tokenizer::make_tokenizer(*checkpoint);
    std::ofstream(path("text.txt")) << std::string(3000, 'a') + "\nsome more words, and an ä\n";
    std::ofstream(path("broken.txt")) << std::string(500, 'b') + "\n\xff\xfe\n" + std::string(500, 'b');
    std::ofstream(path("short.txt")) << "too short";
    const experiment::TrainingText text(
        *tokenizer, experiment::read_texts({path("text.txt"), path("broken.txt"), path("short.txt")}), true);
    for (std::uint64_t seed = 0; seed < 12; ++seed)
      for (const std::int64_t length : {64, 300, 1000}) {
        const auto ids = text.sequence(length, seed);
        QCOMPARE(static_cast<std::int64_t>(ids.size()), length);
        QCOMPARE(ids, text.sequence(length, seed));
      }
    QVERIFY(text.sequence(300, 1) != text.sequence(300, 3));
    // Needle prompts end with an answer that the haystack holds.
    const std::string prompt = tokenizer->decode(text.sequence(1000, 1), true);
    QVERIFY2(prompt.ends_with("<|im_end|>\n"), prompt.substr(prompt.size() - 40).c_str());
  }
};

QTEST_GUILESS_MAIN(TestDistill)
#include "test_distill.moc"
