// SPDX-License-Identifier: GPL-3.0-or-later
// Row sums for the prompt text.
#include "views/map/row_mass.h"

#include <QFutureWatcher>
#include <algorithm>
#include <exception>
#include <utility>

#include "record/row_sweep.h"
#include "views/common/workers.h"

namespace headroom::views {
namespace {

constexpr double max_work = 2e10;  // multiply-adds a request, about two seconds on one core
constexpr std::int64_t max_marked_rows = 512;

QString who(const MapData& data, std::int64_t begin, std::int64_t end) {
  if (end - begin > 1) return QObject::tr("queries %1–%2").arg(grouped(begin), grouped(end - 1));
  const QString token =
      data.source.record ? QStringLiteral(" ") + token_label(data.source.record->tokens(), begin, 16) : QString();
  return QObject::tr("query %1%2").arg(grouped(begin), token);
}

}  // namespace

std::vector<float> mean_rows(const MapData& data, std::int64_t begin, std::int64_t end, std::int64_t max_rows,
                             std::int64_t& rows_used, std::stop_token stop) {
  rows_used = 0;
  if (!data.stream) return {};
  begin = std::max(begin, data.stream->query_begin);
  end = std::min(end, data.length);
  if (begin >= end) return {};
  const std::int64_t rows = std::min(end - begin, std::max<std::int64_t>(1, max_rows));
  std::vector<float> sum(static_cast<std::size_t>(data.length), 0.0f);
  std::vector<std::int64_t> queries;
  for (std::int64_t i = 0; i < rows; ++i) queries.push_back(begin + i * (end - begin) / rows);
  const bool finished = record::sweep_rows(
      *data.stream, data.source.head, queries,
      [&](std::size_t, std::int64_t key, std::span<const float> p) {
        for (std::size_t s = 0; s < p.size(); ++s) sum[static_cast<std::size_t>(key) + s] += p[s];
      },
      stop);
  if (!finished) return {};
  rows_used = rows;
  if (rows_used == 0) return {};
  for (float& value : sum) value /= static_cast<float>(rows_used);
  return sum;
}

RowMarks row_marks(const MapData& data, std::int64_t begin, std::int64_t end, std::int64_t max_rows,
                   std::stop_token stop) {
  RowMarks marks;
  begin = std::max<std::int64_t>(0, begin);
  end = std::min(end, data.length);
  if (!data.support || begin >= end) return marks;
  const auto length = static_cast<std::size_t>(data.length);
  marks.rows = end - begin;
  marks.rows_looked_at = std::min(marks.rows, std::max<std::int64_t>(1, max_rows));
  marks.selected.assign(length, false);
  marks.missed.assign(length, 0.0f);
  std::vector<std::int64_t> queries;
  std::vector<std::vector<std::int32_t>> missed;  // keys of each, ascending
  for (std::int64_t i = 0; i < marks.rows_looked_at; ++i) {
    if (stop.stop_requested()) return {};
    const std::int64_t query = begin + i * marks.rows / marks.rows_looked_at;
    for (const std::int32_t key : data.support->keys(query)) marks.selected[static_cast<std::size_t>(key)] = true;
    if (!data.target) continue;
    const std::vector<std::uint8_t> chosen = data.support->row(query);
    std::vector<std::int32_t> keys;
    for (const std::int32_t key : data.target->keys(query))
      if (!(chosen[static_cast<std::size_t>(key) / 8] >> (key % 8) & 1)) keys.push_back(key);
    if (keys.empty()) continue;
    if (data.stream && query >= data.stream->query_begin) {  // what they weigh is found for all rows together
      queries.push_back(query);
      missed.push_back(std::move(keys));
      continue;
    }
    for (const std::int32_t key : keys) marks.missed[static_cast<std::size_t>(key)] = 1.0f;
  }
  if (queries.empty()) return marks;
  const bool finished = record::sweep_rows(
      *data.stream, data.source.head, queries,
      [&](std::size_t row, std::int64_t first, std::span<const float> p) {
        const auto& keys = missed[row];
        for (auto key = std::lower_bound(keys.begin(), keys.end(), first);
             key != keys.end() && *key < first + std::ssize(p); ++key) {
          float& weight = marks.missed[static_cast<std::size_t>(*key)];
          weight = std::max(weight, p[static_cast<std::size_t>(*key - first)]);
        }
      },
      stop);
  return finished ? marks : RowMarks();
}

RowMass::RowMass(QObject* parent) : QObject(parent) {}
RowMass::~RowMass() {
  stop_.request_stop();
}

void RowMass::request(MapDataPtr data, std::int64_t begin, std::int64_t end) {
  data_ = std::move(data);
  begin_ = begin;
  end_ = end;
  if (running_) {
    stop_.request_stop();
    again_ = true;
    return;
  }
  start();
}

void RowMass::start() {
  again_ = false;
  if (!data_) {
    emit ready({}, {}, {});
    return;
  }
  const bool chosen = end_ > begin_;
  if (!chosen) {
    emit ready(data_->mass_received, {},
               data_->mass_received.empty()
                   ? tr("No mass recorded for this layer")
                   : tr("Background: mass received from all queries, where above the average"));
    return;
  }
  struct Result {
    std::vector<float> mass;
    RowMarks marks;
    std::int64_t rows = 0;
  };
  stop_ = std::stop_source();
  running_ = true;
  const bool exact = data_->stream && begin_ >= data_->stream->query_begin;
  const double heads = data_->stream ? static_cast<double>(data_->stream->num_q_heads * data_->stream->head_dim) : 1;
  const double row_work = static_cast<double>(data_->length) * heads;
  const auto max_rows = static_cast<std::int64_t>(std::clamp(max_work / std::max(1.0, row_work), 4.0, 65536.0));
  auto* watcher = new QFutureWatcher<Result>(this);
  connect(watcher, &QFutureWatcherBase::finished, this,
          [this, watcher, exact, data = data_, begin = begin_, end = end_] {
            watcher->deleteLater();
            running_ = false;
            if (again_) return start();
            const Result result = watcher->result();
            QString caption;
            if (exact) {
              caption = tr("Background: mass from %1, where above an even share").arg(who(*data, begin, end));
              if (result.rows > 0 && result.rows < end - begin)
                caption += tr(" (%1 rows sampled)").arg(grouped(result.rows));
            } else if (data->mass_received.empty()) {
              caption = tr("No mass recorded for this layer");
            } else {
              caption = tr("Background: mass received from all queries, where above the average") +
                        (data->stream ? tr(" (this query is not in the record)")
                                      : tr(" (this layer's q and k are not in the record)"));
            }
            if (result.marks.rows_looked_at < result.marks.rows)
              caption += tr(". Marks: of %1 of the %2 rows, evenly spaced")
                             .arg(grouped(result.marks.rows_looked_at), grouped(result.marks.rows));
            emit ready(exact ? result.mass : data->mass_received, result.marks, caption);
          });
  watcher->setFuture(in_worker([data = data_, begin = begin_, end = end_, exact, max_rows, token = stop_.get_token()] {
    Result result;
    try {
      if (exact && end - begin > max_rows) {
        result.mass = mean_rows(*data, begin, end, max_rows, result.rows, token);
      } else if (exact) {
        result.mass = record::mass_of_queries(*data->stream, data->source.head, begin, end, token);
        result.rows = end - begin;
      }
      result.marks = row_marks(*data, begin, end, std::min<std::int64_t>(max_rows, max_marked_rows), token);
    } catch (const std::exception&) {
      result = {};  // damaged rows: the map says what it is
    }
    return result;
  }));
}

}  // namespace headroom::views
