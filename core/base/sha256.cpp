// SPDX-License-Identifier: Apache-2.0
#include "base/sha256.h"

#include <openssl/evp.h>

#include <fstream>
#include <vector>

#include "base/error.h"

namespace headroom {

Sha256::Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
  if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1)
    throw Error(ErrorKind::internal, "SHA-256 is not available in this OpenSSL");
}

Sha256::~Sha256() = default;

void Sha256::add(std::span<const std::uint8_t> bytes) {
  EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
}

std::string Sha256::hex() {
  unsigned char raw[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(context_.get(), raw, &size);
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += {digits[raw[i] >> 4], digits[raw[i] & 15]};
  return text;
}

std::string sha256(std::span<const std::uint8_t> bytes) {
  Sha256 digest;
  digest.add(bytes);
  return digest.hex();
}

std::string sha256_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw input_error(file.string(), "cannot be opened for reading");
  Sha256 digest;
  std::vector<std::uint8_t> block(1 << 20);
  const std::span whole(block);
  while (stream.read(reinterpret_cast<char*>(block.data()), static_cast<std::streamsize>(block.size())) ||
         stream.gcount() > 0)
    digest.add(whole.first(static_cast<std::size_t>(stream.gcount())));
  if (stream.bad()) throw input_error(file.string(), "cannot be read to its end");
  return digest.hex();
}

}  // namespace headroom
