// SPDX-License-Identifier: Apache-2.0
// Three tokenizers to count with: two small ones of the tokenizer tests, and SmolLM2's where it was fetched.
#pragma once

#include <QFile>
#include <QJsonDocument>
#include <QJsonObject>
#include <filesystem>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/paths.h"
#include "checkpoint/checkpoint.h"
#include "support/gguf_writer.h"
#include "tokenizer/tokenizer.h"

namespace headroom::test {

/// `name` of tests/tokenizer/families.qz, e.g. "llama3" (byte-level) or "gemma" (Unigram-like, with spaces as letters).
inline std::unique_ptr<tokenizer::Tokenizer> family_tokenizer(const std::filesystem::path& folder, const char* name) {
  QFile file(HEADROOM_SOURCE_DIR "/tests/tokenizer/families.qz");
  if (!file.open(QIODevice::ReadOnly)) return nullptr;
  const QJsonObject all = QJsonDocument::fromJson(qUncompress(file.readAll())).object()["tokenizers"].toObject();
  const std::filesystem::path home = folder / name;
  std::filesystem::create_directories(home);
  write_file(home / "tokenizer.json", all[name].toString().toStdString());
  write_file(home / "config.json", "{}");
  ByteWriter weights;
  weights.string(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})").raw(std::string(4, '\0'));
  write_file(home / "model.safetensors", weights.bytes());
  return tokenizer::make_tokenizer(*checkpoint::open_checkpoint(home));
}

/// Null where the model was not fetched.
inline std::unique_ptr<tokenizer::Tokenizer> smollm2_tokenizer() {
  try {
    return tokenizer::make_tokenizer(*checkpoint::open_checkpoint(resolve_model("smollm2")));
  } catch (const Error&) {
    return nullptr;
  }
}

}  // namespace headroom::test
