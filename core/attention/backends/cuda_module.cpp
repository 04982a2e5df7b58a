// SPDX-License-Identifier: Apache-2.0
#include "attention/backends/cuda_module.h"

#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "base/error.h"

namespace headroom::attention {
namespace {

namespace fs = std::filesystem;

/// A table of the module beside the program; null and `failure` where there is none that fits.
const kernels::cuda::KernelTable* load_module(const char* symbol, std::string& failure) {
  std::error_code error;
  const fs::path module = fs::read_symlink("/proc/self/exe", error).parent_path() / "libheadroom_cuda.so";
  if (error || !fs::exists(module)) {
    failure = "no CUDA compiler when this was built";
    return nullptr;
  }
  void* const library = dlopen(module.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* reason = dlerror();
    failure = "the CUDA kernels cannot be opened: " + std::string(reason ? reason : "no reason given");
    return nullptr;
  }
  using Entry = const kernels::cuda::KernelTable* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(library, symbol));
  const kernels::cuda::KernelTable* const found = entry ? entry() : nullptr;
  if (!found || found->version != kernels::cuda::table_version) {
    failure = module.string() + " is of another build";
    return nullptr;
  }
  return found;
}

int ask_compute_capability(c10::Device device) {
  using Attribute = int (*)(int*, int, int);
  const auto ask = reinterpret_cast<Attribute>(dlsym(RTLD_DEFAULT, "cudaDeviceGetAttribute"));
  int major = 0, minor = 0;
  constexpr int major_attribute = 75, minor_attribute = 76;  // of cudaDeviceAttr
  if (!ask || ask(&major, major_attribute, device.index()) != 0 || ask(&minor, minor_attribute, device.index()) != 0)
    return 0;
  return 10 * major + minor;
}

}  // namespace

int compute_capability(c10::Device device) {
  static std::array<std::atomic<int>, 64> known{};  // every layer's steps come here
  const auto index = static_cast<std::size_t>(device.index());
  if (index >= known.size()) return ask_compute_capability(device);
  if (known[index] == 0) known[index] = ask_compute_capability(device);
  return known[index];
}

CudaModule open_cuda_module(c10::Device device, c10::ScalarType dtype) {
  if (!device.is_cuda()) return {nullptr, "the CUDA kernels are for GPUs"};
  if (dtype != c10::ScalarType::BFloat16) return {nullptr, "the CUDA kernels are for bf16"};
  const int capability = compute_capability(device);
  if (capability < 80)
    return {nullptr, "the CUDA kernels are for compute capability 8.0 and newer, this GPU has " +
                         std::to_string(capability / 10) + "." + std::to_string(capability % 10)};
  // Once for the process, whatever its GPUs.
  struct Loaded {
    std::string failure;
    const kernels::cuda::KernelTable* table;
    explicit Loaded(const char* symbol) : table(load_module(symbol, failure)) {}
  };
  if (capability != 90) {
    static const Loaded portable(kernels::cuda::portable_symbol);
    if (!portable.table) return {nullptr, portable.failure};
    return {portable.table,
            "attention and index kernels of our own need compute capability 9.0 (Hopper), this GPU has " +
                std::to_string(capability / 10) + "." + std::to_string(capability % 10)};
  }
  static const Loaded hopper(kernels::cuda::table_symbol);
  return {hopper.table, hopper.failure};
}

void* stream_of(c10::Device device) {
  if (device.is_cpu()) return nullptr;
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle();
}

void check_kernel(const char* failed, const char* what) {
  if (failed) throw device_error(std::string("the CUDA kernel for ") + what + " failed", {}, failed);
}

}  // namespace headroom::attention
