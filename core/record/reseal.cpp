// SPDX-License-Identifier: Apache-2.0
#include "record/reseal.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/sha256.h"
#include "record/directory.h"
#include "record/hdf5_io.h"
#include "record/run_record.h"
#include "record/sealed_file.h"
#include "record/stream_window.h"

namespace headroom::record {
namespace fs = std::filesystem;
namespace {

using hdf5::Handle;

constexpr std::int64_t max_resealed_bytes = std::int64_t{4} << 30;  // of one dataset, in memory
constexpr int max_resealed_objects = 1 << 20, max_resealed_depth = 16;
constexpr std::string_view hash_attribute = "sha256";

/// Copies what a record may hold from one open HDF5 file to another.
class Copy {
 public:
  Copy(hid_t from, hid_t to, std::string from_place, std::string to_place)
      : from_(from), to_(to), from_place_(std::move(from_place)), to_place_(std::move(to_place)) {}

  void group(const std::string& path, int depth) {
    if (depth > max_resealed_depth)
      refuse(path, "groups are nested too deeply", std::to_string(max_resealed_depth), "more");
    hdf5::make_group(to_, path, to_place_);
    const Handle group(H5Gopen2(from_, path.c_str(), H5P_DEFAULT), H5Gclose);
    H5G_info_t info;
    if (!group || H5Gget_info(group.get(), &info) < 0) refuse(path, "the group cannot be read", {}, {});
    for (hsize_t i = 0; i < info.nlinks; ++i) {
      const auto length =
          H5Lget_name_by_idx(group.get(), ".", H5_INDEX_NAME, H5_ITER_INC, i, nullptr, 0, H5P_DEFAULT);
      if (length <= 0 || length > 4096) refuse(path, "a link has no name that can be read", {}, {});
      std::string name(static_cast<std::size_t>(length) + 1, '\0');
      H5Lget_name_by_idx(group.get(), ".", H5_INDEX_NAME, H5_ITER_INC, i, name.data(), name.size(), H5P_DEFAULT);
      name.pop_back();
      object(path == "/" ? "/" + name : path + "/" + name, depth);
    }
    attributes(path, {});
  }

 private:
  [[noreturn]] void refuse(const std::string& path, const char* problem, const std::string& expected,
                           const std::string& found) const {
    throw input_error(from_place_ + ": " + path, problem, expected, found);
  }

  void object(const std::string& path, int depth) {
    if (++objects_ > max_resealed_objects) refuse(path, "the file holds too many objects", {}, {});
    H5L_info_t link;
    if (H5Lget_info(from_, path.c_str(), &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD)
      refuse(path, "the link leads elsewhere", "a group or dataset of this file", "a soft or external link");
    const Handle object(H5Oopen(from_, path.c_str(), H5P_DEFAULT), H5Oclose);
    switch (object ? H5Iget_type(object.get()) : H5I_BADID) {
      case H5I_GROUP:
        return group(path, depth + 1);
      case H5I_DATASET:
        return dataset(path, object.get());
      default:
        refuse(path, "this object is not understood", "a group or a dataset", "something else");
    }
  }

  void dataset(const std::string& path, hid_t id) {
    const Handle type(H5Dget_type(id), H5Tclose), space(H5Dget_space(id), H5Sclose);
    int element = 0;
    // f16 is kept as its 16 bits.
    while (element < num_elements && H5Tequal(type.get(), hdf5::type_of(static_cast<Element>(element)).get()) <= 0)
      ++element;
    const int rank = H5Sget_simple_extent_ndims(space.get());
    if (element == num_elements || rank < 1 || rank > 4)
      refuse(path, "a record holds no such dataset",
             "1 to 4 dimensions of little-endian uint8, int32, int64, float16, float32 or float64",
             std::to_string(rank) + " dimensions of another type, or a scalar");
    const Handle creation(H5Dget_create_plist(id), H5Pclose);
    if (!creation || H5Pget_external_count(creation.get()) != 0 || H5Pget_layout(creation.get()) == H5D_VIRTUAL)
      refuse(path, "the values lie in another file", "values in this file", "external or virtual storage");
    hsize_t sizes[4] = {};
    H5Sget_simple_extent_dims(space.get(), sizes, nullptr);
    Extent extent;
    auto bytes = static_cast<std::int64_t>(size_of(static_cast<Element>(element)));
    for (int i = 0; i < rank; ++i) {
      if (sizes[i] > static_cast<hsize_t>(max_resealed_bytes) ||
          (sizes[i] > 0 && bytes > max_resealed_bytes / static_cast<std::int64_t>(sizes[i])))
        refuse(path, "the dataset is too large", "at most 4 GiB", "more");
      extent.push_back(static_cast<std::int64_t>(sizes[i]));
      bytes *= extent.back();
    }
    std::vector<std::uint8_t> data(static_cast<std::size_t>(bytes));
    if (bytes > 0 && H5Dread(id, type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, data.data()) < 0)
      refuse(path, "the values cannot be read", {}, {});
    hdf5::write_raw(to_, path, static_cast<Element>(element), extent, data.data(), to_place_);
    attributes(path, data);
  }

  /// Those named sha256 or sha256_G are made anew of `data`, or of its Gth part: the values may have been changed.
  void attributes(const std::string& path, const std::vector<std::uint8_t>& data) {
    const Handle object(H5Oopen(from_, path.c_str(), H5P_DEFAULT), H5Oclose);
    H5O_info_t info;
    if (!object || H5Oget_info(object.get(), &info) < 0) refuse(path, "cannot be read", {}, {});
    std::set<std::string> hashes;
    for (hsize_t i = 0; i < info.num_attrs; ++i) {
      const Handle attribute(
          H5Aopen_by_idx(object.get(), ".", H5_INDEX_NAME, H5_ITER_INC, i, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
      std::array<char, 257> name{};
      if (!attribute || H5Aget_name(attribute.get(), name.size(), name.data()) <= 0)
        refuse(path, "an attribute cannot be read", {}, {});
      if (std::string_view(name.data()).starts_with(hash_attribute) && !data.empty())
        hashes.insert(name.data());
      else
        attribute_value(path, name.data(), attribute.get());
    }
    const auto part = data.size() / std::max<std::size_t>(hashes.size(), 1);
    for (const std::string& name : hashes) {
      const bool grouped = name.size() > hash_attribute.size();
      const auto group = grouped ? std::strtoul(name.c_str() + hash_attribute.size() + 1, nullptr, 10) : 0;
      if (group >= hashes.size()) refuse(path, "the hashes do not fit the groups", {}, name);
      hdf5::write_attribute(to_, path, name.c_str(),
                            sha256(std::span(data).subspan(group * part, grouped ? part : data.size())), to_place_);
    }
  }

  void attribute_value(const std::string& path, const char* name, hid_t attribute) {
    const Handle type(H5Aget_type(attribute), H5Tclose), space(H5Aget_space(attribute), H5Sclose);
    const auto kind = H5Tget_class(type.get());
    if (H5Sget_simple_extent_npoints(space.get()) == 1 && kind == H5T_INTEGER) {
      std::int64_t value = 0;
      if (H5Aread(attribute, hdf5::type_of(Element::i64).get(), &value) >= 0)
        return hdf5::write_attribute(to_, path, name, value, to_place_);
    } else if (H5Sget_simple_extent_npoints(space.get()) == 1 && kind == H5T_FLOAT) {
      double value = 0;
      if (H5Aread(attribute, hdf5::type_of(Element::f64).get(), &value) >= 0)
        return hdf5::write_attribute(to_, path, name, value, to_place_);
    } else if (H5Sget_simple_extent_npoints(space.get()) == 1 && kind == H5T_STRING &&
               H5Tis_variable_str(type.get()) == 0 && H5Tget_size(type.get()) <= 4096) {
      std::string value(H5Tget_size(type.get()), '\0');
      if (H5Aread(attribute, type.get(), value.data()) >= 0)
        return hdf5::write_attribute(to_, path, name, std::string(value.c_str()), to_place_);
    }
    refuse(path, "a record holds no such attribute", "one number, or a string of fixed length", name);
  }

  hid_t from_, to_;
  std::string from_place_, to_place_;
  int objects_ = 0;
};

/// Every row of a stream that is not in memory.
void read_window(const LayerStream& stream) {
  std::vector<float> row(static_cast<std::size_t>(stream.head_dim));
  using Part = StreamWindow::Part;
  const std::int64_t kept = stream.length - stream.query_begin;
  for (std::int64_t head = 0; head < stream.num_q_heads; ++head)
    for (std::int64_t i = 0; i < kept; ++i) {
      stream.window->copy(Part::q, head, i, 1, row.data());
      stream.window->copy(Part::lse, head, i, 1, row.data());
    }
  for (std::int64_t head = 0; head < stream.num_kv_heads; ++head)
    for (std::int64_t i = 0; i < stream.length; ++i) stream.window->copy(Part::k, head, i, 1, row.data());
}

/// Every stored tile of a layer.
void read_tiles(const RunRecord& record, const std::string& method, int layer) {
  const LayerMeta& sizes = record.meta().layer(layer);
  const StoredLevels stored = record.stored_levels(method, layer);
  const auto groups = num_support_groups(record.find_method(method)->scope, sizes.num_q_heads, sizes.num_kv_heads);
  for (int level = 0; level < num_levels(record.length()); ++level) {
    const std::int64_t tiles = (record.length() + (tile_size << level) - 1) / (tile_size << level);
    for (std::int64_t row = 0; row < tiles; ++row)
      for (std::int64_t column = 0; column <= row; ++column) {
        const TileAddress address{level, row, column};
        record.stored_tile(method, layer, {}, address);
        for (int group = 0; group < groups; ++group) record.stored_overlay(method, layer, group, {}, address);
        for (int head = 0; head < sizes.num_q_heads; ++head) {
          const HeadSelector one{HeadSelector::Kind::head, head};
          record.stored_tile(method, layer, one, address);
          if (stored.has_missed_mass(one, level)) record.stored_overlay(method, layer, 0, one, address);
        }
      }
  }
}

/// By the rules of every record: nothing damaged, nothing missing.
void read_whole(const fs::path& file) {
  const auto record = RunRecord::open(file);
  for (const MethodSummary& method : record->methods()) {
    record->head_statistics(method.id);
    record->mass_curves(method.id);
    for (int layer = 0; layer < record->meta().num_layers(); ++layer) {
      if (!record->meta().is_full(layer)) continue;
      const LayerMeta& sizes = record->meta().layer(layer);
      if (const auto stream = record->layer_stream(method.id, layer); stream && stream->window) read_window(*stream);
      read_tiles(*record, method.id, layer);
      for (int head = 0; head <= sizes.num_q_heads; ++head) {
        record->mass_received(method.id, layer, head);
        record->thumbnail(method.id, layer, head);
      }
      for (int group = 0; group < num_support_groups(method.scope, sizes.num_q_heads, sizes.num_kv_heads); ++group) {
        record->selection_frequency(method.id, layer, group);
        for (const auto kind : {SupportKind::support, SupportKind::target, SupportKind::wasted})
          if (const auto rows = record->supports(method.id, layer, kind, group); rows && !rows->is_whole())
            for (std::int64_t query = 0; query < rows->length(); ++query) rows->count(query, 0, query + 1);
      }
    }
  }
}

void write_anew(const fs::path& in, const fs::path& part, const std::string& out_place) {
  {
    hdf5::Library library;
    const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110);
    hdf5::forget_locks(access.get());
    const Handle from(H5Fopen(in.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
    if (!from) throw input_error(in.string(), "cannot be read by the HDF5 library", "an HDF5 file", "something else");
    const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
    H5Pset_userblock(creation.get(), static_cast<hsize_t>(seal_bytes));
    Handle to(H5Fcreate(part.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose);
    if (!to) throw hdf5::write_failure(out_place, {}, errno, 0);
    Copy(from.get(), to.get(), in.string(), out_place).group("/", 0);
    if (!to.reset()) throw hdf5::write_failure(out_place, {}, errno, 0);
  }
  seal_file(part, to_bytes(directory_of_hdf5(part)), out_place);
  try {
    read_whole(part);
  } catch (const Error& error) {
    throw Error(error.kind(), "the HDF5 file was read, but what it holds is no record: " + std::string(error.what()));
  }
}

/// In the child: 'k', or the error's kind and words, through `pipe`.
[[noreturn]] void child(const fs::path& in, const fs::path& part, const std::string& out_place, int pipe) {
  std::string answer = "k";
  try {
    write_anew(in, part, out_place);
  } catch (const Error& error) {
    answer = std::string(1, static_cast<char>('0' + static_cast<int>(error.kind()))) + error.what();
  } catch (const std::exception& error) {
    answer = std::string(1, static_cast<char>('0' + static_cast<int>(ErrorKind::internal))) + error.what();
  }
  for (std::size_t at = 0; at < answer.size();) {
    const auto wrote = ::write(pipe, answer.data() + at, answer.size() - at);
    if (wrote <= 0) break;
    at += static_cast<std::size_t>(wrote);
  }
  std::_Exit(0);
}

}  // namespace

fs::path reseal(const fs::path& in, OutputPlace& out, const JobContext& job, double seconds) {
  out.must_not_be(std::vector<fs::path>{in});
  OutputFile file(out);
  int ends[2];
  if (::pipe(ends) != 0) throw device_error("no pipe for reading " + in.string() + ": " + std::strerror(errno));
  const pid_t process = ::fork();
  if (process == 0) {
    ::close(ends[0]);
    child(in, file.part(), out.asked().string(), ends[1]);
  }
  ::close(ends[1]);
  std::string answer;
  bool stopped = process < 0;
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!stopped) {
    pollfd wait{ends[0], POLLIN, 0};
    if (::poll(&wait, 1, 50) > 0) {
      char buffer[4096];
      const auto got = ::read(ends[0], buffer, sizeof buffer);
      if (got <= 0) break;
      answer.append(buffer, static_cast<std::size_t>(got));
    }
    stopped = job.stop.stop_requested() || std::chrono::steady_clock::now() > until;
  }
  ::close(ends[0]);
  if (process < 0) throw device_error("no process for reading " + in.string() + ": " + std::strerror(errno));
  if (stopped) ::kill(process, SIGKILL);
  int status = 0;
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  job.check();
  if (stopped)
    throw input_error(in.string(), "the HDF5 library did not end",
                      "at most " + std::to_string(static_cast<int>(seconds)) + " s");
  if (answer.empty())
    throw input_error(in.string(), "the HDF5 library could not read it: the process ended by signal " +
                                       std::to_string(WIFSIGNALED(status) ? WTERMSIG(status) : 0) +
                                       "; the file is damaged");
  if (answer[0] != 'k') {
    std::string words = answer.substr(1);
    throw Error(static_cast<ErrorKind>(answer[0] - '0'), words);
  }
  return file.commit();
}

}  // namespace headroom::record
