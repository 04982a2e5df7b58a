// SPDX-License-Identifier: GPL-3.0-or-later
// Reading a map's data from the record, and the words for positions and heads.
#include "views/map/map_data.h"

#include <QFutureWatcher>
#include <algorithm>
#include <cmath>
#include <exception>
#include <initializer_list>
#include <string>
#include <utility>

#include "base/error.h"
#include "views/common/format.h"
#include "views/common/workers.h"

namespace headroom::views {
namespace {

using Kind = record::HeadSelector::Kind;

std::vector<float> average(const std::vector<std::vector<float>>& rows) {
  std::vector<float> result;
  for (const auto& row : rows) {
    if (row.empty()) return {};
    if (result.empty()) result.resize(row.size());
    if (row.size() != result.size()) return {};
    for (std::size_t i = 0; i < row.size(); ++i) result[i] += row[i] / static_cast<float>(rows.size());
  }
  return result;
}

// A group has no thumbnail of its own: the mean over its heads, whose maxima are an upper bound of the group's.
std::shared_ptr<const record::Thumbnail> group_thumbnail(const record::RunRecord& record, const MapSource& source,
                                                         const std::vector<int>& heads) {
  auto result = std::make_shared<record::Thumbnail>();
  std::vector<std::vector<float>> max, mean;
  for (const int head : heads) {
    const auto one = record.thumbnail(source.method.toStdString(), source.layer, head);
    if (!one) return nullptr;
    result->size = one->size;
    result->cell = one->cell;
    max.push_back(one->max);
    mean.push_back(one->mean);
  }
  result->max = average(max);
  result->mean = average(mean);
  return result->max.empty() ? nullptr : result;
}

struct GivenUp {};

void load(MapData& data, const std::stop_token& stop) {
  const auto go_on = [&] {
    if (stop.stop_requested()) throw GivenUp();
  };
  const MapSource& source = data.source;
  const record::RunRecord& record = *source.record;
  const std::string method = source.method.toStdString();
  data.length = record.length();
  const record::MethodSummary* summary = record.find_method(method);
  if (!summary || !record.meta().has_layer(source.layer)) {
    data.problem = QObject::tr("The record has no method “%1” with a layer %2.").arg(source.method).arg(source.layer);
    return;
  }
  const record::LayerMeta& layer = record.meta().layer(source.layer);
  data.layer_kind = QString::fromStdString(layer.kind);
  data.window = layer.window;
  data.dense = summary->is_dense();
  const auto available = record.availability(method, source.layer);
  data.stored = record.stored_levels(method, source.layer);
  data.sink_and_local = sink_and_local_mass(source);
  data.missed_mass = missed_mass_share(source);
  data.learned_sink = learned_sink_mass(source);
  go_on();
  if (available.thumbnails) {
    const auto heads = head_indices(layer, source.head);
    if (heads.size() == 1)
      data.thumbnail = record.thumbnail(method, source.layer, heads.front());
    else
      data.thumbnail = group_thumbnail(record, source, heads);
  }
  go_on();
  std::vector<std::vector<float>> received;
  for (const int head : head_indices(layer, source.head))
    received.push_back(record.mass_received(method, source.layer, head));
  data.mass_received = average(received);
  data.support_group = record::support_group(*summary, layer, source.head);
  if (data.support_group)
    data.selection_frequency = record.selection_frequency(method, source.layer, *data.support_group);
  if (available.supports && data.support_group) {
    const int group = *data.support_group;
    go_on();
    data.support = record.supports(method, source.layer, record::SupportKind::support, group);
    go_on();
    data.target = record.supports(method, source.layer, record::SupportKind::target, group);
    go_on();
    data.wasted = record.supports(method, source.layer, record::SupportKind::wasted, group);
  }
  go_on();
  if (available.stream) data.stream = record.layer_stream(method, source.layer);
  go_on();
}

}  // namespace

MapDataPtr ranked(const MapDataPtr& data) {
  if (!data || !data->stream) return nullptr;
  auto ranks = std::make_shared<MapData>(*data);
  ranks->ranks = true;
  ranks->thumbnail.reset();  // of probabilities
  return ranks;
}

QString MapData::overlay_note() const {
  return support_group || dense ? QString() : QObject::tr("supports differ by head: choose a head");
}

bool MapData::selected(std::int64_t query, std::int64_t key) const {
  return support && query < length && key <= query && support->test(query, key);
}

bool MapData::is_here(std::int64_t query, std::int64_t key) const {
  if (query < 0 || query >= length) return true;
  for (const auto* rows : {&support, &target, &wasted})
    if (*rows && !(*rows)->is_here(query)) return false;
  return !stream || record::is_here(*stream, source.head, query, key);
}

bool MapData::missed(std::int64_t query, std::int64_t key) const {
  return has_overlay() && query < length && key <= query && target->test(query, key) && !support->test(query, key);
}

MapDataPtr load_map_data(const MapSource& source, std::stop_token stop) {
  auto data = std::make_shared<MapData>();
  data->source = source;
  if (!source.record) return data;
  try {
    load(*data, stop);
  } catch (const GivenUp&) {
    return nullptr;
  } catch (const Error& error) {
    data->problem = QString::fromStdString(error.what());
  } catch (const std::exception& error) {
    data->problem = QString::fromUtf8(error.what());
  }
  return data;
}

MapLoader::~MapLoader() {
  stop_.request_stop();
}

void MapLoader::load(const MapSource& source, Done done) {
  cancel();
  wanted_ = {source, std::move(done)};
  if (!running_) begin();
}

void MapLoader::cancel() {
  wanted_.reset();
  done_ = nullptr;
  stop_.request_stop();
}

void MapLoader::begin() {
  const Wanted wanted = std::move(*wanted_);
  wanted_.reset();
  done_ = wanted.done;
  stop_ = std::stop_source();
  running_ = true;
  ++begun_;
  auto* watcher = new QFutureWatcher<MapDataPtr>(this);
  connect(watcher, &QFutureWatcherBase::finished, this, [this, watcher] {
    watcher->deleteLater();
    running_ = false;
    const Done done = std::exchange(done_, nullptr);
    const MapDataPtr data = watcher->result();
    finished_ += data != nullptr;
    if (wanted_) begin();
    if (done && data) done(data);
  });
  watcher->setFuture(
      in_worker([source = wanted.source, stop = stop_.get_token()] { return load_map_data(source, stop); }));
}

std::vector<int> head_indices(const record::LayerMeta& layer, record::HeadSelector head) {
  if (head.kind == Kind::head) return {head.index};
  if (head.kind == Kind::mean) return {static_cast<int>(layer.num_q_heads)};
  const int size = static_cast<int>(layer.group_size());
  std::vector<int> result;
  for (int i = 0; i < size; ++i) result.push_back(head.index * size + i);
  return result;
}

QString head_name(const record::LayerMeta& layer, record::HeadSelector head) {
  if (head.kind == Kind::mean) return QObject::tr("head mean");
  if (head.kind == Kind::head) return QObject::tr("head %1").arg(head.index);
  const auto heads = head_indices(layer, head);
  return QObject::tr("group %1 (heads %2–%3)").arg(head.index).arg(heads.front()).arg(heads.back());
}

QString head_name(const MapSource& source) {
  if (!source.record || !source.record->meta().has_layer(source.layer)) return {};
  return head_name(source.record->meta().layer(source.layer), source.head);
}

namespace {

/// Sum of these statistics of the shown heads, mean over them; negative where the record does not hold all.
double mass_statistics(const MapSource& source, std::initializer_list<const char*> names) {
  if (!source.record) return -1;
  try {
    const auto statistics = source.record->head_statistics(source.method.toStdString());
    if (!statistics || !source.record->meta().is_full(source.layer)) return -1;
    const record::LayerMeta& layer = source.record->meta().layer(source.layer);
    double total = 0;
    std::size_t found = 0;
    const auto heads = head_indices(layer, source.head);
    for (std::size_t i = 0; i < statistics->names.size(); ++i) {
      if (std::find(names.begin(), names.end(), statistics->names[i]) == names.end()) continue;
      ++found;
      for (const int head : heads) {
        const std::int64_t row = head == layer.num_q_heads ? statistics->heads - 1 : head;
        if (row >= statistics->heads) return -1;
        total += statistics->at(source.layer, row, i) / static_cast<double>(heads.size());
      }
    }
    return found == names.size() && std::isfinite(total) ? std::min(total, 1.0) : -1;
  } catch (const std::exception&) {
    return -1;  // what it decides or stands beside works without it
  }
}

}  // namespace

double sink_and_local_mass(const MapSource& source) {
  return mass_statistics(source, {"sink_mass", "local_mass"});
}
double learned_sink_mass(const MapSource& source) {
  return mass_statistics(source, {"learned_sink"});
}
double missed_mass_share(const MapSource& source) {
  return mass_statistics(source, {"missed_mass"});
}

QString grouped(std::int64_t value) {
  return format_count(value);
}

QString short_number(double value) {
  if (!std::isfinite(value)) return QStringLiteral("–");
  if (value == 0) return QStringLiteral("0");
  if (std::abs(value) >= 100) return grouped(std::llround(value));
  if (std::abs(value) >= 0.01) return QString::number(value, 'g', 3);
  const int exponent = static_cast<int>(std::floor(std::log10(std::abs(value))));
  return QStringLiteral("%1e%2").arg(value / std::pow(10.0, exponent), 0, 'f', 2).arg(exponent);
}

QString token_label(const record::TokenTable& tokens, std::int64_t token, int max_chars) {
  if (token < 0 || token >= static_cast<std::int64_t>(tokens.begin.size())) return {};
  const auto i = static_cast<std::size_t>(token);
  const std::int64_t begin = tokens.begin[i], end = tokens.end[i];
  if (begin < 0 || end > static_cast<std::int64_t>(tokens.text.size()) || begin >= end) return QObject::tr("(no text)");
  QString text = QString::fromUtf8(tokens.text.data() + begin, static_cast<qsizetype>(end - begin));
  text.replace(QLatin1Char('\n'), QChar(0x21B5))
      .replace(QLatin1Char('\t'), QChar(0x21E5))
      .replace(QLatin1Char(' '), QChar(0x00B7));
  if (text.size() > max_chars) text = first_characters(text, max_chars - 1) + QChar(0x2026);
  return QStringLiteral("“%1”").arg(text);
}

}  // namespace headroom::views
