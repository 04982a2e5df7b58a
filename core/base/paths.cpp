// SPDX-License-Identifier: Apache-2.0
#include "base/paths.h"

#include <array>
#include <cstdlib>
#include <sstream>
#include <vector>

#include "base/error.h"

namespace headroom {
namespace fs = std::filesystem;
namespace {

struct KnownModel {
  std::string_view name;
  std::string_view file;
};
// File names as the packages carry them; scripts/fetch-model writes them under the same names.
constexpr std::array known_models = {
    KnownModel{"smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"},
    KnownModel{"gemma3-270m", "gemma-3-270m-q4_k_m.gguf"},
};

}  // namespace

fs::path executable_folder() {
  std::error_code failed;
  const fs::path self = fs::read_symlink("/proc/self/exe", failed);
  return failed ? fs::current_path() : self.parent_path();
}

std::optional<fs::path> find_data(std::string_view relative) {
  std::vector<fs::path> roots;
  if (const char* extra = std::getenv("HEADROOM_DATA")) {
    std::istringstream list(extra);
    for (std::string root; std::getline(list, root, ':');) roots.emplace_back(root);
  }
  const fs::path here = executable_folder();
  for (const char* up : {"..", "../..", "../share/headroom"}) roots.push_back(here / up);
  for (const fs::path& root : roots) {
    std::error_code failed;
    const fs::path found = root / relative;
    if (fs::exists(found, failed)) return fs::weakly_canonical(found, failed);
  }
  return std::nullopt;
}

fs::path cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache) return fs::path(cache) / "headroom";
  const char* home = std::getenv("HOME");
  return fs::path(home && *home ? home : "/tmp") / ".cache" / "headroom";
}

fs::path resolve_model(const std::string& path_or_name) {
  for (const KnownModel& model : known_models) {
    if (path_or_name != model.name) continue;
    const fs::path file = cache_folder() / "models" / model.file;
    std::error_code failed;
    if (!fs::exists(file, failed)) {
      throw input_error(path_or_name, "this model has not been fetched: run scripts/fetch-model " + path_or_name,
                        file.string(), "no such file");
    }
    return file;
  }
  return path_or_name;
}

}  // namespace headroom
