// SPDX-License-Identifier: Apache-2.0
#include "experiment/passes/stream_store.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "base/error.h"

namespace headroom::experiment {
namespace {

std::span<const std::uint8_t> bytes_of(std::span<const float> values) {
  return {reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()};
}

}  // namespace

ScratchFile::ScratchFile(const std::filesystem::path& folder) : folder_(folder) {
  descriptor_ = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor_ < 0) {  // file systems without O_TMPFILE
    std::string name = (folder / ".headroom-XXXXXX").string();
    descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
    if (descriptor_ >= 0) ::unlink(name.c_str());
  }
  if (descriptor_ < 0)
    throw input_error(folder.string(), "cannot be written", "a folder for the run's working file",
                      std::strerror(errno));
}

ScratchFile::~ScratchFile() {
  ::close(descriptor_);
}

void ScratchFile::write_at(std::int64_t offset, std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const auto written = ::pwrite(descriptor_, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0)
      throw device_error("the run's working file in " + folder_.string() + " cannot grow", "free disk space",
                         written < 0 ? std::strerror(errno) : "no progress");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += written;
  }
}

ScratchFile::Blob ScratchFile::append(std::span<const std::uint8_t> bytes) {
  const Blob blob{size_, static_cast<std::int64_t>(bytes.size())};
  write_at(size_, bytes);
  size_ += blob.bytes;
  return blob;
}

void ScratchFile::overwrite(const Blob& blob, std::span<const std::uint8_t> bytes) {
  write_at(blob.offset, bytes);
}

void ScratchFile::clear() {
  size_ = 0;
  // Where this fails the space comes back when the file is closed.
  [[maybe_unused]] const int result = ::ftruncate(descriptor_, 0);
}

void ScratchFile::read(const Blob& blob, std::span<std::uint8_t> bytes) const {
  auto offset = blob.offset;
  while (!bytes.empty()) {
    const auto got = ::pread(descriptor_, bytes.data(), bytes.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw Error(ErrorKind::internal, "the run's working file cannot be read", {folder_.string(), {}, {}});
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
}

StreamStore::StreamStore(const std::filesystem::path& folder, std::int64_t bitmap_bytes)
    : file_(folder), bitmap_bytes_(bitmap_bytes) {}

/// A run is not lost for want of space for its maps.
template <typename Work>
void StreamStore::put(Work&& work) {
  if (gave_up_) return;
  try {
    work();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::device) throw;
    const std::lock_guard lock(mutex_);
    gave_up_ = true;
    hidden_.clear();
    streams_.clear();
    thumbnails_.clear();
    supports_.clear();
    planes_.clear();
    held_.clear();
    file_.clear();
  }
}

bool StreamStore::has_room(c10::Device device, std::int64_t bytes) const {
  return (!device.is_cpu() || hold_host_) && held_on(device) + bytes <= room_;
}

std::int64_t StreamStore::held_on(c10::Device device) const {
  const auto found = held_.find(device.index());
  return found == held_.end() ? 0 : found->second;
}

at::Tensor StreamStore::hold(const at::Tensor& tensor) {
  const auto bytes = static_cast<std::int64_t>(tensor.nbytes());
  if (!has_room(tensor.device(), bytes)) return {};
  held_[tensor.device().index()] += bytes;
  // A part of something larger would keep all of it.
  const bool own = tensor.is_contiguous() && tensor.storage().nbytes() == tensor.nbytes();
  return own ? tensor : tensor.clone(at::MemoryFormat::Contiguous);
}

void StreamStore::let_go(const at::Tensor& held) {
  if (held.defined()) held_[held.device().index()] -= static_cast<std::int64_t>(held.nbytes());
}

StreamStore::TensorBlob StreamStore::put_tensor(const at::Tensor& tensor) {
  if (at::Tensor held = hold(tensor); held.defined()) return {{}, held.sizes().vec(), held.scalar_type(), held};
  const auto host = tensor.to(at::kCPU).contiguous();
  TensorBlob blob;
  blob.shape = host.sizes().vec();
  blob.dtype = host.scalar_type();
  blob.blob =
      file_.append({static_cast<const std::uint8_t*>(host.const_data_ptr()), static_cast<std::size_t>(host.nbytes())});
  return blob;
}

/// Rows are dimension 1 of [heads, rows, width] (or [heads, rows]); bf16 and f32 become fp32.
std::vector<float> StreamStore::floats(const TensorBlob& tensor, std::int64_t row_begin) const {
  const auto element = static_cast<std::int64_t>(c10::elementSize(tensor.dtype));
  const auto heads = tensor.shape[0], rows = tensor.shape[1], width = tensor.shape.size() > 2 ? tensor.shape[2] : 1;
  const auto kept = rows - row_begin;
  std::vector<float> values(static_cast<std::size_t>(heads * kept * width));
  if (tensor.held.defined()) {
    const at::Tensor part = tensor.held.narrow(1, row_begin, kept).to(at::kFloat).to(at::kCPU).contiguous();
    std::copy_n(part.const_data_ptr<float>(), values.size(), values.begin());
    return values;
  }
  std::vector<std::uint8_t> raw(static_cast<std::size_t>(kept * width * element));
  for (std::int64_t head = 0; head < heads; ++head) {
    const auto offset = tensor.blob.offset + (head * rows + row_begin) * width * element;
    file_.read({offset, kept * width * element}, raw);
    float* out = values.data() + head * kept * width;
    if (tensor.dtype == at::kFloat) {
      std::memcpy(out, raw.data(), raw.size());
    } else {  // bf16: the upper half of a float
      for (std::int64_t i = 0; i < kept * width; ++i) {
        std::uint16_t half = 0;
        std::memcpy(&half, raw.data() + 2 * i, 2);
        out[i] = std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16);
      }
    }
  }
  return values;
}

void StreamStore::put_hidden(int layer, const at::Tensor& hidden) {
  put([&] {
    auto blob = put_tensor(hidden);
    const std::lock_guard lock(mutex_);
    hidden_[layer] = std::move(blob);
  });
}

at::Tensor StreamStore::hidden(int layer) const {
  const auto found = hidden_.find(layer);
  if (found == hidden_.end()) return {};
  if (found->second.held.defined()) return found->second.held;
  at::Tensor tensor = at::empty(found->second.shape, at::TensorOptions().dtype(found->second.dtype));
  file_.read(found->second.blob,
             {static_cast<std::uint8_t*>(tensor.data_ptr()), static_cast<std::size_t>(tensor.nbytes())});
  return tensor;
}

void StreamStore::drop_hidden() {
  const std::lock_guard lock(mutex_);
  std::erase_if(hidden_, [&](const auto& one) {
    let_go(one.second.held);
    return one.second.held.defined();
  });
}

void StreamStore::put_stream(const std::string& method, int layer, const attention::LayerQuery& query,
                             const std::vector<float>& lse) {
  if (query.q.scalar_type() != at::kFloat && query.q.scalar_type() != at::kBFloat16)
    throw Error(ErrorKind::internal, "q is neither bf16 nor f32");
  put([&] {
    StreamBlobs blobs;
    blobs.q = put_tensor(query.q);
    blobs.k = put_tensor(query.k);
    blobs.lse.blob = file_.append(bytes_of(lse));
    blobs.lse.shape = {query.num_q_heads(), query.length()};
    blobs.scale = query.scale;
    const std::lock_guard lock(mutex_);
    streams_[{method, layer}] = std::move(blobs);
  });
}

bool StreamStore::has_stream(const std::string& method, int layer) const {
  const std::lock_guard lock(mutex_);
  return streams_.contains({method, layer});
}

std::optional<record::LayerStream> StreamStore::stream(const std::string& method, int layer,
                                                       std::int64_t query_begin) const {
  StreamBlobs blobs;
  {
    const std::lock_guard lock(mutex_);
    const auto found = streams_.find({method, layer});
    if (found == streams_.end()) return std::nullopt;
    blobs = found->second;
  }
  record::LayerStream stream;
  stream.length = blobs.q.shape[1];
  stream.query_begin = std::clamp<std::int64_t>(query_begin, 0, stream.length - 1);
  stream.num_q_heads = blobs.q.shape[0];
  stream.num_kv_heads = blobs.k.shape[0];
  stream.head_dim = blobs.q.shape[2];
  stream.scale = blobs.scale;
  stream.q = floats(blobs.q, stream.query_begin);
  stream.k = floats(blobs.k, 0);
  stream.lse = floats(blobs.lse, stream.query_begin);
  return stream;
}

void StreamStore::put_thumbnails(const std::string& method, int layer, std::span<const float> max,
                                 std::span<const float> mean) {
  put([&] {
    const ThumbnailBlobs blobs{file_.append(bytes_of(max)), file_.append(bytes_of(mean))};
    const std::lock_guard lock(mutex_);
    thumbnails_[{method, layer}] = blobs;
  });
}

std::vector<record::Thumbnail> StreamStore::thumbnails(const std::string& method, int layer, std::int64_t heads,
                                                       std::int64_t size, std::int64_t length) const {
  const std::lock_guard lock(mutex_);
  const auto found = thumbnails_.find({method, layer});
  std::vector<record::Thumbnail> list;
  if (found == thumbnails_.end()) return list;
  const auto cells = size * size, bytes = cells * static_cast<std::int64_t>(sizeof(float));
  if (heads * bytes != found->second.max.bytes || heads * bytes != found->second.mean.bytes)
    throw Error(ErrorKind::internal, "thumbnails have another size");
  for (std::int64_t head = 0; head < heads; ++head) {
    auto& thumbnail = list.emplace_back();
    thumbnail.size = size;
    thumbnail.cell = (length + size - 1) / size;
    const auto read = [&](const ScratchFile::Blob& blob, std::vector<float>& values) {
      values.resize(static_cast<std::size_t>(cells));
      file_.read({blob.offset + head * bytes, bytes},
                 {reinterpret_cast<std::uint8_t*>(values.data()), static_cast<std::size_t>(bytes)});
    };
    read(found->second.max, thumbnail.max);
    read(found->second.mean, thumbnail.mean);
  }
  return list;
}

void StreamStore::put_supports(const std::string& method, int layer, double captured_mass,
                               const attention::LayerAnalysis& analysis) {
  const double kept_mass = std::isnan(captured_mass) ? 1 : captured_mass;
  if (analysis.packed.defined()) {
    SupportBlobs blobs{{}, analysis.packed.size(1), 1, kept_mass, analysis.packed};
    put([&] { put_bitmaps(method, layer, std::move(blobs), {}); });
    return;
  }
  std::vector<std::uint8_t> bytes;
  bytes.reserve(3 * analysis.support.size() * analysis.support.front().bytes().size());
  for (const auto* groups : {&analysis.support, &analysis.target, &analysis.wasted})
    for (const SupportBitmap& bitmap : *groups) bytes.insert(bytes.end(), bitmap.bytes().begin(), bitmap.bytes().end());
  const SupportBlobs blobs{{},
                           analysis.support.front().length(),
                           std::ssize(analysis.support),
                           kept_mass,
                           {}};
  if (bytes.size() != 3 * analysis.support.size() * analysis.support.front().bytes().size())
    throw Error(ErrorKind::internal, "support bitmaps differ in size");
  put([&] { put_bitmaps(method, layer, blobs, bytes); });
}

void StreamStore::put_bitmaps(const std::string& method, int layer, SupportBlobs blobs,
                              std::span<const std::uint8_t> bytes) {
  const auto size_of = [](const SupportBlobs& one) {
    return one.held.defined() ? static_cast<std::int64_t>(one.held.nbytes()) : one.blob.bytes;
  };
  const auto all = blobs.held.defined() ? size_of(blobs) : static_cast<std::int64_t>(bytes.size());
  const std::lock_guard lock(mutex_);
  std::int64_t held = 0;
  auto best = supports_.end();  // of this method: the layer that would be missed least
  for (auto entry = supports_.begin(); entry != supports_.end(); ++entry) {
    if (entry->first.first != method) continue;
    held += size_of(entry->second);
    if (best == supports_.end() || entry->second.captured_mass > best->second.captured_mass) best = entry;
  }
  const bool takes_place = held + all > bitmap_bytes_ && best != supports_.end();
  if (takes_place && (best->second.captured_mass <= blobs.captured_mass || size_of(best->second) != all ||
                      best->second.held.defined() != blobs.held.defined()))
    return;
  if (blobs.held.defined()) {
    if (takes_place) let_go(best->second.held);
    held_[blobs.held.device().index()] += all;
  } else if (takes_place) {
    blobs.blob = best->second.blob;
    file_.overwrite(blobs.blob, bytes);
  } else {
    blobs.blob = file_.append(bytes);
  }
  if (takes_place) supports_.erase(best);
  supports_[{method, layer}] = blobs;
}

std::optional<LayerSupports> StreamStore::supports(const std::string& method, int layer) const {
  const std::lock_guard lock(mutex_);
  const auto found = supports_.find({method, layer});
  if (found == supports_.end()) return std::nullopt;
  LayerSupports supports;
  auto offset = found->second.blob.offset;
  at::Tensor held = found->second.held;
  if (held.defined()) held = held.to(at::kCPU);
  std::int64_t number = 0;
  for (auto* groups : {&supports.support, &supports.target, &supports.wasted}) {
    groups->assign(static_cast<std::size_t>(found->second.groups), SupportBitmap(found->second.length));
    for (SupportBitmap& bitmap : *groups) {
      const auto bytes = bitmap.bytes();
      if (held.defined()) {
        std::memcpy(bytes.data(), held[number++].const_data_ptr(), bytes.size());
        continue;
      }
      file_.read({offset, static_cast<std::int64_t>(bytes.size())}, bytes);
      offset += static_cast<std::int64_t>(bytes.size());
    }
  }
  return supports;
}

void StreamStore::put_planes(const std::string& method, int layer, const attention::CellPlanes& planes) {
  using record::Plane;
  const std::pair<Plane, const at::Tensor*> all[] = {
      {Plane::max, &planes.max},
      {Plane::mean, &planes.sum},
      {Plane::missed_mass, &planes.missed_mass},
      {Plane::m_max, &planes.m_max},
      {Plane::m_mean, &planes.m_sum},
      {Plane::m_missed_mass, &planes.m_missed_mass},
      {Plane::hit, &planes.hit},
      {Plane::missed, &planes.missed},
      {Plane::wasted, &planes.wasted},
      {Plane::selected, &planes.selected}};
  put([&] {
    std::vector<std::pair<Plane, TensorBlob>> blobs;
    for (const auto& [plane, tensor] : all) {
      if (!tensor->defined()) continue;
      // [heads, rows, cells]. Numbers of pairs of cells up to 128 a side fit into 16 bits.
      const std::int64_t side = tensor->size(-1);
      at::Tensor values = tensor->view({-1, side, side});
      if (record::is_count(plane) && values.max().item<int>() <= 0x7fff) values = values.to(at::kShort);
      blobs.emplace_back(plane, put_tensor(values));
    }
    if (blobs.empty()) return;
    const std::lock_guard lock(mutex_);
    planes_[{method, layer}] = std::move(blobs);
  });
}

bool StreamStore::has_planes(const std::string& method, int layer, std::optional<record::Plane> plane) const {
  const std::lock_guard lock(mutex_);
  const auto found = planes_.find({method, layer});
  return found != planes_.end() &&
         (!plane || std::ranges::any_of(found->second, [&](const auto& one) { return one.first == *plane; }));
}

bool StreamStore::planes(const std::string& method, int layer, const record::PyramidSink& sink) const {
  std::vector<std::pair<record::Plane, TensorBlob>> blobs;
  {
    const std::lock_guard lock(mutex_);
    const auto found = planes_.find({method, layer});
    if (found == planes_.end()) return false;
    blobs = found->second;
  }
  for (const auto& [plane, tensor] : blobs) {
    const std::int64_t side = tensor.shape[2], at_once = std::max<std::int64_t>(1, (std::int64_t{1} << 20) / side);
    const at::Tensor here = tensor.held.defined() ? tensor.held.to(at::kCPU) : at::Tensor();
    for (std::int64_t head = 0; head < tensor.shape[0]; ++head) {
      for (std::int64_t first = 0; first < side; first += at_once) {
        const std::int64_t rows = std::min(at_once, side - first);
        at::Tensor part = at::empty({rows, side}, at::TensorOptions().dtype(tensor.dtype));
        if (here.defined())
          part.copy_(here[head].narrow(0, first, rows));
        else
          file_.read({tensor.blob.offset + (head * side + first) * side * part.element_size(),
                      static_cast<std::int64_t>(part.nbytes())},
                     {static_cast<std::uint8_t*>(part.data_ptr()), part.nbytes()});
        part = part.to(at::kDouble);
        const double* values = part.const_data_ptr<double>();
        for (std::int64_t row = 0; row < rows; ++row)
          sink(plane, head, {values + row * side, static_cast<std::size_t>(side)});
      }
    }
  }
  return true;
}

}  // namespace headroom::experiment
