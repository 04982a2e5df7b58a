// SPDX-License-Identifier: Apache-2.0
#include "touch_record.h"

#include "record/run_record.h"
#include "record/tiles.h"

namespace headroom::test {

using namespace record;

std::int64_t touch_everything(const std::filesystem::path& file) {
  const auto record = RunRecord::open(file);
  std::int64_t seen = record->length() + static_cast<std::int64_t>(record->tokens().text.size());
  const auto count = [&](const auto& values) { seen += static_cast<std::int64_t>(values.size()); };
  const int top = num_levels(record->length()) - 1;
  for (const MethodSummary& method : record->methods()) {
    if (const auto statistics = record->head_statistics(method.id)) count(statistics->values);
    if (const auto curves = record->mass_curves(method.id)) count(curves->values);
    for (int layer = 0; layer < record->meta().num_layers(); ++layer) {
      record->availability(method.id, layer);
      for (int head = 0; head <= record->meta().layer(layer).num_q_heads; ++head) {
        if (const auto thumbnail = record->thumbnail(method.id, layer, head)) count(thumbnail->max);
        count(record->mass_received(method.id, layer, head));
      }
      if (const auto stream = record->layer_stream(method.id, layer)) {
        for (const TileAddress address : {TileAddress{0, 0, 0}, TileAddress{top, 0, 0}})
          count(compute_tile(*stream, {}, address).max);
        count(probability_row(*stream, {HeadSelector::Kind::head, 0}, record->length() - 1));
        seen += rank_in_row(*stream, {}, record->length() - 1, 0);
      }
      const LayerMeta& sizes = record->meta().layer(layer);
      for (const int level : {0, 1, top})
        for (const HeadSelector head : {HeadSelector{}, HeadSelector{HeadSelector::Kind::head, 0}})
          if (const auto tile = record->stored_tile(method.id, layer, head, {level, 0, 0})) count(tile->max);
      for (int group = 0; group < num_support_groups(method.scope, sizes.num_q_heads, sizes.num_kv_heads); ++group) {
        count(record->selection_frequency(method.id, layer, group));
        const auto support = record->supports(method.id, layer, SupportKind::support, group);
        const auto target = record->supports(method.id, layer, SupportKind::target, group);
        const auto wasted = record->supports(method.id, layer, SupportKind::wasted, group);
        if (support && target && wasted) count(compute_overlay(*support, *target, wasted.get(), {top, 0, 0}).hit);
        for (const int level : {0, 1, top})
          if (const auto tile = record->stored_overlay(method.id, layer, group, {}, {level, 0, 0})) count(tile->hit);
      }
    }
  }
  return seen;
}

}  // namespace headroom::test
