// SPDX-License-Identifier: Apache-2.0
#include "model/weights.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/uniform.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <typeinfo>

#include "base/error.h"
#include "model/random_checkpoint.h"

namespace headroom::model {
namespace {

using checkpoint::Checkpoint;

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

void check_shape(const Checkpoint& file, const std::string& name, const std::vector<std::int64_t>& expected) {
  const auto* info = file.find(name);
  if (!info)
    throw input_error(file.path().string(), "tensor " + name + " is missing", shape_text(expected), "no such tensor");
  if (info->shape != expected)
    throw input_error(file.path().string(), "tensor " + name + " has another shape", shape_text(expected),
                      shape_text(info->shape));
}

// Where row `row` of the stored tensor belongs (RowBlock::interleaved_heads).
std::int64_t destination_row(const RowBlock& block, std::int64_t row) {
  if (block.interleaved_heads == 0) return row;
  const std::int64_t head_dim = block.rows / block.interleaved_heads;
  const std::int64_t head = row / head_dim, place = row % head_dim;
  return head * head_dim + place % 2 * (head_dim / 2) + place / 2;
}

// Nearest even; false where the value is beyond bf16's range. The input is finite.
bool to_bf16(const float* in, std::uint16_t* out, std::int64_t count) {
  std::uint32_t overflow = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(in[i]);
    const std::uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    overflow |= static_cast<std::uint32_t>((rounded & 0x7f80) == 0x7f80);
    out[i] = static_cast<std::uint16_t>(rounded);
  }
  return overflow == 0;
}

class Loader {
 public:
  Loader(const Checkpoint& file, c10::Device device, c10::ScalarType dtype)
      : file_(file), device_(device), dtype_(dtype) {}

  // `target` is filled by run().
  void add(at::Tensor& target, const TensorPlan& plan) {
    const bool vector = plan.columns == 0;
    std::int64_t rows = 0;
    for (const RowBlock& block : plan.blocks) {
      check_shape(file_, block.tensor, vector ? std::vector{block.rows} : std::vector{block.rows, plan.columns});
      rows += block.rows;
    }
    // Random weights need no way over the host.
    if (!vector && !device_.is_cpu() && typeid(file_) == typeid(RandomCheckpoint)) {
      tasks_.push_back({rows * plan.columns, [this, &target, &plan, rows] {
                          const auto& random = static_cast<const RandomCheckpoint&>(file_);
                          at::Generator generator = at::globalContext().defaultGenerator(device_).clone();
                          generator.set_current_seed(random.seed_of(plan.blocks.front().tensor));
                          const double bound = RandomCheckpoint::bound(plan.columns);
                          const auto options = at::TensorOptions().device(device_).dtype(dtype_);
                          target = at::empty({rows, plan.columns}, options).uniform_(-bound, bound, generator);
                        }});
      return;
    }
    const std::int64_t columns = vector ? 1 : plan.columns;
    tasks_.push_back({rows * columns, [this, &target, &plan, vector, rows, columns] {
                        at::Tensor made = at::empty({rows, columns}, vector ? at::kFloat : dtype_);
                        std::int64_t row = 0;
                        for (const RowBlock& block : plan.blocks) {
                          fill(made.narrow(0, row, block.rows), block);
                          row += block.rows;
                        }
                        if (plan.plus_one) made.add_(1);
                        if (vector) made = made.view({rows});
                        target = vector && device_.is_cpu() ? made : made.to(device_, dtype_);
                      }});
  }

  // Largest first, so that the threads end together.
  void run(const JobContext& job) {
    std::stable_sort(tasks_.begin(), tasks_.end(),
                     [](const Task& a, const Task& b) { return a.elements > b.elements; });
    std::atomic<std::size_t> next = 0;
    std::atomic<bool> failed = false;
    std::mutex mutex;
    std::exception_ptr first;
    const auto work = [&](bool reports) {
      const at::NoGradGuard no_grad;
      for (std::size_t i; !failed && (i = next++) < tasks_.size();) {
        try {
          job.check();
          tasks_[i].work();
          if (reports)
            job.report({.phase = "load",
                        .done = static_cast<std::int64_t>(i),
                        .total = static_cast<std::int64_t>(tasks_.size())});
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (!failed.exchange(true)) first = std::current_exception();
        }
      }
    };
    {
      std::vector<std::jthread> helpers;
      for (int i = 1; i < at::get_num_threads(); ++i) helpers.emplace_back(work, false);
      work(true);
    }
    if (first) std::rethrow_exception(first);
  }

 private:
  struct Task {
    std::int64_t elements;
    std::function<void()> work;
  };

  void fill(const at::Tensor& target, const RowBlock& block) const {
    const std::int64_t columns = target.size(1), count = target.numel();
    const bool wide = target.scalar_type() == at::kFloat;
    if (wide && block.interleaved_heads == 0) {
      file_.read_f32(block.tensor, {target.data_ptr<float>(), static_cast<std::size_t>(count)});
      return;
    }
    const auto values = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(count));
    file_.read_f32(block.tensor, {values.get(), static_cast<std::size_t>(count)});
    for (std::int64_t row = 0; row < block.rows; ++row) {
      const float* from = values.get() + row * columns;
      const std::int64_t offset = destination_row(block, row) * columns;
      if (wide) {
        std::memcpy(target.data_ptr<float>() + offset, from, static_cast<std::size_t>(columns) * sizeof(float));
      } else if (!to_bf16(from, reinterpret_cast<std::uint16_t*>(target.data_ptr<at::BFloat16>()) + offset, columns)) {
        throw input_error(file_.path().string(), "tensor " + block.tensor + " holds a value that bf16 cannot",
                          "magnitudes below 3.39e38", "a larger one in row " + std::to_string(row));
      }
    }
  }

  const Checkpoint& file_;
  c10::Device device_;
  c10::ScalarType dtype_;
  std::vector<Task> tasks_;
};

}  // namespace

at::Tensor TensorSet::take(const std::string& role, at::IntArrayRef shape) {
  const auto found = tensors_.find(role);
  const auto wrong = [&](const std::string& what) {
    return Error(
        ErrorKind::internal, "the weights " + role + " " + what,
        {place_, shape_text(shape.vec()), found == tensors_.end() ? "" : shape_text(found->second.sizes().vec())});
  };
  if (found == tensors_.end()) throw wrong("are not in the family's plan");
  if (found->second.sizes() != shape) throw wrong("have another shape in the family's plan");
  at::Tensor taken = std::move(found->second);
  tensors_.erase(found);
  return taken;
}

at::Tensor TensorSet::take_if(bool wanted, const std::string& role, at::IntArrayRef shape) {
  return wanted ? take(role, shape) : at::Tensor();
}

void TensorSet::check_all_taken() const {
  if (!tensors_.empty())
    throw Error(ErrorKind::internal, "no part takes the weights " + tensors_.begin()->first, {place_, {}, {}});
}

std::int64_t TensorSet::bytes() const {
  std::int64_t sum = 0;
  for (const auto& [role, tensor] : tensors_) sum += static_cast<std::int64_t>(tensor.nbytes());
  return sum;
}

ModelWeights load_weights(const Checkpoint& file, const ModelPlan& plan, c10::Device device, c10::ScalarType dtype,
                          const JobContext& job) {
  const std::string place = file.path().string();
  ModelWeights weights{TensorSet(place), {}};
  Loader loader(file, device, dtype);
  const auto add = [&](TensorSet& set, const TensorPlans& plans) {
    for (const auto& [role, tensor] : plans) loader.add(set.add(role), tensor);
  };
  add(weights.ends, plan.ends);
  for (std::size_t i = 0; i < plan.layers.size(); ++i)
    weights.layers.emplace_back(place + ": layer " + std::to_string(i));
  for (std::size_t i = 0; i < plan.layers.size(); ++i) add(weights.layers[i], plan.layers[i]);
  loader.run(job);
  return weights;
}

}  // namespace headroom::model
