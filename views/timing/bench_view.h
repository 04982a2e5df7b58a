// SPDX-License-Identifier: GPL-3.0-or-later
// A bench result in words, and as a picture over its lengths.
#pragma once

#include <QString>
#include <optional>

#include "views/common/open_bench.h"
#include "views/timing/context_plot.h"

namespace headroom::views {

/// "Oracle top-k, 512 keys, shared by 64 queries, sinks8"; "Dense, FA2"; "Dense, llama.cpp (flash attention on)".
QString bench_row_title(const record::BenchRow& row);
/// Why a row has no speedup: "none: nothing sparse ran". Empty where it has one.
QString no_speedup_text(const record::BenchRow& row);
/// Why a row's ratio is no more than a hint: "a single pass". Empty where it is not.
QString hint_text(const record::BenchRow& row, const record::BenchRow* dense);
/// "9.8 GB", "412 MB".
QString bytes_text(std::int64_t bytes);

/// Ratios over the fastest dense by length, the dense rows among them, and the bound.
ContextPicture speedups_of(const record::BenchReport& report);
/// Device, number format, lengths, configuration and passes in one line.
QString bench_caption(const record::BenchReport& report);
/// What free attention would bring, from the shortest length to the longest.
QString bench_bound_text(const record::BenchReport& report);
/// What must be known beside the figures: weights, supports, references, what was not run, what was disturbed.
QString bench_note_text(const record::BenchReport& report);

}  // namespace headroom::views
