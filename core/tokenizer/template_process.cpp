// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/template_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include "base/paths.h"

namespace headroom::tokenizer {
namespace {

constexpr std::chrono::seconds template_seconds{10};
constexpr std::size_t max_answer = std::size_t{512} << 20;  // 64 MiB of text, escaped
constexpr int wait_ms = 50;
constexpr const char* script_name = "resources/chat_template.py";

class OpenFile {
 public:
  explicit OpenFile(int descriptor = -1) : descriptor_(descriptor) {}
  ~OpenFile() { close(); }
  OpenFile(OpenFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  OpenFile& operator=(OpenFile&&) = delete;
  int get() const { return descriptor_; }
  void close() {
    if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  }

 private:
  int descriptor_;
};

[[noreturn]] void no_process(const char* what) {
  throw device_error(std::string("the chat template cannot be rendered: ") + what, {}, std::strerror(errno));
}

/// The request as a file in memory: a process that ends early leaves no broken pipe.
OpenFile request_file(const std::string& request) {
  OpenFile file(::memfd_create("chat_template", MFD_CLOEXEC));
  if (file.get() < 0) no_process("no file in memory");
  for (std::size_t done = 0; done < request.size();) {
    const auto written = ::write(file.get(), request.data() + done, request.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) no_process("no room for the messages");
    done += static_cast<std::size_t>(written);
  }
  ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

/// A process that never outlives this object.
class TemplateChild {
 public:
  TemplateChild(const std::string& python, const std::string& script, int in, int out) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_t attributes;  // a terminal's Ctrl+C is ours to answer
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    // Isolated: neither PYTHON* variables, nor the working folder, nor the user's packages have a say.
    std::array<std::string, 4> words = {python, "-IB", script, {}};
    char* arguments[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
    failure_ = ::posix_spawnp(&pid_, python.c_str(), &actions, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (failure_ != 0) pid_ = -1;
  }
  ~TemplateChild() { end(); }
  TemplateChild(const TemplateChild&) = delete;
  TemplateChild& operator=(const TemplateChild&) = delete;
  bool started() const { return failure_ == 0; }
  /// Ends it where it still runs.
  void end() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  int failure_ = 0;
};

enum class Ending { answered, not_started, too_long, too_much };

Ending ask_one(const std::string& python, const std::string& script, const std::string& request, const JobContext& job,
               std::string& answer) {
  const OpenFile in = request_file(request);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) no_process("no pipe");
  const OpenFile out(ends[0]);
  OpenFile out_end(ends[1]);
  TemplateChild child(python, script, in.get(), out_end.get());
  out_end.close();
  if (!child.started()) return Ending::not_started;
  const auto end = std::chrono::steady_clock::now() + template_seconds;
  std::vector<char> buffer(1 << 16);
  while (true) {
    job.check();
    if (std::chrono::steady_clock::now() > end) return Ending::too_long;
    pollfd watched{out.get(), POLLIN, 0};
    const int ready = ::poll(&watched, 1, wait_ms);
    if (ready < 0 && errno != EINTR) no_process("no answer can be waited for");
    if (ready <= 0) continue;
    const auto bytes = ::read(out.get(), buffer.data(), buffer.size());
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) return Ending::answered;
    answer.append(buffer.data(), static_cast<std::size_t>(bytes));
    if (answer.size() > max_answer) return Ending::too_much;
  }
}

}  // namespace

std::optional<std::string> ask_template_process(const std::string& request, const std::string& place,
                                                const JobContext& job) {
  const auto script = find_data(script_name);
  if (!script)
    throw input_error(place, "the script that renders chat templates is missing", script_name,
                      "none beside the program");
  for (const std::string& python : {(cache_folder() / "venv/bin/python").string(), std::string("python3")}) {
    std::string answer;
    switch (ask_one(python, script->string(), request, job, answer)) {
      case Ending::not_started:
        continue;
      case Ending::too_long:
        throw input_error(place, "the chat template does not end", "a prompt within 10 s", "none");
      case Ending::too_much:
        throw input_error(place, "the chat template writes too much text", "at most 64 MiB", "more");
      case Ending::answered:
        break;
    }
    if (answer.find("\"error\": \"no jinja2\"") != std::string::npos && answer.size() < 100) continue;
    if (answer.empty())
      throw input_error(place, "the process that renders the chat template died, as one does that needs too much",
                        "a template that needs at most 1 GiB and 10 s", "no answer");
    return answer;
  }
  return std::nullopt;
}

}  // namespace headroom::tokenizer
