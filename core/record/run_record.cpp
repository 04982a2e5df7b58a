// SPDX-License-Identifier: Apache-2.0
#include "record/run_record.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>

#include "base/error.h"
#include "base/sha256.h"
#include "record/half.h"
#include "record/hdf5_io.h"
#include "record/record_json.h"
#include "record/record_layout.h"
#include "record/sealed_file.h"
#include "record/support_check.h"

namespace headroom::record {
namespace {

std::vector<float> read_floats(hid_t file, const std::string& path, const hdf5::Extent& expected,
                               const std::string& place) {
  const hdf5::Element either[] = {hdf5::Element::f16, hdf5::Element::f32};
  const hdf5::Dataset dataset = hdf5::open_dataset(file, path, either, static_cast<int>(expected.size()), place);
  hdf5::check_extent(dataset, path, expected, 0, place);
  std::vector<float> values(static_cast<std::size_t>(dataset.elements()));
  if (dataset.element == hdf5::Element::f32) {
    hdf5::read_raw(dataset, path, -1, values.data(), place);
  } else {
    std::vector<std::uint16_t> halves(values.size());
    hdf5::read_raw(dataset, path, -1, halves.data(), place);
    from_half(halves, values.data());
  }
  return values;
}

void check_finite(const std::vector<float>& values, const std::string& path, const std::string& place) {
  // A sum of zeros is NaN as soon as one value is not finite; unlike a search it vectorises.
  float sum = 0;
  for (const float value : values) sum += value * 0.0f;
  if (std::isnan(sum)) throw input_error(place + ":" + path, "holds values that are not finite");
}

TokenTable read_tokens(hid_t file, const std::string& place) {
  TokenTable tokens;
  tokens.text = hdf5::read_text(file, "/tokens/text", layout::max_text_bytes, place);
  tokens.ids = hdf5::read<std::int32_t>(file, "/tokens/ids", {-1}, place, layout::max_tokens);
  const auto length = static_cast<std::int64_t>(tokens.ids.size());
  if (length == 0) throw input_error(place + ":/tokens/ids", "the record holds no tokens");
  tokens.begin = hdf5::read<std::int64_t>(file, "/tokens/begin", {length}, place);
  tokens.end = hdf5::read<std::int64_t>(file, "/tokens/end", {length}, place);
  const auto bytes = static_cast<std::int64_t>(tokens.text.size());
  std::int64_t last = 0;
  for (std::size_t i = 0; i < tokens.ids.size(); ++i) {
    if (tokens.ids[i] < 0)
      throw input_error(place + ":/tokens/ids", "negative id", ">= 0", std::to_string(tokens.ids[i]));
    if (tokens.begin[i] < last || tokens.end[i] < tokens.begin[i] || tokens.end[i] > bytes)
      throw input_error(place + ":/tokens/begin", "byte range of token " + std::to_string(i) + " is not valid",
                        std::to_string(last) + " <= begin <= end <= " + std::to_string(bytes),
                        std::to_string(tokens.begin[i]) + ", " + std::to_string(tokens.end[i]));
    last = tokens.begin[i];
  }
  return tokens;
}

MethodSummary read_summary(hid_t file, const std::string& id, const RunMeta& meta, const std::string& place) {
  const auto path = [&](const char* name) { return layout::method(id, name); };
  MethodSummary s = summary_from_json(hdf5::read_text(file, path("summary_json"), layout::max_json_bytes, place),
                                      place + ":" + path("summary_json"));
  if (s.id != id) throw input_error(place + ":" + path("summary_json"), "summary of another method", id, s.id);
  s.answer = hdf5::read_text(file, path("answer"), layout::max_json_bytes, place);
  s.answer_ids = hdf5::read<std::int32_t>(file, path("answer_ids"), {-1}, place, layout::max_tokens);
  s.ttft_samples = hdf5::read<double>(file, path("ttft_samples_ms"), {-1}, place, layout::max_samples);
  const auto check_layers = [&](std::int64_t found, const char* name) {
    if (found != 0 && found != meta.num_layers)
      throw input_error(place + ":" + path(name), "not one value a layer", std::to_string(meta.num_layers),
                        std::to_string(found));
  };
  const auto stages = hdf5::read<double>(file, path("layer_stages_ms"), {-1, static_cast<std::int64_t>(num_stages)},
                                         place, meta.num_layers);
  s.layer_stages.resize(stages.size() / num_stages);
  for (std::size_t i = 0; i < stages.size(); ++i) s.layer_stages[i / num_stages][i % num_stages] = stages[i];
  check_layers(static_cast<std::int64_t>(s.layer_stages.size()), "layer_stages_ms");
  for (const auto& [name, values] : {std::pair{"captured_mass_per_layer", &s.captured_mass_per_layer},
                                     std::pair{"oracle_recall_per_layer", &s.oracle_recall_per_layer},
                                     std::pair{"output_l2_per_layer", &s.output_l2_per_layer}}) {
    *values = hdf5::read<double>(file, path(name), {-1}, place, meta.num_layers);
    check_layers(static_cast<std::int64_t>(values->size()), name);
  }
  return s;
}

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

}  // namespace

struct RunRecord::Impl {
  std::filesystem::path path;
  std::string place;
  std::unique_ptr<SealedFile> sealed;  // outlives `file`
  hdf5::Handle file;
  RunMeta meta;
  TokenTable tokens;
  std::vector<MethodSummary> methods;
  mutable WeakCache<HeadStatistics> statistics;
  mutable WeakCache<MassCurves> curves;
  mutable WeakCache<LayerStream> streams;
  mutable WeakCache<Thumbnail> thumbnails;
  mutable WeakCache<SupportBitmap> supports;

  hid_t id() const { return file.get(); }
  std::int64_t length() const { return static_cast<std::int64_t>(tokens.ids.size()); }
  bool knows(std::string_view method) const {
    return std::any_of(methods.begin(), methods.end(), [&](const auto& m) { return m.id == method; });
  }
  /// Runs one reading job under the library lock. Damage that the seal found is the cause of whatever HDF5 then said.
  template <typename Load>
  auto locked(Load&& load) const {
    hdf5::Library library;
    try {
      return load();
    } catch (const Error& error) {
      if (sealed->damage().empty()) throw;
      throw input_error(error.detail().place, "the file is damaged: the checksum differs",
                        "the content that was written", "other content in " + sealed->damage());
    }
  }
  template <typename T, typename Load>
  std::shared_ptr<const T> cached(WeakCache<T>& cache, const std::string& key, Load&& load) const {
    return cache.get(key, [&]() -> std::shared_ptr<const T> { return locked(load); });
  }
  /// The library lock must be held.
  bool has(std::string_view method, int layer, const char* name) const {
    return knows(method) && layer >= 0 && layer < meta.num_layers &&
           hdf5::exists(id(), layout::layer(method, layer, name));
  }
};

RunRecord::RunRecord(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

RunRecord::~RunRecord() {
  hdf5::Library library;
  impl_->file.reset();
}

std::shared_ptr<const RunRecord> RunRecord::open(const std::filesystem::path& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  impl->place = path.string();
  impl->sealed = std::make_unique<SealedFile>(path);
  // Made before anything else can throw: its destructor closes the file under the library lock.
  std::shared_ptr<RunRecord> record(new RunRecord(std::move(impl)));
  Impl& r = *record->impl_;
  r.locked([&] {
    const hdf5::Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    if (!r.sealed->set_driver(access.get())) throw Error(ErrorKind::internal, "HDF5 refuses the file driver");
    r.file = hdf5::Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
    if (!r.file) throw input_error(r.place, "the HDF5 part of the record is damaged");
    std::vector<std::string> methods;
    r.meta = meta_from_json(hdf5::read_text(r.id(), "/meta/json", layout::max_json_bytes, r.place), methods,
                            r.place + ":/meta/json");
    r.tokens = read_tokens(r.id(), r.place);
    for (const auto& id : methods) r.methods.push_back(read_summary(r.id(), id, r.meta, r.place));
  });
  return record;
}

const std::filesystem::path& RunRecord::path() const {
  return impl_->path;
}
const RunMeta& RunRecord::meta() const {
  return impl_->meta;
}
const TokenTable& RunRecord::tokens() const {
  return impl_->tokens;
}
const std::vector<MethodSummary>& RunRecord::methods() const {
  return impl_->methods;
}

const MethodSummary* RunRecord::find_method(std::string_view id) const {
  for (const auto& method : impl_->methods)
    if (method.id == id) return &method;
  return nullptr;
}

std::shared_ptr<const HeadStatistics> RunRecord::head_statistics(std::string_view method) const {
  return impl_->cached(impl_->statistics, std::string(method), [&]() -> std::shared_ptr<const HeadStatistics> {
    const Impl& r = *impl_;
    if (!r.knows(method) || !hdf5::exists(r.id(), layout::method(method, "head_statistics/values"))) return nullptr;
    auto result = std::make_shared<HeadStatistics>();
    const std::string path = layout::method(method, "head_statistics/names");
    const auto names =
        hdf5::read<std::uint8_t>(r.id(), path, {-1, layout::statistic_name_bytes}, r.place, layout::max_statistics);
    for (std::size_t at = 0; at < names.size(); at += layout::statistic_name_bytes) {
      const auto begin = names.begin() + static_cast<std::ptrdiff_t>(at);
      result->names.emplace_back(begin, std::find(begin, begin + layout::statistic_name_bytes, 0));
    }
    result->layers = r.meta.num_layers;
    result->heads = r.meta.num_q_heads + 1;
    result->values =
        hdf5::read<float>(r.id(), layout::method(method, "head_statistics/values"),
                          {result->layers, result->heads, static_cast<std::int64_t>(result->names.size())}, r.place);
    return result;
  });
}

std::shared_ptr<const MassCurves> RunRecord::mass_curves(std::string_view method) const {
  return impl_->cached(impl_->curves, std::string(method), [&]() -> std::shared_ptr<const MassCurves> {
    const Impl& r = *impl_;
    const std::string path = layout::method(method, "mass_curves/budgets");
    if (!r.knows(method) || !hdf5::exists(r.id(), path)) return nullptr;
    auto result = std::make_shared<MassCurves>();
    result->budgets = hdf5::read<std::int64_t>(r.id(), path, {-1}, r.place, layout::max_curve_budgets);
    if (result->budgets.empty() || result->budgets.front() < 1 ||
        !std::is_sorted(result->budgets.begin(), result->budgets.end()))
      throw input_error(r.place + ":" + path, "budgets are not positive and ascending");
    result->layers = r.meta.num_layers;
    result->heads = r.meta.num_q_heads + 1;
    result->values = hdf5::read<float>(
        r.id(), layout::method(method, "mass_curves/values"),
        {result->layers, result->heads, 3, static_cast<std::int64_t>(result->budgets.size())}, r.place);
    return result;
  });
}

LayerAvailability RunRecord::availability(std::string_view method, int layer) const {
  return impl_->locked([&]() -> LayerAvailability {
    return {impl_->has(method, layer, "stream/lse"), impl_->has(method, layer, "supports/support"),
            impl_->has(method, layer, "thumbnails/mean")};
  });
}

std::shared_ptr<const LayerStream> RunRecord::layer_stream(std::string_view method, int layer) const {
  return impl_->cached(
      impl_->streams, layout::layer(method, layer, "stream"), [&]() -> std::shared_ptr<const LayerStream> {
        const Impl& r = *impl_;
        if (!r.has(method, layer, "stream/lse")) return nullptr;
        const std::string group = layout::layer(method, layer, "stream");
        auto stream = std::make_shared<LayerStream>();
        stream->length = r.length();
        stream->query_begin = hdf5::read_integer(r.id(), group, "query_begin", r.place);
        stream->scale = hdf5::read_number(r.id(), group, "scale", r.place);
        if (stream->query_begin < 0 || stream->query_begin >= stream->length)
          throw input_error(r.place + ":" + group, "query_begin is out of range",
                            "0 to " + std::to_string(stream->length - 1), std::to_string(stream->query_begin));
        if (!std::isfinite(stream->scale)) throw input_error(r.place + ":" + group, "scale is not finite");
        stream->num_q_heads = r.meta.num_q_heads;
        stream->num_kv_heads = r.meta.num_kv_heads;
        stream->head_dim = r.meta.head_dim;
        const std::int64_t rows = stream->length - stream->query_begin;
        stream->q = read_floats(r.id(), group + "/q", {stream->num_q_heads, rows, stream->head_dim}, r.place);
        stream->k =
            read_floats(r.id(), group + "/k", {stream->num_kv_heads, stream->length, stream->head_dim}, r.place);
        stream->lse = hdf5::read<float>(r.id(), group + "/lse", {stream->num_q_heads, rows}, r.place);
        check_finite(stream->q, group + "/q", r.place);
        check_finite(stream->k, group + "/k", r.place);
        check_finite(stream->lse, group + "/lse", r.place);
        return stream;
      });
}

std::shared_ptr<const Thumbnail> RunRecord::thumbnail(std::string_view method, int layer, int head) const {
  const std::string group = layout::layer(method, layer, "thumbnails");
  return impl_->cached(
      impl_->thumbnails, group + "#" + std::to_string(head), [&]() -> std::shared_ptr<const Thumbnail> {
        const Impl& r = *impl_;
        if (!r.has(method, layer, "thumbnails/mean") || head < 0 || head > r.meta.num_q_heads) return nullptr;
        auto result = std::make_shared<Thumbnail>();
        result->cell = hdf5::read_integer(r.id(), group, "cell", r.place);
        for (auto [name, values] : {std::pair{"/max", &result->max}, std::pair{"/mean", &result->mean}}) {
          const hdf5::Element element[] = {hdf5::Element::f32};
          const hdf5::Dataset dataset = hdf5::open_dataset(r.id(), group + name, element, 3, r.place);
          const std::int64_t size = result->size = dataset.extent[1];
          hdf5::check_extent(dataset, group + name, {r.meta.num_q_heads + 1, size, size}, 0, r.place);
          if (size < 1 || size > layout::max_thumbnail || result->cell < 1 || result->cell > r.length() ||
              size * result->cell < r.length())
            throw input_error(r.place + ":" + group, "thumbnails do not cover the prompt",
                              std::to_string(r.length()) + " tokens",
                              std::to_string(size) + " cells of " + std::to_string(result->cell));
          values->resize(static_cast<std::size_t>(size * size));
          hdf5::read_raw(dataset, group + name, head, values->data(), r.place);
        }
        if (result->max.size() != result->mean.size())
          throw input_error(r.place + ":" + group, "thumbnails differ in size");
        return result;
      });
}

std::shared_ptr<const SupportBitmap> RunRecord::supports(std::string_view method, int layer, SupportKind kind) const {
  const std::string path = layout::layer(method, layer, std::string("supports/") + layout::support_name(kind));
  return impl_->supports.get(path, [&]() -> std::shared_ptr<const SupportBitmap> {
    const Impl& r = *impl_;
    std::string expected;
    auto bitmap = r.locked([&]() -> std::shared_ptr<SupportBitmap> {
      if (!r.has(method, layer, (std::string("supports/") + layout::support_name(kind)).c_str())) return nullptr;
      const hdf5::Element element[] = {hdf5::Element::u8};
      const hdf5::Dataset dataset = hdf5::open_dataset(r.id(), path, element, 2, r.place);
      hdf5::check_extent(dataset, path, {r.length(), (r.length() + 7) / 8}, 0, r.place);
      expected = hdf5::read_short_text(r.id(), path, "sha256", r.place);
      auto result = std::make_shared<SupportBitmap>(r.length());
      hdf5::read_raw(dataset, path, -1, result->bytes().data(), r.place);
      return result;
    });
    if (!bitmap) return nullptr;
    const std::string found = sha256(bitmap->bytes());
    if (found != expected) throw input_error(r.place + ":" + path, "checksum differs", "SHA-256 " + expected, found);
    if (const std::int64_t row = first_row_past_query(*bitmap); row >= 0)
      throw input_error(r.place + ":" + path, "row " + std::to_string(row) + " holds keys after its query");
    return bitmap;
  });
}

std::vector<float> RunRecord::mass_received(std::string_view method, int layer, int head) const {
  return impl_->locked([&]() -> std::vector<float> {
    const Impl& r = *impl_;
    const std::string path = layout::layer(method, layer, "mass_received");
    if (!r.has(method, layer, "mass_received") || head < 0 || head > r.meta.num_q_heads) return {};
    const hdf5::Element element[] = {hdf5::Element::f32};
    const hdf5::Dataset dataset = hdf5::open_dataset(r.id(), path, element, 2, r.place);
    hdf5::check_extent(dataset, path, {r.meta.num_q_heads + 1, r.length()}, 0, r.place);
    std::vector<float> values(static_cast<std::size_t>(r.length()));
    hdf5::read_raw(dataset, path, head, values.data(), r.place);
    return values;
  });
}

std::vector<float> RunRecord::selection_frequency(std::string_view method, int layer) const {
  return impl_->locked([&]() -> std::vector<float> {
    const Impl& r = *impl_;
    if (!r.has(method, layer, "selection_frequency")) return {};
    return hdf5::read<float>(r.id(), layout::layer(method, layer, "selection_frequency"), {r.length()}, r.place);
  });
}

}  // namespace headroom::record
