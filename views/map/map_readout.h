// SPDX-License-Identifier: GPL-3.0-or-later
// The numbers under the cursor: query, key, p, rank, class, and what the cell on the screen stands for. Without a
// pointer on the map the selected pair is described.
#pragma once

#include <QWidget>
#include <vector>

class QLabel;

namespace headroom::views {

class AttentionMapWidget;
class Selection;
struct MapPoint;

class MapReadout : public QWidget {
  Q_OBJECT
 public:
  MapReadout(AttentionMapWidget* map, Selection* selection, QWidget* parent = nullptr);
  /// What a field says now: "query", "key", "p", "rank", "support", "cell", "sink".
  QString value(const QString& field) const;
  /// Its caption and value on the screen.
  QWidget* box(const QString& field) const;
  QSize sizeHint() const override;
  QSize minimumSizeHint() const override;

 protected:
  void changeEvent(QEvent* event) override;

 private:
  struct Field {
    QString id;
    QLabel *caption, *value;
    QWidget* box;
    int width;  ///< average characters
  };
  void refresh();
  void ask_rank(const MapPoint& point);
  void show_sink(const QString& text);
  void set(const QString& id, const QString& text);
  void set_caption(const QString& id, const QString& text);
  void apply_theme();

  AttentionMapWidget* map_;
  Selection* selection_;
  std::vector<Field> fields_;
  QLabel* badge_;
  std::int64_t rank_query_ = -1, rank_key_ = -1;  ///< the pair whose rank is asked for or shown
  const void* rank_data_ = nullptr;
  QString rank_text_, sink_text_;
  bool rank_running_ = false;
};

}  // namespace headroom::views
