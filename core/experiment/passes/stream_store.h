// SPDX-License-Identifier: Apache-2.0
// A run's working file: what recorded passes saw of every layer, until it is known which layers the record keeps. It
// also answers for the layers that the record does not hold, as long as it lives.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "attention/analysis.h"
#include "attention/layer_query.h"
#include "record/pyramid.h"
#include "record/types.h"

namespace headroom::experiment {

/// A file without a name: it is gone when it is closed, however the program ends. Reading is safe from any thread.
class ScratchFile {
 public:
  struct Blob {
    std::int64_t offset = 0, bytes = 0;
  };

  /// Throws input errors where the folder cannot be written.
  explicit ScratchFile(const std::filesystem::path& folder);
  ~ScratchFile();
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  /// Throws device errors where the disk is full.
  Blob append(std::span<const std::uint8_t> bytes);
  /// `bytes` as many as the blob has.
  void overwrite(const Blob& blob, std::span<const std::uint8_t> bytes);
  /// Gives the space back; what was appended is gone.
  void clear();
  void read(const Blob& blob, std::span<std::uint8_t> bytes) const;

 private:
  void write_at(std::int64_t offset, std::span<const std::uint8_t> bytes);
  int descriptor_ = -1;
  std::int64_t size_ = 0;
  std::filesystem::path folder_;
};

/// The support bitmaps of one layer of one sparse stream, one of each for every head group.
struct LayerSupports {
  std::vector<SupportBitmap> support, target, wasted;
};

class StreamStore {
 public:
  /// Bitmaps of at most `bitmap_bytes` a method are kept, those of the layers with the worst captured mass.
  StreamStore(const std::filesystem::path& folder, std::int64_t bitmap_bytes);

  /// The disk was full: everything that was put is gone, so that the record has its space, and nothing more is taken.
  bool gave_up() const { return gave_up_; }

  /// What is put and lies on a GPU stays there, up to so many bytes on each, and goes to no file. `host_too`: so does
  /// what lies on the host, for tests.
  void hold_on_devices(std::int64_t bytes, bool host_too = false) {
    room_ = bytes;
    hold_host_ = host_too;
  }
  bool has_room(c10::Device device, std::int64_t bytes) const;
  std::int64_t held_on(c10::Device device) const;

  void put_hidden(int layer, const at::Tensor& hidden);
  /// As it was put, where it is; undefined where there is none.
  at::Tensor hidden(int layer) const;
  /// Hidden states that devices hold are gone.
  void drop_hidden();

  void put_stream(const std::string& method, int layer, const attention::LayerQuery& query,
                  const std::vector<float>& lse);
  bool has_stream(const std::string& method, int layer) const;
  /// nullopt where there is none. Rows from `query_begin` on.
  std::optional<record::LayerStream> stream(const std::string& method, int layer, std::int64_t query_begin = 0) const;

  /// `max` and `mean` [Hq + 1, size, size].
  void put_thumbnails(const std::string& method, int layer, std::span<const float> max, std::span<const float> mean);
  /// One per head (`heads` = Hq + 1); empty where there are none. `length` is the prompt's.
  std::vector<record::Thumbnail> thumbnails(const std::string& method, int layer, std::int64_t heads, std::int64_t size,
                                            std::int64_t length) const;

  void put_supports(const std::string& method, int layer, double captured_mass,
                    const attention::LayerAnalysis& analysis);
  std::optional<LayerSupports> supports(const std::string& method, int layer) const;

  /// What a device made of stored tiles (attention/analysis.h).
  void put_planes(const std::string& method, int layer, const attention::CellPlanes& planes);
  /// Whether there are any, or that one.
  bool has_planes(const std::string& method, int layer, std::optional<record::Plane> plane = {}) const;
  /// Rows of every plane that was put, by plane, then head, from the first on. False where there are none.
  bool planes(const std::string& method, int layer, const record::PyramidSink& sink) const;

 private:
  using Key = std::pair<std::string, int>;
  struct TensorBlob {
    ScratchFile::Blob blob;
    std::vector<std::int64_t> shape;
    at::ScalarType dtype = at::kFloat;
    at::Tensor held;  ///< on its device, in place of the blob
  };
  struct StreamBlobs {
    TensorBlob q, k, lse;
    double scale = 0;
  };
  struct ThumbnailBlobs {
    ScratchFile::Blob max, mean;
  };
  struct SupportBlobs {
    ScratchFile::Blob blob;  ///< bitmaps of all groups: support, then target, then wasted
    std::int64_t length = 0, groups = 1;
    double captured_mass = 1;
    at::Tensor held;  ///< [3, L, row bytes] on its device, in place of the blob
  };

  template <typename Work>
  void put(Work&& work);
  void put_bitmaps(const std::string& method, int layer, SupportBlobs blobs, std::span<const std::uint8_t> bytes);
  TensorBlob put_tensor(const at::Tensor& tensor);
  /// Keeps it where it is if there is room.
  at::Tensor hold(const at::Tensor& tensor);
  void let_go(const at::Tensor& held);
  std::vector<float> floats(const TensorBlob& blob, std::int64_t row_begin) const;

  ScratchFile file_;
  std::int64_t bitmap_bytes_, room_ = 0;
  bool hold_host_ = false;
  std::map<c10::DeviceIndex, std::int64_t> held_;  ///< bytes by device
  std::atomic<bool> gave_up_ = false;
  mutable std::mutex mutex_;  ///< guards the maps: the window may ask while the run goes on
  std::map<int, TensorBlob> hidden_;
  std::map<Key, StreamBlobs> streams_;
  std::map<Key, ThumbnailBlobs> thumbnails_;
  std::map<Key, SupportBlobs> supports_;
  std::map<Key, std::vector<std::pair<record::Plane, TensorBlob>>> planes_;
};

}  // namespace headroom::experiment
