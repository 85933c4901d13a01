// The table of contents of a zip file, including zip64 (APPNOTE.TXT 6.3), over a memory map: which bytes of
// the file are which member. No library of ours does this: libzip and minizip hand out copies read through a
// stream, while tensors are to be views of the map, which needs the raw offsets. In exchange the reader is
// strict (no overlaps, no duplicates, local and central headers agree) and never decompresses, so there is no
// such thing as a zip bomb. Checksums are not verified: that would read every byte of the weights, and
// torch.save may write none.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <boost/endian/conversion.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/json_file.hpp"

namespace reno {

/// One member, as the central directory describes it.
struct ZipEntry {
  std::string_view name;  ///< only ever compared, never used as a path
  std::uint64_t header_offset = 0;
  std::uint64_t data_offset = 0;
  std::uint64_t compressed_size = 0;
  std::uint64_t size = 0;
  std::uint16_t flags = 0;
  std::uint16_t method = 0;  ///< 0 is stored
};

/// Table of contents of the zip file `bytes`, which must outlive it. The constructor checks every member's
/// place.
class ZipArchive {
 public:
  /// `file` is named in messages. Throws LoadError if the structure is damaged or contradicts itself.
  ZipArchive(std::string_view bytes, std::string file) : bytes_(bytes), file_(std::move(file)) {
    read_central_directory(find_directory());
    for (ZipEntry& entry : entries_) locate_data(entry);
    refuse_overlaps();
  }

  /// Whether the file begins like a zip file.
  static bool is_zip(std::string_view bytes) { return bytes.starts_with("PK\x03\x04"); }

  /// Members in the order of the central directory.
  const std::vector<ZipEntry>& entries() const { return entries_; }

  /// Null when there is no such member.
  const ZipEntry* find(std::string_view name) const {
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &entries_[found->second];
  }

  /// The bytes of an uncompressed member, a view of the whole file's bytes. Throws LoadError if it is
  /// compressed or encrypted.
  std::string_view stored(const ZipEntry& entry) const {
    if (entry.flags & encrypted) fail("the member " + in_quotes(entry.name) + " is encrypted");
    if (entry.method != 0) {
      fail("the member " + in_quotes(entry.name) +
           " is compressed; torch.save stores weights uncompressed, so save it anew");
    }
    if (entry.size != entry.compressed_size)
      fail("the sizes of the member " + in_quotes(entry.name) + " contradict each other");
    return bytes_.substr(entry.data_offset, entry.size);
  }

 private:
  struct Directory {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    std::uint64_t count = 0;
  };
  static constexpr std::uint64_t max16 = 0xFFFF;
  static constexpr std::uint64_t max32 = 0xFFFFFFFF;
  static constexpr std::uint16_t encrypted = 1;
  static constexpr std::uint16_t sizes_follow_data = 8;
  static constexpr std::size_t end_record_size = 22;
  static constexpr std::size_t zip64_locator_size = 20;
  static constexpr std::size_t zip64_end_record_size = 56;
  static constexpr std::size_t central_header_size = 46;
  static constexpr std::size_t local_header_size = 30;

  [[noreturn]] void fail(const std::string& problem) const {
    throw LoadError(fmt::format("{}: damaged or unsuitable zip file: {}", file_, problem));
  }

  /// `size` bytes from `offset`, which must lie within the file.
  std::string_view slice(std::uint64_t offset, std::uint64_t size, std::string_view what) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset)
      fail(fmt::format("{} lies outside the file", what));
    return bytes_.substr(offset, size);
  }

  /// A little-endian number at `offset` of a record whose length has been checked.
  template <class UInt>
  static UInt number(std::string_view record, std::size_t offset) {
    return boost::endian::endian_load<UInt, sizeof(UInt), boost::endian::order::little>(
        reinterpret_cast<const unsigned char*>(record.substr(offset, sizeof(UInt)).data()));
  }

  /// The end record is the last thing in the file but for a comment, whose length it states.
  std::size_t find_end_record() const {
    for (std::size_t comment = 0; comment <= max16 && comment + end_record_size <= bytes_.size(); ++comment) {
      const std::size_t offset = bytes_.size() - end_record_size - comment;
      const std::string_view record = bytes_.substr(offset, end_record_size);
      if (record.starts_with("PK\x05\x06") && number<std::uint16_t>(record, 20) == comment) return offset;
    }
    fail("it has no central directory; is the file complete?");
  }

  Directory find_directory() const {
    std::size_t end = find_end_record();
    const std::string_view record = bytes_.substr(end, end_record_size);
    Directory directory{number<std::uint32_t>(record, 16), number<std::uint32_t>(record, 12),
                        number<std::uint16_t>(record, 10)};
    const bool has_zip64 =
        end >= zip64_locator_size && bytes_.substr(end - zip64_locator_size).starts_with("PK\x06\x07");
    if (has_zip64) {
      const std::uint64_t offset = number<std::uint64_t>(bytes_.substr(end - zip64_locator_size), 8);
      const std::string_view wide = slice(offset, zip64_end_record_size, "the zip64 end record");
      if (!wide.starts_with("PK\x06\x06")) fail("the zip64 end record is missing");
      widen(directory.offset, max32, number<std::uint64_t>(wide, 48));
      widen(directory.size, max32, number<std::uint64_t>(wide, 40));
      widen(directory.count, max16, number<std::uint64_t>(wide, 32));
      end = offset;
    }
    if (directory.offset > end || directory.size > end - directory.offset)
      fail("the central directory lies outside the file");
    return directory;
  }

  /// A field that is all ones stands for its zip64 counterpart; otherwise both must say the same.
  void widen(std::uint64_t& field, std::uint64_t all_ones, std::uint64_t wide) const {
    if (field != all_ones && field != wide) fail("its two end records contradict each other");
    field = wide;
  }

  void read_central_directory(const Directory& directory) {
    std::string_view rest = bytes_.substr(directory.offset, directory.size);
    directory_offset_ = directory.offset;
    if (directory.count > rest.size() / central_header_size)
      fail("the central directory is too short for its members");
    entries_.reserve(directory.count);
    for (std::uint64_t i = 0; i < directory.count; ++i) entries_.push_back(read_central_header(rest));
    if (!rest.empty()) fail("the central directory is longer than its members");
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (!index_.emplace(entries_[i].name, i).second)
        fail("it has two members named " + in_quotes(entries_[i].name));
    }
  }

  /// Reads one header from the front of `rest` and removes it.
  ZipEntry read_central_header(std::string_view& rest) const {
    if (rest.size() < central_header_size || !rest.starts_with("PK\x01\x02"))
      fail("the central directory is garbled");
    const std::size_t name_size = number<std::uint16_t>(rest, 28);
    const std::size_t extra_size = number<std::uint16_t>(rest, 30);
    const std::size_t total = central_header_size + name_size + extra_size + number<std::uint16_t>(rest, 32);
    if (rest.size() < total) fail("the central directory is cut short");
    ZipEntry entry;
    entry.name = rest.substr(central_header_size, name_size);
    entry.flags = number<std::uint16_t>(rest, 8);
    entry.method = number<std::uint16_t>(rest, 10);
    entry.compressed_size = number<std::uint32_t>(rest, 20);
    entry.size = number<std::uint32_t>(rest, 24);
    entry.header_offset = number<std::uint32_t>(rest, 42);
    read_zip64_extra(entry, rest.substr(central_header_size + name_size, extra_size));
    rest.remove_prefix(total);
    return entry;
  }

  /// The zip64 field lists, in this order, the 64-bit values of those fields that are all ones in the header.
  void read_zip64_extra(ZipEntry& entry, std::string_view extra) const {
    while (extra.size() >= 4) {
      const std::size_t size = number<std::uint16_t>(extra, 2);
      if (extra.size() - 4 < size) fail("the extra field of " + in_quotes(entry.name) + " is cut short");
      std::string_view wide = extra.substr(4, size);
      if (number<std::uint16_t>(extra, 0) == 1) {
        for (std::uint64_t* field : {&entry.size, &entry.compressed_size, &entry.header_offset}) {
          if (*field != max32) continue;
          if (wide.size() < 8) fail("the zip64 field of " + in_quotes(entry.name) + " is cut short");
          *field = number<std::uint64_t>(wide, 0);
          wide.remove_prefix(8);
        }
        return;
      }
      extra.remove_prefix(4 + size);
    }
  }

  /// The data begin after the *local* header, whose name and extra field have lengths of their own.
  void locate_data(ZipEntry& entry) const {
    const std::string_view header = slice(entry.header_offset, local_header_size, "a member's header");
    const std::size_t name_size = number<std::uint16_t>(header, 26);
    if (!header.starts_with("PK\x03\x04") ||
        slice(entry.header_offset + local_header_size, name_size, "a member's name") != entry.name) {
      fail("there is no header where the member " + in_quotes(entry.name) + " should begin");
    }
    if (number<std::uint16_t>(header, 8) != entry.method || !sizes_agree(header, entry)) {
      fail("the two headers of the member " + in_quotes(entry.name) + " contradict each other");
    }
    entry.data_offset =
        entry.header_offset + local_header_size + name_size + number<std::uint16_t>(header, 28);
    if (entry.data_offset > directory_offset_ ||
        entry.compressed_size > directory_offset_ - entry.data_offset) {
      fail("the member " + in_quotes(entry.name) + " lies outside the file");
    }
  }

  static bool sizes_agree(std::string_view local_header, const ZipEntry& entry) {
    if (number<std::uint16_t>(local_header, 6) & sizes_follow_data)
      return true;  // the local header does not know them
    const auto agrees = [](std::uint64_t local, std::uint64_t central) {
      return local == max32 || local == central;
    };
    return agrees(number<std::uint32_t>(local_header, 18), entry.compressed_size) &&
           agrees(number<std::uint32_t>(local_header, 22), entry.size);
  }

  void refuse_overlaps() const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> extents;
    extents.reserve(entries_.size());
    for (const ZipEntry& entry : entries_)
      extents.emplace_back(entry.header_offset, entry.data_offset + entry.compressed_size);
    std::ranges::sort(extents);
    for (std::size_t i = 1; i < extents.size(); ++i) {
      if (extents[i].first < extents[i - 1].second)
        fail(fmt::format("two members share the bytes at {}", extents[i].first));
    }
  }

  std::string_view bytes_;
  std::string file_;
  std::uint64_t directory_offset_ = 0;
  std::vector<ZipEntry> entries_;
  std::unordered_map<std::string_view, std::size_t> index_;
};

}  // namespace reno
