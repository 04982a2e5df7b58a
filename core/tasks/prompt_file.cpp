// SPDX-License-Identifier: Apache-2.0
#include "tasks/prompt_file.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/input_file.h"
#include "base/json_build.h"
#include "base/json_fields.h"
#include "base/sha256.h"
#include "tasks/text_input.h"

namespace headroom::tasks {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

constexpr std::size_t max_set_bytes = 512u << 20, max_prompts = 100'000;
constexpr std::size_t max_messages = 10'000, max_outputs = 1000, max_output_bytes = 1u << 16;
constexpr std::int64_t max_index = std::int64_t{1} << 53, max_said_length = std::int64_t{1} << 32;
constexpr std::int64_t max_answer_tokens = 65536;
constexpr const char* prompts_expected = "a JSONL file, or a folder of text files";
constexpr const char* set_too_large = "is too large for a set of prompts";

/// One line's object; a field that comes twice would be read by one program and passed over by another.
Json parse_prompt_line(std::string_view line, const std::string& place) {
  constexpr int max_depth = 8;
  constexpr std::int64_t max_values = 100'000;
  std::int64_t values = 0;
  JsonChecks checks;
  checks.value = [&](int depth) {
    if (depth > max_depth) throw input_error(place, "JSON is nested too deeply", "at most 8 levels", "more");
    if (++values > max_values) throw input_error(place, "JSON is too large", "at most 100000 values", "more");
  };
  checks.key = [&](int depth, const std::string& key, const Json& object) {
    checks.value(depth);
    if (object.contains(key)) throw input_error(place, "field \"" + key + "\" comes twice", "each field once");
  };
  try {
    return build_json(line, checks);
  } catch (const Json::parse_error& error) {
    throw input_error(place, "is not valid JSON", "one JSON object a line (a plain text is --prompt-file's)",
                      "an error at byte " + std::to_string(error.byte) + " of the line");
  } catch (const Json::exception& error) {
    throw input_error(place, "is not valid JSON", "one JSON object a line", error.what());
  }
}

class LineReader {
 public:
  LineReader(const PromptFileOptions& options) : options_(options) {}

  FilePrompt read(std::string_view line, const std::string& place, const std::string& name, std::int64_t number) const {
    const Json json = parse_prompt_line(line, place);
    Fields fields(json, place);
    FilePrompt prompt;
    prompt.name = name;
    prompt.index = fields.integer_or("index", number, 0, max_index);
    if (fields.has("length")) prompt.length = fields.integer("length", 0, max_said_length);
    // What they say was true of the tokenizer that wrote the file.
    for (const char* descriptive : {"length_w_model_temp", "token_position_answer"})
      if (fields.has(descriptive)) fields.integer(descriptive, -1, max_said_length);
    read_text(fields, prompt.sample, place);
    read_outputs(fields, json, prompt.sample);
    read_scoring(fields, prompt.sample);
    fields.refuse_unknown();
    return prompt;
  }

 private:
  static void read_text(Fields& fields, Sample& sample, const std::string& place) {
    const bool messages = fields.has("messages");
    if (messages == fields.has("input"))
      throw input_error(place, "the prompt needs one source", "either \"messages\" or \"input\"",
                        messages ? "both" : "neither");
    if (messages) {
      read_messages(fields.array("messages", max_messages), sample, place);
    } else {
      sample.prompt = fields.string("input", max_prompt_bytes);
      check_prompt_text(sample.prompt, place + ": field \"input\"");
    }
    sample.answer_prefix = fields.string_or("answer_prefix", {}, max_output_bytes);
    if (!sample.answer_prefix.empty()) check_is_text(sample.answer_prefix, place + ": field \"answer_prefix\"");
  }

  static void read_messages(const Json& list, Sample& sample, const std::string& place) {
    std::size_t bytes = 0;
    for (const Json& entry : list) {
      const std::string here = place + ": messages[" + std::to_string(sample.messages.size()) + "]";
      Fields message(entry, here);
      tokenizer::ChatMessage read{message.string("role", 64), message.string("content", max_prompt_bytes)};
      message.refuse_unknown();
      const bool word =
          !read.role.empty() && read.role.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string::npos;
      if (!word) message.fail("role", "a word of lower-case letters, e.g. user", describe(Json(read.role)));
      check_is_text(read.content, here + ": field \"content\"");
      bytes += read.content.size();
      if (bytes > max_prompt_bytes)
        throw input_error(place, prompt_too_large, std::to_string(max_prompt_bytes) + " bytes at most", "more");
      sample.messages.push_back(std::move(read));
    }
    if (sample.messages.empty() || sample.messages.back().role != "user")
      throw input_error(place, "the last message is not the user's", "a last message with the role user",
                        sample.messages.empty() ? "no messages" : sample.messages.back().role);
    if (sample.messages.back().content.empty())
      throw input_error(place, "the user's message is empty", "at least one character", "0 bytes");
  }

  static void read_outputs(Fields& fields, const Json& json, Sample& sample) {
    if (!fields.has("outputs")) return;
    if (json["outputs"].is_string())
      sample.references = {fields.string("outputs", max_output_bytes)};
    else
      sample.references = fields.strings("outputs", max_outputs, max_output_bytes);
    for (const std::string& output : sample.references)  // it would be found in every answer
      if (output.empty()) fields.fail("outputs", "texts of at least one character", "an empty text");
  }

  void read_scoring(Fields& fields, Sample& sample) const {
    sample.task = fields.string_or("task", {}, 64);
    sample.metric = options_.metric.value_or(Metric::match_all);
    sample.max_new_tokens = options_.default_new_tokens;
    for (const TaskInfo& info : known_) {
      if (info.name != sample.task) continue;
      sample.metric = info.metric;
      sample.max_new_tokens = info.max_new_tokens;
    }
    if (fields.has("metric")) {
      const std::string metric = fields.string("metric", 64);
      if (metric != to_string(Metric::match_all) && metric != to_string(Metric::match_part))
        fields.fail("metric", "string_match_all or string_match_part", describe(Json(metric)));
      sample.metric = parse_metric(metric);
    }
    if (fields.has("max_new_tokens")) sample.max_new_tokens = fields.integer("max_new_tokens", 0, max_answer_tokens);
  }

  const PromptFileOptions& options_;
  std::vector<TaskInfo> known_ = task_infos();
};

void read_lines(const fs::path& path, std::string_view text, const PromptFileOptions& options, PromptSet& set,
                const JobContext& job) {
  const std::string file = path.string(), shown = path.filename().string();
  check_is_text(text, file);
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  const LineReader reader(options);
  for (std::size_t begin = 0, number = 1; begin < text.size(); ++number) {
    job.check();
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    if (set.prompts.size() == max_prompts)
      throw input_error(file, set_too_large, std::to_string(max_prompts) + " prompts at most", "more");
    const std::string at = ":" + std::to_string(number);
    set.prompts.push_back(reader.read(line, file + at, shown + at, static_cast<std::int64_t>(set.prompts.size())));
  }
}

void read_folder(const fs::path& path, const PromptFileOptions& options, PromptSet& set, const JobContext& job) {
  std::size_t bytes = 0;
  for (const fs::path& file : files_of(path, prompts_expected, max_prompts)) {
    job.check();
    if (file.extension() == ".jsonl")
      throw input_error(file.string(), "is a set of prompts in a folder of prompts",
                        "plain text files in a folder, or the JSONL file by itself", "a JSONL file");
    FilePrompt prompt;
    prompt.name = file.lexically_relative(path).generic_string();
    prompt.index = static_cast<std::int64_t>(set.prompts.size());
    prompt.sample.max_new_tokens = options.default_new_tokens;
    prompt.sample.prompt = read_input_file(file, {"a text file", prompt_too_large, max_prompt_bytes}, job);
    check_prompt_text(prompt.sample.prompt, file.string());
    bytes += prompt.sample.prompt.size();
    if (bytes > max_set_bytes)
      throw input_error(path.string(), set_too_large, std::to_string(max_set_bytes) + " bytes at most", "more");
    for (std::string& note : prompt_text_notes(prompt.sample.prompt, prompt.name))
      set.warnings.push_back(std::move(note));
    set.prompts.push_back(std::move(prompt));
  }
}

/// Fields in a fixed order, as one line.
std::string canonical(const FilePrompt& prompt) {
  const Sample& s = prompt.sample;
  Json messages = Json::array();
  for (const auto& message : s.messages) messages.push_back({message.role, message.content});
  return dump_json(Json::array({prompt.index, s.prompt, std::move(messages), s.answer_prefix, s.references, s.task,
                                to_string(s.metric), s.max_new_tokens})) +
         "\n";
}

}  // namespace

PromptSet read_prompts(const fs::path& path, const PromptFileOptions& options, const JobContext& job) {
  PromptSet set;
  set.source = path.string();
  std::error_code failed;
  if (fs::is_directory(path, failed))
    read_folder(path, options, set, job);
  else
    read_lines(path, read_input_file(path, {prompts_expected, set_too_large, max_set_bytes}, job), options, set, job);
  if (set.prompts.empty()) throw input_error(path.string(), "has no prompts", "at least one", "none");

  std::set<std::int64_t> seen;
  Sha256 digest;
  for (const FilePrompt& prompt : set.prompts) {
    if (!seen.insert(prompt.index).second)
      throw input_error((path.has_parent_path() ? path.parent_path() / prompt.name : fs::path(prompt.name)).string(),
                        "the index comes twice", "an index of its own for each prompt", std::to_string(prompt.index));
    const std::string line = canonical(prompt);
    digest.add({reinterpret_cast<const std::uint8_t*>(line.data()), line.size()});
  }
  set.fingerprint = digest.hex();
  return set;
}

std::string ruler_line(const Sample& sample, std::int64_t index, std::int64_t length) {
  if (!sample.messages.empty() || sample.prompt.empty())
    throw Error(ErrorKind::internal, "RULER's layout holds one text a sample");
  nlohmann::ordered_json line;
  line["index"] = index;
  line["input"] = sample.prompt;
  line["outputs"] = sample.references;
  line["length"] = length;
  line["answer_prefix"] = sample.answer_prefix;
  if (!sample.task.empty()) line["task"] = sample.task;
  line["metric"] = to_string(sample.metric);
  line["max_new_tokens"] = sample.max_new_tokens;
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace headroom::tasks
