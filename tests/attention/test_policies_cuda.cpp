// SPDX-License-Identifier: Apache-2.0
// Every policy on a CUDA device against the same policy on the CPU, which the other tests hold against the reference.
// LibTorch before Qt, whose `slots` is a macro.
#include <ATen/core/Tensor.h>

#include "layer_inputs.h"
#include "model/device.h"

#include <QtTest>
#include <algorithm>

#include "base/error.h"

using namespace headroom;
using namespace headroom::attention;
using namespace headroom::attention::testing;

class TestPoliciesCuda : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() {
    try {
      device_ = model::open_device("cuda").device;
    } catch (const Error& error) {
      QSKIP((std::string("no CUDA device: ") + error.what()).c_str());
    }
  }

  void equals_the_cpu_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<QString>("budget");
    for (const char* budget : {"40", "10%", "p0.9"})
      for (const char* name : {"oracle", "sink_window", "random"})
        if (budget[0] != 'p' || std::string(name) == "oracle")
          QTest::addRow("%s %s", name, budget) << QString(name) << QString(budget);
    QTest::addRow("dense") << QString("dense") << QString();
  }
  void equals_the_cpu() {
    QFETCH(QString, name);
    QFETCH(QString, budget);
    for (const Shape& shape : {Shape{1, 3, 3, 64}, Shape{301, 9, 3, 64, at::kBFloat16}, Shape{777, 9, 3, 64},
                               Shape{403, 4, 1, 256, at::kBFloat16}, Shape{400, 2, 2, 16}}) {
      for (const std::int64_t granularity : {1, 16}) {
        if (granularity > 1 && name != "oracle" && name != "random") continue;  // rows of the others share nothing
        const LayerQuery query = make_query(shape, 31);
        LayerQuery moved = query;
        for (at::Tensor* tensor : {&moved.x, &moved.q, &moved.k, &moved.v}) *tensor = tensor->to(device_);
        std::map<std::string, double, std::less<>> parameters;
        if (granularity == 16) parameters["sinks"] = 4;
        const auto policy = policy_of(name.toStdString(), budget.toStdString(), granularity, parameters);
        const auto torch = make_torch_backend();
        const Attended cpu = attend(*policy, query), cuda = attend(*policy, moved, *torch);
        QVERIFY(attend(*policy, moved, *torch).out.equal(cuda.out));
        QCOMPARE(cuda.supports.size(), cpu.supports.size());
        std::size_t different = 0, all = 0;
        for (std::size_t row = 0; row < cpu.supports.size(); ++row) {
          all += cpu.supports[row].size();
          for (const std::int64_t key : cpu.supports[row])
            different += !std::binary_search(cuda.supports[row].begin(), cuda.supports[row].end(), key);
        }
        QVERIFY2(different * 10000 <= all, shape.text().c_str());  // keys of all but equal mass
        const reference::Inputs in = reference::inputs_of(query);
        const auto expected = cpu.supports.empty() ? reference::dense(in) : reference::sparse(in, cuda.supports);
        const double allowed = shape.dtype == at::kBFloat16 ? 0.03 : 2e-5;
        QVERIFY2(max_error(cuda.out, expected.out) < allowed, shape.text().c_str());
      }
    }
  }

 private:
  c10::Device device_ = c10::Device(c10::DeviceType::CPU);
};

QTEST_APPLESS_MAIN(TestPoliciesCuda)
#include "test_policies_cuda.moc"
