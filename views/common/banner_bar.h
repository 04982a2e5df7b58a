// SPDX-License-Identifier: GPL-3.0-or-later
// Messages that stand above the pages: what happened, why, one button that mends it, details to copy. Never modal.
#pragma once

#include <QString>
#include <QVector>
#include <QWidget>
#include <functional>

class QVBoxLayout;

namespace headroom::views {

struct BannerButton {
  QString text;
  std::function<void()> action;  ///< called once; the banner closes first
};

struct Banner {
  enum class Kind { info, warning, error };
  Kind kind = Kind::info;
  QString key;      ///< a new banner with the same key replaces the old one
  QString title;    ///< what happened
  QString text;     ///< why; may be empty
  QString details;  ///< to be read and copied; may be empty
  QVector<BannerButton> buttons;
  std::function<void()> dismissed;  ///< called when the reader closes it; may be empty
};

class BannerBar : public QWidget {
  Q_OBJECT
 public:
  explicit BannerBar(QWidget* parent = nullptr);

  void show_banner(const Banner& banner);
  void remove(const QString& key);
  /// Closes the newest one as if the reader had; false where there is none.
  bool dismiss_newest();
  bool contains(const QString& key) const;
  int count() const;
  /// Title and text of the banner with that key; empty where there is none.
  QString text_of(const QString& key) const;

 private:
  QWidget* find(const QString& key) const;
  QVBoxLayout* layout_;
};

}  // namespace headroom::views
