// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/open_sweep.h"

#include <QObject>
#include <QStringList>
#include <limits>

#include "record/sweep/sweep_file.h"
#include "record/sweep/sweep_store.h"
#include "views/common/format.h"
#include "views/common/record_queries.h"

namespace headroom::views {
namespace {

/// "shared by 64 queries", and parameters in which other methods of this name differ.
QString sweep_setting(const record::SweepMeta& meta, const record::SweepMethod& method) {
  QStringList parts;
  if (method.granularity > 1) parts << QObject::tr("shared by %1 queries").arg(method.granularity);
  for (const auto& [name, value] : method.parameters) {
    bool differs = false;
    for (const auto& other : meta.methods) {
      if (other.name != method.name) continue;
      const auto found = other.parameters.find(name);
      differs = differs || found == other.parameters.end() || found->second != value;
    }
    if (!differs) continue;
    parts << (name == "layer_budgets"
                  ? QObject::tr("budgets by layer")
                  : QObject::tr("%1 %2").arg(QString::fromStdString(name), QString::fromStdString(value)));
  }
  return parts.join(", ");
}

}  // namespace

SweepPtr read_open_sweep(const std::filesystem::path& path, bool growing) {
  auto sweep = std::make_shared<OpenSweep>();
  sweep->path = path;
  sweep->growing = growing;
  sweep->record = growing ? record::read_sweep_store(record::sweep_store_path(path)).record : record::read_sweep(path);
  sweep->summary = record::summarise(sweep->record);
  sweep->recall = record::mass_recall(sweep->record);
  std::error_code failed;
  const auto bytes = std::filesystem::file_size(growing ? record::sweep_store_path(path) : path, failed);
  if (!failed) sweep->bytes = static_cast<std::int64_t>(bytes);
  return sweep;
}

QString sweep_length_text(std::int64_t length) {
  return length > 0 ? QObject::tr("%1 tokens").arg(format_count(length)) : QObject::tr("own prompts");
}

QString sweep_method_name(const record::SweepMeta& meta, const record::SweepMethod& method) {
  const QString title = QString::fromStdString(method.title.empty() ? method.name : method.title);
  const QString setting = sweep_setting(meta, method);
  return setting.isEmpty() ? title : QObject::tr("%1 (%2)").arg(title, setting);
}

QString sweep_method_label(const record::SweepMeta& meta, const record::SweepMethod& method) {
  if (!method.budget) return sweep_method_name(meta, method);
  return QObject::tr("%1, %2").arg(sweep_method_name(meta, method), budget_text(*method.budget));
}

QString method_family(const std::string& name, std::int64_t granularity,
                      const std::map<std::string, std::string>& parameters) {
  QStringList parts{QString::fromStdString(name), QString::number(granularity)};
  for (const auto& [key, value] : parameters)
    parts << QString::fromStdString(key) + "=" + QString::fromStdString(value);
  return parts.join('|');
}

double sweep_keys(const record::SweepMethod& method, std::int64_t tokens) {
  if (!method.budget || method.budget->kind == BudgetKind::mass) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(method.budget->tokens_for(std::max<std::int64_t>(1, tokens)));
}

QString difference_text(const statistics::Difference& difference) {
  if (difference.pairs == 0) return QStringLiteral("–");
  const auto sign = [](double value) {
    const QString text = format_fixed(std::abs(value), 1);
    return (value < 0 && text != "0.0"   ? QStringLiteral("−")
            : value > 0 && text != "0.0" ? QStringLiteral("+")
                                         : QString()) +
           text;
  };
  if (!difference.interval)
    return QObject::tr("%1, no interval below %2 pairs").arg(sign(difference.mean)).arg(statistics::least_pairs);
  return QObject::tr("%1 [%2, %3]")
      .arg(sign(difference.mean), sign(difference.interval->low), sign(difference.interval->high));
}

QString verdict_text(record::Verdict verdict, double margin) {
  const QString points = margin == 1 ? QObject::tr("1 point") : QObject::tr("%1 points").arg(format_number(margin));
  switch (verdict) {
    case record::Verdict::enough:
      return QObject::tr("enough to within %1").arg(points);
    case record::Verdict::not_shown:
      return QObject::tr("not shown to be enough");
    case record::Verdict::after_failure:
      return QObject::tr("not tested: a larger budget was not shown to be enough");
    case record::Verdict::none:
      break;
  }
  return {};
}

}  // namespace headroom::views
