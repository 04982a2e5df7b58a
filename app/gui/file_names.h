// SPDX-License-Identifier: GPL-3.0-or-later
// File names as QStrings that lose no byte. QFile takes names for UTF-8 and replaces what is not; here a byte that is
// no part of UTF-8 becomes a lone low surrogate (U+DC80 … U+DCFF, as Python does it) and comes back as that byte.
#pragma once

#include <QString>
#include <filesystem>

namespace headroom::gui {

QString name_from_bytes(std::string_view bytes);
std::string bytes_of_name(const QString& name);
inline QString name_from_path(const std::filesystem::path& path) {
  return name_from_bytes(path.native());
}
inline std::filesystem::path path_of(const QString& name) {
  return bytes_of_name(name);
}
/// For messages: such bytes as "\\xff", control characters as "\\n" or "\\x1b". What may be UTF-8 stays.
QString shown_path(const QString& name);

}  // namespace headroom::gui
