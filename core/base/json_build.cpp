// SPDX-License-Identifier: Apache-2.0
#include "base/json_build.h"

#include <utility>
#include <vector>

namespace headroom {
namespace {

/// The library's events in, a value out.
class JsonBuilder {
 public:
  using Json = nlohmann::json;

  explicit JsonBuilder(const JsonChecks& checks) : checks_(checks) {}
  Json take() { return std::move(root_); }

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(Json::number_integer_t value) { return put(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return put(value); }
  bool number_float(Json::number_float_t value, const std::string&) { return put(value); }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(Json::binary_t&) { return false; }  // no part of JSON as text
  bool start_object(std::size_t) { return open(Json::object()); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    Json& object = *around_.back();
    if (checks_.key) checks_.key(depth(), name, object);
    slot_ = &object[std::move(name)];
    return true;
  }
  template <class Exception>
  [[noreturn]] bool parse_error(std::size_t, const std::string&, const Exception& error) {
    throw error;
  }

 private:
  int depth() const { return static_cast<int>(around_.size()); }
  /// Where it is kept stays where it is until the object or list around it is complete.
  Json& place(Json&& value) {
    if (around_.empty()) return root_ = std::move(value);
    if (around_.back()->is_array()) {
      around_.back()->push_back(std::move(value));
      return around_.back()->back();
    }
    return *slot_ = std::move(value);
  }
  template <class Value>
  bool put(Value&& value) {
    if (checks_.value) checks_.value(depth());
    place(Json(std::forward<Value>(value)));
    return true;
  }
  bool open(Json&& empty) {
    if (checks_.value) checks_.value(depth());
    around_.push_back(&place(std::move(empty)));
    return true;
  }
  bool close() {
    around_.pop_back();
    return true;
  }

  const JsonChecks& checks_;
  Json root_;
  std::vector<Json*> around_;
  Json* slot_ = nullptr;  ///< of the key that came last
};

}  // namespace

nlohmann::json build_json(std::string_view text, const JsonChecks& checks) {
  JsonBuilder builder(checks);
  nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

}  // namespace headroom
