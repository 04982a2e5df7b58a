// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/file_names.h"

#include <QObject>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "base/utf8.h"

namespace headroom::gui {
namespace {

constexpr char16_t first_surrogate = 0xDC00;  // plus the byte

bool is_byte(QChar c) {
  return c.unicode() >= first_surrogate + 0x80 && c.unicode() <= first_surrogate + 0xFF;
}

/// Calls `text` with runs that are text and `byte` with each character that stands for a byte.
template <typename Text, typename Byte>
void split_name(const QString& name, Text&& text, Byte&& byte) {
  qsizetype begin = 0;
  for (qsizetype i = 0; i < name.size(); ++i) {
    // The second half of a pair is no lone surrogate.
    if (!is_byte(name[i]) || (i > 0 && name[i - 1].isHighSurrogate())) continue;
    text(name.mid(begin, i - begin));
    byte(static_cast<unsigned char>(name[i].unicode() - first_surrogate));
    begin = i + 1;
  }
  text(name.mid(begin));
}

}  // namespace

QString name_from_bytes(std::string_view bytes) {
  QString name;
  while (const auto bad = first_invalid_utf8(bytes)) {
    name += QString::fromUtf8(bytes.data(), static_cast<qsizetype>(*bad));
    name += QChar(static_cast<char16_t>(first_surrogate + static_cast<unsigned char>(bytes[*bad])));
    bytes.remove_prefix(*bad + 1);
  }
  return name + QString::fromUtf8(bytes.data(), static_cast<qsizetype>(bytes.size()));
}

std::string bytes_of_name(const QString& name) {
  std::string bytes;
  split_name(
      name, [&](const QString& text) { bytes += text.toStdString(); },
      [&](unsigned char byte) { bytes += static_cast<char>(byte); });
  return bytes;
}

QString shown_path(const QString& name) {
  return QString::fromStdString(printable_text(bytes_of_name(name)));
}

}  // namespace headroom::gui
