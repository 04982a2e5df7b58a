// SPDX-License-Identifier: Apache-2.0
// A block of CUDA threads on one host thread: each is a fiber; warps take turns in an order of chance and wait for each
// other where the kernels do. Shared memory is full of NaN at first, and again wherever a copy is under way, so that
// what is read too early shows.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <cuda_bf16.h>

namespace headroom::kernels::cuda {

extern char shared_bytes[];  ///< of the block that runs; address 0 is its first byte

namespace host {

constexpr int shared_size = 256 * 1024;

/// Runs `work` as a block's threads. What goes wrong is kept: complaints().
void run_block(int threads, Place block, const std::function<void()>& work);
/// Bank conflicts, copies that are not aligned, arrivals that nobody counts on, waits without end; each once.
const std::vector<std::string>& complaints();
void complain(const std::string& what);

/// Lets other threads go on.
void wait_a_turn();
/// What a lane has laid open for its warp, between two __syncwarp().
struct Open {
  std::uint32_t words[8];
};
Open& own();
const Open& of_lane(int lane);

/// A copy of whole runs, which arrives some turns later.
void start_copy(std::uint32_t to, const void* from, int bytes, std::uint32_t barrier);
void make_barrier(std::uint32_t at, int arrivals);
void arrive(std::uint32_t at, int bytes_to_come);
bool phase_is_over(std::uint32_t at, int parity);
/// Copies of 16 bytes by this thread, which arrive when it waits for them.
void start_piece(std::uint32_t to, const void* from);
void finish_pieces();

/// Element (row, k) of the 16 x 16 left side that the warp's lanes hold in their first four open words.
float left_side(int row, int k);
/// Half `half` of a word as bf16.
float bf16_of(std::uint32_t word, int half);

}  // namespace host
}  // namespace headroom::kernels::cuda
