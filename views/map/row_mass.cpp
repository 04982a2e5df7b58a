// SPDX-License-Identifier: GPL-3.0-or-later
// Row sums for the prompt text.
#include "views/map/row_mass.h"

#include <QFutureWatcher>
#include <QtConcurrent>
#include <algorithm>
#include <utility>

namespace headroom::views {
namespace {

constexpr double max_work = 2e10;  // multiply-adds a request, about two seconds on one core

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
  for (std::int64_t i = 0; i < rows; ++i) {
    if (stop.stop_requested()) return {};
    const std::int64_t query = begin + i * (end - begin) / rows;
    const auto row = record::probability_row(*data.stream, data.source.head, query);
    for (std::size_t s = 0; s < std::min(row.size(), sum.size()); ++s) sum[s] += row[s];
    rows_used += row.empty() ? 0 : 1;
  }
  if (rows_used == 0) return {};
  for (float& value : sum) value /= static_cast<float>(rows_used);
  return sum;
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
    emit ready({}, {});
    return;
  }
  const bool chosen = end_ > begin_;
  if (!chosen || !data_->stream || begin_ < data_->stream->query_begin) {
    QString caption = data_->mass_received.empty()
                          ? tr("No mass recorded for this layer")
                          : tr("Background: mass received from all queries, where above the average");
    if (chosen && !data_->mass_received.empty())
      caption += data_->stream ? tr(" (this query is not in the record)")
                               : tr(" (this layer's q and k are not in the record)");
    emit ready(data_->mass_received, caption);
    return;
  }
  struct Result {
    std::vector<float> mass;
    std::int64_t rows = 0;
  };
  stop_ = std::stop_source();
  running_ = true;
  const double row_work = static_cast<double>(data_->length * data_->stream->num_q_heads * data_->stream->head_dim);
  const auto max_rows = static_cast<std::int64_t>(std::clamp(max_work / std::max(1.0, row_work), 4.0, 65536.0));
  auto* watcher = new QFutureWatcher<Result>(this);
  connect(watcher, &QFutureWatcherBase::finished, this, [this, watcher, data = data_, begin = begin_, end = end_] {
    watcher->deleteLater();
    running_ = false;
    if (again_) return start();
    const Result result = watcher->result();
    QString caption = tr("Background: mass from %1, where above an even share").arg(who(*data, begin, end));
    if (result.rows > 0 && result.rows < end - begin) caption += tr(" (%1 rows sampled)").arg(grouped(result.rows));
    emit ready(result.mass, caption);
  });
  watcher->setFuture(QtConcurrent::run([data = data_, begin = begin_, end = end_, max_rows, token = stop_.get_token()] {
    Result result;
    if (end - begin > max_rows) {
      result.mass = mean_rows(*data, begin, end, max_rows, result.rows, token);
    } else {
      result.mass = record::mass_of_queries(*data->stream, data->source.head, begin, end, token);
      result.rows = end - begin;
    }
    return result;
  }));
}

}  // namespace headroom::views
