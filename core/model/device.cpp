// SPDX-License-Identifier: Apache-2.0
#include "model/device.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sum.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <link.h>
#include <malloc.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>

#include "base/device_request.h"
#include "base/error.h"
#include "base/machine_limits.h"

namespace headroom::model {
namespace fs = std::filesystem;
namespace {

// LibTorch's CUDA half is built for CUDA 13.0, whose first driver is 580.
constexpr int needed_cuda = 13000;
constexpr const char* needed_driver = "driver 580 or newer (CUDA 13.0)";

template <typename Function>
Function* symbol(void* library, const char* name) {
  return reinterpret_cast<Function*>(dlsym(library, name));
}

std::string first_line(const fs::path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line;
}

// Value of the first "key : value" line of a /proc file; empty where there is none.
std::string proc_value(const char* file, std::string_view key) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    if (!line.starts_with(key)) continue;
    const auto colon = line.find(':');
    const auto begin = colon == std::string::npos ? colon : line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? std::string() : line.substr(begin);
  }
  return {};
}

std::int64_t proc_kilobytes(const char* file, std::string_view key) {
  std::istringstream value(proc_value(file, key));
  std::int64_t kilobytes = 0;
  value >> kilobytes;
  return kilobytes;
}

// The few calls of the driver that are needed before LibTorch's CUDA half is opened: no headers, no link.
class Driver {
 public:
  /// Throws device errors that say what is missing.
  Driver() {
    library_ = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!library_) throw device_error("there is no NVIDIA driver on this machine", needed_driver, "no libcuda.so.1");
    const auto init = symbol<int(unsigned)>(library_, "cuInit");
    const auto get_version = symbol<int(int*)>(library_, "cuDriverGetVersion");
    const auto get_count = symbol<int(int*)>(library_, "cuDeviceGetCount");
    // The version comes first: what a library of another age lacks is no damage.
    int version = 0;
    if (get_version) get_version(&version);
    if (!get_version || (version != 0 && version < needed_cuda)) {
      const std::string installed = first_line("/sys/module/nvidia/version");
      const std::string cuda =
          get_version ? "CUDA " + std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10)
                      : std::string("no cuDriverGetVersion in libcuda.so.1");
      throw device_error("the NVIDIA driver is too old", needed_driver,
                         "driver " + (installed.empty() ? std::string("of unknown version") : installed) + " (" + cuda +
                             ")");
    }
    for (const auto& [name, found] : {std::pair{"cuInit", init != nullptr}, {"cuDeviceGetCount", get_count != nullptr}})
      if (!found)
        throw device_error("the NVIDIA driver's library is no whole driver (a stub for building?)",
                           std::string(name) + " in libcuda.so.1", "none");
    if (const int status = init(0); status != 0)
      throw device_error("the NVIDIA driver does not start", "a usable GPU", reason(status));
    if (const int status = get_count(&count_); status != 0 || count_ < 1)
      throw device_error("the NVIDIA driver sees no GPU", "at least one GPU (CUDA_VISIBLE_DEVICES may hide them)",
                         status ? reason(status) : "none");
  }
  int count() const { return count_; }
  std::string name(int index) const {
    const auto get = symbol<int(int*, int)>(library_, "cuDeviceGet");
    const auto get_name = symbol<int(char*, int, int)>(library_, "cuDeviceGetName");
    int device = 0;
    char text[256] = "NVIDIA GPU";
    if (get && get_name && get(&device, index) == 0) get_name(text, sizeof text - 1, device);
    return text;
  }

 private:
  std::string reason(int status) const {
    const auto describe = symbol<int(int, const char**)>(library_, "cuGetErrorString");
    const char* text = nullptr;
    if (describe) describe(status, &text);
    return (text ? std::string(text) : std::string("an error")) + " (CUDA error " + std::to_string(status) + ")";
  }
  void* library_ = nullptr;  // never closed: libraries that hold device state must outlive everything
  int count_ = 0;
};

// Opens the CUDA half that lies beside the libtorch_cpu this program runs with.
void open_cuda_half() {
  static bool opened = false;
  if (opened) return;
  // The half that this program runs with is loaded already; the loader knows from where.
  void* cpu_half = dlopen("libtorch_cpu.so", RTLD_NOW | RTLD_NOLOAD);
  link_map* place = nullptr;
  if (!cpu_half || dlinfo(cpu_half, RTLD_DI_LINKMAP, &place) != 0 || !place)
    throw Error(ErrorKind::internal, "LibTorch's folder cannot be found");
  const fs::path folder = fs::path(place->l_name).parent_path();
  if (!fs::exists(folder / "libtorch_cuda.so")) {
    throw device_error("this LibTorch has no CUDA half: run scripts/run, which fetches it where there is a GPU",
                       (folder / "libtorch_cuda.so").string(), "no such file");
  }
  for (const char* library : {"libc10_cuda.so", "libtorch_cuda.so"}) {
    if (!dlopen((folder / library).c_str(), RTLD_NOW | RTLD_GLOBAL)) {
      const char* why = dlerror();
      throw device_error(
          "LibTorch's CUDA half cannot be opened: run scripts/run, which fetches the NVIDIA libraries it needs",
          std::string(library) + " with cuBLAS, cuDNN and the other CUDA 13 libraries", why ? why : "no reason given");
    }
  }
  // cuDNN compiles attention at run time and looks this one up by its bare name; absent, it says so itself.
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder / "../../nvidia/cu13/lib", ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("libnvrtc.so.")) dlopen(entry.path().c_str(), RTLD_NOW | RTLD_GLOBAL);
  }
  opened = true;
}

/// What use_allowed_threads() found to say.
std::string& threads_note() {
  static std::string note;
  return note;
}

/// Threads that OMP_NUM_THREADS asks for: the first of its list; none where it is no number that OpenMP takes.
std::optional<int> threads_asked_for(std::string_view said) {
  constexpr int most = 1024;
  const auto first = said.substr(0, said.find(','));
  int count = 0;
  const auto [end, status] = std::from_chars(first.data(), first.data() + first.size(), count);
  if (status != std::errc() || end != first.data() + first.size() || count < 1 || count > most) return std::nullopt;
  return count;
}

// A product of two small matrices whose result is known, so that an unusable device shows here and not in mid-run.
void check_device(c10::Device device) {
  const auto options = at::TensorOptions().device(device).dtype(at::kFloat);
  const double found = at::mm(at::full({16, 32}, 0.5, options), at::full({32, 16}, 2.0, options)).sum().item<double>();
  if (found != 16 * 16 * 32.0) throw device_error("the GPU computes wrong results", "8192", std::to_string(found));
}

DeviceChoice open_cuda(const Driver& driver, int index) {
  if (index >= driver.count()) {
    throw device_error("there is no GPU " + std::to_string(index),
                       driver.count() == 1 ? "cuda:0" : "cuda:0 to cuda:" + std::to_string(driver.count() - 1),
                       "cuda:" + std::to_string(index));
  }
  open_cuda_half();
  DeviceChoice choice;
  choice.device = c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
  choice.description = driver.name(index);
  try {
    const c10::impl::VirtualGuardImpl guard(c10::DeviceType::CUDA);
    guard.setDevice(choice.device);
    check_device(choice.device);
    std::size_t free_bytes = 0, total_bytes = 0;
    // Of the CUDA runtime that came with LibTorch's CUDA half; the guard above made the device current.
    const auto memory = symbol<int(std::size_t*, std::size_t*)>(RTLD_DEFAULT, "cudaMemGetInfo");
    if (memory && memory(&free_bytes, &total_bytes) == 0) {
      // What LibTorch holds and does not use is free for the next run of this process.
      const auto stats = c10::getDeviceAllocator(choice.device.type())->getDeviceStats(choice.device.index());
      constexpr auto all = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
      choice.free_bytes = static_cast<std::int64_t>(free_bytes) + stats.reserved_bytes[all].current -
                          stats.allocated_bytes[all].current;
      choice.total_bytes = static_cast<std::int64_t>(total_bytes);
    }
  } catch (const c10::Error& error) {
    throw device_error(choice.description + " does not work with this LibTorch",
                       "a GPU of compute capability 7.5 or newer with free memory", error.what_without_backtrace());
  }
  return choice;
}

/// Those of the request; all that there are where it names none.
DeviceChoice open_gpus(std::vector<int> indices) {
  if (!built_with_cuda())
    throw device_error("this program was built without CUDA", "a build with HEADROOM_CUDA=ON", "HEADROOM_CUDA=OFF");
  const Driver driver;
  if (indices.empty())
    for (int i = 0; i < driver.count(); ++i) indices.push_back(i);
  // The first one last: it stays the current device.
  std::vector<DeviceChoice> others;
  for (std::size_t i = 1; i < indices.size(); ++i) others.push_back(open_cuda(driver, indices[i]));
  DeviceChoice choice = open_cuda(driver, indices.front());
  choice.others = std::move(others);
  return choice;
}

DeviceChoice open_cpu() {
  DeviceChoice choice;
  const MachineLimits limits = machine_limits();
  const int cores = limits.threads;
  const std::string name = proc_value("/proc/cpuinfo", "model name");
  choice.description =
      "CPU, " + std::to_string(cores) + (cores == 1 ? " core" : " cores") + (name.empty() ? "" : ": " + name);
  choice.note = threads_note();
  choice.total_bytes = limits.total_bytes;
  choice.free_bytes = limits.free_bytes;
  return choice;
}

}  // namespace

bool built_with_cuda() {
  return HEADROOM_WITH_CUDA;
}

void use_allowed_threads() {
  const char* set = std::getenv("OMP_NUM_THREADS");
  const std::string said = set ? set : "";
  const int allowed = machine_limits().threads;
  const auto wanted = threads_asked_for(said);
  threads_note().clear();
  // LibTorch takes fewer where it thinks that there are fewer cores.
  const int count = wanted.value_or(std::min(allowed, at::get_num_threads()));
  if (count != at::get_num_threads()) at::set_num_threads(count);
  const auto in_words = [](int threads) { return std::to_string(threads) + (threads == 1 ? " thread" : " threads"); };
  if (!said.empty() && !wanted)
    threads_note() = "OMP_NUM_THREADS=" + said + " is ignored, it is not a number from 1 to 1024: " + in_words(count);
  else if (count > allowed)
    threads_note() = "OMP_NUM_THREADS=" + said + " is more than this process may use: " + in_words(count) + " share " +
                     std::to_string(allowed) + (allowed == 1 ? " processor" : " processors") +
                     " (affinity or a quota), which is slower";
}

DeviceChoice open_device(const std::string& request) {
  using Kind = DeviceRequest::Kind;
  const auto wanted = parse_device_request(request);
  if (!wanted)
    throw usage_error("device \"" + request + "\" is not known: expected " + std::string(device_request_forms));
  if (wanted->kind == Kind::cpu) return open_cpu();
  if (wanted->kind != Kind::automatic) return open_gpus(wanted->gpus);
  try {
    return open_gpus({0});
  } catch (const Error& error) {
    DeviceChoice choice = open_cpu();
    choice.note = std::string("no CUDA device, running on the CPU: ") + error.what() +
                  (choice.note.empty() ? "" : "; " + choice.note);
    return choice;
  }
}

DeviceChoice open_one_device(const std::string& request, const std::string& work) {
  const auto wanted = parse_device_request(request);
  if (wanted && (wanted->kind == DeviceRequest::Kind::all_gpus || wanted->gpus.size() > 1))
    throw usage_error(work + " works on one device: expected auto, cpu, cuda or cuda:i, found " + request);
  return open_device(request);
}

std::vector<DeviceChoice> each_of(const DeviceChoice& choice) {
  std::vector<DeviceChoice> all = {choice};
  all.front().others.clear();
  all.insert(all.end(), choice.others.begin(), choice.others.end());
  return all;
}

std::string description_of_all(const DeviceChoice& choice) {
  const auto& others = choice.others;
  if (others.empty()) return choice.description;
  const bool alike = std::all_of(others.begin(), others.end(), [&](const DeviceChoice& other) {
    return other.description == choice.description;
  });
  if (alike) return std::to_string(others.size() + 1) + " x " + choice.description;
  std::string text = choice.description;
  for (const DeviceChoice& other : others) text += " + " + other.description;
  return text;
}

std::string request_for(const DeviceChoice& choice) {
  std::string text = choice.device.is_cpu() ? "cpu" : choice.device.str();
  for (const DeviceChoice& other : choice.others) text += "," + other.device.str();
  return text;
}

void synchronize(c10::Device device) {
  if (!device.is_cpu()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

std::int64_t peak_bytes(c10::Device device) {
  if (device.is_cpu()) return proc_kilobytes("/proc/self/status", "VmHWM") * 1024;
  const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  return stats.allocated_bytes[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
}

void release_unused_memory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

std::int64_t resident_bytes() {
  return proc_kilobytes("/proc/self/status", "VmRSS") * 1024;
}

void reset_peak_bytes(c10::Device device) {
  if (device.is_cpu()) {
    std::ofstream("/proc/self/clear_refs") << "5";  // Linux: forget the peak resident set
    return;
  }
  c10::getDeviceAllocator(device.type())->resetPeakStats(device.index());
}

}  // namespace headroom::model
