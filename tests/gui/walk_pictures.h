// SPDX-License-Identifier: GPL-3.0-or-later
// Pictures of a walk's stations for people to look at: with HEADROOM_WALK_PICTURES=FOLDER each station is grabbed in
// two sizes, light and dark, with 100 and 150 % text. tests/support/make_pictures makes all and chooses those for the
// docs.
#pragma once

#include <QDir>
#include <QtTest>
#include <functional>

#include "gui/main_window.h"
#include "views/common/theme.h"

namespace headroom::test {

class WalkPictures {
 public:
  /// `settle` waits until nothing of the window is on its way.
  WalkPictures(QString walk, std::function<void(gui::MainWindow&)> settle)
      : walk_(std::move(walk)), folder_(qEnvironmentVariable("HEADROOM_WALK_PICTURES")), settle_(std::move(settle)) {}

  bool wanted() const { return !folder_.isEmpty(); }

  /// The window as it is and in every size, or `dialog` in its own. Size, theme and text are afterwards as they were.
  /// False where the window does not take a size: then it does not fit such a screen.
  bool take(gui::MainWindow& window, const QString& name, QWidget* dialog = nullptr) {
    ++station_;
    if (!wanted()) return true;
    const QSize before = window.size();
    bool fits = QDir().mkpath(folder_);
    for (const QSize size : {QSize(1600, 1000), QSize(1280, 720)}) {
      if (dialog && size.width() > 1280) continue;
      for (const auto mode : {views::ThemeMode::light, views::ThemeMode::dark})
        for (const int scale : {100, 150}) {
          views::Theme::instance().set_mode(mode);
          window.set_text_scale(scale);
          if (!dialog) window.resize(size);
          settle_(window);
          QTest::qWait(150);  // layouts of layouts
          QWidget& shown = dialog ? *dialog : static_cast<QWidget&>(window);
          if (!dialog && !QTest::qWaitFor([&] { return window.size() == size; }, 3000)) {
            qWarning("%s: asked for %d x %d at %d %%, is %d x %d", qPrintable(name), size.width(), size.height(), scale,
                     window.width(), window.height());
            fits = false;
          }
          fits &= save(shown, name, dialog ? QSize() : size, mode, scale);
        }
    }
    views::Theme::instance().set_mode(views::ThemeMode::light);
    window.set_text_scale(100);
    window.resize(before);
    settle_(window);
    return fits;
  }
  /// As it is, at one station more.
  bool save(QWidget& shown, const QString& name, QSize size, views::ThemeMode mode, int scale) const {
    const QString place = size.isValid() ? QString("%1x%2").arg(size.width()).arg(size.height()) : QString("dialog");
    return shown.grab().save(QString("%1/%2-%3-%4-%5-%6-%7.png")
                                 .arg(folder_, walk_)
                                 .arg(station_, 2, 10, QLatin1Char('0'))
                                 .arg(name, place, mode == views::ThemeMode::light ? "light" : "dark")
                                 .arg(scale));
  }

 private:
  QString walk_, folder_;
  std::function<void(gui::MainWindow&)> settle_;
  int station_ = 0;
};

}  // namespace headroom::test
