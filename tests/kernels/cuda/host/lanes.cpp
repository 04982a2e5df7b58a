// SPDX-License-Identifier: Apache-2.0
#include "lanes.h"

#include <ucontext.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <map>
#include <random>

Place threadIdx, blockIdx;

namespace headroom::kernels::cuda {

alignas(1024) char shared_bytes[host::shared_size];

namespace host {
namespace {

constexpr int most_threads = 512, turns_without_progress = 2000;

struct Meeting {
  int here = 0;
  long past = 0;
};
struct Barrier {
  int arrivals = 0, missing = 0;
  long bytes = 0;
  int phase = 0;
};
struct Run {
  std::uint32_t to;
  const void* from;
  int bytes;
  std::uint32_t barrier;
  int turns;
};

struct Block {
  int threads = 0, current = 0;
  long progress = 0;
  bool over[most_threads] = {}, stuck = false;
  ucontext_t scheduler, fibers[most_threads];
  std::vector<char> stacks[most_threads];
  Open open[most_threads];
  std::vector<std::pair<std::uint32_t, const void*>> pieces[most_threads];
  Meeting warps[most_threads / 32], all;
  std::map<std::uint32_t, Barrier> barriers;
  std::deque<Run> runs;
  std::function<void()> work;
  std::mt19937 chance{1};
} block;
std::vector<std::string> complained;

void meet(Meeting& meeting, int count) {
  const long past = meeting.past;
  ++block.progress;
  if (++meeting.here == count) {
    meeting.here = 0;
    ++meeting.past;
    return;
  }
  while (meeting.past == past) wait_a_turn();
}

void settle(Barrier& barrier) {
  if (barrier.missing < 0) complain("an arrival that no barrier counts on");
  if (barrier.missing != 0 || barrier.bytes != 0) return;
  barrier.missing = barrier.arrivals;
  ++barrier.phase;
  ++block.progress;
}

void begin_fiber() {
  block.work();
  block.over[block.current] = true;
  ++block.progress;
  while (true) wait_a_turn();
}

void turn_of_warp(int warp) {
  for (int thread = warp * 32; thread < std::min(block.threads, warp * 32 + 32); ++thread) {
    if (block.over[thread]) continue;
    block.current = thread;
    threadIdx = {static_cast<unsigned>(thread), 0, 0};
    swapcontext(&block.scheduler, &block.fibers[thread]);
  }
}

void turn_of_copies() {
  for (auto run = block.runs.begin(); run != block.runs.end();) {
    ++block.progress;
    if (--run->turns > 0) {
      ++run;
      continue;
    }
    std::memcpy(shared_bytes + run->to, run->from, static_cast<std::size_t>(run->bytes));
    Barrier& barrier = block.barriers.at(run->barrier);
    barrier.bytes -= run->bytes;
    settle(barrier);
    run = block.runs.erase(run);
  }
}

}  // namespace

void wait_a_turn() {
  swapcontext(&block.fibers[block.current], &block.scheduler);
}

void run_block(int threads, Place place, const std::function<void()>& work) {
  block.threads = threads;
  block.work = work;
  block.barriers.clear();
  block.runs.clear();
  block.all = {};
  std::fill(std::begin(block.warps), std::end(block.warps), Meeting{});
  blockIdx = place;
  std::memset(shared_bytes, 0xff, shared_size);
  for (int i = 0; i < threads; ++i) {
    block.over[i] = false;
    block.pieces[i].clear();
    block.stacks[i].resize(128 * 1024);
    getcontext(&block.fibers[i]);
    block.fibers[i].uc_stack.ss_sp = block.stacks[i].data();
    block.fibers[i].uc_stack.ss_size = block.stacks[i].size();
    block.fibers[i].uc_link = &block.scheduler;
    makecontext(&block.fibers[i], begin_fiber, 0);
  }
  std::vector<int> warps(static_cast<std::size_t>((threads + 31) / 32));
  for (std::size_t i = 0; i < warps.size(); ++i) warps[i] = static_cast<int>(i);
  for (int idle = 0; !std::all_of(block.over, block.over + threads, [](bool over) { return over; });) {
    const long before = block.progress;
    std::shuffle(warps.begin(), warps.end(), block.chance);
    for (const int warp : warps)
      if (block.chance() % 4 != 0) turn_of_warp(warp);  // some stay behind
    turn_of_copies();
    idle = block.progress == before ? idle + 1 : 0;
    if (idle > turns_without_progress) {
      complain("threads wait for each other without end");
      return;
    }
  }
}

const std::vector<std::string>& complaints() {
  return complained;
}
void complain(const std::string& what) {
  if (std::find(complained.begin(), complained.end(), what) == complained.end()) complained.push_back(what);
}

Open& own() {
  return block.open[block.current];
}
const Open& of_lane(int lane) {
  return block.open[block.current / 32 * 32 + lane];
}

void start_copy(std::uint32_t to, const void* from, int bytes, std::uint32_t barrier) {
  if (to % 16 != 0 || reinterpret_cast<std::uintptr_t>(from) % 16 != 0 || bytes % 16 != 0)
    complain("a run of bytes is not aligned");
  std::memset(shared_bytes + to, 0xff, static_cast<std::size_t>(bytes));
  block.runs.push_back({to, from, bytes, barrier, 20 + static_cast<int>(block.chance() % 60)});
}
void make_barrier(std::uint32_t at, int arrivals) {
  block.barriers[at] = {.arrivals = arrivals, .missing = arrivals};
}
void arrive(std::uint32_t at, int bytes_to_come) {
  Barrier& barrier = block.barriers.at(at);
  barrier.bytes += bytes_to_come;
  --barrier.missing;
  settle(barrier);
}
bool phase_is_over(std::uint32_t at, int parity) {
  return (block.barriers.at(at).phase & 1) != parity;
}
void start_piece(std::uint32_t to, const void* from) {
  if (to % 16 != 0 || reinterpret_cast<std::uintptr_t>(from) % 16 != 0) complain("a copied piece is not aligned");
  block.pieces[block.current].emplace_back(to, from);
}
void finish_pieces() {
  for (const auto& [to, from] : block.pieces[block.current]) std::memcpy(shared_bytes + to, from, 16);
  block.pieces[block.current].clear();
}

float left_side(int row, int k) {
  return bf16_of(of_lane(row % 8 * 4 + k % 8 / 2).words[k / 8 * 2 + row / 8], k % 2);
}
float bf16_of(std::uint32_t word, int half) {
  return __uint_as_float(half ? word & 0xffff0000u : word << 16);
}

}  // namespace host
}  // namespace headroom::kernels::cuda

namespace host = headroom::kernels::cuda::host;

void __syncthreads() {
  host::meet(host::block.all, host::block.threads);
}
void __syncwarp() {
  host::meet(host::block.warps[host::block.current / 32], 32);
}
int own_lane() {
  return host::block.current % 32;
}
float from_lane(float value, int lane) {
  std::memcpy(&host::own().words[7], &value, sizeof value);
  __syncwarp();
  std::memcpy(&value, &host::of_lane(lane).words[7], sizeof value);
  __syncwarp();
  return value;
}
