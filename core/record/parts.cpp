// SPDX-License-Identifier: Apache-2.0
#include "record/parts.h"

#include <algorithm>
#include <map>

#include "record/record_layout.h"

namespace headroom::record {

std::vector<KindSize> sizes_by_kind(const std::vector<RecordPart>& parts) {
  std::map<std::string, std::int64_t> sums;
  for (const RecordPart& part : parts) sums[part.kind] += part.bytes;
  std::vector<KindSize> sizes;
  for (const auto& [kind, bytes] : sums) sizes.push_back({kind, bytes});
  std::stable_sort(sizes.begin(), sizes.end(), [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  return sizes;
}

std::string kind_title(const std::string& kind) {
  if (kind == "streams") return "exact maps (q, k)";
  if (kind == "supports") return "supports";
  if (kind == "pyramids") return "stored tiles";
  if (kind == "thumbnails") return "thumbnails";
  if (kind == "marginals") return "mass by key";
  if (kind == "figures") return "figures";
  if (kind == "prompt") return "prompt";
  return "file structure";
}

std::string kind_advice(const std::string& kind) {
  if (kind == "streams") return "--keep-layers names fewer layers, --keep-queries last:N fewer rows";
  if (kind == "supports") return "a smaller --budget, fewer --methods, or a lower --record-limit";
  if (kind == "pyramids" || kind == "thumbnails") return "fewer --methods, or a lower --record-limit";
  return {};
}

std::int64_t support_bytes(std::int64_t length, std::int64_t budget_tokens) {
  const std::int64_t bitmap = length * ((length + 7) / 8);
  if (length <= layout::max_bitmap_tokens || budget_tokens <= 0) return bitmap;
  return std::min(bitmap, length * (4 * std::min(budget_tokens, length) + 8));
}

}  // namespace headroom::record
