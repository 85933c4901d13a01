// Writes a state dict as torch.save does: a zip archive, uncompressed, with a pickle that names each tensor's
// storage. PyTorch and reno read it.
#pragma once

#include <ATen/ATen.h>
#include <zlib.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/atomic_file.hpp"
#include "shapes/train/parameters.hpp"

namespace reno::shapes {

namespace detail {

/// The little-endian bytes of a number.
inline std::string bytes(std::uint64_t value, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += static_cast<char>(value >> (8 * i) & 0xFF);
  return text;
}

/// Opcodes of pickle protocol 2.
struct Pickle {
  std::string text = "\x80\x02";

  void string(std::string_view value) { text.append("X").append(bytes(value.size(), 4)).append(value); }
  void number(std::int64_t value) {
    text.append("\x8a\x08").append(bytes(static_cast<std::uint64_t>(value), 8));
  }
  void numbers(at::IntArrayRef values) {
    text += '(';
    for (const auto value : values) number(value);
    text += 't';
  }
  void global(std::string_view module, std::string_view name) {
    text.append("c").append(module).append("\n").append(name).append("\n");
  }
  /// collections.OrderedDict()
  void ordered_dict() {
    global("collections", "OrderedDict");
    text += ")R";
  }
  /// torch._utils._rebuild_tensor_v2(storage, 0, sizes, strides, False, OrderedDict())
  void tensor(const at::Tensor& tensor, const std::string& key) {
    global("torch._utils", "_rebuild_tensor_v2");
    text += "((";
    string("storage");
    global("torch", tensor.scalar_type() == at::kHalf ? "HalfStorage" : "FloatStorage");
    string(key);
    string("cpu");
    number(tensor.numel());
    text += "tQ";
    number(0);
    numbers(tensor.sizes());
    numbers(tensor.strides());
    text += '\x89';
    ordered_dict();
    text += "tR";
  }
};

/// A zip archive without compression whose members begin at multiples of 64, as PyTorch wants to map them.
class StoredZip {
 public:
  void add(const std::string& name, std::string_view data) {
    const auto check = crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size()));
    const std::uint64_t offset = archive_.size();
    const std::size_t header = 30 + name.size() + 4;
    const std::size_t padding = (64 - (offset + header) % 64) % 64;
    const std::string common = bytes(0, 2) + bytes(0, 2) + bytes(0, 4) + bytes(check, 4) +
                               bytes(data.size(), 4) + bytes(data.size(), 4) + bytes(name.size(), 2);
    archive_ += bytes(0x04034b50, 4) + bytes(20, 2) + common + bytes(padding + 4, 2) + name + "FB" +
                bytes(padding, 2) + std::string(padding, 'Z');
    archive_ += data;
    directory_ += bytes(0x02014b50, 4) + bytes(20, 2) + bytes(20, 2) + common + bytes(0, 2) + bytes(0, 2) +
                  bytes(0, 2) + bytes(0, 2) + bytes(0, 4) + bytes(offset, 4) + name;
    ++count_;
  }

  std::string finish() {
    const auto offset = archive_.size();
    archive_ += directory_;
    return archive_ + bytes(0x06054b50, 4) + bytes(0, 4) + bytes(count_, 2) + bytes(count_, 2) +
           bytes(directory_.size(), 4) + bytes(offset, 4) + bytes(0, 2);
  }

 private:
  std::string archive_, directory_;
  std::uint64_t count_ = 0;
};

}  // namespace detail

/// float32 and float16 tensors. With `outer`, the file holds {outer: state dict}. Throws RunError for more
/// than two gigabytes, which would need another kind of archive.
inline void write_pytorch(const std::filesystem::path& file, const TensorMap& tensors,
                          const std::string& outer = "") {
  detail::Pickle pickle;
  detail::StoredZip zip;
  const std::string root = file.stem().string() + "/";
  std::vector<at::Tensor> stored;
  std::size_t total = 0;
  if (!outer.empty()) {
    pickle.text += "}(";
    pickle.string(outer);
  }
  pickle.ordered_dict();
  pickle.text += '(';
  for (const auto& [name, tensor] : tensors) {
    if (tensor.scalar_type() != at::kHalf && tensor.scalar_type() != at::kFloat)
      throw RunError(file.string() + ": tensor \"" + name + "\" is neither float32 nor float16");
    pickle.string(name);
    const auto key = std::to_string(stored.size());
    pickle.tensor(stored.emplace_back(tensor.detach().cpu().contiguous()), key);
    total += stored.back().nbytes();
  }
  if (total >= (std::size_t{1} << 31)) throw RunError(file.string() + ": is too large for this writer");
  pickle.text += outer.empty() ? "u." : "uu.";
  zip.add(root + "data.pkl", pickle.text);
  zip.add(root + "byteorder", "little");
  for (std::size_t i = 0; i < stored.size(); ++i)
    zip.add(root + "data/" + std::to_string(i),
            {static_cast<const char*>(stored[i].const_data_ptr()), stored[i].nbytes()});
  zip.add(root + "version", "3\n");
  std::filesystem::create_directories(file.parent_path());
  write_file_atomically(file, zip.finish());
}

}  // namespace reno::shapes
