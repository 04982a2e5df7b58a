// SPDX-License-Identifier: Apache-2.0
#include "experiment/bench/llama_cpp.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/paths.h"
#include "base/utf8.h"
#include "protocol/json_fields.h"

extern char** environ;

namespace headroom::experiment {
namespace {

constexpr const char* script = "tests/benchmarks/llama_cpp_prefill.py";
constexpr int warmup_tokens = 64;
constexpr std::size_t max_answer = 1 << 20, kept_errors = 2000;
constexpr int poll_ms = 100;

class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;
  int get() const { return number_; }
  void close() {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
  }

 private:
  int number_;
};

/// The request as a file without a name: a child that ends early then costs no broken pipe.
Descriptor request_file(const std::string& text) {
  std::string name = (std::filesystem::temp_directory_path() / "headroom-XXXXXX").string();
  Descriptor file(::mkostemp(name.data(), O_CLOEXEC));
  if (file.get() < 0) throw input_error(name, "cannot be written", {}, std::strerror(errno));
  ::unlink(name.c_str());
  for (std::size_t done = 0; done < text.size();) {
    const auto written = ::write(file.get(), text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0)
      throw input_error(name, "cannot be written", {}, written < 0 ? std::strerror(errno) : "no progress");
    done += static_cast<std::size_t>(written);
  }
  ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

std::array<Descriptor, 2> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw Error(ErrorKind::internal, "no pipe", {{}, {}, std::strerror(errno)});
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

/// A child process that never outlives this object.
class Child {
 public:
  Child(const std::string& program, const std::string& argument, int in, int out, int errors) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, errors, 2);
    std::string first = program, second = argument;
    char* arguments[] = {first.data(), second.data(), nullptr};
    const int failure = ::posix_spawnp(&pid_, program.c_str(), &actions, nullptr, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failure != 0) {
      pid_ = -1;
      throw input_error("--llama-cpp", "cannot be started", "a Python interpreter with llama-cpp-python",
                        program + ": " + std::strerror(failure));
    }
  }
  ~Child() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  /// Exit status; 128 and more: ended by a signal.
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
};

std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return escape_controls(replace_invalid_utf8(text.substr(text.rfind('\n') + 1)));
}

}  // namespace

LlamaCpp::LlamaCpp(std::string python, const JobContext& job) : python_(std::move(python)) {
  const auto found = find_data(script);
  if (!found) throw input_error("--llama-cpp", "its script is missing", script, "none beside the program");
  script_ = found->string();
  const std::string answer = run(R"({"probe": true})", job);
  const auto object = protocol::parse_json(answer, python_);
  protocol::Fields fields(object, python_);
  version_ = fields.string("version", 64);
}

std::string LlamaCpp::run(const std::string& request, const JobContext& job) const {
  job.check();
  const Descriptor in = request_file(request);
  auto [out, out_end] = make_pipe();
  auto [errors, errors_end] = make_pipe();
  Child child(python_, script_, in.get(), out_end.get(), errors_end.get());
  out_end.close();
  errors_end.close();
  std::string answer, complaint;
  pollfd watched[] = {{out.get(), POLLIN, 0}, {errors.get(), POLLIN, 0}};
  for (int open = 2; open > 0;) {
    job.check();
    if (::poll(watched, 2, poll_ms) < 0 && errno != EINTR)
      throw Error(ErrorKind::internal, "poll failed", {{}, {}, std::strerror(errno)});
    for (std::size_t i = 0; i < 2; ++i) {
      if (watched[i].fd < 0 || (watched[i].revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
      char buffer[4096];
      const auto bytes = ::read(watched[i].fd, buffer, sizeof buffer);
      if (bytes < 0 && errno == EINTR) continue;
      if (bytes <= 0) {
        watched[i].fd = -1;
        --open;
        continue;
      }
      std::string& text = i == 0 ? answer : complaint;
      text.append(buffer, static_cast<std::size_t>(bytes));
      if (i == 1 && text.size() > kept_errors) text.erase(0, text.size() - kept_errors);
      if (answer.size() > max_answer) throw input_error(python_, "answers too much");
    }
  }
  const int status = child.wait();
  job.check();  // Ctrl+C reaches the child, too
  if (status != 0 || answer.empty())
    throw input_error(
        "--llama-cpp", "llama-cpp-python did not run", "a Python interpreter that has it",
        python_ + ": exit code " + std::to_string(status) + (complaint.empty() ? "" : ", " + last_line(complaint)));
  return answer;
}

std::vector<LlamaCppTimes> LlamaCpp::time(const std::filesystem::path& model, std::span<const std::int32_t> ids,
                                          int threads, int repeats, const JobContext& job) const {
  const nlohmann::json request = {{"model", model.string()},
                                  {"ids", ids},
                                  {"threads", threads},
                                  {"repeats", repeats},
                                  {"warmup", std::min<std::size_t>(ids.size(), warmup_tokens)}};
  const std::string answer = run(request.dump(), job);
  std::vector<LlamaCppTimes> results;
  for (std::size_t begin = 0; begin < answer.size();) {
    const std::size_t end = std::min(answer.find('\n', begin), answer.size());
    const auto object = protocol::parse_json(std::string_view(answer).substr(begin, end - begin), python_);
    begin = end + 1;
    protocol::Fields fields(object, python_);
    LlamaCppTimes& times = results.emplace_back();
    times.flash_attention = fields.boolean("flash_attention");
    times.error = fields.string_or("error", {});
    if (!times.error.empty()) continue;
    times.ms = fields.numbers("ms", 1000);
    for (const double ms : times.ms)
      if (!(ms > 0)) fields.fail("ms", "times above zero", std::to_string(ms));
    if (static_cast<int>(times.ms.size()) != repeats)
      fields.fail("ms", std::to_string(repeats) + " times", std::to_string(times.ms.size()));
  }
  return results;
}

}  // namespace headroom::experiment
