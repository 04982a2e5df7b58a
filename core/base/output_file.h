// SPDX-License-Identifier: Apache-2.0
// Where a program writes what it made: looked at before the work, written under a name of its own in the same folder,
// renamed when whole. Never over an input, never over what another program put there meanwhile.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace headroom {

/// What an output may be: a stream is written from its beginning to its end, so a pipe or a device will do.
enum class OutputKind { stream, file };

/// A place for an output, as it was found before the work.
class OutputPlace {
 public:
  /// Follows links. Throws a usage error where `asked` is empty and input errors where nothing can be written: a folder
  /// that is missing or protected, a folder in the file's place, a protected file, a device where a file is needed.
  explicit OutputPlace(std::filesystem::path asked, OutputKind kind = OutputKind::stream);

  /// Throws an input error where this is one of `inputs`, under whatever name or link. What is not there is no input.
  void must_not_be(std::span<const std::filesystem::path> inputs) const;

  const std::filesystem::path& asked() const { return asked_; }
  /// Where the file will lie: `asked` with its links followed.
  const std::filesystem::path& target() const { return target_; }
  /// The folder of `target`.
  std::filesystem::path folder() const;

 private:
  friend class OutputFile;
  struct State {
    std::uint64_t device = 0, number = 0;
    std::int64_t bytes = 0, seconds = 0, nanoseconds = 0;
    bool operator==(const State&) const = default;
  };
  static std::optional<State> state_of(const std::filesystem::path& file);

  std::filesystem::path asked_, target_;
  std::optional<State> found_;  ///< none: nothing was there
  bool stream_ = false;         ///< a device, pipe or socket
};

/// One writing of a place. Where it ends without commit() nothing is left behind.
class OutputFile {
 public:
  /// Creates the temporary file, or opens the stream; a pipe that nobody reads gets ten seconds. `total`: bytes that
  /// will be written, where that is known. Throws device errors (exit 4) that say path, needed and free.
  explicit OutputFile(OutputPlace& place, std::int64_t total = 0);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::uint8_t> bytes);
  void write(std::string_view text);
  std::int64_t bytes() const { return bytes_; }
  /// Of the temporary file, for libraries that write by name; the place must be of the kind `file`.
  const std::filesystem::path& part() const { return part_; }
  /// Syncs, closes and renames; nothing may follow. Returns where the result is: as asked for, or beside it under a
  /// free name where something else came there since the place was looked at. Where it cannot be renamed it stays under
  /// its temporary name, which the error tells.
  std::filesystem::path commit();

 private:
  void open_stream();
  void create_part();
  std::filesystem::path rename_part();
  [[noreturn]] void fail(int problem) const;

  OutputPlace& place_;
  std::filesystem::path part_;
  std::int64_t total_, bytes_ = 0;
  int descriptor_ = -1;
  int slot_ = -1;  ///< of the list that remove_unfinished_outputs() goes through
};

/// How a message names an output: as it was asked for, or where it is kept and why.
std::string describe_output(const std::filesystem::path& asked, const std::filesystem::path& written);

/// In one go. Returns what OutputFile::commit() does.
std::filesystem::path write_output(OutputPlace& place, std::string_view text);

/// "PLACE: cannot be written whole: the disk is full (expected 1000 bytes, found 12 bytes free)". `problem`: errno;
/// `written`: bytes of the output that are on `folder`'s disk already.
Error write_error(const std::string& place, int problem, std::int64_t needed, std::int64_t written,
                  const std::filesystem::path& folder);

/// Deletes the temporary files of this process. May be called from a signal's handler; the process must end then.
void remove_unfinished_outputs() noexcept;

}  // namespace headroom
