// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/open_bench.h"

#include <QString>

namespace headroom::views {

bool is_bench_name(const std::filesystem::path& file) {
  return QString::fromStdString(file.extension().string()).compare(QLatin1String(".json"), Qt::CaseInsensitive) == 0;
}

BenchPtr read_open_bench(const std::filesystem::path& file) {
  return std::make_shared<const OpenBench>(OpenBench{file, record::read_bench_report(file)});
}

}  // namespace headroom::views
