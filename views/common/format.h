// SPDX-License-Identifier: GPL-3.0-or-later
// Numbers and names as the window prints them: units of the field, thousands separators, never a false 100 %.
#pragma once

#include <QLocale>
#include <QString>
#include <cstdint>
#include <vector>

#include "record/run_record.h"

namespace headroom::views {

/// English digits, separators and months everywhere, whatever the user's locale: pictures and tables from two machines
/// agree, and with the command line.
const QLocale& number_locale();
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
/// An end of a colour scale, as its axis has it: "0.1", "1e-6", "1,000".
QString format_scale_end(double value, int digits = 3);

/// The first and the last `count` units of a text or one fewer: a character of two is kept whole or left out.
QString first_characters(const QString& text, qsizetype count);
QString last_characters(const QString& text, qsizetype count);

/// "Oracle top-k": its title, or its name where it has none.
QString method_name(const record::MethodSummary& method);
/// "Oracle top-k, 512 keys", "Indexer top-k, 10 %", "Oracle top-k, p 0.95, shared by 64 queries".
QString method_title(const record::MethodSummary& method);
/// " (local 64, sinks 4)": the parameters in which it differs from other settings of the same policy in `among`, or its
/// id where none does; empty where there is no other setting. Stands behind name or title, so that no two methods of a
/// run are called alike.
QString method_setting(const record::MethodSummary& method, const std::vector<const record::MethodSummary*>& among);
/// method_title() and method_setting() among the methods of `record`, which it is one of.
QString method_label(const record::RunRecord& record, const record::MethodSummary& method);
/// Who shares a support: "all heads of a layer", "each KV head", "each head".
QString scope_text(SupportScope scope);
/// Query and KV heads of the full layers: "9 · 3" with " · " between; "4–9 · 1–3" where layers differ.
QString heads_text(const record::RunMeta& meta, const QString& between);
/// What people call the model: the file's name without its quantisation, unless that says nothing ("model.gguf"); then
/// the name inside the file.
QString model_label(const record::RunMeta& meta);
/// "2-core CPU" from "CPU, 2 cores: …"; graphics cards lose their memory suffix.
QString short_device(const std::string& device);
/// Layers, tokens, model, device and number format of a run in one line, for captions.
QString run_caption(const record::RunMeta& meta, std::int64_t tokens);

}  // namespace headroom::views
