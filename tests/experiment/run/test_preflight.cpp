// SPDX-License-Identifier: Apache-2.0
// What a run is said to need before it starts: memory by place, weights that are loaded, jobs at work, and no measuring
// beside another measurement.
#include <QtTest>
#include <atomic>
#include <future>
#include <optional>
#include <thread>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "experiment/bench/bench_setup.h"
#include "experiment/bench/length_bench.h"
#include "experiment/passes/machine_lock.h"
#include "experiment/run/memory_estimate.h"
#include "experiment/run/preflight.h"
#include "experiment/run/run.h"
#include "model/model_config.h"
#include "small_run.h"

using namespace headroom;
using namespace headroom::experiment;

namespace {

constexpr std::int64_t mib = 1 << 20;

/// Another thread measures until this is gone.
class Measuring {
 public:
  Measuring()
      : thread_([this] {
          const auto machine = MachineLock::wait({});
          held_.set_value();
          over_.get_future().wait();
        }) {
    held_.get_future().wait();
  }
  ~Measuring() {
    over_.set_value();
    thread_.join();
  }

 private:
  std::promise<void> held_, over_;
  std::thread thread_;
};

}  // namespace

class TestPreflight : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;
  protocol::RunSpec spec_;

  std::string path(const char* name) const { return folder_.filePath(name).toStdString(); }

 private slots:
  void initTestCase() {
    spec_ = test::small_run(path("tiny.gguf"), {.width = 512, .mlp_width = 4096});
    spec_.max_new_tokens = 2;
    spec_.plan = "none";
  }

  // First of all: no rate is known yet.
  void nothing_is_measured_while_somebody_measures() {
    const auto prepared = prepare_run(spec_);
    {
      const Measuring other;
      QElapsedTimer clock;
      clock.start();
      QCOMPARE(preflight(prepared).seconds, 0.0);
      QVERIFY2(clock.elapsed() < 2000, "the preflight waited for the machine");
    }
    QCOMPARE(preflight(prepared, {.weights = {}, .busy = true}).seconds, 0.0);
    const double seconds = preflight(prepared).seconds;
    QVERIFY(seconds > 0);
    const Measuring other;  // what was measured before is used
    QCOMPARE(preflight(prepared).seconds, seconds);
    QCOMPARE(preflight(prepared, {.weights = {}, .busy = true}).seconds, seconds);
  }

  void timed_passes_wait_for_who_measures() {
    std::optional<Measuring> other(std::in_place);
    std::atomic<bool> finished = false;
    std::thread job([&] {
      run(spec_, {});
      finished = true;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    QVERIFY2(!finished, "timed while another measurement was going on");
    other.reset();
    job.join();
    QVERIFY(finished);
  }

  void waiting_can_be_cancelled() {
    const Measuring other;
    std::stop_source stop;
    stop.request_stop();
    try {
      MachineLock::wait({stop.get_token(), {}});
      QFAIL("waited");
    } catch (const Error& error) {
      QCOMPARE(error.kind(), ErrorKind::cancelled);
    }
    QVERIFY(!MachineLock::try_now());
  }

  void weights_that_are_loaded_are_not_counted_again() {
    const auto prepared = prepare_run(spec_);
    const auto first = preflight(prepared);
    QVERIFY(!prepared.session->loaded());
    run(prepared, {});
    const auto loaded = prepared.session->loaded();
    const std::int64_t bytes = loaded ? loaded->bytes_on(at::kCPU) : 0;
    QVERIFY(bytes > 50 * mib && loaded->parts == model::on_one_device(at::kCPU));
    const auto again = preflight(prepared, {.weights = loaded});
    QVERIFY(std::abs(first.memory_needed - again.memory_needed - bytes) < bytes / 10);

    auto other = *loaded;  // a model that makes way
    other.model = "another";
    const auto replaced = preflight(prepared, {.weights = other});
    QCOMPARE(replaced.memory_needed, first.memory_needed);
    QVERIFY(replaced.memory_free > again.memory_free + bytes / 2);
  }

  void while_a_job_is_at_work_what_it_holds_counts_as_free() {
    const auto prepared = prepare_run(spec_);
    QCOMPARE(preflight(prepared, {.weights = {}, .busy = true}).memory_free, prepared.device.total_bytes);
  }

  void the_host_of_a_gpu_is_counted_apart() {
    const auto prepared = prepare_run(spec_);
    MemoryWorkload work;
    work.length = 16384;
    for (const auto& method : prepared.methods.methods) work.methods.push_back(method.policy.get());
    const auto estimate = [&](c10::DeviceType device) {
      return estimate_memory(prepared.session->checkpoint(), prepared.config(), c10::kBFloat16, c10::Device(device),
                             work);
    };
    const auto gpu = estimate(c10::DeviceType::CUDA), cpu = estimate(c10::DeviceType::CPU);
    QCOMPARE(cpu.device, std::int64_t{0});
    QCOMPARE(gpu.weights, cpu.weights);
    work.analysed = work.supports_kept = true;
    work.maps_kept = true;
    const auto analysed = estimate(c10::DeviceType::CUDA);
    const std::int64_t bitmaps = 6 * work.length * work.length / 8;
    QVERIFY(analysed.host >= bitmaps && gpu.host < analysed.host);
    QVERIFY(analysed.device - gpu.device < bitmaps);
  }

  // Experts get a copy of each of their rows: what they hold grows with how many of them a row has.
  void rows_of_experts_are_counted() {
    for (const char* name : {"qwen3_moe", "gpt_oss"}) {
      const auto file =
          checkpoint::open_checkpoint(HEADROOM_SOURCE_DIR "/tests/model/families/" + std::string(name) + "/model.gguf");
      model::ModelConfig config = model::read_model_config(*file);
      MemoryWorkload work;
      work.length = 4096;
      const auto device_bytes = [&](std::int64_t used) {
        for (auto& layer : config.layers) layer.mlp.experts_used = used;
        return estimate_memory(*file, config, c10::kBFloat16, c10::Device(c10::DeviceType::CUDA), work).device;
      };
      const model::MlpSpec mlp = config.layers.back().mlp;
      QVERIFY(mlp.has_experts());
      // The row, gate and up, their product and what comes back, in bf16.
      const std::int64_t least = work.length * (2 * config.width + 3 * mlp.width) * 2;
      QVERIFY(device_bytes(2) - device_bytes(1) >= least);
    }
  }

  void a_quarter_of_a_million_tokens_of_the_9b_fit_a_card_of_80_gb() {
    BenchSpec spec;
    spec.config = "qwen3.5-9b";
    spec.methods = {"indexer"};
    spec.budgets = {{BudgetKind::tokens, 2048}};
    const BenchModel model = open_bench_model(spec);
    const auto methods = sparse_methods(spec, model);
    MemoryWorkload work;
    work.length = 262144;
    work.methods = {methods.front().policy.get()};
    work.supports_kept = work.floor = true;
    work.own = [&](std::int64_t length) { return LengthBench::drawn_bytes(methods, length); };
    const auto estimate = estimate_memory(*model.checkpoint, model.config, c10::kBFloat16,
                                          c10::Device(c10::DeviceType::CUDA), work);
    qInfo("weights %s, beside them %s", size_text(estimate.weights).c_str(), size_text(estimate.device).c_str());
    QVERIFY(work.own(work.length) == work.length * 2049 * 4);
    // What a driver and LibTorch's libraries keep of such a card is about 2 GB.
    QVERIFY(estimate.weights + estimate.device < std::int64_t{78} * 1000 * 1000 * 1000);
  }

  void what_does_not_fit_is_refused_with_both_numbers() {
    const auto prepared = prepare_run(spec_);
    protocol::Preflight found;
    found.device = "a GPU";
    found.memory_needed = 3 * mib;
    found.memory_free = 2 * mib;
    const auto message = [&] {
      try {
        refuse_what_cannot_fit(prepared, found);
      } catch (const Error& error) {
        return static_cast<int>(error.kind()) == 4 ? std::string(error.what()) : std::string("another kind");
      }
      return std::string();
    };
    for (const char* word : {"a GPU", "3 MB", "2 MB"}) QVERIFY(message().find(word) != std::string::npos);
    found.memory_needed = 1;
    QCOMPARE(message(), std::string());
    found.host_needed = 5 * mib;
    found.host_free = 4 * mib;
    QVERIFY(message().find("this machine") != std::string::npos);
    found.host_free = 0;  // not known
    QCOMPARE(message(), std::string());
  }
};

QTEST_GUILESS_MAIN(TestPreflight)
#include "test_preflight.moc"
