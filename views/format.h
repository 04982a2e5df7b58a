// SPDX-License-Identifier: GPL-3.0-or-later
// Numbers and names as the window prints them: units of the field, thousands separators, never a false 100 %.
#pragma once

#include <QString>
#include <cstdint>

#include "record/types.h"

namespace headroom::views {

/// "4,012".
QString format_count(std::int64_t value);
/// Fixed decimals with thousands separators; "–" for NaN and infinities.
QString format_fixed(double value, int decimals);
/// A share in [0, 1] as "97.1 %". A share below 1 never prints as 100 %, one above 0 never as 0 %. With `decimals` < 0:
/// none from 10 % up, one below ("23 %", "1.6 %").
QString format_percent(double share, int decimals = -1);
/// Milliseconds as "6.7 s", "412 ms", "3.4 ms", "0.52 ms".
QString format_ms(double ms);
/// "6.71 s [6.70–6.80]", one unit for the three numbers; the value alone where there was one pass.
QString format_quartiles(const record::Quartiles& quartiles);
/// Three significant digits: "3.21", "0.0123", "412".
QString format_number(double value);

/// "Dense", "Oracle", "Indexer", "Sink window", …: the name with a capital.
QString method_name(const std::string& name);
/// "Oracle, 512 keys", "Indexer, 10 %", "Oracle, p 0.95, shared by 64 queries".
QString method_title(const record::MethodSummary& method);
/// What people call the model: the file's name without its quantisation, unless that says nothing ("model.gguf"); then
/// the name inside the file.
QString model_label(const record::RunMeta& meta);
/// "2-core CPU" from "CPU, 2 cores: …"; graphics cards lose their memory suffix.
QString short_device(const std::string& device);
/// Layers, tokens, model, device and number format of a run in one line, for captions.
QString run_caption(const record::RunMeta& meta, std::int64_t tokens);

}  // namespace headroom::views
