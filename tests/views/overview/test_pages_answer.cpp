// SPDX-License-Identifier: GPL-3.0-or-later
// The answer sentence and the numbers in it, word for word.
#include <QtTest>
#include <limits>

#include "views/overview/answer_cards.h"
#include "views/overview/answer_sentence.h"
#include "views/common/format.h"

using namespace headroom;
using namespace headroom::views;

namespace {

record::RunMeta meta() {
  record::RunMeta m;
  m.model_name = "Smollm2 135M 8k Mix1";
  m.model_path = "/models/SmolLM2-135M.Q4_1.gguf";
  m.device = "CPU, 2 cores: AMD EPYC 7763";
  return m;
}

record::MethodSummary dense() {
  record::MethodSummary s;
  s.id = s.name = "dense";
  s.title = "Dense";
  s.role = MethodRole::dense;
  s.ttft = {6700, 6650, 6800, 3};
  s.answer_ids = {1, 2, 3, 4, 5, 6, 7};
  return s;
}

record::MethodSummary sparse(const std::string& name) {
  record::MethodSummary s = dense();
  s.id = name + "-k512-g1";
  s.name = name;
  s.title = name == "sink_window" ? "Sink window" : name == "oracle" ? "Oracle" : "Indexer";
  s.role = name == "oracle" ? MethodRole::reference : MethodRole::deployable;
  s.score = name == "oracle" ? ScoreKind::mass : name == "indexer" ? ScoreKind::index : ScoreKind::none;
  s.budget = Budget{BudgetKind::tokens, 512};
  s.budget_tokens = 512;
  s.density = 0.2343;
  s.captured_mass_mean = 0.9712;
  s.backend = "row tiles, CPU";
  s.ttft = {4100, 4050, 4200, 3};
  return s;
}

QString sentence(const record::MethodSummary& method, SentenceScope scope = {}) {
  return answer_sentence(meta(), 4012, method, dense(), scope).text();
}

}  // namespace

class TestPagesAnswer : public QObject {
  Q_OBJECT
 private slots:
  void sentence_of_an_optimised_path() {
    QCOMPARE(
        sentence(sparse("indexer")),
        QString(
            "On this prompt (4,012 tokens, SmolLM2-135M, 2-core CPU) 512 keys a query (23 % of pairs) keep 97.1 % of "
            "the mass; the answer is the same as dense; time to first token 6.7 s → 4.1 s. One prompt: not a quality "
            "result."));
  }
  void a_reference_path_claims_no_time() {
    auto method = sparse("indexer");
    method.label = "reference path, not optimised";
    const QString text = sentence(method);
    QCOMPARE(
        text,
        QString("On this prompt (4,012 tokens, SmolLM2-135M, 2-core CPU) 512 keys a query (23 % of pairs) keep 97.1 "
                "% of the mass; the answer is the same as dense; time to first token 6.7 s dense (the sparse CPU "
                "path is a reference, not optimised: no time is compared). One prompt: not a quality result."));
    QVERIFY(!text.contains("4.1"));
    QCOMPARE(sentence(method, {false, true}), QString("512 keys a query (23 % of pairs) keep 97.1 % of the mass; the "
                                                      "answer is the same as dense; its time is not "
                                                      "compared either. One prompt: not a quality result."));
    QVERIFY(!speedup_allowed(method, dense()));
  }
  void the_oracle_gets_a_time_but_no_speedup() {
    const QString text = sentence(sparse("oracle"));
    QVERIFY2(
        text.contains("time to first token 4.1 s, dense 6.7 s (the oracle is a reference, not deployable: no speedup)"),
        qPrintable(text));
    QVERIFY(!text.contains(QStringLiteral("→")));
    QVERIFY(!speedup_allowed(sparse("oracle"), dense()));
    QVERIFY(speedup_allowed(sparse("indexer"), dense()));
    QVERIFY(!speedup_allowed(dense(), dense()));
    auto planned = sparse("indexer");  // whose timed passes never ran sparse
    planned.timing_plan.emplace().layers.resize(2);
    for (auto& layer : planned.timing_plan->layers) layer.run = record::LayerRun::dense;
    QVERIFY(!speedup_allowed(planned, dense()));
    planned.timing_plan->layers[1].run = record::LayerRun::sparse;
    QVERIFY(speedup_allowed(planned, dense()));
  }
  void the_first_token_that_differs_is_named() {
    auto method = sparse("indexer");
    method.answer_ids[2] = 99;
    QVERIFY(sentence(method).contains("the answer differs from dense from the 3rd token on;"));
    method.answer_ids = {1, 2, 3, 4};  // ends early
    QVERIFY(sentence(method).contains("from the 5th token on;"));
    method.answer_ids = {9};
    QVERIFY(sentence(method).contains("from the 1st token on;"));
  }
  void other_budgets_read_well() {
    auto method = sparse("indexer");
    method.budget = Budget{BudgetKind::mass, 0.95};
    method.budget_tokens = 0;
    method.density = 0.016;
    QVERIFY(sentence(method).contains(
        "the smallest supports reaching 95 % of the indexer's own score (1.6 % of pairs) keep 97.1 % of the mass"));
    method.granularity = 64;
    QVERIFY(sentence(method).contains("the smallest supports reaching 95 % in the sum over each block of the indexer's "
                                      "own score, shared by 64 queries (1.6 % of pairs) keep 97.1 % of the mass"));
    method = sparse("oracle");
    method.granularity = 64;
    QVERIFY(sentence(method).contains("512 keys a query, shared by 64 queries (23 % of pairs)"));
    method.budget_tokens = 5000;
    QVERIFY(sentence(method).contains("5,000 keys a query, shared by 64 queries cover the whole prompt"));
  }
  void a_plan_is_named_beside_the_time() {
    auto method = sparse("indexer");
    method.label.clear();
    auto& plan = method.timing_plan.emplace();
    plan.source = "automatic";
    plan.layers.assign(30, {record::LayerRun::sparse, 1, 1});
    for (std::size_t i = 0; i < 6; ++i) plan.layers[i].run = record::LayerRun::dense;
    plan.density = method.density + 0.1;
    QVERIFY2(sentence(method).contains("(timed with 6 of 30 layers dense, where sparse takes longer)"),
             qPrintable(sentence(method)));
    plan.density = method.density;
    QVERIFY(!sentence(method).contains("timed with"));
  }
  void every_number_links_to_a_definition() {
    const auto answer = answer_sentence(meta(), 4012, sparse("indexer"), dense());
    int links = 0;
    for (const auto& part : answer.parts) {
      if (part.link.isEmpty()) {
        QVERIFY2(!part.text.contains(QRegularExpression("\\d")), qPrintable(part.text));
        continue;
      }
      ++links;
      QVERIFY(QRegularExpression("^(overview|attention|budget|timing|compare)#\\w+$").match(part.link).hasMatch());
      QVERIFY(!answer.definition(part.link).isEmpty());
      QVERIFY(answer.html(Qt::blue).contains("href=\"" + part.link + "\""));
    }
    QVERIFY(links >= 7);
  }
  void shares_never_round_to_all_or_nothing() {
    for (const int count : {0, 1, 2, 3, 4}) {  // a character of two units is whole or not there
      QCOMPARE(first_characters("a😀z", count), QString("a😀z").left(count == 2 ? 1 : count));
      QCOMPARE(last_characters("a😀z", count), QString("a😀z").right(count == 2 ? 1 : count));
    }
    QCOMPARE(format_percent(0.2343), QString("23 %"));
    QCOMPARE(format_percent(0.016), QString("1.6 %"));
    QCOMPARE(format_percent(1), QString("100 %"));
    QCOMPARE(format_percent(0.99999, 1), QString("> 99.9 %"));
    QCOMPARE(format_percent(0.00001, 1), QString("< 0.1 %"));
    QCOMPARE(format_percent(0, 1), QString("0.0 %"));
    QCOMPARE(format_percent(std::numeric_limits<double>::quiet_NaN()), QString("–"));
  }
  void units() {
    QCOMPARE(format_count(1234567), QString("1,234,567"));
    QCOMPARE(format_ms(6712), QString("6.7 s"));
    QCOMPARE(format_ms(412.3), QString("412 ms"));
    QCOMPARE(format_ms(3.42), QString("3.4 ms"));
    QCOMPARE(format_ms(0.516), QString("0.52 ms"));
    QCOMPARE(format_quartiles({6712, 6700, 6804, 3}), QString("6.71 s [6.70–6.80]"));
    QCOMPARE(format_quartiles({0, 0, 0, 0}), QString("–"));
    QCOMPARE(format_number(0.01234), QString("0.0123"));
    record::RunMeta plain;
    plain.model_name = "A name";
    for (const char* path : {"", "/x/model.gguf", "/x/model-00001-of-00002.safetensors", "ggml-model-Q4_K_M.gguf"}) {
      plain.model_path = path;
      QCOMPARE(model_label(plain), QString("A name"));
    }
    plain.model_path = "/x/gemma-3-270m-q4_k_m.gguf";
    QCOMPARE(model_label(plain), QString("gemma-3-270m"));
    plain.model_path = "/x/Qwen3.5-9B/";
    QCOMPARE(model_label(plain), QString("Qwen3.5-9B"));
    QCOMPARE(format_quartiles({6712, 6712, 6712, 1}), QString("6.71 s"));
    QCOMPARE(short_device("CPU, 1 core: x"), QString("1-core CPU"));
    QCOMPARE(short_device("NVIDIA H100 80GB HBM3"), QString("NVIDIA H100"));
    QCOMPARE(method_title(sparse("sink_window")), QString("Sink window, 512 keys"));
  }
  void differing_words_are_marked() {
    const auto pieces = word_difference("The number is 7, I think.", "The number is 7.");
    QCOMPARE(pieces.size(), std::size_t(2));
    QCOMPARE(pieces[0], (DiffPiece{"The number is ", false}));
    QCOMPARE(pieces[1], (DiffPiece{"7, I think.", true}));
    QCOMPARE(word_difference("a b c", "a b c").size(), std::size_t(1));
    QVERIFY(word_difference("", "x").empty());
  }
};

QTEST_MAIN(TestPagesAnswer)
#include "test_pages_answer.moc"
