// SPDX-License-Identifier: Apache-2.0
// headroom generate: samples of a task as JSON lines in RULER's layout.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/output_file.h"
#include "base/utf8.h"
#include "commands.h"
#include "experiment/run/prompt.h"
#include "experiment/run/session.h"
#include "interrupt.h"
#include "progress_line.h"
#include "standard_streams.h"
#include "task_options.h"
#include "tasks/haystack.h"
#include "tasks/prompt_file.h"

namespace headroom::cli {
namespace {

constexpr std::int64_t max_samples = 100'000, max_answer_tokens = 65536;

struct GenerateOptions {
  std::string model, task, haystack, out;
  std::int64_t length = 0, samples = 1;
  std::uint64_t seed = 0;
  std::optional<std::int64_t> max_new_tokens;
  bool bare = false;
};

void check_range(const char* option, std::int64_t value, std::int64_t lowest, std::int64_t highest) {
  if (value < lowest || value > highest)
    throw Error(ErrorKind::usage, "is out of range",
                {option, std::to_string(lowest) + " to " + std::to_string(highest), std::to_string(value)});
}

int generate(const GenerateOptions& options) {
  tasks::task_info(options.task);  // an unknown one is said before the model is opened
  check_range("--samples", options.samples, 1, max_samples);
  if (options.max_new_tokens) check_range("--max-new-tokens", *options.max_new_tokens, 0, max_answer_tokens);
  std::optional<OutputPlace> place;
  if (!options.out.empty()) place.emplace(options.out);

  const StopOnInterrupt interrupt;
  ProgressLine line;
  const JobContext job{interrupt.token(), line.sink()};
  experiment::Session session(options.model);
  std::optional<tasks::Haystack> haystack;
  if (!options.haystack.empty()) haystack = tasks::read_haystack(options.haystack, job);
  if (haystack && haystack->passed_over > 0)
    std::fprintf(stderr, "headroom: the haystack passes over %lld files that are no UTF-8 text\n",
                 static_cast<long long>(haystack->passed_over));
  if (place) {
    auto inputs = session.checkpoint().files();
    if (haystack) inputs.emplace_back(options.haystack);
    place->must_not_be(inputs);
  }
  const auto& tokenizer = session.tokenizer();
  const bool chat = !options.bare && tokenizer::has_chat_template(session.checkpoint());
  const std::int64_t around = experiment::tokens_around_task(session, chat);
  const auto count = [&](const std::string& text) {
    return static_cast<std::int64_t>(tokenizer.encode(text, {.add_bos = false}).size());
  };

  std::optional<OutputFile> file;
  if (place) file.emplace(*place);
  for (std::int64_t i = 0; i < options.samples; ++i) {
    job.check();
    job.report({"generate", i, options.samples});
    const auto sample = tasks::make_sample(options.task, options.length, options.seed + static_cast<std::uint64_t>(i),
                                           tokenizer, around, options.max_new_tokens, haystack ? &*haystack : nullptr);
    const std::int64_t tokens = count(sample.prompt) + count(sample.answer_prefix) + around + sample.max_new_tokens;
    const std::string text = tasks::ruler_line(sample, i, tokens);
    if (file)
      file->write(text);
    else
      write_answer(text);
  }
  line.clear();
  if (file) write_answer(printable_text(describe_output(options.out, file->commit())) + "\n");
  return 0;
}

}  // namespace

void add_generate(CLI::App& app, Action& chosen) {
  const auto options = std::make_shared<GenerateOptions>();
  auto* command =
      app.add_subcommand("generate",
                         "Write samples of a task as JSON lines in RULER's layout (index, input, outputs, length), for "
                         "`run --prompts`, `sweep --prompts` and other programs");
  command->add_option("model", options->model, "the model whose tokenizer counts: a path, or a short name")->required();
  command->add_option("--task", options->task, task_list())->required();
  command->add_option("--length", options->length, "tokens of the prompt and its answer, the chat template included")
      ->required();
  command->add_option("--samples", options->samples, "how many; default 1");
  command->add_option("--seed", options->seed, "of the first sample, the others follow; as `run --seed`; default 0");
  command->add_option("--haystack", options->haystack, "a text file, or a folder of them, in place of our essays");
  command->add_option("--max-new-tokens", options->max_new_tokens,
                      "room that the length leaves for the answer (default: the task's own)");
  command->add_flag("--bare", options->bare,
                    "leave no room for the model's chat template: for programs that prompt without one");
  command->add_option("--out", options->out, "the file to write; default: standard output");
  command->callback([options, &chosen] { chosen = [options] { return generate(*options); }; });
}

}  // namespace headroom::cli
