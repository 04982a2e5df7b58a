// SPDX-License-Identifier: Apache-2.0
// Chooses the reader by what lies at the path.
#include "checkpoint/checkpoint.h"

#include "base/error.h"
#include "checkpoint/metadata.h"

namespace headroom::checkpoint {

std::string_view to_string(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::f16:
      return "F16";
    case DType::bf16:
      return "BF16";
    case DType::f8_e4m3:
      return "F8_E4M3";
    case DType::u8:
      return "U8";
    case DType::i32:
      return "I32";
    case DType::i64:
      return "I64";
    case DType::q4_0:
      return "Q4_0";
    case DType::q4_1:
      return "Q4_1";
    case DType::q5_0:
      return "Q5_0";
    case DType::q5_1:
      return "Q5_1";
    case DType::q8_0:
      return "Q8_0";
    case DType::q2_k:
      return "Q2_K";
    case DType::q3_k:
      return "Q3_K";
    case DType::q4_k:
      return "Q4_K";
    case DType::q5_k:
      return "Q5_K";
    case DType::q6_k:
      return "Q6_K";
    case DType::iq4_nl:
      return "IQ4_NL";
    case DType::iq4_xs:
      return "IQ4_XS";
    case DType::mxfp4:
    case DType::mxfp4_pairs:
      return "MXFP4";
  }
  return "?";
}

std::int64_t TensorInfo::elements() const {
  std::int64_t product = 1;
  for (const std::int64_t size : shape) product *= size;
  return product;
}

void Checkpoint::read_bytes(std::string_view name, std::uint64_t, std::span<std::uint8_t>) const {
  throw Error(ErrorKind::internal, "the stored bytes of tensor " + std::string(name) + " are not at hand");
}

std::unique_ptr<Checkpoint> open_checkpoint(const std::filesystem::path& path) {
  std::error_code failed;
  const auto status = std::filesystem::status(path, failed);
  if (!std::filesystem::exists(status)) {
    throw input_error(path.string(), "there is no such model",
                      "a GGUF file, a folder with config.json, or a fetched model's short name",
                      failed ? failed.message() : "nothing");
  }
  if (std::filesystem::is_directory(status)) return open_safetensors(path);
  if (path.extension() == ".safetensors") {
    throw input_error(path.string(), "a safetensors file alone does not describe a model",
                      "its folder, which holds config.json too", "one file");
  }
  return open_gguf(path);
}

}  // namespace headroom::checkpoint
