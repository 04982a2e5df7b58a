// SPDX-License-Identifier: Apache-2.0
// What RunRecord holds, for the files that implement it. Internal to core/record.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "record/record_file.h"
#include "record/record_layout.h"
#include "record/run_record.h"

namespace headroom::record {

struct RunRecord::Impl {
  /// Results that live as long as somebody holds them.
  template <typename T>
  class WeakCache {
   public:
    template <typename Load>
    std::shared_ptr<const T> get(const std::string& key, Load&& load) {
      {
        const std::lock_guard guard(mutex_);
        if (auto held = entries_[key].lock()) return held;
      }
      std::shared_ptr<const T> loaded = load();
      const std::lock_guard guard(mutex_);
      entries_[key] = loaded;
      return loaded;
    }

   private:
    std::mutex mutex_;
    std::map<std::string, std::weak_ptr<const T>> entries_;
  };

  explicit Impl(const std::filesystem::path& p) : path(p), held(std::make_shared<const RecordFile>(p)), file(*held) {}

  std::filesystem::path path;
  std::shared_ptr<const RecordFile> held;  ///< with those that read parts of it later
  const RecordFile& file;
  int schema = schema_version;  ///< that the file is written in
  RunMeta meta;
  TokenTable tokens;
  std::vector<MethodSummary> methods;
  WeakCache<HeadStatistics> statistics;
  WeakCache<MassCurves> curves;
  WeakCache<std::vector<AnswerPosition>> choices;
  WeakCache<LayerStream> streams;
  WeakCache<Thumbnail> thumbnails;
  WeakCache<Support> supports;

  std::int64_t length() const { return static_cast<std::int64_t>(tokens.ids.size()); }
  bool has(std::string_view method, std::string_view name) const {
    return find(method) && file.has(layout::method(method, name));
  }
  bool has(std::string_view method, int layer, const char* name) const {
    return meta.is_full(layer) && has(method, "layers/" + std::to_string(layer) + "/" + name);
  }
  const MethodSummary* find(std::string_view method) const {
    const auto found = std::find_if(methods.begin(), methods.end(), [&](const auto& m) { return m.id == method; });
    return found == methods.end() ? nullptr : &*found;
  }
  /// Supports of a method in a full layer.
  std::int64_t groups(const MethodSummary& method, int layer) const {
    return num_support_groups(method.scope, meta.layer(layer).num_q_heads, meta.layer(layer).num_kv_heads);
  }
  std::string place(const std::string& path_inside) const { return file.place() + ":" + path_inside; }
};

}  // namespace headroom::record
