// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/missed/missed_scan.h"

#include <QObject>
#include <algorithm>
#include <cmath>
#include <exception>

#include "base/error.h"
#include "views/common/format.h"

namespace headroom::views {
namespace {

using record::SupportKind;

struct LayerRows {
  std::shared_ptr<const record::LayerStream> stream;
  decltype(std::declval<const record::RunRecord&>().supports({}, 0, SupportKind::support)) support, target, wasted;
};

/// Why the missed keys of a layer cannot be told; empty where they can. Fills `rows`.
QString read_rows(const MissedRequest& request, int layer, bool with_wasted, LayerRows& rows) {
  const record::RunRecord& record = *request.record;
  const std::string id = request.method.toStdString();
  const record::MethodSummary* method = record.find_method(id);
  if (!method || !record.meta().has_layer(layer)) return QObject::tr("The record has no such method or layer.");
  if (!record.meta().is_full(layer))
    return QObject::tr("Layer %1 is a %2-attention layer: it runs unchanged and misses nothing.")
        .arg(layer)
        .arg(QString::fromStdString(record.meta().layer(layer).kind));
  if (record.availability(id, layer).stream) rows.stream = record.layer_stream(id, layer);
  if (method->is_dense()) return QObject::tr("%1 attends to every key: it misses nothing.").arg(method_name(*method));
  const auto group = record::support_group(*method, record.meta().layer(layer), request.head);
  if (!group) return QObject::tr("Supports differ by head here: choose one head.");
  rows.support = record.supports(id, layer, SupportKind::support, *group);
  rows.target = record.supports(id, layer, SupportKind::target, *group);
  if (with_wasted) rows.wasted = record.supports(id, layer, SupportKind::wasted, *group);
  if (!rows.support || !rows.target)
    return QObject::tr("The record does not hold which keys layer %1 selected: it has no support to compare.")
        .arg(layer);
  return {};
}

void look_for_missed(MissedResult& result, const std::stop_token& stop, const ScanProgress& progress) {
  const MissedRequest& request = result.request;
  const std::int64_t length = request.record->length();
  const bool answer = request.scope == MissedScope::answer;
  std::vector<int> layers{request.layer};
  std::int64_t begin = request.query_begin, end = request.query_end;
  if (request.scope == MissedScope::layer) begin = 0, end = length;
  if (answer) {
    begin = length - 1, end = length;
    layers = layers_with_supports(*request.record, request.method.toStdString());
    if (layers.empty()) layers = {request.layer};
  }
  begin = std::clamp<std::int64_t>(begin, 0, length);
  end = std::clamp<std::int64_t>(end, begin, length);
  if (begin == end) {
    result.problem = QObject::tr("Select a query, or several, in the map or the text: what they missed stands here.");
    return;
  }
  result.rows_wanted = (end - begin) * static_cast<std::int64_t>(layers.size());
  record::MissedTally tally(length);
  int unreadable = 0;
  std::int64_t done_before = 0;
  for (const int layer : layers) {
    LayerRows rows;
    const QString why = read_rows(request, layer, false, rows);
    if (!why.isEmpty()) {
      result.problem = why;
      ++unreadable;
      continue;
    }
    const double before = tally.mass();
    const bool went_on =
        tally.add(layer, rows.stream.get(), request.head, *rows.support, *rows.target, begin, end,
                  [&](std::int64_t done) {
                    if (progress) progress(static_cast<int>(1000 * (done_before + done) / result.rows_wanted));
                    return !stop.stop_requested();
                  });
    if (answer) result.missed_in.emplace_back(layer, tally.mass() - before);
    done_before += end - begin;
    if (!went_on) {
      result.stopped = true;
      break;
    }
  }
  if (unreadable < static_cast<int>(layers.size())) result.problem.clear();
  result.missed = tally.keys();
  result.rows = tally.rows();
  result.known_rows = tally.known_rows();
  result.pairs = tally.pairs();
  result.mass = tally.mass();
  if (result.problem.isEmpty() && result.known_rows < result.rows)
    result.note =
        result.known_rows == 0
            ? QObject::tr("q and k of this layer are not in the record: the keys are known, their mass is not.")
            : QObject::tr("q and k of %1 of the %2 rows are not in the record: those count as rows only.")
                  .arg(format_count(result.rows - result.known_rows), format_count(result.rows));
}

void look_for_readers(MissedResult& result, const std::stop_token& stop, const ScanProgress& progress) {
  const MissedRequest& request = result.request;
  const std::int64_t length = request.record->length();
  if (request.key < 0 || request.key >= length) {
    result.problem =
        QObject::tr("Select a key (Ctrl+click in the text, or click in the map): who reads it stands here.");
    return;
  }
  LayerRows rows;
  const QString why = read_rows(request, request.layer, true, rows);
  if (!rows.stream) {
    const bool full = request.record->meta().is_full(request.layer);
    result.problem = !full ? why
                           : QObject::tr(
                                 "q and k of layer %1 are not in the record: who reads a key is not known. Record "
                                 "the layer exactly on the Attention page.")
                                 .arg(request.layer);
    return;
  }
  const record::MethodSummary& method = *request.record->find_method(request.method.toStdString());
  if (!rows.target && !method.is_dense()) result.note = why;
  const std::vector<float> column = record::probability_column(*rows.stream, request.head, request.key, stop);
  if (progress) progress(700);
  if (column.empty()) {
    result.stopped = true;
    return;
  }
  result.rows_wanted = length - request.key;
  for (std::int64_t query = request.key; query < length; ++query) {
    const float p = column[static_cast<std::size_t>(query)];
    if (std::isnan(p)) continue;
    ReaderLine line{query, p, method.is_dense() ? ReaderSays::every : ReaderSays::unknown};
    if (rows.support && rows.target) {
      const bool selected = rows.support->test(query, request.key), wanted = rows.target->test(query, request.key);
      const bool for_nothing = rows.wasted && rows.wasted->test(query, request.key);
      line.says = selected ? (wanted        ? ReaderSays::hit
                              : for_nothing ? ReaderSays::wasted
                                            : ReaderSays::other)
                           : (wanted ? ReaderSays::missed : ReaderSays::left_out);
    }
    result.mass += static_cast<double>(p);
    result.key_missed += line.says == ReaderSays::missed;
    result.readers.push_back(line);
  }
  result.rows = std::ssize(result.readers);
  std::stable_sort(result.readers.begin(), result.readers.end(),
                   [](const ReaderLine& a, const ReaderLine& b) { return a.p > b.p; });
  if (result.rows < result.rows_wanted)
    result.note = QObject::tr("The record holds the last %1 of the %2 rows that see this key.")
                      .arg(format_count(result.rows), format_count(result.rows_wanted));
}

}  // namespace

std::vector<int> layers_with_supports(const record::RunRecord& record, const std::string& method) {
  std::vector<int> layers;
  for (int layer = 0; layer < record.meta().num_layers(); ++layer) {
    if (!record.meta().is_full(layer)) continue;
    const auto available = record.availability(method, layer);
    if (available.stream && available.supports) layers.push_back(layer);
  }
  return layers;
}

MissedResult scan_missed(const MissedRequest& request, const std::stop_token& stop, const ScanProgress& progress) {
  MissedResult result;
  result.request = request;
  if (!request.record) return result;
  try {
    if (request.question == MissedQuestion::readers)
      look_for_readers(result, stop, progress);
    else
      look_for_missed(result, stop, progress);
  } catch (const std::exception& error) {
    result.problem = QString::fromUtf8(error.what());
  }
  return result;
}

}  // namespace headroom::views
