// SPDX-License-Identifier: Apache-2.0
#include "model/weights.h"

#include <sys/mman.h>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/uniform.h>
#include <c10/core/Event.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <thread>
#include <typeinfo>
#include <unordered_map>

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

// Which of the block's stored rows comes to row `row` (RowBlock::interleaved_heads).
std::int64_t row_before_pairing(const RowBlock& block, std::int64_t row) {
  if (block.interleaved_heads == 0) return row;
  const std::int64_t head_dim = block.rows / block.interleaved_heads, half = head_dim / 2;
  const std::int64_t head = row / head_dim, place = row % head_dim;
  return head * head_dim + place % half * 2 + place / half;
}

// Nearest even; false where the value is beyond bf16's range. The input is finite.
bool to_bf16(std::span<const float> in, std::uint16_t* out) {
  std::uint32_t overflow = 0;
  for (std::size_t i = 0; i < in.size(); ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(in[i]);
    const std::uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    overflow |= static_cast<std::uint32_t>((rounded & 0x7f80) == 0x7f80);
    out[i] = static_cast<std::uint16_t>(rounded);
  }
  return overflow == 0;
}

// The largest magnitude decides. Gigabytes pass here: 32 values at a time, in registers.
bool all_finite_bf16(std::span<const std::uint16_t> values) {
  using Lanes [[gnu::vector_size(16)]] = std::int16_t;
  constexpr std::size_t lanes = sizeof(Lanes) / sizeof(std::int16_t);
  const auto magnitudes = [&values](std::size_t at) {
    Lanes bits;
    std::memcpy(&bits, values.data() + at, sizeof bits);
    return bits & 0x7fff;
  };
  const auto larger = [](Lanes a, Lanes b) { return a > b ? a : b; };
  Lanes a{}, b{}, c{}, d{};  // four, so that none waits for another
  std::size_t at = 0;
  for (; at + 4 * lanes <= values.size(); at += 4 * lanes) {
    a = larger(a, magnitudes(at));
    b = larger(b, magnitudes(at + lanes));
    c = larger(c, magnitudes(at + 2 * lanes));
    d = larger(d, magnitudes(at + 3 * lanes));
  }
  a = larger(larger(a, b), larger(c, d));
  std::int16_t largest = 0;
  for (std::size_t lane = 0; lane < lanes; ++lane) largest = std::max(largest, static_cast<std::int16_t>(a[lane]));
  for (; at < values.size(); ++at) largest = std::max(largest, static_cast<std::int16_t>(values[at] & 0x7fff));
  return largest < 0x7f80;
}

// A gigabyte in pages of 4 KB costs as much time to get as to read. A large tensor on the CPU therefore begins where a
// huge page does: one that began in the middle of one would have its first and last part in small pages, a quarter of a
// matrix of 8 MB. Where the system has no huge pages it does not matter.
at::Tensor empty_tensor(at::IntArrayRef shape, const at::TensorOptions& options) {
#ifdef MADV_HUGEPAGE
  constexpr std::size_t huge = std::size_t{2} << 20;
  const auto bytes = static_cast<std::size_t>(c10::multiply_integers(shape)) * options.dtype().itemsize();
  if (options.device().is_cpu() && bytes >= huge) {
    const std::size_t whole = bytes + huge;
    void* const memory = ::mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED) {
      auto* const begin = reinterpret_cast<std::uint8_t*>(
          (reinterpret_cast<std::uintptr_t>(memory) + huge - 1) / huge * huge);
      ::madvise(begin, bytes / huge * huge, MADV_HUGEPAGE);
      return at::from_blob(begin, shape, [memory, whole](void*) { ::munmap(memory, whole); }, options);
    }
  }
#endif
  return at::empty(shape, options);  // says so where there is no memory
}

// Where a thread makes what goes to a GPU, in the type that it has there: two pieces in turn, one of which is made
// while the other is on its way. Pages that the system may not move can be sent without waiting; where there are none
// left, ordinary ones are.
class Outbox {
 public:
  /// Memory for `target`, a tensor on a GPU, to be filled and then sent.
  at::Tensor host_of(const at::Tensor& target) {
    Slot& slot = slots_[next_];
    wait(slot);
    const auto bytes = static_cast<std::int64_t>(target.nbytes());
    if (!slot.memory.defined() || slot.memory.numel() < bytes) {
      slot.memory.reset();
      slot.memory = memory(bytes, slot.pinned);
    }
    return slot.memory.narrow(0, 0, bytes).view(target.scalar_type()).view(target.sizes());
  }
  void send(const at::Tensor& host, const at::Tensor& target) {
    Slot& slot = slots_[next_];
    next_ = (next_ + 1) % slots_.size();
    target.copy_(host, slot.pinned);
    if (!slot.pinned) return;
    const c10::impl::VirtualGuardImpl device(target.device().type());
    slot.sent = std::make_unique<c10::Event>(target.device().type());
    slot.sent->record(device.getStream(target.device()));
  }
  /// Returns when all is where it should be. Throws what the device did not like.
  void finish() {
    for (Slot& slot : slots_) wait(slot);
  }
  /// LibTorch keeps pinned memory for whoever asks next: nobody does once weights are loaded.
  static void give_back(c10::DeviceType type) {
    try {
      at::getHostAllocator(type)->empty_cache();
    } catch (const c10::Error&) {  // there is none for this kind, so that nothing was pinned
    }
  }

 private:
  struct Slot {
    at::Tensor memory;  // bytes
    bool pinned = false;
    std::unique_ptr<c10::Event> sent;
  };
  static void wait(Slot& slot) {
    if (slot.sent) slot.sent->synchronize();
    slot.sent.reset();
  }
  static at::Tensor memory(std::int64_t bytes, bool& pinned) {
    try {
      pinned = true;
      return at::empty({bytes}, at::TensorOptions().dtype(at::kByte).pinned_memory(true));
    } catch (const c10::Error&) {
      pinned = false;
      return at::empty({bytes}, at::kByte);
    }
  }

  std::array<Slot, 2> slots_;
  std::size_t next_ = 0;
};

// Every tensor is allocated first, on its device; threads then fill it piece by piece, so that what is held beside the
// weights is a few pieces, whatever the tensors' sizes.
class Loader {
 public:
  Loader(const Checkpoint& file, c10::ScalarType dtype) : file_(file), dtype_(dtype) {
    const auto& tensors = file.tensors();
    for (std::size_t i = 0; i < tensors.size(); ++i) places_.emplace(tensors[i].name, i);
  }

  // `target` is made on `device`, and filled by run().
  void add(at::Tensor& target, const TensorPlan& plan, c10::Device device) {
    const bool vector = plan.columns == 0;
    const std::int64_t columns = vector ? 1 : plan.columns;
    const std::size_t pieces_before = pieces_.size();
    std::int64_t rows = 0;
    for (const RowBlock& block : plan.blocks) {
      check_shape(file_, block.tensor, stored_shape(block, plan.columns));
      const auto order = static_cast<std::int64_t>(block.order.size());
      if ((order > 0 && order != block.rows) || (block.interleaved_heads > 0 && block.rows % block.interleaved_heads))
        throw Error(ErrorKind::internal, "the plan of tensor " + block.tensor + " does not fit its rows");
      if (block.interleaved_heads > 0 && block.rows / block.interleaved_heads % 2 != 0)
        throw Error(ErrorKind::internal, "the plan of tensor " + block.tensor + " has heads of odd size");
      const std::int64_t whole = block.transposed ? block.rows / block.shape.front() : 1;  // one matrix at least
      const std::int64_t step = std::max<std::int64_t>(whole, piece_values / columns / whole * whole);
      for (std::int64_t first = 0; first < block.rows; first += step)
        pieces_.push_back(
            {places_.at(block.tensor), &target, &plan, &block, rows, first, std::min(step, block.rows - first)});
      rows += block.rows;
    }
    const auto options = at::TensorOptions().device(device).dtype(vector && device.is_cpu() ? at::kFloat : dtype_);
    target = vector ? empty_tensor({rows}, options) : empty_tensor({rows, columns}, options);
    if (!device.is_cpu()) sent_to_.insert(device.type());
    // Random weights need no way over the host.
    if (!vector && !device.is_cpu() && typeid(file_) == typeid(RandomCheckpoint) &&
        !static_cast<const RandomCheckpoint&>(file_).same_everywhere()) {
      pieces_.resize(pieces_before);
      at::Generator generator = at::globalContext().defaultGenerator(device).clone();
      generator.set_current_seed(static_cast<const RandomCheckpoint&>(file_).seed_of(plan.blocks.front().tensor));
      const double bound = RandomCheckpoint::bound(columns);
      target.uniform_(-bound, bound, generator);
    }
  }

  // In the order of the file, which disks and the system's read-ahead like.
  void run(const JobContext& job) {
    std::stable_sort(pieces_.begin(), pieces_.end(), [](const Piece& a, const Piece& b) {
      return a.tensor != b.tensor ? a.tensor < b.tensor : a.block->first + a.first < b.block->first + b.first;
    });
    // Neighbours are one thread's: the system reads ahead of those who read on where they were.
    std::atomic<std::size_t> next_run = 0;
    std::atomic<bool> failed = false;
    std::mutex mutex;
    std::exception_ptr first;
    const auto work = [&](bool reports) {
      const c10::InferenceMode no_grad;  // a thread has a mode of its own: the tensors may have been made in it
      Room room;
      const auto keep_error = [&](auto&& step) {
        try {
          step();
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (!failed.exchange(true)) first = std::current_exception();
        }
      };
      const std::size_t count = pieces_.size();
      for (std::size_t begin; !failed && (begin = run_pieces * next_run++) < count;) {
        for (std::size_t i = begin; !failed && i < std::min(begin + run_pieces, count); ++i) {
          keep_error([&] {
            job.check();
            fill(pieces_[i], room);
            if (reports)
              job.report({.phase = "load",
                          .done = static_cast<std::int64_t>(i),
                          .total = static_cast<std::int64_t>(count)});
          });
        }
      }
      keep_error([&] { room.outbox.finish(); });
    };
    {
      std::vector<std::jthread> helpers;
      for (int i = 1; i < at::get_num_threads(); ++i) helpers.emplace_back(work, false);
      work(true);
    }
    for (const c10::DeviceType type : sent_to_) Outbox::give_back(type);
    if (first) std::rethrow_exception(first);
  }

 private:
  static constexpr std::int64_t piece_values = std::int64_t{1} << 20;
  static constexpr std::size_t run_pieces = 4;

  struct Piece {  // rows [first, first + rows) of a block
    std::size_t tensor;
    at::Tensor* target;
    const TensorPlan* plan;
    const RowBlock* block;
    std::int64_t offset;  // of the block's rows in the target
    std::int64_t first, rows;
  };
  struct Room {  // of one thread
    std::vector<float> stored, values;
    Outbox outbox;
  };

  // The piece's rows in the target's order, as fp32, into `out`.
  void read(const Piece& piece, Room& room, std::span<float> out) const {
    const RowBlock& block = *piece.block;
    const std::int64_t columns = std::max<std::int64_t>(1, piece.plan->columns), rows = piece.rows;
    if (block.transposed) {
      const std::int64_t height = block.rows / block.shape.front();  // rows of one matrix, its stored columns
      room.stored.resize(out.size());
      file_.read_part(block.tensor, (block.first + piece.first) * columns, room.stored);
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t source = row_before_pairing(block, row);  // whole matrices: heads begin where the piece does
        const float* from = room.stored.data() + source / height * height * columns + source % height;
        float* to = out.data() + row * columns;
        for (std::int64_t i = 0; i < columns; ++i) to[i] = from[i * height];
      }
      return;
    }
    const auto source = [&](std::int64_t row) { return stored_row(block, piece.first + row); };
    for (std::int64_t row = 0; row < rows;) {  // neighbours in the file at a time
      std::int64_t end = row + 1;
      while (end < rows && source(end) == source(end - 1) + 1) ++end;
      file_.read_part(
          block.tensor, source(row) * columns,
          out.subspan(static_cast<std::size_t>(row * columns), static_cast<std::size_t>((end - row) * columns)));
      row = end;
    }
  }

  // Stored as the target is, row for row: read to where it belongs, or goes to a GPU from. `target`: in host memory.
  bool read_in_place(const Piece& piece, const at::Tensor& target) const {
    const RowBlock& block = *piece.block;
    if (piece.plan->plus_one || piece.plan->minus_exp || block.transposed || block.interleaved_heads > 0 ||
        !block.order.empty() || target.scalar_type() != at::kBFloat16 ||
        file_.tensors()[piece.tensor].dtype != checkpoint::DType::bf16 || !file_.is_as_stored(block.tensor))
      return false;
    const std::span<std::uint16_t> values(reinterpret_cast<std::uint16_t*>(target.data_ptr()),
                                          static_cast<std::size_t>(target.numel()));
    const std::int64_t start = (block.first + piece.first) * piece.plan->columns;
    constexpr std::size_t chunk = 1 << 17;  // what was read is looked at while it is in the cache
    for (std::size_t at = 0; at < values.size(); at += chunk) {
      const auto part = values.subspan(at, std::min(chunk, values.size() - at));
      file_.read_bytes(block.tensor, (static_cast<std::uint64_t>(start) + at) * 2,
                       {reinterpret_cast<std::uint8_t*>(part.data()), part.size() * 2});
      if constexpr (std::endian::native == std::endian::big)
        for (std::uint16_t& value : part) value = static_cast<std::uint16_t>(value >> 8 | value << 8);
      if (!all_finite_bf16(part)) return false;  // read again by the way that names the value
    }
    return true;
  }

  void fill(const Piece& piece, Room& room) const {
    const at::Tensor target = piece.target->narrow(0, piece.offset + piece.first, piece.rows);
    if (target.is_cpu()) return make(piece, room, target);
    const at::Tensor host = room.outbox.host_of(target);
    make(piece, room, host);
    room.outbox.send(host, target);
  }

  // `target`: the piece's rows in host memory.
  void make(const Piece& piece, Room& room, const at::Tensor& target) const {
    const TensorPlan& plan = *piece.plan;
    if (read_in_place(piece, target)) return;
    const auto count = static_cast<std::size_t>(target.numel());
    const bool wide = target.scalar_type() == at::kFloat;
    if (!wide) room.values.resize(count);
    const std::span<float> values = wide ? std::span(target.data_ptr<float>(), count) : std::span(room.values);
    read(piece, room, values);
    if (plan.plus_one)
      for (float& value : values) value += 1;
    if (plan.minus_exp)
      for (float& value : values) value = -std::exp(value);
    if (!wide && !to_bf16(values, reinterpret_cast<std::uint16_t*>(target.data_ptr())))
      throw input_error(file_.path().string(), "tensor " + piece.block->tensor + " holds a value that bf16 cannot",
                        "magnitudes below 3.39e38",
                        "a larger one in rows " + std::to_string(piece.first) + " to " +
                            std::to_string(piece.first + piece.rows - 1));
  }

  const Checkpoint& file_;
  c10::ScalarType dtype_;
  std::unordered_map<std::string_view, std::size_t> places_;  // of the file's tensors, by name
  std::vector<Piece> pieces_;
  std::set<c10::DeviceType> sent_to_;  // kinds of GPUs
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

std::vector<std::int64_t> stored_shape(const RowBlock& block, std::int64_t columns) {
  if (!block.shape.empty()) return block.shape;
  return columns == 0 ? std::vector{block.rows} : std::vector{block.rows, columns};
}

std::int64_t stored_row(const RowBlock& block, std::int64_t row) {
  const std::int64_t stored = row_before_pairing(block, row);
  return block.order.empty() ? block.first + stored : block.order[static_cast<std::size_t>(stored)];
}

ModelWeights load_weights(const Checkpoint& file, const ModelPlan& plan, const DeviceParts& parts,
                          c10::ScalarType dtype, const JobContext& job) {
  const std::string place = file.path().string();
  ModelWeights weights{TensorSet(place), {}};
  Loader loader(file, dtype);
  const auto add = [&](TensorSet& set, const TensorPlans& plans, c10::Device device) {
    for (const auto& [role, tensor] : plans) loader.add(set.add(role), tensor, device);
  };
  add(weights.ends, plan.ends, parts.front().device);
  for (std::size_t i = 0; i < plan.layers.size(); ++i)
    weights.layers.emplace_back(place + ": layer " + std::to_string(i));
  for (std::size_t i = 0, part = 0; i < plan.layers.size(); ++i) {
    while (part + 1 < parts.size() && parts[part + 1].first_layer <= static_cast<std::int64_t>(i)) ++part;
    add(weights.layers[i], plan.layers[i], parts[part].device);
  }
  loader.run(job);
  return weights;
}

}  // namespace headroom::model
