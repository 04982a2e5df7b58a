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

  void put_hidden(int layer, const at::Tensor& hidden);
  /// As it was put, on the CPU; undefined where there is none.
  at::Tensor hidden(int layer) const;

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

 private:
  using Key = std::pair<std::string, int>;
  struct TensorBlob {
    ScratchFile::Blob blob;
    std::vector<std::int64_t> shape;
    at::ScalarType dtype = at::kFloat;
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
  };

  template <typename Work>
  void put(Work&& work);
  void put_bitmaps(const std::string& method, int layer, SupportBlobs blobs, std::span<const std::uint8_t> bytes);
  TensorBlob put_tensor(const at::Tensor& tensor);
  std::vector<float> floats(const TensorBlob& blob, std::int64_t row_begin) const;

  ScratchFile file_;
  std::int64_t bitmap_bytes_;
  std::atomic<bool> gave_up_ = false;
  mutable std::mutex mutex_;  ///< guards the maps: the window may ask while the run goes on
  std::map<int, TensorBlob> hidden_;
  std::map<Key, StreamBlobs> streams_;
  std::map<Key, ThumbnailBlobs> thumbnails_;
  std::map<Key, SupportBlobs> supports_;
};

}  // namespace headroom::experiment
