// SPDX-License-Identifier: Apache-2.0
// SHA-256 of files and bytes, as lower-case hexadecimal: how indexers and records name the model they belong to.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

struct evp_md_ctx_st;

namespace headroom {

/// Of what comes in pieces.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void add(std::span<const std::uint8_t> bytes);
  /// Of everything that was added; nothing may follow.
  std::string hex();

 private:
  std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st*)> context_;
};

std::string sha256(std::span<const std::uint8_t> bytes);
/// Throws input errors where the file cannot be read.
std::string sha256_file(const std::filesystem::path& file);

}  // namespace headroom
