// SPDX-License-Identifier: Apache-2.0
// How a window comes back to an engine that kept its jobs: a socket that only this user can reach, and the program
// that carries its bytes over the standard streams.
#pragma once

#include <filesystem>
#include <string>

namespace headroom::cli {

/// A socket that listens while this lives.
class ServeDoor {
 public:
  /// Throws device errors where no socket can be made.
  ServeDoor();
  ~ServeDoor();
  ServeDoor(const ServeDoor&) = delete;
  ServeDoor& operator=(const ServeDoor&) = delete;

  int descriptor() const { return descriptor_; }
  /// Takes its name away: nobody else comes.
  void hide();
  /// A window that has come; -1 where there is none. Only this user's are let in.
  int accept() const;

 private:
  int descriptor_ = -1;
  std::filesystem::path file_;
};

/// The folder of this user's engines on this host, made with no rights for others. Throws device errors.
std::filesystem::path serve_folder();
/// What an engine that ended leaves for the next one: jobs that no window has heard of.
std::filesystem::path saved_jobs_file();
/// Connects to the engine of this user on this host that was left last. -1 where none listens.
int find_kept_engine();
/// Carries bytes between the standard streams and `socket`, which it takes over, until one of them ends.
void forward_streams(int socket, int output);

}  // namespace headroom::cli
