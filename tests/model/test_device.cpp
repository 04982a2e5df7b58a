// SPDX-License-Identifier: Apache-2.0
// The device opening and the stage timers, on the CPU and where there is one on a GPU.
#include <ATen/Parallel.h>

#include <QtTest>
#include <chrono>
#include <functional>
#include <limits>
#include <thread>

#include "base/device_request.h"
#include "base/error.h"
#include "base/machine_limits.h"
#include "experiment/passes/stage_timer.h"
#include "model/device.h"
#include "model/placement.h"

using namespace headroom;

class TestDevice : public QObject {
  Q_OBJECT
 private slots:
  // "auto" comes first: it opens the CUDA half before anything else in the process touches LibTorch.
  void auto_says_what_it_chose() {
    const auto choice = model::open_device("auto");
    QVERIFY(!choice.description.empty());
    QVERIFY(choice.total_bytes > 0);
    QCOMPARE(choice.note.empty(), choice.device.is_cuda());
  }

  void cpu_is_always_there() {
    const auto choice = model::open_device("cpu");
    QVERIFY(choice.device.is_cpu());
    QVERIFY(choice.note.empty());
    QVERIFY(choice.description.find("CPU") != std::string::npos);
  }

  void cuda_works_or_says_why_not() {
    try {
      QVERIFY(model::open_device("cuda").device.is_cuda());
      QVERIFY(model::built_with_cuda());
    } catch (const Error& error) {
      QCOMPARE(static_cast<int>(error.kind()), 4);
      QVERIFY(!error.message().empty());
      const bool says = std::string(error.what()).find("built without CUDA") != std::string::npos;
      QCOMPARE(says, !model::built_with_cuda());
    }
  }

  void the_cpu_is_what_the_process_may_use_of_it() {
    const auto limits = machine_limits();
    const auto choice = model::open_device("cpu");
    QCOMPARE(choice.total_bytes, limits.total_bytes);
    QVERIFY(choice.free_bytes > 0 && choice.free_bytes <= choice.total_bytes);
    QVERIFY(choice.description.find(", " + std::to_string(limits.threads) + " core") != std::string::npos);
  }

  void threads_are_those_allowed_unless_the_user_said_otherwise_data() {
    QTest::addColumn<QByteArray>("said");
    QTest::addColumn<int>("expected");
    QTest::addColumn<QString>("note");
    const int allowed = machine_limits().threads;
    QTest::newRow("nothing") << QByteArray() << allowed << QString();
    QTest::newRow("fewer") << QByteArray("1") << 1 << QString();
    QTest::newRow("as many") << QByteArray::number(allowed) << allowed << QString();
    QTest::newRow("a list") << QByteArray::number(allowed) + ",3" << allowed << QString();
    QTest::newRow("more") << QByteArray::number(allowed + 5) << allowed + 5 << QString("more than this process may use");
    for (const char* wrong : {"0", "-1", "two", "2x", " ", "99999999999"})
      QTest::newRow(wrong) << QByteArray(wrong) << allowed << QString("is ignored");
  }
  void threads_are_those_allowed_unless_the_user_said_otherwise() {
    const int allowed = machine_limits().threads;
    QFETCH(QByteArray, said);
    QFETCH(int, expected);
    QFETCH(QString, note);
    at::set_num_threads(allowed + 3);  // as LibTorch chooses where it does not know of a quota
    const auto restore = qScopeGuard([] {
      qunsetenv("OMP_NUM_THREADS");
      model::use_allowed_threads();
    });
    qputenv("OMP_NUM_THREADS", said);
    if (said.isEmpty()) qunsetenv("OMP_NUM_THREADS");
    model::use_allowed_threads();
    QCOMPARE(at::get_num_threads(), expected);
    int elsewhere = 0;
    std::thread([&] { elsewhere = at::get_num_threads(); }).join();
    QCOMPARE(elsewhere, expected);
    const QString found = QString::fromStdString(model::open_device("cpu").note);
    QVERIFY2(note.isEmpty() ? found.isEmpty() : found.contains(note) && found.contains(said), qPrintable(found));
  }

  void refuses_other_names() {
    for (const char* name : {"", "gpu", "cuda:", "cuda:-1", "cuda:x", "cuda:99999999999", "cpu:1", "CUDA", "cuda:128", "cuda:0,", ",cuda:0",
                             "cuda:0,cuda:0", "cuda:0,1", "cuda,cuda:1", "cpu,cuda:0", "auto,cpu", "cuda:all,cuda:1"}) {
      try {
        model::open_device(name);
        QFAIL(name);
      } catch (const Error& error) {
        QCOMPARE(static_cast<int>(error.kind()), 2);
      }
    }
  }

  void requests_for_several() {
    using Kind = DeviceRequest::Kind;
    QCOMPARE(parse_device_request("cuda")->gpus, std::vector<int>{0});
    QCOMPARE(parse_device_request("cuda:3,cuda:0,cuda:127")->gpus, (std::vector<int>{3, 0, 127}));
    QVERIFY(parse_device_request("cuda:all")->kind == Kind::all_gpus);
    model::DeviceChoice gpu;
    gpu.device = c10::Device(c10::DeviceType::CUDA, 0);
    gpu.description = "NVIDIA H200";
    QCOMPARE(model::description_of_all(gpu), std::string("NVIDIA H200"));
    auto second = gpu;
    second.device = c10::Device(c10::DeviceType::CUDA, 2);
    gpu.others = {second};
    QCOMPARE(model::description_of_all(gpu), std::string("2 x NVIDIA H200"));
    QCOMPARE(model::request_for(gpu), std::string("cuda:0,cuda:2"));
    gpu.others[0].description = "NVIDIA H100";
    QCOMPARE(model::description_of_all(gpu), std::string("NVIDIA H200 + NVIDIA H100"));
    QCOMPARE(model::each_of(gpu).size(), std::size_t{2});
    for (const char* several : {"cuda:0,cuda:1", "cuda:all"}) {
      try {
        model::open_one_device(several, "distill");
        QFAIL(several);
      } catch (const Error& error) {
        QVERIFY(error.kind() == ErrorKind::usage);
        QVERIFY2(std::string(error.what()).find("distill") != std::string::npos, error.what());
      }
    }
  }

  // Against every way to cut the layers.
  void layers_are_placed_as_evenly_as_can_be() {
    std::uint64_t state = 7;
    const auto draw = [&](std::int64_t most) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      return static_cast<std::int64_t>((state >> 33) % static_cast<std::uint64_t>(most)) + 1;
    };
    for (int round = 0; round < 300; ++round) {
      const auto layers = static_cast<std::size_t>(draw(9)), count = static_cast<std::size_t>(draw(4));
      model::PlacedBytes bytes{draw(40), {}};
      for (std::size_t i = 0; i < layers; ++i) bytes.layers.push_back(draw(30));
      const std::int64_t each = draw(20);
      std::vector<c10::Device> devices;
      std::vector<std::int64_t> free;
      for (std::size_t i = 0; i < count; ++i) {
        devices.emplace_back(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(i));
        free.push_back(draw(120));
      }
      const auto worst_of = [&](const std::vector<std::size_t>& begins) {
        double worst = 0;
        for (std::size_t i = 0; i < begins.size(); ++i) {
          std::int64_t sum = each + (i == 0 ? bytes.ends : 0);
          for (std::size_t l = begins[i]; l < (i + 1 < begins.size() ? begins[i + 1] : layers); ++l) sum += bytes.layers[l];
          worst = std::max(worst, static_cast<double>(sum) / static_cast<double>(free[i]));
        }
        return worst;
      };
      double best = std::numeric_limits<double>::infinity();
      std::vector<std::size_t> begins = {0};
      const std::function<void()> cut = [&] {
        if (begins.size() == count) {
          best = std::min(best, worst_of(begins));
          return;
        }
        for (std::size_t next = begins.back() + 1; next < layers; ++next) {
          begins.push_back(next);
          cut();
          begins.pop_back();
        }
      };
      cut();
      const auto parts = model::place_layers(bytes, each, devices, free);
      QCOMPARE(parts.empty(), !(best <= 1));
      if (parts.empty()) continue;
      std::vector<std::size_t> found;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        QVERIFY(parts[i].device == devices[i]);
        found.push_back(static_cast<std::size_t>(parts[i].first_layer));
      }
      QCOMPARE(found.size(), count);
      QCOMPARE(worst_of(found), best);
    }
  }

  void timer_adds_up_by_stage_and_layer() {
    const auto timer = experiment::make_stage_timer(c10::Device(c10::DeviceType::CPU), 2);
    const auto work = [&](Stage stage, int layer) {
      StageScope scope(*timer, stage, layer);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    };
    work(Stage::embedding, -1);
    work(Stage::mlp, 1);
    work(Stage::mlp, 1);
    const auto times = timer->finish();
    QVERIFY(times.total[static_cast<std::size_t>(Stage::embedding)] >= 2);
    QVERIFY(times.layers[1][static_cast<std::size_t>(Stage::mlp)] >= 4);
    QCOMPARE(times.layers[0][static_cast<std::size_t>(Stage::mlp)], 0.0);
    QCOMPARE(timer->finish().total[static_cast<std::size_t>(Stage::mlp)], 0.0);

    {
      StageScope scope(*timer, Stage::score, 0);
      std::this_thread::sleep_for(std::chrono::milliseconds(4));
      timer->split(Stage::select, 0.75);
    }
    work(Stage::score, 1);
    const auto split = timer->finish();
    const auto of = [&](int layer, Stage stage) {
      return split.layers[static_cast<std::size_t>(layer)][static_cast<std::size_t>(stage)];
    };
    QVERIFY(of(0, Stage::select) >= 3);
    QVERIFY(std::abs(of(0, Stage::select) / of(0, Stage::score) - 3) < 1e-6);
    QVERIFY(of(1, Stage::score) >= 2);
    QCOMPARE(of(1, Stage::select), 0.0);
  }
};

QTEST_GUILESS_MAIN(TestDevice)
#include "test_device.moc"
