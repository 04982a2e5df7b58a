// SPDX-License-Identifier: Apache-2.0
// q, k and log-sum-exp of a long prompt, read where a tile needs them: blocks of rows as the file holds them (float16
// stays float16), within one bound for the whole program.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "record/types.h"

namespace headroom::record {

class StreamWindow {
 public:
  enum class Part { q, k, lse };
  struct Shape {
    std::int64_t heads = 0, rows = 0, width = 1;
    std::int64_t block_rows = 256;  ///< read at a time
    bool halves = false;            ///< float16
  };
  /// Fills `out` (float16 as its 16 bits, or float) with rows [begin, begin + rows) of a head.
  using Read = std::function<void(Part part, std::int64_t head, std::int64_t begin, std::int64_t rows, void* out)>;

  StreamWindow(Shape q, Shape k, Shape lse, Read read, std::string place);
  ~StreamWindow();
  StreamWindow(const StreamWindow&) = delete;
  StreamWindow& operator=(const StreamWindow&) = delete;

  /// Copies rows [begin, begin + rows) of a head as floats to `out` [rows, width]. Throws input errors for damaged data
  /// and values that are not finite. Safe from any thread; it may read the file, so not on the window's.
  void copy(Part part, std::int64_t head, std::int64_t begin, std::int64_t rows, float* out) const;

  /// Whether a row is held already: copying it then reads nothing.
  bool is_here(Part part, std::int64_t head, std::int64_t row) const;

  /// What all windows of the program keep together, and how much that is now; bytes.
  static constexpr std::size_t most_bytes = std::size_t{96} << 20;
  static std::size_t held_bytes();

 private:
  struct Block;
  const Shape& shape(Part part) const { return shapes_[static_cast<std::size_t>(part)]; }
  std::shared_ptr<const Block> block(Part part, std::int64_t head, std::int64_t number) const;

  Shape shapes_[3];
  Read read_;
  std::string place_;
  std::uint64_t id_;  ///< of this window among all
};

/// Rows [begin, begin + rows) of q (numbered as the prompt's), k or lse of a head: a pointer into the stream where that
/// is in memory, else into `scratch`, which is filled.
const float* query_rows(const LayerStream& stream, std::int64_t head, std::int64_t begin, std::int64_t rows,
                        std::vector<float>& scratch);
const float* key_rows(const LayerStream& stream, std::int64_t kv_head, std::int64_t begin, std::int64_t rows,
                      std::vector<float>& scratch);
const float* lse_rows(const LayerStream& stream, std::int64_t head, std::int64_t begin, std::int64_t rows,
                      std::vector<float>& scratch);

}  // namespace headroom::record
