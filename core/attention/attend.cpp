// SPDX-License-Identifier: Apache-2.0
#include "attention/attend.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "attention/parallel.h"
#include "base/error.h"
#include "kernels/cpu/select/supports.h"

namespace headroom::attention {
namespace {

namespace cpu = kernels::cpu;

/// The whole history of rows [begin, end) as a support.
SupportTile whole_history(std::int64_t begin, std::int64_t end, std::int64_t groups, c10::Device device) {
  const auto options = at::TensorOptions().dtype(at::kInt).device(device);
  const at::Tensor row = at::arange(begin, end, options);
  const at::Tensor keys = at::arange(end, options).unsqueeze(0).expand({end - begin, end});
  SupportTile tile;
  tile.row_begin = begin;
  tile.row_end = end;
  tile.groups = groups;
  tile.indices = keys.masked_fill(keys > row.unsqueeze(1), -1).unsqueeze(0).expand({groups, end - begin, end});
  tile.counts = (row + 1).unsqueeze(0).expand({groups, end - begin});
  return tile;
}

class Attention {
 public:
  Attention(const PreparedLayer& layer, StageClock& clock, const SupportSink& sink, const JobContext& job)
      : layer_(layer), query_(layer.query()), clock_(clock), sink_(sink), job_(job), out_(layer.make_output()) {}

  at::Tensor run(const Selection& selection) {
    std::visit([&](const auto& chosen) { attend(chosen); }, selection);
    return out_;
  }

 private:
  void attend(const WholeHistory&) { dense(query_.length()); }

  void attend(const RankedKeys& ranked) {
    const std::int64_t tile = layer_.tile_rows(ranked.rule.granularity);
    const std::int64_t whole = layer_.rows_within_budget(ranked.rule);
    dense_rows(whole, ranked.scores->groups());
    in_runs(whole, tile,
            [&](std::int64_t begin, std::int64_t end) { return layer_.select(ranked, begin, end, clock_, job_); });
  }

  void attend(const WrittenKeys& written) {
    const std::int64_t length = query_.length(), tile = layer_.tile_rows(written.shared_rows);
    const std::int64_t whole = written.whole_rows >= length ? length : written.whole_rows / tile * tile;
    dense_rows(whole, written.groups);
    in_runs(whole, tile, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t width = std::min(written.most, end);
      const bool on_device = written.window && written.window->sinks < width && !query_.q.is_cpu();
      return on_device ? window_rows(begin, end, written.window->sinks, width) : write_rows(begin, end, written, width);
    });
  }

  void attend(const BlockPattern& pattern) {
    const std::vector<BlockLists> groups = lists_of(pattern);
    WrittenKeys expanded;
    expanded.groups = pattern.groups;
    expanded.shared_rows = pattern.block;
    expanded.write = [&](std::int64_t group, const cpu::RowSupports& rows) {
      cpu::expand_blocks(groups[static_cast<std::size_t>(group)].view, rows);
    };
    in_runs(0, layer_.tile_rows(pattern.block), [&](std::int64_t begin, std::int64_t end) {
      std::int64_t width = 1;
      for (const BlockLists& group : groups) width = std::max(width, cpu::expanded_width(group.view, begin, end));
      return write_rows(begin, end, expanded, width);
    });
  }

  /// The key blocks of every query block of one head group.
  struct BlockLists {
    std::vector<std::int32_t> blocks, counts;
    cpu::BlockLists view;
  };
  std::vector<BlockLists> lists_of(const BlockPattern& pattern) const {
    const StageScope scope(clock_, Stage::select, query_.layer);
    const std::int64_t blocks = (query_.length() + pattern.block - 1) / pattern.block;
    std::vector<std::vector<std::int32_t>> chosen(static_cast<std::size_t>(pattern.groups * blocks));
    parallel_tasks(job_)(std::ssize(chosen), [&](std::int64_t i) {
      auto& list = chosen[static_cast<std::size_t>(i)] = pattern.key_blocks(i / blocks, i % blocks);
      list.push_back(static_cast<std::int32_t>(i % blocks));  // named twice counts once
    });
    std::vector<BlockLists> groups(static_cast<std::size_t>(pattern.groups));
    for (std::int64_t group = 0; group < pattern.groups; ++group) {
      const auto first = chosen.begin() + group * blocks, last = first + blocks;
      BlockLists& lists = groups[static_cast<std::size_t>(group)];
      std::size_t width = 0;
      for (auto list = first; list != last; ++list) width = std::max(width, list->size());
      for (auto list = first; list != last; ++list) {
        lists.counts.push_back(static_cast<std::int32_t>(list->size()));
        list->resize(width);
        lists.blocks.insert(lists.blocks.end(), list->begin(), list->end());
      }
      lists.view = {pattern.block,      pattern.block, blocks, lists.blocks.data(), static_cast<std::int64_t>(width),
                    lists.counts.data()};
    }
    return groups;
  }

  void dense(std::int64_t rows) {
    const StageScope scope(clock_, Stage::attention, query_.layer);
    layer_.dense(rows, out_, {}, job_);
  }

  void dense_rows(std::int64_t rows, std::int64_t groups) {
    if (rows == 0) return;
    dense(rows);
    constexpr std::int64_t rows_at_once = 256;
    for (std::int64_t begin = 0; sink_ && begin < rows; begin += rows_at_once)
      sink_(whole_history(begin, std::min(begin + rows_at_once, rows), groups, query_.q.device()));
  }

  template <typename Select>
  void in_runs(std::int64_t first, std::int64_t tile, Select&& select) {
    for (std::int64_t begin = first; begin < query_.length();) {
      job_.check();
      const std::int64_t end = std::min(begin + layer_.run_rows(begin, tile), query_.length());
      const SupportTile support = select(begin, end);
      {
        const StageScope scope(clock_, Stage::attention, query_.layer);
        layer_.sparse(support, out_, job_);
      }
      if (sink_) sink_(support);
      begin = end;
    }
  }

  /// Sinks and window by tensor operators: key j of row t is j, or from the sinks on t + 1 - width + j.
  SupportTile window_rows(std::int64_t begin, std::int64_t end, std::int64_t sinks, std::int64_t width) {
    const StageScope scope(clock_, Stage::select, query_.layer);
    const auto options = query_.q.options().dtype(at::kInt);
    const at::Tensor row = at::arange(begin, end, options).unsqueeze(1), key = at::arange(width, options).unsqueeze(0);
    // Rows that see no more than `width` keys have them all.
    const at::Tensor skipped = (row + (1 - width)).clamp_min(0);
    const at::Tensor keys = key + skipped;
    keys.narrow(1, 0, sinks).copy_(key.narrow(1, 0, sinks).expand({end - begin, sinks}));
    keys.masked_fill_(key > row, -1);
    SupportTile tile;
    tile.row_begin = begin;
    tile.row_end = end;
    tile.indices = keys.unsqueeze(0);
    tile.counts = (row + 1).clamp_max(width).reshape({1, end - begin});
    return tile;
  }

  /// Rows that are written on the host, by all threads.
  SupportTile write_rows(std::int64_t begin, std::int64_t end, const WrittenKeys& written, std::int64_t width) {
    const StageScope scope(clock_, Stage::select, query_.layer);
    const std::int64_t rows = end - begin, at_once = layer_.tile_rows(written.shared_rows);
    const std::int64_t chunks = (rows + at_once - 1) / at_once;
    SupportTile tile;
    tile.row_begin = begin;
    tile.row_end = end;
    tile.groups = written.groups;
    tile.shared_rows = written.shared_rows;
    tile.indices = at::empty({tile.groups, rows, width}, at::kInt);
    tile.counts = at::empty({tile.groups, rows}, at::kInt);
    auto* indices = tile.indices.mutable_data_ptr<std::int32_t>();
    auto* counts = tile.counts.mutable_data_ptr<std::int32_t>();
    parallel_tasks(job_)(tile.groups * chunks, [&](std::int64_t task) {
      const std::int64_t group = task / chunks, from = task % chunks * at_once, to = std::min(from + at_once, rows);
      const std::int64_t first = group * rows + from;
      written.write(group, {begin + from, begin + to, indices + first * width, width, counts + first});
      for (std::int64_t row = first; row < first + to - from; ++row) {
        if (counts[row] < 0 || counts[row] > width)
          throw Error(ErrorKind::internal, "a policy wrote more keys than it announced");
        std::fill(indices + row * width + counts[row], indices + (row + 1) * width, -1);
      }
    });
    // `most` may be far above what these rows have.
    const auto widest = static_cast<std::int64_t>(*std::max_element(counts, counts + tile.counts.numel()));
    if (widest < width) tile.indices = tile.indices.narrow(2, 0, std::max<std::int64_t>(1, widest)).contiguous();
    if (!query_.q.is_cpu()) {
      tile.indices = tile.indices.to(query_.q.device());
      tile.counts = tile.counts.to(query_.q.device());
    }
    return tile;
  }

  const PreparedLayer& layer_;
  const LayerQuery& query_;
  StageClock& clock_;
  const SupportSink& sink_;
  const JobContext& job_;
  at::Tensor out_;
};

}  // namespace

at::Tensor attend(const Policy& policy, const PreparedLayer& layer, StageClock& clock, const SupportSink& sink,
                  const JobContext& job) {
  const c10::InferenceMode guard;
  job.check();
  return Attention(layer, clock, sink, job).run(policy.select(layer, clock, job));
}

at::Tensor attend(const Policy& policy, const Backend& backend, const LayerQuery& query, StageClock& clock,
                  const SupportSink& sink, const JobContext& job) {
  check_query(query);
  const c10::InferenceMode guard;
  std::unique_ptr<PreparedLayer> layer;
  {
    const StageScope scope(clock, Stage::attention, query.layer);
    layer = backend.prepare(query, job);
  }
  return attend(policy, *layer, clock, sink, job);
}

}  // namespace headroom::attention
