// SPDX-License-Identifier: Apache-2.0
// Damaged messages: every reader gives a value or an input or usage error, never anything else.
#include <QtTest>
#include <random>

#include "protocol/framing.h"
#include "protocol/job_answer.h"
#include "protocol/json_fields.h"
#include "protocol/messages.h"
#include "protocol/summary_json.h"

using namespace headroom;
using namespace headroom::protocol;
using nlohmann::json;

namespace {

using Reader = std::function<void(const json&)>;

template <typename Call>
bool tolerates(Call call) {
  try {
    call();
    return true;
  } catch (const Error& error) {
    return error.kind() == ErrorKind::input || error.kind() == ErrorKind::usage;
  } catch (const std::exception& error) {
    qWarning("%s", error.what());
    return false;
  }
}

std::vector<std::pair<json, Reader>> samples() {
  RunSpec spec;
  spec.model = "m";
  spec.prompt = "Hello";
  spec.max_new_tokens = 4;
  record::MethodSummary summary;
  summary.id = summary.name = "oracle";
  summary.budget = parse_budget("512");
  summary.layer_stages.resize(2);
  summary.oracle_recall_mean = 0.5;
  summary.captured_mass_per_layer = {0.5, 1};
  record::RunMeta meta;
  meta.indexer_path = "i";
  return {
      {to_json(RunStartParams{spec}), [](const json& j) { run_start_params_from_json(j); }},
      {to_json(RunStartResult{1, {}}), [](const json& j) { run_start_result_from_json(j); }},
      {to_json(JobPrepared{1, meta, 2}), [](const json& j) { job_prepared_from_json(j); }},
      {to_json(JobAnswer{1, "a", "b"}), [](const json& j) { job_answer_from_json(j); }},
      {to_json(JobProgress{1, {"a", 1, 2, 3, 4}, 5}), [](const json& j) { job_progress_from_json(j); }},
      {to_json(JobPartial{1, summary}), [](const json& j) { job_partial_from_json(j); }},
      {to_json(JobDone{1, "r", json::object()}), [](const json& j) { job_done_from_json(j); }},
      {to_json(JobFailed{1, {}}), [](const json& j) { job_failed_from_json(j); }},
      {to_json(InitializeResult{1, 1, "v", {{"cpu", "c", 1, 1}}, {{"n", "p"}}, {"f"}, ""}),
       [](const json& j) { initialize_result_from_json(j); }},
      {to_json(FilesListResult{"p", "", {{"a", true, 0}}, false}),
       [](const json& j) { files_list_result_from_json(j); }},
      {to_json(RecordChunkResult{0, 3, "v", {1, 2, 3}}), [](const json& j) { record_chunk_result_from_json(j); }},
      {to_json(TileParams{"r", "dense", 1, {}, {}}), [](const json& j) { tile_params_from_json(j); }},
      {to_json(TileResult{{{}, 2, 2, {1, 2, 3, 4}, {1, 2, 3, 4}}}), [](const json& j) { tile_result_from_json(j); }}};
}

}  // namespace

class TestProtocolFuzz : public QObject {
  Q_OBJECT
 private slots:
  void damaged_text() {
    std::mt19937 random(7);
    for (const auto& [sample, read] : samples()) {
      const std::string good = dump_json(sample);
      QVERIFY(tolerates([&] { read(parse_json(good, "t")); }));
      for (int round = 0; round < 400; ++round) {
        std::string bad = good;
        for (unsigned i = 0, n = 1 + random() % 3; i < n && !bad.empty(); ++i) {
          const auto at = random() % bad.size();
          switch (random() % 4) {
            case 0:
              bad[at] = static_cast<char>(random());
              break;
            case 1:
              bad.erase(at, random() % 8 + 1);
              break;
            case 2:
              bad.insert(at, 1, "0123456789-.eE\"[]{},:"[random() % 21]);
              break;
            default:
              bad.resize(at + 1);
          }
        }
        QVERIFY2(tolerates([&] { read(parse_json(bad, "t")); }), bad.c_str());
        const auto envelope = read_envelope(bad);
        Q_UNUSED(envelope);
      }
    }
  }
  void wrong_types_and_values() {
    const json values[] = {nullptr,
                           true,
                           -1,
                           0,
                           1e308,
                           18446744073709551615u,
                           "",
                           std::string(5000, 'x'),
                           json::array(),
                           json::array({nullptr, "x", 1.5}),
                           json::object(),
                           json{{"kind", 3}}};
    for (const auto& [sample, read] : samples()) {
      const auto paths = sample.flatten();
      for (const auto& [path, old] : paths.items()) {
        // Every node on the way to the leaf is replaced in turn.
        for (json::json_pointer at(path); !at.empty(); at = at.parent_pointer()) {
          for (const auto& value : values) {
            json changed = sample;
            changed[at] = value;
            QVERIFY2(tolerates([&] { read(changed); }), dump_json(changed).c_str());
          }
        }
      }
    }
  }
  void damaged_streams() {
    std::mt19937 random(11);
    const std::string good = frame_message("{\"jsonrpc\":\"2.0\",\"method\":\"a\"}") + frame_message("{}");
    for (int round = 0; round < 3000; ++round) {
      std::string bad = good;
      for (unsigned i = 0, n = 1 + random() % 4; i < n; ++i) bad[random() % bad.size()] = static_cast<char>(random());
      QVERIFY(tolerates([&] {
        MessageReader reader;
        for (std::size_t at = 0; at < bad.size();) {
          const auto step = 1 + random() % 20;
          reader.feed(std::string_view(bad).substr(at, step));
          at += step;
          while (reader.next()) {
          }
        }
      }));
    }
  }
};

QTEST_APPLESS_MAIN(TestProtocolFuzz)
#include "test_protocol_fuzz.moc"
