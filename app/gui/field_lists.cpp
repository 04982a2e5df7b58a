// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/field_lists.h"

#include <QLineEdit>
#include <QObject>
#include <QRegularExpression>

#include "base/error.h"

namespace headroom::gui {

QStringList words_of(const QString& text) {
  return text.split(QRegularExpression("[,\\s]+"), Qt::SkipEmptyParts);
}

std::vector<std::int64_t> whole_numbers(const QLineEdit& field, const QString& name) {
  std::vector<std::int64_t> numbers;
  for (const QString& part : words_of(field.text())) {
    bool good = false;
    numbers.push_back(part.toLongLong(&good));
    if (!good)
      throw usage_error(QObject::tr("%1: expected whole numbers with commas between them, found \"%2\"")
                            .arg(name, part.left(40))
                            .toStdString());
  }
  return numbers;
}

}  // namespace headroom::gui
