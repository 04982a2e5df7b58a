// SPDX-License-Identifier: Apache-2.0
// --adapter on every command that loads a model, and models that have a short name and ship as an adapter: what is
// printed, recorded and refused.
#include <ATen/ops/randn.h>

#include <nlohmann/json.hpp>

#include "checkpoint/safetensors_file.h"
#include "command_fixture.h"
#include "indexer/indexer.h"
#include "model/adapted_checkpoint.h"
#include "protocol/messages.h"
#include "record/run_record.h"

using namespace headroom;
using nlohmann::json;

class TestAdapterCommands : public test::CommandFixture {
  Q_OBJECT

  QString adapter_, named_;
  std::string base_hash_, pair_hash_;

  /// Factors of q and down of both layers; with `change` also other kinds of layers.
  QString make_adapter(const QString& folder, float size, bool change) const {
    QDir().mkpath(path(folder));
    write(folder + "/adapter_config.json",
          R"({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "down_proj"]})");
    std::vector<std::vector<float>> values;
    std::vector<checkpoint::TensorToWrite> tensors;
    values.reserve(8);  // the tensors look at them
    const auto add = [&](const std::string& name, std::int64_t rows, std::int64_t columns) {
      auto& all = values.emplace_back();
      for (std::int64_t i = 0; i < rows * columns; ++i) all.push_back(size * static_cast<float>((i * 37 % 19) - 9));
      tensors.push_back({name,
                         {rows, columns},
                         checkpoint::DType::f32,
                         {reinterpret_cast<const std::uint8_t*>(all.data()), all.size() * 4}});
    };
    for (int layer = 0; layer < 2; ++layer) {
      const std::string prefix = "base_model.model.model.layers." + std::to_string(layer) + ".";
      add(prefix + "self_attn.q_proj.lora_A.weight", 2, 64);
      add(prefix + "self_attn.q_proj.lora_B.weight", 64, 2);
      add(prefix + "mlp.down_proj.lora_A.weight", 2, 128);
      add(prefix + "mlp.down_proj.lora_B.weight", 64, 2);
    }
    OutputPlace place(native(folder + "/adapter_model.safetensors"));
    checkpoint::write_safetensors(place, tensors, {});
    if (change)
      write(folder + "/headroom_adapter.json",
            QByteArray::fromStdString(json{{"format", 1},
                                           {"base_sha256", base_hash_},
                                           {"name", "tiny hybrid"},
                                           {"layer_kinds", {"sliding", "full"}},
                                           {"window", 8},
                                           {"rope_base", 50000},
                                           {"context", 4096}}
                                          .dump()));
    return path(folder);
  }
  QString make_indexer(const QString& name, const std::string& hash, int layer) const {
    indexer::Indexer indexer;
    indexer.metadata.index_dim = 16;
    indexer.metadata.base_model_sha256 = hash;
    indexer.metadata.base_model_name = "tiny";
    indexer.metadata.trained_length = 64;
    indexer.metadata.recipe = indexer.metadata.held_out = "{}";
    for (int i = layer; i < 2; ++i) indexer.layers[i] = {at::randn({16, 64}), at::randn({16, 64}), at::randn({16})};
    indexer::save_indexer(indexer, native(name));
    return path(name);
  }
  QStringList run(const QStringList& more) const {
    return QStringList{"run", model_,     "--device", "cpu", "--repeats", "1", "--max-new-tokens", "1", "--prompt-file",
                       prompt_, "--budget", "8"} +
           more;
  }
  std::vector<float> logits(const QStringList& model, std::string* hash = nullptr, const QString& ids = {}) const {
    const QString out = path("logits.safetensors");
    QFile::remove(out);
    const QStringList files{"--ids", ids.isEmpty() ? ids_ : ids, "--out", out};
    const auto result = headroom(QStringList{"logits"} + model + files);
    if (result.code != 0) qFatal("no logits: %s", result.errors.constData());
    const auto file = checkpoint::SafetensorsFile::open(out.toStdString());
    std::vector<float> values(static_cast<std::size_t>(file->find("logits")->elements()));
    file->read_f32("logits", values);
    if (hash) *hash = file->metadata().at("model_sha256");
    return values;
  }

 private slots:
  void initTestCase() {
    make_inputs();
    base_hash_ = checkpoint::open_checkpoint(model_.toStdString())->hash();
    adapter_ = make_adapter("tuned", 0.01f, true);
    pair_hash_ = model::open_model(model_.toStdString(), adapter_.toStdString())->hash();
    // A short name: its base is the tiny model under the name of one that can be fetched.
    QDir().mkpath(path("headroom/models"));
    QVERIFY(QFile::copy(model_, path("headroom/models/SmolLM2-135M-Instruct.Q4_1.gguf")));
    qputenv("HEADROOM_DATA", folder_.path().toUtf8());
    named_ = make_adapter("sample_data/models/tiny-hybrid", 0.01f, true);
    write("sample_data/models/tiny-hybrid/model.json", R"({"format": 1, "base": "smollm2"})");
  }

  void info_names_base_and_adapter() {
    const auto result = headroom({"info", model_, "--adapter", adapter_, "--json"});
    QVERIFY2(result.code == 0, result.errors);
    const auto info = json::parse(result.output.toStdString());
    QCOMPARE(info["name"], "tiny hybrid");
    QCOMPARE(info["sha256"], pair_hash_);
    QCOMPARE(info["adapter"]["name"], "tuned");
    QCOMPARE(info["adapter"]["base_sha256"], base_hash_);
    QCOMPARE(info["adapter"]["modules"], 4);
    QCOMPARE(info["adapter"]["rank_max"], 2);
    QCOMPARE(info["layer_kinds"], (json{"sliding", "full"}));
    QCOMPARE(info["context"], 4096);
    QCOMPARE(info["rope_base"], 50000);
    QVERIFY(json::parse(headroom({"info", model_, "--json"}).output.toStdString())["adapter"].is_null());
    const auto text = headroom({"info", model_, "--adapter", adapter_}).output;
    for (const std::string& word : {base_hash_, pair_hash_, info["adapter"]["sha256"].get<std::string>(),
                                    std::string("1 sliding attention (window 8), 1 full attention"),
                                    std::string("rank 2 on 4 modules")})
      QVERIFY2(text.contains(word.c_str()), word.c_str());
    QVERIFY(says(headroom({"info", record_, "--adapter", adapter_}), {"--adapter", "record"}));
  }

  void logits_are_of_the_pair() {
    std::string hash;
    const auto base = logits({model_}), pair = logits({model_, "--adapter", adapter_}, &hash);
    QCOMPARE(hash, pair_hash_);
    QVERIFY(base != pair);
    QVERIFY(logits({model_, "--adapter", adapter_ + "/adapter_model.safetensors"}) == pair);
    QVERIFY(logits({"tiny-hybrid"}) == pair);
    const auto over = headroom({"logits", model_, "--adapter", adapter_, "--ids", ids_, "--out",
                                adapter_ + "/adapter_model.safetensors"});
    QVERIFY2(over.code != 0, "an input was written over");
    QVERIFY(says(headroom({"logits", "tiny-hybrid", "--adapter", adapter_, "--ids", ids_, "--out", path("x")}),
                 {"--adapter", "already"}));
  }

  void pieces_agree_with_all_in_one_go() {
    std::string forty;
    for (int i = 0; i < 40; ++i) forty += (i ? ", " : "[") + std::to_string(5 + i * 7 % 20);
    const QString ids = write("forty.json", (forty + "]").c_str());
    const QStringList pair{model_, "--adapter", adapter_};  // its first layer sees windows of 8
    const auto whole = logits(pair, nullptr, ids);
    for (const char* piece : {"1", "7", "15", "40", "100000"}) {
      const auto pieces = logits(pair + QStringList{"--piece", piece}, nullptr, ids);
      QCOMPARE(pieces.size(), whole.size());
      float difference = 0;
      for (std::size_t i = 0; i < whole.size(); ++i) difference = std::max(difference, std::abs(pieces[i] - whole[i]));
      QVERIFY2(difference < 1e-4f, qPrintable(QString("%1: %2").arg(piece).arg(difference)));
    }
    QVERIFY(says(headroom({"logits", model_, "--ids", ids, "--out", path("x"), "--piece", "0"}), {"--piece"}));
  }

  void a_record_names_base_and_adapter() {
    const QString out = path("pair.h5");
    const auto result = headroom(run({"--methods", "dense,oracle", "--adapter", adapter_, "--out", out, "--json"}));
    QVERIFY2(result.code == 0, result.errors);
    const auto said = json::parse(result.output.toStdString());
    QCOMPARE(said["adapter"]["base_sha256"], base_hash_);
    const auto record = record::RunRecord::open(out.toStdString());
    QCOMPARE(record->meta().model_sha256, pair_hash_);
    QCOMPARE(record->meta().base_sha256, base_hash_);
    QCOMPARE(record->meta().adapter_name, std::string("tuned"));
    QCOMPARE(record->meta().adapter_sha256, said["adapter"]["sha256"].get<std::string>());
    QCOMPARE(record->meta().layers[0].kind, std::string("sliding"));
    QCOMPARE(record->meta().layers[0].window, std::int64_t{8});
    QCOMPARE(record->meta().context, std::int64_t{4096});
    const auto text = headroom({"info", out}).output;
    QVERIFY2(text.contains(base_hash_.c_str()) && text.contains("tuned"), text);
    const auto plain = record::RunRecord::open(record_.toStdString());
    QVERIFY(plain->meta().adapter_sha256.empty() && plain->meta().base_sha256.empty());
  }

  void an_indexer_belongs_to_the_pair() {
    const QString of_base = make_indexer("base.safetensors", base_hash_, 0);
    const QString of_pair = make_indexer("pair.safetensors", pair_hash_, 1);
    const QStringList methods = {"--methods", "indexer", "--indexer"};
    QVERIFY(says(headroom(run(methods + QStringList{of_base, "--adapter", adapter_})),
                 {"base.safetensors", "another model", "--adapter " + adapter_, QString::fromStdString(pair_hash_)}));
    QVERIFY(says(headroom(run(methods + QStringList{of_pair})),
                 {"pair.safetensors", "another model", QString::fromStdString(base_hash_)}));
    const auto fits = headroom(run(methods + QStringList{of_pair, "--adapter", adapter_}));
    QVERIFY2(fits.code == 0, fits.errors);
    const auto full = headroom(run({"--methods", "dense", "--dense-layers", "0", "--adapter", adapter_}));
    QVERIFY(says(full, {"--dense-layers", "layer 0 has no full attention"}));
  }

  void distil_and_bench_take_it() {
    QStringList words = command("distill", path("made.safetensors"));
    words << "--adapter" << adapter_;
    const auto made = headroom(words);
    QVERIFY2(made.code == 0, made.errors);
    const auto indexer = indexer::load_indexer(native("made.safetensors"));
    QCOMPARE(indexer.metadata.base_model_sha256, pair_hash_);
    QCOMPARE(indexer.metadata.base_model_name, std::string("tiny hybrid"));
    QVERIFY(indexer.layers.size() == 1 && indexer.layers.contains(1));
    QVERIFY(indexer.metadata.recipe.find(folder_.path().toStdString()) == std::string::npos);
    const auto bench = headroom({"bench", model_, "--adapter", adapter_, "--lengths", "96", "--methods", "oracle",
                                 "--budget", "8", "--repeats", "1", "--device", "cpu", "--json"});
    QVERIFY2(bench.code == 0, bench.errors);
    QCOMPARE(json::parse(bench.output.toStdString())["weights"], pair_hash_);
    QVERIFY(says(headroom({"bench", "--config", "smollm2-135m", "--random-init", "--lengths", "96", "--adapter", "x"}),
                 {"--adapter"}));
  }

  void the_engine_takes_it() {
    const auto framed = [](const json& message) {
      const std::string body = message.dump();
      return QByteArray::fromStdString("Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    };
    const auto request = [](int id, const char* method, const json& params) {
      return json{{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}};
    };
    protocol::InitializeParams hello;
    QProcess engine;
    engine.start(program(), {"serve", "--device", "cpu"});
    engine.write(framed(request(1, protocol::method::initialize, to_json(hello))));
    engine.write(framed(request(2, protocol::method::model_inspect,
                                to_json(protocol::ModelInspectParams{model_.toStdString(), adapter_.toStdString()}))));
    protocol::RunStartParams start;
    start.spec.model = model_.toStdString();
    start.spec.adapter = adapter_.toStdString();
    start.spec.prompt = "seven hills";
    start.spec.methods = {"dense"};
    engine.write(framed(request(3, protocol::method::run_start, to_json(start))));
    QByteArray output;
    QTRY_VERIFY_WITH_TIMEOUT((output += engine.readAllStandardOutput()).contains("job/done"), 30000);
    engine.closeWriteChannel();
    const auto finished = test::wait_for(engine);
    QVERIFY2(finished.code == 0, finished.errors);
    QVERIFY2(output.contains("tiny-hybrid"), output.left(4000));  // among the models that it knows
    QVERIFY2(output.contains("\"base_sha256\":\"" + QByteArray::fromStdString(base_hash_)), output.left(4000));
    QVERIFY2(output.count(QByteArray::fromStdString(pair_hash_)) >= 2, output.left(4000));  // inspected, and run
  }

  void tokenize_knows_the_name() {
    QProcess process;
    process.start(program(), {"tokenize", "tiny-hybrid"});
    process.write("seven");
    process.closeWriteChannel();
    const auto named = test::wait_for(process);
    QVERIFY2(named.code == 0, named.errors);
    QVERIFY(says(headroom({"info", "tiny-hybrd"}), {"no such model", "tiny-hybrid"}));
  }

  void what_is_no_adapter_is_refused() {
    for (const QStringList& words : {QStringList{"info", model_}, run({"--methods", "dense"}),
                                     command("logits", path("x")), command("distill", path("x"))}) {
      const auto none = headroom(words + QStringList{"--adapter", path("nowhere")});
      QVERIFY(none.code == 3 && says(none, {"nowhere", "no such adapter"}));
      const auto empty = headroom(words + QStringList{"--adapter", path("headroom")});
      QVERIFY(empty.code == 3 && says(empty, {"adapter_config.json"}));
    }
    QVERIFY(parts().isEmpty());
  }
};

QTEST_GUILESS_MAIN(TestAdapterCommands)
#include "test_adapter_commands.moc"
