// SPDX-License-Identifier: Apache-2.0
// `headroom logits`: the logits of every position, for comparison with other implementations; in one go, or in pieces
// after each other, which must agree.
#include <ATen/ops/cat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <memory>
#include <optional>

#include "attention/registry.h"
#include "base/error.h"
#include "base/input_file.h"
#include "base/output_file.h"
#include "base/utf8.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_file.h"
#include "commands.h"
#include "experiment/run/memory_estimate.h"
#include "experiment/run/session.h"
#include "interrupt.h"
#include "model/adapted_checkpoint.h"
#include "model/decoder.h"
#include "model/device.h"
#include "options.h"
#include "progress_line.h"

namespace headroom::cli {
namespace {

constexpr std::size_t largest_ids_file = 64 << 20;

// A JSON array of whole numbers, nothing else: read by hand, so that no other JSON can cost memory or stack.
std::vector<std::int32_t> read_ids(const std::string& file, const JobContext& job) {
  const std::string text =
      read_input_file(file, {"a JSON array of token ids", "is too large for token ids", largest_ids_file}, job);
  std::size_t at = 0;
  const auto refuse = [&](const char* expected) {
    const bool ended = at >= text.size();
    return input_error(file, "not a JSON array of token ids", expected,
                       (ended ? std::string("the end of the file") : "\"" + text.substr(at, 1) + "\"") + " at byte " +
                           std::to_string(at));
  };
  const auto next = [&] {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t')) ++at;
    return at < text.size() ? text[at] : '\0';
  };
  if (next() != '[') throw refuse("[");
  ++at;
  std::vector<std::int32_t> ids;
  if (next() == ']') {
    ++at;
  } else {
    for (;;) {
      next();
      std::int32_t id = 0;
      const auto [end, status] = std::from_chars(text.data() + at, text.data() + text.size(), id);
      if (status != std::errc()) throw refuse("a whole number that is a token id");
      ids.push_back(id);
      at = static_cast<std::size_t>(end - text.data());
      const char separator = next();
      if (separator != ',' && separator != ']') throw refuse(", or ]");
      ++at;
      if (separator == ']') break;
    }
  }
  if (next(); at < text.size()) throw refuse("nothing after the array");
  return ids;
}

struct LogitsOptions {
  std::string model, ids, out, dtype = "f32", device = "cpu";
  std::optional<std::string> adapter;
  std::size_t piece = 0;  // tokens; 0: all in one go
};

/// The first piece as a prompt, the others after it, as decoding reads them. [ids, vocabulary] fp32 on the CPU.
at::Tensor logits_in_pieces(const model::Decoder& decoder, std::span<const std::int32_t> ids, std::size_t piece,
                            const JobContext& job) {
  const auto policy = attention::make_dense_policy();
  const auto backend = attention::make_torch_backend();
  const std::size_t first = std::min(piece, ids.size());
  model::PrefillOptions options;
  options.policy = policy.get();
  options.backend = options.dense_backend = backend.get();
  options.logit_rows = static_cast<std::int64_t>(first);
  options.extra_capacity = static_cast<std::int64_t>(ids.size() - first);
  options.job.stop = job.stop;
  auto [last, tail, state] = decoder.prefill(ids.first(first), options);
  std::vector<at::Tensor> parts{first == 1 ? last.unsqueeze(0).cpu() : tail};
  for (std::size_t at = first; at < ids.size(); at += piece) {
    job.check();
    job.report({.phase = "decode",
                .done = static_cast<std::int64_t>(at),
                .total = static_cast<std::int64_t>(ids.size())});
    parts.push_back(decoder.decode(state, ids.subspan(at, std::min(piece, ids.size() - at)), job).cpu());
  }
  return at::cat(parts);
}

int run_logits(const LogitsOptions& options) {
  const auto choice = model::open_device(options.device);
  if (!choice.note.empty()) std::fprintf(stderr, "%s\n", choice.note.c_str());
  OutputPlace out(options.out);
  const auto ids = read_ids(options.ids, {});
  const auto checkpoint = model::open_model(options.model, options.adapter);
  auto inputs = checkpoint->files();
  inputs.emplace_back(options.ids);
  out.must_not_be(inputs);
  const auto config = model::read_model_config(*checkpoint);
  if (options.piece > 0 && std::ssize(ids) > config.context_length)  // decoding looks at its cache alone
    throw input_error(options.ids, "the prompt is longer than the model's context",
                      std::to_string(config.context_length) + " tokens", std::to_string(ids.size()));
  const auto dtype = parse_dtype(options.dtype).value_or(experiment::resolve_dtype("auto", choice.device));
  experiment::MemoryWorkload work;
  work.length = static_cast<std::int64_t>(ids.size());
  work.all_logits = true;
  experiment::refuse_what_cannot_fit(*checkpoint, config, dtype, choice, work);
  const auto parts = experiment::place_decoder(*checkpoint, config, dtype, choice, work);
  const StopOnInterrupt interrupt;
  ProgressLine progress;
  const JobContext job{.stop = interrupt.token(), .progress = progress.sink()};
  const auto decoder = model::load_decoder(*checkpoint, config, {parts, dtype}, job);
  const bool in_pieces = options.piece > 0 && !ids.empty();
  const at::Tensor logits =
      in_pieces ? logits_in_pieces(*decoder, ids, options.piece, job) : decoder->logits(ids, job);
  progress.clear();
  const std::span bytes(static_cast<const std::uint8_t*>(logits.const_data_ptr()),
                        static_cast<std::size_t>(logits.nbytes()));
  const auto written = checkpoint::write_safetensors(
      out, {{"logits", logits.sizes().vec(), checkpoint::DType::f32, bytes}},
      {{"model_sha256", checkpoint->hash()}, {"device", model::description_of_all(choice)}});
  std::fprintf(stderr, "logits of %zu tokens (%s) written to %s\n", ids.size(),
               model::description_of_all(choice).c_str(),
               printable_text(describe_output(options.out, written)).c_str());
  return 0;
}

}  // namespace

void add_logits(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("logits", "Write the logits of every position as safetensors");
  const auto options = std::make_shared<LogitsOptions>();
  command->add_option("model", options->model, "Model: a path or a fetched model's short name")->required();
  command->add_option("--adapter", options->adapter, adapter_help);
  command->add_option("--ids", options->ids, "JSON file: an array of token ids")->required();
  command->add_option("--out", options->out, "Safetensors file to write: logits [tokens, vocabulary] f32")->required();
  command->add_option("--piece", options->piece,
                      "Read so many tokens at a time, each piece after the ones before (default: all in one go)")
      ->check(CLI::PositiveNumber);
  command->add_option("--dtype", options->dtype, "auto, bf16 or f32")->capture_default_str();
  command->add_option("--device", options->device, device_help)->capture_default_str();
  command->callback([options, &chosen] { chosen = [options] { return run_logits(*options); }; });
}

}  // namespace headroom::cli
