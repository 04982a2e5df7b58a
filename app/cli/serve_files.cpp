// SPDX-License-Identifier: Apache-2.0
#include "serve_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <string_view>

#include "base/error.h"
#include "base/utf8.h"
#include "record/sealed_file.h"

namespace headroom::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t max_entries = 5000;
constexpr std::array<char, 8> hdf5_signature = {'\x89', 'H', 'D', 'F', '\r', '\n', '\x1a', '\n'};

constexpr std::string_view store_beginning = "{\"crc32c\":\"";  // record/sweep/sweep_store.h

bool begins_as(std::ifstream& file, std::int64_t offset, std::string_view wanted) {
  std::array<char, 16> found{};
  file.clear();
  file.seekg(offset);
  file.read(found.data(), static_cast<std::streamsize>(wanted.size()));
  return file && std::string_view(found.data(), wanted.size()) == wanted;
}

bool begins_as_hdf5(std::ifstream& file, std::int64_t offset) {
  return begins_as(file, offset, {hdf5_signature.data(), hdf5_signature.size()});
}

/// Of a file that only grows: the same as long as it is the same file.
std::string version_of_store(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return {};
  return "store-" + std::to_string(status.st_dev) + "-" + std::to_string(status.st_ino);
}

}  // namespace

ServedFolders::ServedFolders(const std::vector<fs::path>& folders) {
  for (const auto& folder : folders) {
    std::error_code error;
    const auto real = fs::canonical(folder, error);
    if (error || !fs::is_directory(real, error)) continue;
    if (std::find(folders_.begin(), folders_.end(), real) == folders_.end()) folders_.push_back(real);
  }
}

bool ServedFolders::inside(const fs::path& real) const {
  return std::any_of(folders_.begin(), folders_.end(), [&](const fs::path& folder) {
    return std::mismatch(folder.begin(), folder.end(), real.begin(), real.end()).first == folder.end();
  });
}

fs::path ServedFolders::resolve(const std::string& path, bool anywhere) const {
  if (path.find('\0') != std::string::npos) throw input_error("path", "has a zero byte");
  std::error_code error;
  const auto real = fs::canonical(path, error);
  // One answer for both, so that nothing can be learnt about what lies outside.
  if (error || (!anywhere && !inside(real)))
    throw input_error(replace_invalid_utf8(path), "cannot be opened", "a path below the folders of this engine",
                      "none there");
  return real;
}

protocol::FilesListResult ServedFolders::list(const protocol::FilesListParams& params) const {
  protocol::FilesListResult result;
  if (params.path.empty()) {
    for (const auto& folder : folders_) result.entries.push_back({folder.string(), true, 0});
    return result;
  }
  const auto real = resolve(params.path);
  std::error_code error;
  fs::directory_iterator entries(real, fs::directory_options::skip_permission_denied, error);
  if (error) throw input_error(real.string(), "cannot be listed", "a folder", error.message());
  result.path = real.string();
  if (real.has_parent_path() && inside(real.parent_path()) && real.parent_path() != real)
    result.parent = real.parent_path().string();
  for (; entries != fs::directory_iterator(); entries.increment(error)) {
    if (error) break;
    const auto name = entries->path().filename().string();
    // Names that JSON cannot carry could not be asked for either.
    if (name.starts_with('.') || first_invalid_utf8(name) || name.size() > 4096) continue;
    if (result.entries.size() >= max_entries) {
      result.truncated = true;
      break;
    }
    std::error_code ignored;
    const bool folder = entries->is_directory(ignored);
    if (!folder && !entries->is_regular_file(ignored)) continue;
    const auto bytes = folder ? 0 : entries->file_size(ignored);
    result.entries.push_back({name, folder, ignored ? 0 : static_cast<std::int64_t>(bytes)});
  }
  std::sort(result.entries.begin(), result.entries.end(),
            [](const auto& a, const auto& b) { return a.folder != b.folder ? a.folder : a.name < b.name; });
  return result;
}

protocol::RecordChunkResult ServedFolders::chunk(const protocol::RecordChunkParams& params, bool own) const {
  const auto real = resolve(params.path, own);
  std::error_code error;
  if (!fs::is_regular_file(real, error)) throw input_error(real.string(), "cannot be read", "a record", "no file");
  std::ifstream file(real, std::ios::binary);
  const bool store = begins_as(file, 0, store_beginning);
  if (!store && !begins_as_hdf5(file, 0) && !begins_as_hdf5(file, record::seal_bytes))
    throw input_error(real.string(), "is not a record", "an HDF5 file or a sweep's store", "another kind of file");
  protocol::RecordChunkResult result;
  result.total_bytes = static_cast<std::int64_t>(fs::file_size(real, error));
  const auto written = fs::last_write_time(real, error).time_since_epoch().count();
  result.version = store ? version_of_store(real) : std::to_string(result.total_bytes) + "-" + std::to_string(written);
  if (error) throw input_error(real.string(), "cannot be read", "a record", error.message());
  if (params.offset > result.total_bytes)
    throw input_error(real.string(), "ends before this offset", std::to_string(result.total_bytes) + " at most",
                      std::to_string(params.offset));
  result.offset = params.offset;
  result.data.resize(static_cast<std::size_t>(std::min(params.bytes, result.total_bytes - params.offset)));
  file.seekg(params.offset);
  file.read(reinterpret_cast<char*>(result.data.data()), static_cast<std::streamsize>(result.data.size()));
  if (!file) throw input_error(real.string(), "cannot be read to its end");
  return result;
}

}  // namespace headroom::cli
