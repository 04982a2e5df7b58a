// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/opening.h"

#include <exception>
#include <vector>

namespace headroom::views {

QString opening_method_id(const record::RunRecord& record) {
  return QString::fromStdString(record::opening_method(record));
}

namespace {

struct SmallParts {
  std::shared_ptr<const record::RunRecord> record;
  std::vector<std::shared_ptr<const void>> parts;
};

}  // namespace

std::shared_ptr<const record::RunRecord> with_small_parts(std::shared_ptr<const record::RunRecord> record,
                                                          std::optional<int> layer) {
  auto kept = std::make_shared<SmallParts>();
  kept->record = record;
  const auto keep = [&](auto&& read) {
    try {
      if (auto part = read()) kept->parts.push_back(std::move(part));
    } catch (const std::exception&) {
      // Whoever shows it will say what is wrong with it.
    }
  };
  for (const record::MethodSummary& method : record->methods()) {
    keep([&] { return record->head_statistics(method.id); });
    keep([&] { return record->mass_curves(method.id); });
  }
  const std::string method = record::opening_method(*record);
  const int shown =
      layer && record->meta().has_layer(*layer) ? *layer : record::opening_layer(*record, record->find_method(method));
  if (record->meta().has_layer(shown))
    keep([&] { return record->thumbnail(method, shown, static_cast<int>(record->meta().layer(shown).num_q_heads)); });
  return {kept, record.get()};
}

}  // namespace headroom::views
