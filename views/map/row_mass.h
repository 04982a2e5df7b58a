// SPDX-License-Identifier: GPL-3.0-or-later
// The mass that the selected queries give to each key, and which keys they selected or missed: computed in the
// background; the latest request wins.
#pragma once

#include <QObject>
#include <QString>
#include <stop_token>
#include <vector>

#include "views/map/map_data.h"

namespace headroom::views {

/// Mean over at most `max_rows` evenly spaced rows of [begin, end) of p(row, ·): [L], for ranges that are too long to
/// sum as a whole. Empty where stopped or where no row is kept; `rows_used` says over how many rows.
std::vector<float> mean_rows(const MapData& data, std::int64_t begin, std::int64_t end, std::int64_t max_rows,
                             std::int64_t& rows_used, std::stop_token stop);

/// What the selected queries did with each key. Empty vectors where there are no supports.
struct RowMarks {
  std::vector<bool> selected;  ///< by any of the rows
  /// [L] the most mass that a row which missed the key gave to it; a row whose q the record does not hold counts as 1:
  /// that it missed the key is all there is to know.
  std::vector<float> missed;
  std::int64_t rows = 0, rows_looked_at = 0;
};
/// Looks at no more than `max_rows` evenly spaced rows.
RowMarks row_marks(const MapData& data, std::int64_t begin, std::int64_t end, std::int64_t max_rows,
                   std::stop_token stop = {});

class RowMass : public QObject {
  Q_OBJECT
 public:
  explicit RowMass(QObject* parent = nullptr);
  ~RowMass() override;
  /// begin == end: nothing is selected, the mass received from all queries is what there is to show.
  void request(MapDataPtr data, std::int64_t begin, std::int64_t end);
  bool busy() const { return running_; }

 signals:
  void ready(const std::vector<float>& mass, const headroom::views::RowMarks& marks, const QString& caption);

 private:
  void start();
  MapDataPtr data_;
  std::int64_t begin_ = 0, end_ = 0;
  bool running_ = false, again_ = false;
  std::stop_source stop_;
};

}  // namespace headroom::views
