// SPDX-License-Identifier: GPL-3.0-or-later
// Lists that stand in one line of text, as the dialogs of runs and sweeps take them.
#pragma once

#include <QString>
#include <QStringList>
#include <cstdint>
#include <vector>

class QLineEdit;

namespace headroom::gui {

/// The words between commas and white space.
QStringList words_of(const QString& text);
/// Throws usage errors that call the field `name`.
std::vector<std::int64_t> whole_numbers(const QLineEdit& field, const QString& name);

template <typename Values>
QString comma_list(const Values& values) {
  QStringList parts;
  for (const auto& value : values) parts << QString::number(value);
  return parts.join(", ");
}

}  // namespace headroom::gui
