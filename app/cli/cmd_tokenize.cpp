// SPDX-License-Identifier: Apache-2.0
// headroom tokenize: standard input to token ids.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/named_model.h"
#include "base/utf8.h"
#include "checkpoint/checkpoint.h"
#include "commands.h"
#include "standard_streams.h"
#include "tokenizer/tokenizer.h"

namespace headroom::cli {
namespace {

using Json = nlohmann::json;

struct Options {
  std::string model;
  bool json = false, jsonl = false, special = false, bos = false, no_bos = false;
};

/// As llama.cpp does, bytes that the vocabulary has no token for are left out; that must not pass in silence. `place`
/// stands before the sentence. Empty where there are none.
std::string gap_warning(const std::vector<tokenizer::Token>& tokens, const std::string& text,
                        const std::string& place) {
  const std::string note = tokenizer::left_out_note(tokens, text, "the text");
  if (!note.empty()) std::cerr << "headroom: " << place << note << '\n';
  return note;
}

/// {ids, pieces, offsets, warnings}: a piece that is part of a character is written with U+FFFD, offsets are
/// [begin, end) in bytes.
std::string describe(const tokenizer::Tokenizer& tokenizer, const std::vector<tokenizer::Token>& tokens,
                     const std::string& warning) {
  Json ids = Json::array(), pieces = Json::array(), offsets = Json::array();
  for (const tokenizer::Token& token : tokens) {
    ids.push_back(token.id);
    pieces.push_back(tokenizer.piece(token.id));
    offsets.push_back({token.begin, token.end});
  }
  const Json all = {{"ids", std::move(ids)},
                    {"pieces", std::move(pieces)},
                    {"offsets", std::move(offsets)},
                    {"warnings", warning.empty() ? Json::array() : Json::array({warning})}};
  return all.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string parse_line(const std::string& line, std::size_t number) {
  const Json parsed = Json::parse(line, nullptr, false);
  if (!parsed.is_string()) {
    throw input_error("standard input: line " + std::to_string(number), "the line is no JSON string",
                      "one JSON string a line", parsed.is_discarded() ? "no JSON" : parsed.type_name());
  }
  return parsed.get<std::string>();
}

int tokenize(const Options& options) {
  const auto checkpoint = checkpoint::open_checkpoint(find_named_model(options.model).path);
  const auto tokenizer = tokenizer::make_tokenizer(*checkpoint);
  tokenizer::EncodeOptions encode;
  encode.parse_special = options.special;
  if (options.bos || options.no_bos) encode.add_bos = options.bos;

  InputText input;
  if (options.jsonl) {
    std::string line;
    for (std::size_t number = 1; input.line(line); ++number) {
      const std::string text = parse_line(line, number);
      const auto tokens = tokenizer->encode(text, encode);
      const auto warning = gap_warning(tokens, text, "line " + std::to_string(number) + ": ");
      write_answer(describe(*tokenizer, tokens, warning) + "\n");
      flush_answer();  // somebody may wait for it before writing the next line
    }
    return 0;
  }
  const std::string text = input.rest();
  if (const std::string encoding = foreign_encoding(text); !encoding.empty() && first_invalid_utf8(text))
    throw input_error("standard input", "the text is in another encoding", "UTF-8", encoding);
  const auto tokens = tokenizer->encode(text, encode);
  const auto warning = gap_warning(tokens, text, {});
  if (options.json) {
    write_answer(describe(*tokenizer, tokens, warning) + "\n");
    return 0;
  }
  const char* separator = "";
  for (const tokenizer::Token& token : tokens) {
    write_answer(separator + std::to_string(token.id));
    separator = " ";
  }
  write_answer("\n");
  return 0;
}

}  // namespace

void add_tokenize(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* const command = app.add_subcommand("tokenize", "Token ids of standard input, verbatim");
  command->add_option("MODEL", options->model, "GGUF file or a fetched model's short name")->required();
  command->add_flag("--json", options->json, "One object with ids, pieces and byte offsets");
  command->add_flag("--jsonl", options->jsonl, "One JSON string in, one such object out, a line each");
  command->add_flag("--special", options->special, "Parse special tokens written in the text");
  auto* const bos = command->add_flag("--bos", options->bos, "Begin with BOS (default: as the model's file says)");
  command->add_flag("--no-bos", options->no_bos, "Do not begin with BOS")->excludes(bos);
  command->callback([options, &chosen] { chosen = [options] { return tokenize(*options); }; });
}

}  // namespace headroom::cli
