// SPDX-License-Identifier: Apache-2.0
// How the rows of a prompt are dealt out. On the CPU each thread takes whole pieces through several products and
// row-wise steps, which then stay in its cache and need no barrier between them; the products inside run on one thread
// each. On a GPU the pieces bound the memory of activations.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>

#include "base/progress.h"

namespace headroom::model {

class RowPieces {
 public:
  /// Fewest rows of a piece where there are so many. Libraries multiply fewer by other kernels, whose sums have another
  /// order; from here on a row's bits do not depend on the pieces.
  static constexpr std::int64_t least_rows = 16;

  /// Rows [first, first + rows). On the CPU for as many threads as LibTorch has now.
  RowPieces(std::int64_t first, std::int64_t rows, c10::Device device);

  /// All rows as one piece on the calling thread, where LibTorch's products use every thread: for few rows.
  static RowPieces one(std::int64_t rows);

  std::int64_t count() const { return count_; }
  std::int64_t workers() const { return workers_; }                       ///< pieces at work at one time
  std::int64_t largest() const { return (rows_ + count_ - 1) / count_; }  ///< rows of the largest piece

  /// work(worker, first, rows) for each piece, polling `job` before each; returns when all are done. Worker is 0 …
  /// workers() - 1; pieces of one worker follow each other. Exceptions reach the caller.
  void run(const JobContext& job,
           const std::function<void(std::int64_t worker, std::int64_t first, std::int64_t rows)>& work) const;

 private:
  std::int64_t begin_of(std::int64_t piece) const { return piece * rows_ / count_; }

  RowPieces() = default;

  std::int64_t first_ = 0, rows_ = 0, count_ = 1, workers_ = 1;
  bool spread_ = false;  // over threads
};

}  // namespace headroom::model
