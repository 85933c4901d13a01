// Builds pickle streams, zip files and PyTorch files byte by byte, well-formed or deliberately not.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "support/temporary_folder.hpp"

namespace reno::test::pytorch {

using namespace std::string_literals;

/// The little-endian bytes of a number; the machine is little-endian too, or nothing here is read.
template <class Number>
std::string little(Number value) {
  static_assert(std::endian::native == std::endian::little);
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

inline std::string u16(std::uint64_t value) { return little(static_cast<std::uint16_t>(value)); }
inline std::string u32(std::uint64_t value) { return little(static_cast<std::uint32_t>(value)); }
inline std::string u64(std::uint64_t value) { return little(value); }

// ---- pickles ----

inline std::string text(std::string_view value) { return "X" + u32(value.size()) + std::string(value); }
inline std::string number(std::int64_t value) { return "\x8a\x08" + little(value); }
inline std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string joined(const std::vector<std::string>& items) {
  std::string result;
  for (const std::string& item : items) result += item;
  return result;
}
inline std::string tuple(const std::vector<std::string>& items) { return "(" + joined(items) + "t"; }
inline std::string list(const std::vector<std::string>& items) { return "](" + joined(items) + "e"; }
/// Keys and values in turn.
inline std::string dict(const std::vector<std::string>& items) { return "}(" + joined(items) + "u"; }
inline std::string call(const std::string& function, const std::string& arguments) {
  return function + arguments + "R";
}
inline std::string ordered_dict() { return call(global("collections", "OrderedDict"), ")"); }
inline std::string pickle(const std::string& body) { return "\x80\x02" + body + "."; }

inline std::string numbers(const std::vector<std::int64_t>& values) {
  std::vector<std::string> items;
  for (const std::int64_t value : values) items.push_back(number(value));
  return tuple(items);
}

struct StorageSpec {
  std::string type = "FloatStorage";
  std::string key = "0";
  std::int64_t size = 0;
  std::string legacy_view = "";  ///< a sixth field, for the legacy format
};

inline std::string storage(const StorageSpec& spec) {
  return tuple({text("storage"), global("torch", spec.type), text(spec.key), text("cpu"), number(spec.size),
                spec.legacy_view}) +
         "Q";
}
inline std::string tensor(const StorageSpec& spec, std::int64_t offset,
                          const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides,
                          const std::string& metadata = "") {
  return call(global("torch._utils", "_rebuild_tensor_v2"),
              tuple({storage(spec), number(offset), numbers(shape), numbers(strides), "\x89", ordered_dict(),
                     metadata}));
}

// ---- zip files ----

struct ZipMember {
  std::string name;
  std::string data = {};
  std::uint16_t method = 0;
  std::uint16_t flags = 0;
  std::optional<std::uint64_t> claimed_size = {};        ///< in both headers
  std::optional<std::uint64_t> claimed_local_size = {};  ///< in the local header
  std::optional<std::uint64_t> claimed_offset = {};      ///< in the central directory
  std::optional<std::string> claimed_local_name = {};    ///< in the local header
  std::string local_extra = {};                          ///< e.g. padding
};

struct ZipShape {
  bool zip64 = false;
  std::optional<std::uint64_t> claimed_count = {};
  std::optional<std::uint64_t> claimed_directory_offset = {};
  std::string comment = {};
};

inline std::string central_header(const ZipMember& member, std::uint64_t header_offset, bool zip64) {
  const std::uint64_t size = member.claimed_size.value_or(member.data.size());
  const std::uint64_t offset = member.claimed_offset.value_or(header_offset);
  const std::string extra = zip64 ? u16(1) + u16(24) + u64(size) + u64(size) + u64(offset) : "";
  const std::uint64_t ones = 0xFFFFFFFF;
  return "PK\x01\x02" + u16(45) + u16(45) + u16(member.flags) + u16(member.method) + u32(0) + u32(0) +
         u32(zip64 ? ones : size) + u32(zip64 ? ones : size) + u16(member.name.size()) + u16(extra.size()) +
         u16(0) + u16(0) + u16(0) + u32(0) + u32(zip64 ? ones : offset) + member.name + extra;
}

inline std::string local_header(const ZipMember& member) {
  const std::string name = member.claimed_local_name.value_or(member.name);
  const std::uint64_t size =
      member.claimed_local_size.value_or(member.claimed_size.value_or(member.data.size()));
  return "PK\x03\x04" + u16(45) + u16(member.flags) + u16(member.method) + u32(0) + u32(0) + u32(size) +
         u32(size) + u16(name.size()) + u16(member.local_extra.size()) + name + member.local_extra;
}

inline std::string zip_end(std::uint64_t directory_offset, std::uint64_t directory_size, std::uint64_t count,
                           std::uint64_t zip64_record_offset, const ZipShape& shape) {
  std::string end;
  if (shape.zip64) {
    end += "PK\x06\x06" + u64(44) + u16(45) + u16(45) + u32(0) + u32(0) + u64(count) + u64(count) +
           u64(directory_size) + u64(directory_offset);
    end += "PK\x06\x07" + u32(0) + u64(zip64_record_offset) + u32(1);
  }
  const std::uint64_t ones = 0xFFFFFFFF;
  end += "PK\x05\x06" + u16(0) + u16(0) + u16(shape.zip64 ? ones : count) + u16(shape.zip64 ? ones : count) +
         u32(shape.zip64 ? ones : directory_size) + u32(shape.zip64 ? ones : directory_offset) +
         u16(shape.comment.size()) + shape.comment;
  return end;
}

inline std::string zip(const std::vector<ZipMember>& members, const ZipShape& shape = {}) {
  std::string file;
  std::string directory;
  for (const ZipMember& member : members) {
    directory += central_header(member, file.size(), shape.zip64);
    file += local_header(member) + member.data;
  }
  const std::uint64_t offset = shape.claimed_directory_offset.value_or(file.size());
  const std::uint64_t record_offset = file.size() + directory.size();
  return file + directory +
         zip_end(offset, directory.size(), shape.claimed_count.value_or(members.size()), record_offset,
                 shape);
}

/// Storages by key.
using StorageBytes = std::vector<std::pair<std::string, std::string>>;

/// A PyTorch file in the zip format whose pickle is `body`.
inline std::string pytorch_zip(const std::string& body, const StorageBytes& storages = {},
                               const std::vector<ZipMember>& others = {}) {
  std::vector<ZipMember> members{{"archive/data.pkl", pickle(body)}};
  for (const auto& [key, data] : storages) members.push_back({"archive/data/" + key, data});
  members.insert(members.end(), others.begin(), others.end());
  return zip(members);
}

/// A PyTorch file in the legacy format. `storages` are element counts and bytes.
inline std::string pytorch_legacy(const std::string& body, const std::string& keys,
                                  const std::vector<std::pair<std::int64_t, std::string>>& storages,
                                  bool little_endian = true) {
  std::string file = pickle("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") + pickle(number(1001)) +
                     pickle(dict({text("little_endian"), little_endian ? "\x88" : "\x89"})) + pickle(body) +
                     pickle(keys);
  for (const auto& [count, bytes] : storages) file += little(count) + bytes;
  return file;
}

// ---- files ----

/// A file that is gone at the end of the scope.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string_view bytes) {
    std::ofstream(path(), std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  std::filesystem::path path() const { return folder_.path() / "weights.pt"; }

 private:
  TemporaryFolder folder_;
};

/// A file in memory, for tests that write thousands.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(::memfd_create("reno-test", MFD_CLOEXEC)) { REQUIRE(descriptor_ >= 0); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { ::close(descriptor_); }

  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }
  void write(std::string_view bytes) const {
    const auto size = static_cast<ssize_t>(bytes.size());
    if (::ftruncate(descriptor_, size) != 0 || ::pwrite(descriptor_, bytes.data(), bytes.size(), 0) != size) {
      FAIL("cannot write to a file in memory");
    }
  }

 private:
  int descriptor_;
};

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The message of the LoadError that `action` throws.
inline std::string load_error(const auto& action) {
  try {
    action();
  } catch (const LoadError& error) {
    return error.what();
  }
  FAIL("no LoadError was thrown");
  return {};
}

}  // namespace reno::test::pytorch
