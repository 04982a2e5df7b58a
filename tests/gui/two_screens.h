// SPDX-License-Identifier: GPL-3.0-or-later
// Screens of the offscreen platform for tests: its own is 800 x 800, on which little fits.
#pragma once

#include <QByteArray>
#include <QFile>
#include <QString>
#include <QStringList>
#include <vector>

namespace headroom::test {

struct TestScreen {
  const char* name;
  int x, width, height;
};

/// Before the application is made. `file` gets what the platform reads.
inline bool set_screens(const QString& file, const std::vector<TestScreen>& screens) {
  QStringList list;
  for (const TestScreen& screen : screens)
    list << QStringLiteral(R"({"name": "%1", "x": %2, "y": 0, "width": %3, "height": %4, )"
                           R"("logicalDpi": 96, "logicalBaseDpi": 96, "dpr": 1})")
                .arg(QLatin1String(screen.name))
                .arg(screen.x)
                .arg(screen.width)
                .arg(screen.height);
  QFile out(file);
  if (!out.open(QIODevice::WriteOnly)) return false;
  out.write(QStringLiteral(R"({"screens": [%1]})").arg(list.join(QStringLiteral(", "))).toUtf8());
  return qputenv("QT_QPA_PLATFORM", ("offscreen:configfile=" + file).toUtf8());
}

/// A projector of 1280 x 720 and a desk of 1600 x 1000, right of it.
inline bool set_two_screens(const QString& file) {
  return set_screens(file, {{"projector", 0, 1280, 720}, {"desk", 1280, 1600, 1000}});
}

/// One on which presented text has all of its size.
inline bool set_large_screen(const QString& file) {
  return set_screens(file, {{"desk", 0, 1920, 1200}});
}

}  // namespace headroom::test
