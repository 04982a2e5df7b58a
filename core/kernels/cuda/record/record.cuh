// SPDX-License-Identifier: Apache-2.0
// Figures of rows of attention probabilities: bound by memory, no key is sorted. Sums of a row are taken in one order
// and histograms are of integers, so that results repeat bit for bit.
#pragma once

#include <cuda_bf16.h>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/record/config.h"

namespace headroom::kernels::cuda {

constexpr float log2_e = 1.4426950408889634f, ln_2 = 0.6931471805599453f;
constexpr float mass_unit = 1073741824.0f;  // of a bin's mass: 2^30, so that a row's fits into 32 bits

__device__ __forceinline__ int bin_of(float p) {
  constexpr int lowest = (127 - 32) << 7;
  const int bin = static_cast<int>(__float_as_uint(p) >> 16) - lowest;
  return bin < 0 ? 0 : bin >= record_bins ? record_bins - 1 : bin;
}

/// Sums over the block in warp order; `parts` has room for a number a warp. Every thread gets it.
template <int Threads>
__device__ __forceinline__ float block_sum(float value, float* parts) {
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  float sum = 0;
  for (int warp = 0; warp < Threads / 32; ++warp) sum += parts[warp];
  __syncthreads();
  return sum;
}

/// One block a row and head.
template <int Threads>
__global__ void __launch_bounds__(Threads) row_figures_kernel(const RowFiguresParams p) {
  extern __shared__ __align__(128) char shared_bytes[];
  constexpr int warps = Threads / 32, own = record_bins / Threads;
  auto* const counts = reinterpret_cast<std::uint32_t*>(shared_bytes);  // of each bin
  auto* const masses = counts + record_bins;
  auto* const segment_of = reinterpret_cast<std::uint8_t*>(masses + record_bins);
  auto* const parts = reinterpret_cast<float*>(segment_of + record_bins);  // [8, warps]
  auto* const ends = reinterpret_cast<int*>(parts + 8 * warps);            // the bin where a budget ends, or -1
  auto* const found = reinterpret_cast<float*>(ends + record_most_budgets);  // keys for 3 shares; then bin and part
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const std::int64_t at = blockIdx.x, head = blockIdx.y, keys = p.row_begin + at + 1;
  float* const row = p.values + head * p.head_stride + at * p.stride;
  for (int i = thread; i < 2 * record_bins; i += Threads) counts[i] = 0;
  for (int i = thread; i < record_most_budgets; i += Threads) ends[i] = -1;

  // Log-sum-exp, in powers of two.
  const float scale = p.scale * log2_e;
  float lse = 0;
  if (p.scale != 0) {
    float most = -INFINITY, sum = 0;
    for (std::int64_t key = thread; key < keys; key += Threads) {
      const float x = row[key] * scale;
      if (x > most) {
        sum = sum * exp2f(most - x) + 1;
        most = x;
      } else {
        sum += exp2f(x - most);
      }
    }
    float largest = most;
    for (int step = 16; step > 0; step /= 2) {
      const float other = __shfl_xor_sync(~0u, largest, step);
      if (other > largest) largest = other;
    }
    if (lane == 0) parts[warp] = largest;
    __syncthreads();
    for (int i = 0; i < warps; ++i)
      if (parts[i] > largest) largest = parts[i];
    __syncthreads();
    lse = largest + log2f(block_sum<Threads>(most == -INFINITY ? 0.0f : sum * exp2f(most - largest), parts));
    if (thread == 0 && p.lse) p.lse[head * p.lse_head + p.row_begin + at] = lse * ln_2;
  }
  __syncthreads();

  float entropy = 0, sink = 0, local = 0, low_mass = 0, low_keys = 0;
  for (std::int64_t cell = warp; cell * p.cell < p.stride; cell += warps) {
    const std::int64_t end = (cell + 1) * p.cell < p.stride ? (cell + 1) * p.cell : p.stride;
    float largest = 0, sum = 0;
    for (std::int64_t key = cell * p.cell + lane; key < end; key += 32) {
      if (key >= keys) {
        if (p.scale != 0) row[key] = 0;
        continue;
      }
      float value = row[key];
      if (p.scale != 0) {
        const float below = lse - value * scale;
        value = exp2f(-below);
        row[key] = value;
        entropy += value * below;
      } else if (value > 0) {
        entropy -= value * log2f(value);
      }
      if (value > largest) largest = value;
      sum += value;
      if (key < 4) sink += value;
      if (key + 64 >= keys) local += value;
      const int bin = bin_of(value);
      if (bin == 0) {  // most keys of a trained model: not one address for all of them
        low_mass += value;
        low_keys += 1;
      } else {
        atomicAdd(counts + bin, 1u);
        atomicAdd(masses + bin, static_cast<std::uint32_t>(value * mass_unit + 0.5f));
      }
    }
    if (!p.cell_max || cell >= p.cells) continue;
    for (int step = 16; step > 0; step /= 2) {
      const float other = __shfl_xor_sync(~0u, largest, step);
      if (other > largest) largest = other;
    }
    sum = warp_sum(sum);
    if (lane == 0) {
      const std::int64_t place = (head * p.rows + at) * p.cells + cell;
      p.cell_max[place] = largest;
      p.cell_sum[place] = sum;
    }
  }
  entropy = block_sum<Threads>(entropy, parts) * ln_2;
  sink = block_sum<Threads>(sink, parts);
  local = block_sum<Threads>(local, parts);
  low_mass = block_sum<Threads>(low_mass, parts);
  low_keys = block_sum<Threads>(low_keys, parts);
  if (thread == 0) {
    counts[0] = static_cast<std::uint32_t>(low_keys);
    masses[0] = static_cast<std::uint32_t>(low_mass * mass_unit + 0.5f);
  }
  __syncthreads();

  // Each thread has `own` bins, thread 0 the highest; what lies above them is a sum over the threads before it.
  std::uint32_t own_count = 0, own_mass = 0;
  for (int i = 0; i < own; ++i) {
    own_count += counts[record_bins - 1 - thread * own - i];
    own_mass += masses[record_bins - 1 - thread * own - i];
  }
  std::uint32_t above_count = own_count, above_mass = own_mass;
  for (int step = 1; step < 32; step *= 2) {
    const std::uint32_t count = __shfl_up_sync(~0u, above_count, step), mass = __shfl_up_sync(~0u, above_mass, step);
    if (lane >= step) {
      above_count += count;
      above_mass += mass;
    }
  }
  auto* const warp_counts = reinterpret_cast<std::uint32_t*>(parts);
  auto* const warp_masses = warp_counts + warps;
  if (lane == 31) {
    warp_counts[warp] = above_count;
    warp_masses[warp] = above_mass;
  }
  __syncthreads();
  std::uint32_t total = 0;
  for (int i = 0; i < warps; ++i) {
    if (i < warp) {
      above_count += warp_counts[i];
      above_mass += warp_masses[i];
    }
    total += warp_masses[i];
  }
  above_count -= own_count;
  above_mass -= own_mass;
  constexpr float shares[3] = {0.90f, 0.95f, 0.99f};
  for (int i = 0; i < 3; ++i) {
    std::uint32_t wanted = static_cast<std::uint32_t>(static_cast<float>(total) * shares[i]);
    wanted = wanted < 1 ? 1 : wanted > total ? total : wanted;
    if (total == 0 && thread == 0) found[i] = 1, found[3] = 0, found[4] = 0;
    if (above_mass >= wanted || wanted > above_mass + own_mass) continue;
    std::uint32_t count = above_count, mass = above_mass;
    for (int j = 0; j < own; ++j) {
      const int bin = record_bins - 1 - thread * own - j;
      if (mass + masses[bin] >= wanted) {
        const auto members = static_cast<float>(counts[bin]);
        float needed = ceilf(static_cast<float>(wanted - mass) / static_cast<float>(masses[bin]) * members);
        needed = needed < 1 ? 1 : needed > members ? members : needed;
        found[i] = static_cast<float>(count) + needed;
        if (i == 1) {
          found[3] = static_cast<float>(bin);
          found[4] = needed / members;
        }
        break;
      }
      count += counts[bin];
      mass += masses[bin];
    }
  }
  if (p.segments) {
    for (int i = 0; i < p.num_budgets; ++i) {
      const std::int64_t budget = p.budgets[i];
      if (budget >= keys) break;
      if (above_count >= budget || budget > above_count + own_count) continue;
      std::uint32_t count = above_count;
      for (int j = 0; j < own; ++j) {
        const int bin = record_bins - 1 - thread * own - j;
        if (count + counts[bin] >= budget) {
          ends[i] = bin;
          p.shares[at * p.num_budgets + i] =
              static_cast<float>(budget - count) / static_cast<float>(counts[bin]);
          break;
        }
        count += counts[bin];
      }
    }
  }
  __syncthreads();
  if (thread == 0) {
    float* const to = p.figures + (head * p.rows + at) * record_figures;
    to[0] = entropy;
    to[1] = found[0];
    to[2] = found[1];
    to[3] = found[2];
    to[4] = sink;
    to[5] = local;
  }
  if (!p.segments) return;
  int next = 0;  // the first budget that does not end above the bin
  for (int j = 0; j < own; ++j) {
    const int bin = record_bins - 1 - thread * own - j;
    while (next < p.num_budgets && ends[next] > bin) ++next;
    segment_of[bin] = static_cast<std::uint8_t>(2 * next + (next < p.num_budgets && ends[next] == bin ? 1 : 0));
  }
  __syncthreads();
  for (int i = thread; i < p.num_budgets; i += Threads)
    p.places[at * p.num_budgets + i] = ends[i] < 0 ? 0 : segment_of[ends[i]];

  const int edge = static_cast<int>(found[3]);
  const float edge_part = found[4], small = 0.1f / static_cast<float>(keys);
  float of_support = 0, of_target = 0, missed = 0, chosen = 0, reachable = 0;
  for (std::int64_t key = thread; key < keys; key += Threads) {
    const float value = row[key];
    const int bin = bin_of(value);
    p.segments[at * p.stride + key] = segment_of[bin];
    if (!p.flags) continue;
    std::uint8_t flag = p.flags[at * p.stride + key];
    const float weight = bin > edge ? 1 : bin == edge ? edge_part : 0;
    if (flag & in_support) {
      of_support += 1;
      chosen += weight;
    }
    if (flag & in_target) {
      of_target += 1;
      reachable += weight;
      if (!(flag & in_support)) missed += 1;
    } else if ((flag & in_support) && value < small) {
      p.flags[at * p.stride + key] = static_cast<std::uint8_t>(flag | is_wasted);
    }
  }
  if (!p.flags) return;
  const float sums[record_counts] = {block_sum<Threads>(of_support, parts), block_sum<Threads>(of_target, parts),
                                     block_sum<Threads>(missed, parts), block_sum<Threads>(chosen, parts),
                                     block_sum<Threads>(reachable, parts)};
  if (thread == 0)
    for (int i = 0; i < record_counts; ++i) p.counts[at * record_counts + i] = sums[i];
}

/// One warp a row and head. A lane adds to numbers of its own, a segment each, so that nothing is waited for.
__global__ void __launch_bounds__(32) curve_rows_kernel(const CurveRowsParams p) {
  extern __shared__ __align__(128) char shared_bytes[];
  auto* const sums = reinterpret_cast<float*>(shared_bytes);  // [segment, lane]
  const int lane = static_cast<int>(threadIdx.x);
  const std::int64_t at = blockIdx.x, head = blockIdx.y, keys = p.row_begin + at + 1;
  const float* const row = p.values + head * p.head_stride + at * p.stride;
  const std::uint8_t* const segments = p.segments + at * p.stride;
  for (int i = 0; i < curve_segments; ++i) sums[i * 32 + lane] = 0;
  const bool cells = p.cell_max && head < p.cell_heads;
  const std::int64_t cell = std::int64_t{1} << p.cell_level;
  const int lanes = cell >= 128 ? 32 : static_cast<int>(cell / 4);  // that share one
  float captured = 0, missed = 0, cell_max = 0, cell_sum = 0, cell_missed = 0;
  for (std::int64_t first = 0; first < keys; first += 128) {
    const std::int64_t key = first + lane * 4;
    const float4 value = *reinterpret_cast<const float4*>(row + key);  // 0 behind the row's own key
    const uchar4 segment = *reinterpret_cast<const uchar4*>(segments + key);
    uchar4 flag = {0, 0, 0, 0};
    if (p.flags) flag = *reinterpret_cast<const uchar4*>(p.flags + at * p.stride + key);
    const float values[4] = {value.x, value.y, value.z, value.w};
    const std::uint8_t in[4] = {segment.x, segment.y, segment.z, segment.w}, of[4] = {flag.x, flag.y, flag.z, flag.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (key + i >= keys) continue;
      sums[in[i] * 32 + lane] += values[i];
      if (of[i] & in_support)
        captured += values[i];
      else if (of[i] & in_target) {
        missed += values[i];
        cell_missed += values[i];
      }
      if (values[i] > cell_max) cell_max = values[i];
      cell_sum += values[i];
    }
    if (!cells || ((first + 128) % cell != 0 && cell > 128 && first + 128 < keys)) continue;
    for (int step = lanes / 2; step > 0; step /= 2) {
      const float other = __shfl_xor_sync(~0u, cell_max, step);
      if (other > cell_max) cell_max = other;
      cell_sum += __shfl_xor_sync(~0u, cell_sum, step);
      if (p.cell_missed) cell_missed += __shfl_xor_sync(~0u, cell_missed, step);
    }
    if (lane % lanes == 0 && key < keys) {
      const std::int64_t place = (head * p.rows + at) * p.cells + (key >> p.cell_level);
      p.cell_max[place] = cell_max;
      p.cell_sum[place] = cell_sum;
      if (p.cell_missed) p.cell_missed[place] = cell_missed;
    }
    cell_max = cell_sum = cell_missed = 0;
  }
  __syncwarp();
  // Lane l has segments 4 l … 4 l + 3; the one above them lies behind every budget.
  float own[4], all = 0;
  for (int i = 0; i < 4; ++i) {
    own[i] = 0;
    for (int j = 0; j < 32; ++j) own[i] += sums[(4 * lane + i) * 32 + ((j + lane) & 31)];
    all += own[i];
  }
  float up_to = all;
  for (int step = 1; step < 32; step *= 2) {
    const float other = __shfl_up_sync(~0u, up_to, step);
    if (lane >= step) up_to += other;
  }
  __syncwarp();
  float sum = up_to - all;
  for (int i = 0; i < 4; ++i) {  // what lies before each segment, and the segment
    sums[2 * (4 * lane + i)] = sum;
    sums[2 * (4 * lane + i) + 1] = own[i];
    sum += own[i];
  }
  __syncwarp();
  for (int i = lane; i < p.num_budgets; i += 32) {
    if (p.budgets[i] >= keys) break;
    const int place = p.places[at * p.num_budgets + i];
    const float value = sums[2 * place] + p.shares[at * p.num_budgets + i] * sums[2 * place + 1];
    p.curves[(head * p.rows + at) * p.num_budgets + i] = value < 1 ? value : 1;
  }
  if (!p.captured) return;
  captured = warp_sum(captured);
  missed = warp_sum(missed);
  if (lane == 0) {
    p.captured[(head * p.rows + at) * 2] = captured;
    p.captured[(head * p.rows + at) * 2 + 1] = missed;
  }
}

/// One thread a byte of each bitmap.
__global__ void __launch_bounds__(256) pack_flags_kernel(const PackFlagsParams p) {
  const std::int64_t byte = static_cast<std::int64_t>(blockIdx.x) * 256 + threadIdx.x, row = blockIdx.y;
  if (byte >= p.bytes) return;
  const uint2 eight = *reinterpret_cast<const uint2*>(p.flags + row * p.stride + byte * 8);
  unsigned support = 0, target = 0, wasted = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const unsigned flag = (i < 4 ? eight.x >> (8 * i) : eight.y >> (8 * (i - 4))) & 0xff;
    support |= (flag & 1) << i;
    target |= (flag >> 1 & 1) << i;
    wasted |= (flag >> 2 & 1) << i;
  }
  const std::int64_t place = row * p.row_bytes + byte;
  p.support[place] = static_cast<std::uint8_t>(support);
  p.target[place] = static_cast<std::uint8_t>(target);
  p.wasted[place] = static_cast<std::uint8_t>(wasted);
}

}  // namespace headroom::kernels::cuda
