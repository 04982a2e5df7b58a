// SPDX-License-Identifier: Apache-2.0
// Linear layers on the CUDA kernels: what the reference they are held against is worth, which shapes they take, and on a
// GPU their results and those of a decoder that uses them.
#include <ATen/core/grad_mode.h>

#include "attention/backend.h"
#include "attention/registry.h"
#include "checkpoint/config_json.h"
#include "experiment/verify/delta_reference.h"
#include "experiment/verify/verify_parts.h"
#include "model/decoder.h"
#include "model/device.h"
#include "model/random_checkpoint.h"

#include <QtTest>
#include <filesystem>

#include "base/error.h"
#include "base/paths.h"

using namespace headroom;
using namespace headroom::experiment;
namespace fs = std::filesystem;

class TestDeltaKernels : public QObject {
  Q_OBJECT

  at::NoGradGuard no_grad_;
  std::optional<c10::Device> gpu_;

  static model::ModelConfig hybrid() {
    const auto described = checkpoint::open_config(*find_data("resources/configs") / "qwen3.5-0.8b.json");
    model::ModelConfig config = model::read_model_config(*described);
    config.layers.resize(4);  // three linear layers, a full one
    config.vocabulary = 300;
    return config;
  }

 private slots:
  void initTestCase() {
    // The module lies beside the program, and this one is a folder below it.
    const fs::path folder = fs::read_symlink("/proc/self/exe").parent_path(), module = "libheadroom_cuda.so";
    std::error_code exists;
    fs::create_symlink(folder.parent_path() / module, folder / module, exists);
    try {
      gpu_ = model::open_device("cuda").device;
    } catch (const Error&) {
      gpu_.reset();
    }
  }

  void the_textbook_is_near_the_recurrence() {
    for (const DeltaCase& test : {DeltaCase{1, 1, 2, false, false, false}, DeltaCase{64, 1, 1, false, false, true},
                                  DeltaCase{65, 2, 4, true, true, true}, DeltaCase{200, 1, 2, false, true, false}}) {
      const DeltaProblem problem = random_delta_problem(test);
      const DeltaResult exact = exact_delta(problem);
      const DeltaTensors found = textbook_delta(problem);
      double largest = 0;
      for (const double value : exact.heads) largest = std::max(largest, std::abs(value));
      const double error = largest_difference(found.heads, exact.heads);
      QVERIFY2(error > 0 && error < 0.03 * largest, (test.text() + ": " + std::to_string(error / largest)).c_str());
      QVERIFY2(largest_difference(found.memory, exact.memory) < 0.05, test.text().c_str());
    }
  }

  void shapes_that_are_not_theirs_are_named() {
    model::DeltaSpec spec = DeltaCase{1, 2, 4}.spec();
    const c10::Device cuda(c10::DeviceType::CUDA, 0);
    spec.kernel = 3;
    const auto refused = model::open_delta_kernels(spec, cuda, at::kBFloat16);
    QVERIFY(!refused.kernels);
    QCOMPARE(QString::fromStdString(refused.why_not),
             QString("the CUDA kernels are for heads of 128 and convolutions over 4 rows, not 128, 128 and 3"));
    spec = DeltaCase{1, 2, 4}.spec();
    QCOMPARE(QString::fromStdString(model::open_delta_kernels(spec, cuda, at::kFloat).why_not),
             QString("the CUDA kernels are for bf16"));
    const model::ModelConfig config = hybrid();
    QCOMPARE(QString::fromStdString(model::linear_layers_text(config, cuda, at::kFloat)),
             QString("linear layers by LibTorch: the CUDA kernels are for bf16"));
    QVERIFY(model::linear_layers_text(config, c10::Device(c10::DeviceType::CPU), at::kBFloat16).empty());
    model::ModelConfig attention = config;
    attention.layers = {config.layers.back()};
    QVERIFY(model::linear_layers_text(attention, cuda, at::kBFloat16).empty());
  }

  void kernels_equal_the_recurrence_data() {
    QTest::addColumn<int>("number");
    for (std::size_t i = 0; i < delta_cases().size(); ++i)
      QTest::addRow("%s", delta_cases()[i].text().c_str()) << static_cast<int>(i);
  }
  void kernels_equal_the_recurrence() {
    QFETCH(int, number);
    if (!gpu_) QSKIP("no CUDA device");
    const DeltaCase test = delta_cases()[static_cast<std::size_t>(number)];
    const auto module = attention::open_cuda_module(*gpu_, at::kBFloat16);
    if (!module.kernels) QSKIP(module.why_not.c_str());
    VerifyRow row;
    judge_delta(test, *module.kernels, *gpu_, row);
    QVERIFY2(row.note.empty() && row.error <= row.allowed,
             (row.note + " " + std::to_string(row.error) + ", allowed " + std::to_string(row.allowed)).c_str());
  }

  // Prefill, and prefill of a part with the rest read into its state, against fp32 on the CPU; bound by bf16 there.
  void a_decoder_on_them_continues_its_prompt() {
    if (!gpu_) QSKIP("no CUDA device");
    const model::ModelConfig config = hybrid();
    const auto module = model::open_delta_kernels(config.layers.front().delta, *gpu_, at::kBFloat16);
    if (!module.kernels) QSKIP(module.why_not.c_str());
    model::RandomCheckpoint file(config, 5);
    file.be_the_same_everywhere();
    std::vector<std::int32_t> ids;
    for (std::int32_t i = 0; i < 333; ++i) ids.push_back(i * i * 7 % 300);
    const auto logits = [&](c10::Device device, c10::ScalarType dtype, std::size_t prefilled) {
      model::DecoderOptions options;
      options.parts = model::on_one_device(device);
      options.dtype = dtype;
      const auto decoder = model::load_decoder(file, config, options, {});
      const auto dense = attention::make_dense_policy();
      const auto backend = attention::make_torch_backend();
      model::PrefillOptions prefill;
      prefill.policy = dense.get();
      prefill.backend = prefill.dense_backend = backend.get();
      prefill.extra_capacity = static_cast<std::int64_t>(ids.size());
      auto result = decoder->prefill(std::span(ids).first(prefilled), prefill);
      if (prefilled == ids.size()) return result.last_logits.to(at::kCPU, at::kFloat);
      const auto rest = decoder->decode(result.state, std::span<const std::int32_t>(ids).subspan(prefilled));
      return rest[rest.size(0) - 1].to(at::kCPU, at::kFloat);
    };
    const c10::Device cpu(c10::DeviceType::CPU);
    const at::Tensor expected = logits(cpu, at::kFloat, ids.size());
    const auto error = [&](const at::Tensor& found) { return found.sub(expected).norm().item<double>(); };
    const double allowed = 2 * error(logits(cpu, at::kBFloat16, ids.size()));
    QVERIFY(allowed > 0);
    for (const std::size_t prefilled : {ids.size(), std::size_t{200}, std::size_t{64}, ids.size() - 1}) {
      const double found = error(logits(*gpu_, at::kBFloat16, prefilled));
      QVERIFY2(found <= allowed, (std::to_string(prefilled) + " rows at first: " + std::to_string(found) + ", allowed " +
                                  std::to_string(allowed)).c_str());
    }
  }
};

QTEST_GUILESS_MAIN(TestDeltaKernels)
#include "test_delta_kernels.moc"
