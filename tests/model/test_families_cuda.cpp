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
#include "model/weights.h"

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

  // Pieces are made in the device's type on the host and sent while the next ones are made: not a bit may differ.
  void weights_are_the_hosts_data() { logits_are_the_cpus_data(); }
  void weights_are_the_hosts() {
    QFETCH(QString, name);
    const auto one = test::read_family_case(name.toStdString());
    std::vector<std::filesystem::path> files = {
        test::write_checkpoint(one, std::filesystem::path(folder_.path().toStdString()) / one.name)};
    if (one.has_gguf()) files.push_back(one.folder / "model.gguf");
    const c10::InferenceMode no_autograd;
    at::set_num_threads(4);
    for (const auto& path : files) {
      const auto file = checkpoint::open_checkpoint(path);
      const auto config = model::read_model_config(*file);
      const auto plan = model::find_family(config.architecture, path.string()).plan(*file, config);
      for (const c10::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
        auto here = model::load_weights(*file, plan, model::on_one_device(at::kCPU), dtype, {});
        auto there = model::load_weights(*file, plan, model::on_one_device(device_), dtype, {});
        const auto compare = [&](const model::TensorPlans& tensors, model::TensorSet& ours, model::TensorSet& theirs) {
          for (const auto& [role, tensor] : tensors) {
            std::int64_t rows = 0;
            for (const auto& block : tensor.blocks) rows += block.rows;
            const std::vector<std::int64_t> shape =
                tensor.columns > 0 ? std::vector{rows, tensor.columns} : std::vector{rows};
            const at::Tensor found = theirs.take(role, shape);
            QVERIFY2(found.device() == device_ && found.scalar_type() == dtype, role.c_str());
            QVERIFY2(found.cpu().equal(ours.take(role, shape).to(dtype)), role.c_str());
          }
        };
        compare(plan.ends, here.ends, there.ends);
        for (std::size_t i = 0; i < plan.layers.size(); ++i) compare(plan.layers[i], here.layers[i], there.layers[i]);
      }
    }
  }

 private:
  c10::Device device_ = c10::Device(c10::DeviceType::CPU);
};

QTEST_APPLESS_MAIN(TestFamiliesCuda)
#include "test_families_cuda.moc"
