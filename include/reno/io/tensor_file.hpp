// One weights file of any known format. The content decides, not the name: checkpoints are renamed freely,
// and a wrong extension must not choose the parser.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "reno/error.hpp"
#include "reno/io/mapped_file.hpp"
#include "reno/io/pytorch_file.hpp"
#include "reno/io/safetensors.hpp"
#include "reno/io/tensor_source.hpp"

namespace reno {

enum class TensorFileFormat { safetensors, pytorch, unknown };

/// Recognises a format by its first bytes.
inline TensorFileFormat tensor_file_format(std::string_view bytes) {
  if (bytes.size() < 9) return TensorFileFormat::unknown;
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  if (header_bytes <= safetensors::max_header_bytes && bytes[8] == '{') return TensorFileFormat::safetensors;
  const bool pickle =
      bytes[0] == '\x80' && bytes[1] >= 2 && bytes[1] <= 5;  // its protocol; as before PyTorch 1.6
  return pickle || bytes.starts_with("PK\x03\x04") ? TensorFileFormat::pytorch : TensorFileFormat::unknown;
}

/// Opens and checks a weights file. Throws LoadError for a missing, damaged or unknown file.
inline std::shared_ptr<const TensorSource> open_tensor_file(const std::filesystem::path& path) {
  const auto format = tensor_file_format(MappedFile(path).text());
  if (format == TensorFileFormat::safetensors) return open_safetensors(path);
  if (format == TensorFileFormat::pytorch) return open_pytorch_file(path);
  if (path.extension() == ".safetensors") return open_safetensors(path);  // says what is damaged
  throw LoadError(path.string() + ": is neither a safetensors nor a PyTorch file");
}

}  // namespace reno
