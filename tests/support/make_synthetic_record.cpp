// SPDX-License-Identifier: Apache-2.0
// make_synthetic_record FILE [key=value …]: tokens, layers, q_heads, kv_heads, head_dim, query_begin, seed,
// complete, float16, lists, pyramid=LEVEL (of mean and heads), methods=a,b,c, sliding=1,3, keep=0,2, long. Writes a
// synthetic record; with long=1, or of more than 16384 tokens, one that takes no time that grows with their square.
#include <cstdio>
#include <sstream>

#include "base/error.h"
#include "support/synthetic_record.h"

namespace {

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: make_synthetic_record FILE [tokens=600] [layers=6] [q_heads=6] [kv_heads=2] …\n");
    return 2;
  }
  headroom::test::SyntheticOptions o;
  bool is_long = false;
  try {
    for (int i = 2; i < argc; ++i) {
      const std::string argument = argv[i];
      const std::string key = argument.substr(0, argument.find('=')), value = argument.substr(argument.find('=') + 1);
      if (key == "tokens")
        o.tokens = std::stoll(value);
      else if (key == "layers")
        o.layers = std::stoll(value);
      else if (key == "q_heads")
        o.num_q_heads = std::stoll(value);
      else if (key == "kv_heads")
        o.num_kv_heads = std::stoll(value);
      else if (key == "head_dim")
        o.head_dim = std::stoll(value);
      else if (key == "query_begin")
        o.query_begin = std::stoll(value);
      else if (key == "seed")
        o.seed = std::stoull(value);
      else if (key == "complete")
        o.complete = value != "0";
      else if (key == "float16")
        o.float16 = value != "0";
      else if (key == "lists")
        o.lists = value != "0";
      else if (key == "pyramid")
        o.pyramid_levels = {std::stoi(value), std::stoi(value)};
      else if (key == "long")
        is_long = value != "0";
      else if (key == "methods")
        o.methods = split(value);
      else if (key == "sliding")
        for (const auto& n : split(value)) o.sliding_layers.insert(std::stoi(n));
      else if (key == "keep")
        for (const auto& n : split(value)) o.keep_layers.insert(std::stoi(n));
      else {
        std::fprintf(stderr, "unknown option %s\n", key.c_str());
        return 2;
      }
    }
    if (is_long || o.tokens > 16384)
      headroom::test::write_long_record(argv[1], o);
    else
      headroom::test::write_synthetic_record(argv[1], o);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
