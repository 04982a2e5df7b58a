// SPDX-License-Identifier: GPL-3.0-or-later
// A platform for tests with two screens: a projector of 1280 x 720 and a desk of 1600 x 1000, right of it.
#pragma once

#include <QByteArray>
#include <QFile>
#include <QString>

namespace headroom::test {

/// Before the application is made. `file` gets what the platform reads.
inline bool set_two_screens(const QString& file) {
  const QString dots = R"("logicalDpi": 96, "logicalBaseDpi": 96, "dpr": 1})";
  QFile screens(file);
  if (!screens.open(QIODevice::WriteOnly)) return false;
  screens.write((R"({"screens": [{"name": "projector", "x": 0, "y": 0, "width": 1280, "height": 720, )" + dots +
                 R"(, {"name": "desk", "x": 1280, "y": 0, "width": 1600, "height": 1000, )" + dots + "]}")
                    .toUtf8());
  return qputenv("QT_QPA_PLATFORM", ("offscreen:configfile=" + file).toUtf8());
}

}  // namespace headroom::test
