// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/format.h"

#include <QRegularExpression>
#include <QStringList>
#include <algorithm>
#include <cmath>

namespace headroom::views {
namespace {

constexpr const char* layer_parameter = "layer_budgets";  // of methods with a budget of its own for each layer

const QString none = QStringLiteral("–");

struct TimeUnit {
  double divisor;
  const char* suffix;
  int decimals;
};

TimeUnit time_unit(double ms) {
  const double size = std::abs(ms);
  if (size >= 99950) return {1000, "s", 0};
  if (size >= 999.5) return {1000, "s", 1};
  if (size >= 99.95) return {1, "ms", 0};
  if (size >= 0.995) return {1, "ms", 1};
  return {1, "ms", 2};
}

}  // namespace

const QLocale& number_locale() {
  static const QLocale locale(QLocale::English, QLocale::UnitedStates);
  return locale;
}

QString format_count(std::int64_t value) {
  return number_locale().toString(static_cast<qlonglong>(value));
}

QString format_fixed(double value, int decimals) {
  if (!std::isfinite(value)) return none;
  return number_locale().toString(value, 'f', decimals);
}

QString format_percent(double share, int decimals) {
  if (!std::isfinite(share)) return none;
  const double percent = share * 100;
  if (decimals < 0) decimals = percent >= 9.95 ? 0 : 1;
  const double step = std::pow(10.0, -decimals);
  if (share < 1 && percent > 100 - step / 2) return "> " + format_fixed(100 - step, decimals) + " %";
  if (share > 0 && percent < step / 2) return "< " + format_fixed(step, decimals) + " %";
  return format_fixed(percent, decimals) + " %";
}

QString format_ms(double ms) {
  if (!std::isfinite(ms)) return none;
  const TimeUnit unit = time_unit(ms);
  return format_fixed(ms / unit.divisor, unit.decimals) + ' ' + unit.suffix;
}

QString format_quartiles(const record::Quartiles& quartiles) {
  if (quartiles.repeats <= 0) return none;
  TimeUnit unit = time_unit(quartiles.median);
  unit.decimals = std::min(unit.decimals + 1, 2);
  const auto number = [&](double ms) { return format_fixed(ms / unit.divisor, unit.decimals); };
  if (quartiles.repeats == 1) return number(quartiles.median) + ' ' + unit.suffix;
  return QStringLiteral("%1 %2 [%3–%4]")
      .arg(number(quartiles.median), QString(unit.suffix), number(quartiles.q1), number(quartiles.q3));
}

QString format_number(double value) {
  if (!std::isfinite(value)) return none;
  if (value == 0) return QStringLiteral("0");
  const double size = std::abs(value);
  if (size < 1e-4) return number_locale().toString(value, 'e', 1);
  const int digits = static_cast<int>(std::floor(std::log10(size)));
  return format_fixed(value, std::clamp(2 - digits, 0, 6));
}

QString format_scale_end(double value, int digits) {
  if (std::abs(value) >= 1000) return format_fixed(value, 0);
  return QString::number(value, 'g', digits).replace(QStringLiteral("e-0"), QStringLiteral("e-"));
}

QString method_name(const record::MethodSummary& method) {
  return QString::fromStdString(method.title.empty() ? method.name : method.title);
}

QString method_setting(const record::MethodSummary& method, const std::vector<const record::MethodSummary*>& among) {
  QStringList differences;
  bool twin = false;
  for (const record::MethodSummary* other : among) {
    if (other->id == method.id) continue;
    if (other->name != method.name || other->parameters == method.parameters) {
      twin = twin || method_title(*other) == method_title(method);
      continue;
    }
    for (const auto& [name, value] : method.parameters) {
      const auto there = other->parameters.find(name);
      // Title and tip say the rest: each layer's number would be a line of its own.
      const QString text = name == layer_parameter
                               ? QObject::tr("by layer")
                               : QString::fromStdString(name).replace('_', ' ') + ' ' + QString::fromStdString(value);
      if ((there == other->parameters.end() || there->second != value) && !differences.contains(text))
        differences << text;
    }
  }
  if (differences.isEmpty()) return twin ? QStringLiteral(" (%1)").arg(QString::fromStdString(method.id)) : QString();
  differences.sort();
  return QStringLiteral(" (%1)").arg(differences.join(QStringLiteral(", ")));
}

QString method_label(const record::RunRecord& record, const record::MethodSummary& method) {
  std::vector<const record::MethodSummary*> among;
  for (const auto& one : record.methods()) among.push_back(&one);
  return method_title(method) + method_setting(method, among);
}

QString method_title(const record::MethodSummary& method) {
  QString title = method_name(method);
  if (method.budget) {
    switch (method.budget->kind) {
      case BudgetKind::tokens:
        title += QStringLiteral(", %1 keys").arg(format_count(static_cast<std::int64_t>(method.budget->value)));
        if (method.parameters.contains(layer_parameter)) title += QObject::tr(" a layer in the mean");
        break;
      case BudgetKind::fraction:
        title += ", " + number_locale().toString(method.budget->value * 100, 'g', 4) + " %";
        break;
      case BudgetKind::mass:
        title += ", p " + number_locale().toString(method.budget->value, 'g', 4);
        break;
    }
  }
  if (method.granularity > 1) title += QStringLiteral(", shared by %1 queries").arg(method.granularity);
  return title;
}

QString scope_text(SupportScope scope) {
  switch (scope) {
    case SupportScope::layer:
      return QObject::tr("all heads of a layer");
    case SupportScope::kv_head:
      return QObject::tr("each KV head");
    case SupportScope::q_head:
      return QObject::tr("each head");
  }
  return {};
}

QString heads_text(const record::RunMeta& meta, const QString& between) {
  const auto range = [&](std::int64_t record::LayerMeta::*heads) {
    std::int64_t least = 0, most = 0;
    for (const auto& layer : meta.layers) {
      if (!layer.is_full()) continue;
      least = most == 0 ? layer.*heads : std::min(least, layer.*heads);
      most = std::max(most, layer.*heads);
    }
    return least == most ? QString::number(most) : QStringLiteral("%1–%2").arg(least).arg(most);
  };
  return range(&record::LayerMeta::num_q_heads) + between + range(&record::LayerMeta::num_kv_heads);
}

QString model_label(const record::RunMeta& meta) {
  const QString name = QString::fromStdString(meta.model_name);
  QString stem = QString::fromStdString(meta.model_path).section('/', -1, -1, QString::SectionSkipEmpty);
  static const QRegularExpression suffix(QStringLiteral("\\.(gguf|safetensors)$"),
                                         QRegularExpression::CaseInsensitiveOption);
  static const QRegularExpression quantisation(QStringLiteral("[-._](I?Q\\d\\w*|BF16|F16|F32|FP16|FP32)$"),
                                               QRegularExpression::CaseInsensitiveOption);
  static const QRegularExpression empty_word(QStringLiteral("^(ggml-)?model([-_.]\\d.*)?$"),
                                             QRegularExpression::CaseInsensitiveOption);
  stem.remove(suffix).remove(quantisation);
  return stem.isEmpty() || (empty_word.match(stem).hasMatch() && !name.isEmpty()) ? name : stem;
}

QString short_device(const std::string& device) {
  QString text = QString::fromStdString(device).trimmed();
  static const QRegularExpression cores(QStringLiteral("^CPU, (\\d+) cores?\\b"));
  if (const auto match = cores.match(text); match.hasMatch()) return match.captured(1) + "-core CPU";
  static const QRegularExpression memory(QStringLiteral("\\s+\\d+\\s*GB.*$"));
  return text.remove(memory);
}

QString run_caption(const record::RunMeta& meta, std::int64_t tokens) {
  QStringList parts;
  if (const QString model = model_label(meta); !model.isEmpty()) parts << model;
  parts << format_count(tokens) + " tokens";
  if (!meta.device.empty()) parts << short_device(meta.device);
  if (!meta.dtype.empty()) parts << QString::fromStdString(meta.dtype);
  return parts.join(QStringLiteral(" · "));
}

QString first_characters(const QString& text, qsizetype count) {
  QString first = text.left(count);
  if (first.size() < text.size() && !first.isEmpty() && first.back().isHighSurrogate()) first.chop(1);
  return first;
}

QString last_characters(const QString& text, qsizetype count) {
  QString last = text.right(count);
  if (last.size() < text.size() && !last.isEmpty() && last.front().isLowSurrogate()) last.remove(0, 1);
  return last;
}

}  // namespace headroom::views
