// SPDX-License-Identifier: Apache-2.0
// Every family on a CUDA device: weights that are read inside an inference mode, as commands do it, give the CPU's logits.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "family_case.h"
#include "model/decoder.h"
#include "model/device.h"

#include <QtTest>

using namespace headroom;

class TestFamiliesCuda : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;

 private slots:
  void initTestCase() {
    try {
      device_ = model::open_device("cuda").device;
    } catch (const Error& error) {
      QSKIP((std::string("no CUDA device: ") + error.what()).c_str());
    }
  }

  void logits_are_the_cpus_data() {
    QTest::addColumn<QString>("name");
    for (const auto& name : test::family_case_names()) QTest::addRow("%s", name.c_str()) << QString::fromStdString(name);
  }
  void logits_are_the_cpus() {
    QFETCH(QString, name);
    const auto one = test::read_family_case(name.toStdString());
    const auto file = checkpoint::open_checkpoint(
        test::write_checkpoint(one, std::filesystem::path(folder_.path().toStdString()) / one.name));
    const at::Tensor expected = model::load_decoder(*file, {.dtype = at::kFloat}, {})->logits(one.ids, {});
    const c10::InferenceMode no_autograd;
    at::set_num_threads(4);  // several read at once
    model::DecoderOptions options;
    options.parts = model::on_one_device(device_);
    options.dtype = at::kFloat;
    const at::Tensor found = model::load_decoder(*file, options, {})->logits(one.ids, {}).to(at::kCPU);
    QVERIFY((found - expected).norm().item<double>() < 1e-4 * expected.norm().item<double>());
  }

 private:
  c10::Device device_ = c10::Device(c10::DeviceType::CPU);
};

QTEST_APPLESS_MAIN(TestFamiliesCuda)
#include "test_families_cuda.moc"
