// SPDX-License-Identifier: Apache-2.0
#include "record/table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace headroom::record {
namespace {

template <typename T>
std::string shortest(T value) {
  if (!std::isfinite(value)) return {};
  char text[40];
  const auto [end, status] = std::to_chars(text, text + sizeof text, value);
  return {text, end};
}

/// Bytes of the well-formed character that begins at `at`, or 0.
std::size_t character_at(const std::string& text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned first = byte(at);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xc2 && first < 0xe0   ? 2
                           : first >= 0xe0 && first < 0xf0 ? 3
                           : first >= 0xf0 && first < 0xf5 ? 4
                                                           : 0;
  for (std::size_t i = 1; i < size; ++i)
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  const unsigned second = byte(at + 1);
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
      (first == 0xf4 && second > 0x8f))
    return 0;
  return size;
}

/// Tokens may split a character: what is not UTF-8 becomes U+FFFD.
std::string valid_text(const std::string& text) {
  std::string valid;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t size = character_at(text, i);
    valid += size == 0 ? "\xEF\xBF\xBD" : text.substr(i, size);
    i += std::max<std::size_t>(size, 1);
  }
  return valid;
}

struct PlainText {
  std::string operator()(std::monostate) const { return {}; }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return std::to_string(value); }
  std::string operator()(float value) const { return shortest(value); }
  std::string operator()(double value) const { return shortest(value); }
  std::string operator()(const std::string& value) const { return valid_text(value); }
};

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

struct Json {
  nlohmann::json operator()(std::monostate) const { return nullptr; }
  nlohmann::json operator()(bool value) const { return value; }
  nlohmann::json operator()(std::int64_t value) const { return value; }
  nlohmann::json operator()(float value) const {
    // Through its shortest decimal form: 0.1f is written as 0.1.
    return std::isfinite(value) ? nlohmann::json(std::strtod(shortest(value).c_str(), nullptr))
                                : nlohmann::json(nullptr);
  }
  nlohmann::json operator()(double value) const {
    return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
  }
  nlohmann::json operator()(const std::string& value) const { return valid_text(value); }
};

std::string tex_text(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '\\':
        result += "\\textbackslash{}";
        break;
      case '~':
        result += "\\textasciitilde{}";
        break;
      case '^':
        result += "\\textasciicircum{}";
        break;
      case '\n':
      case '\r':
        result += ' ';
        break;
      case '&':
      case '%':
      case '$':
      case '#':
      case '_':
      case '{':
      case '}':
        result += '\\';
        [[fallthrough]];
      default:
        result += c;
    }
  }
  return result;
}

std::string tex_number(double value) {
  if (!std::isfinite(value)) return "--";
  char text[40];
  std::snprintf(text, sizeof text, "%.4g", value);
  std::string number = text;
  if (const std::size_t e = number.find('e'); e != std::string::npos)
    number = "$" + number.substr(0, e) + " \\times 10^{" + std::to_string(std::stoi(number.substr(e + 1))) + "}$";
  else if (number[0] == '-')
    number = "$" + number + "$";
  return number;
}

struct Tex {
  std::string operator()(std::monostate) const { return "--"; }
  std::string operator()(bool value) const { return value ? "yes" : "no"; }
  std::string operator()(std::int64_t value) const { return std::to_string(value); }
  std::string operator()(float value) const { return tex_number(value); }
  std::string operator()(double value) const { return tex_number(value); }
  std::string operator()(const std::string& value) const { return tex_text(valid_text(value)); }
};

/// A comment may not end early: line breaks become spaces.
std::string one_line(std::string text) {
  for (char& c : text)
    if (c == '\n' || c == '\r') c = ' ';
  return text;
}

}  // namespace

std::string to_csv(const Table& table) {
  std::string text;
  for (std::size_t i = 0; i < table.columns.size(); ++i) text += (i ? "," : "") + csv_field(table.columns[i]);
  text += "\r\n";
  for (const auto& row : table.rows) {
    for (std::size_t i = 0; i < row.size(); ++i) text += (i ? "," : "") + csv_field(std::visit(PlainText{}, row[i]));
    text += "\r\n";
  }
  return text;
}

std::string to_json(const Table& table) {
  nlohmann::ordered_json object;
  object["title"] = table.title;
  object["facts"] = nlohmann::ordered_json::object();
  for (const auto& [key, value] : table.facts) object["facts"][key] = value;
  object["columns"] = table.columns;
  object["rows"] = nlohmann::ordered_json::array();
  for (const auto& row : table.rows) {
    nlohmann::ordered_json entry = nlohmann::ordered_json::object();
    for (std::size_t i = 0; i < row.size(); ++i) entry[table.columns[i]] = std::visit(Json{}, row[i]);
    object["rows"].push_back(std::move(entry));
  }
  return object.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string to_tex(const Table& table) {
  std::string text = "% " + one_line(table.title) + "\n";
  for (const auto& [key, value] : table.facts) text += "% " + one_line(key) + ": " + one_line(value) + "\n";
  text += "\\begin{tabular}{";
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    bool words = false;
    for (const auto& row : table.rows) words = words || std::holds_alternative<std::string>(row[i]);
    text += words ? 'l' : 'r';
  }
  text += "}\n\\toprule\n";
  for (std::size_t i = 0; i < table.columns.size(); ++i) text += (i ? " & " : "") + tex_text(table.columns[i]);
  text += " \\\\\n\\midrule\n";
  for (const auto& row : table.rows) {
    for (std::size_t i = 0; i < row.size(); ++i) text += (i ? " & " : "") + std::visit(Tex{}, row[i]);
    text += " \\\\\n";
  }
  return text + "\\bottomrule\n\\end{tabular}\n";
}

}  // namespace headroom::record
