// The safetensors container: 8 bytes of header length (little endian), a JSON header {name: {dtype, shape,
// data_offsets}}, then the tensors' bytes without gaps. Format:
// https://github.com/huggingface/safetensors#format. All checks are made here, before any tensor is touched,
// so that later reads cannot leave the file.
#pragma once

#include <c10/core/ScalarType.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "reno/io/json_file.hpp"

namespace reno::safetensors {

static_assert(std::endian::native == std::endian::little,
              "tensors are viewed in place, and the format is little endian");

inline constexpr std::uint64_t max_header_bytes = 100'000'000;  // as the reference implementation
inline constexpr std::size_t max_rank = 64;                     // what ATen's iterators take

/// One tensor of the header; `begin` and `end` count from the start of the file.
struct Entry {
  std::string name;
  at::ScalarType dtype = at::ScalarType::Undefined;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// Checked header: entries in the order of their data, which they cover without gap or overlap.
struct Header {
  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;
};

struct DtypeName {
  std::string_view name;
  at::ScalarType dtype;
};

inline constexpr std::array dtype_names{
    DtypeName{"F64", at::ScalarType::Double},
    DtypeName{"F32", at::ScalarType::Float},
    DtypeName{"F16", at::ScalarType::Half},
    DtypeName{"BF16", at::ScalarType::BFloat16},
    DtypeName{"I64", at::ScalarType::Long},
    DtypeName{"I32", at::ScalarType::Int},
    DtypeName{"I16", at::ScalarType::Short},
    DtypeName{"I8", at::ScalarType::Char},
    DtypeName{"U8", at::ScalarType::Byte},
    DtypeName{"BOOL", at::ScalarType::Bool},
    DtypeName{"F8_E4M3", at::ScalarType::Float8_e4m3fn},
    DtypeName{"F8_E5M2", at::ScalarType::Float8_e5m2},
};

/// The format's name of a dtype; nothing when the format (as supported here) has none.
inline std::optional<std::string_view> name_of(at::ScalarType dtype) {
  for (const auto& known : dtype_names)
    if (known.dtype == dtype) return known.name;
  return std::nullopt;
}

inline std::optional<at::ScalarType> dtype_of(std::string_view name) {
  for (const auto& known : dtype_names)
    if (known.name == name) return known.dtype;
  return std::nullopt;
}

namespace detail {

/// Header entry under inspection: names file and tensor in every complaint.
struct Inspector {
  const std::string& file;
  const std::string& name;

  [[noreturn]] void fail(const std::string& problem) const {
    throw LoadError(file + ": tensor " + in_quotes(name) + " " + problem);
  }

  const nlohmann::json& field(const nlohmann::json& entry, const char* key) const {
    const auto found = entry.find(key);
    if (found == entry.end()) fail(std::string("has no ") + in_quotes(key));
    return *found;
  }

  at::ScalarType dtype(const nlohmann::json& value) const {
    if (!value.is_string()) fail(std::string("has a dtype that is not a string but ") + value.type_name());
    const auto& name = value.get_ref<const std::string&>();
    const auto dtype = dtype_of(name);
    if (dtype) return *dtype;
    std::string known;
    for (const auto& each : dtype_names) known += (known.empty() ? "" : ", ") + std::string(each.name);
    fail("has the unknown dtype " + in_quotes(name) + ", expected one of " + known);
  }

  std::uint64_t integer(const nlohmann::json& value, const char* what) const {
    constexpr auto largest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > largest)
      fail(std::string("has ") + in_quotes(value.dump()) + " in its " + what +
           ", expected integers from 0 to 2^63 - 1");
    return value.get<std::uint64_t>();
  }

  std::vector<std::int64_t> shape(const nlohmann::json& value) const {
    if (!value.is_array()) fail(std::string("has a shape that is not an array but ") + value.type_name());
    if (value.size() > max_rank)
      fail("has " + std::to_string(value.size()) + " dimensions, expected at most " +
           std::to_string(max_rank));
    std::vector<std::int64_t> shape;
    for (const auto& dimension : value)
      shape.push_back(static_cast<std::int64_t>(integer(dimension, "shape")));
    return shape;
  }

  /// Bytes of a contiguous tensor. Empty dimensions count as 1 in the overflow check, because strides are
  /// computed that way.
  std::uint64_t bytes(const std::vector<std::int64_t>& shape, at::ScalarType dtype) const {
    auto bytes = static_cast<std::int64_t>(c10::elementSize(dtype));
    bool empty = false;
    for (const std::int64_t dimension : shape) {
      empty = empty || dimension == 0;
      if (__builtin_mul_overflow(bytes, std::max<std::int64_t>(dimension, 1), &bytes))
        fail("has a shape whose size in bytes overflows 64 bits");
    }
    return empty ? 0 : static_cast<std::uint64_t>(bytes);
  }
};

inline Entry parse_entry(const std::string& file, const std::string& name, const nlohmann::json& json,
                         std::uint64_t data_begin, std::uint64_t file_size) {
  const Inspector inspect{file, name};
  if (!json.is_object())
    inspect.fail(std::string("is described by ") + json.type_name() + ", expected an object");
  Entry entry;
  entry.name = name;
  entry.dtype = inspect.dtype(inspect.field(json, "dtype"));
  entry.shape = inspect.shape(inspect.field(json, "shape"));
  const auto& offsets = inspect.field(json, "data_offsets");
  if (!offsets.is_array() || offsets.size() != 2)
    inspect.fail("has data_offsets that are not a pair [begin, end]");
  const std::uint64_t begin = inspect.integer(offsets[0], "data_offsets");
  const std::uint64_t end = inspect.integer(offsets[1], "data_offsets");
  const std::string range = "[" + std::to_string(begin) + ", " + std::to_string(end) + "]";
  if (begin > end) inspect.fail("has reversed data_offsets " + range);
  const std::uint64_t data_bytes = file_size - data_begin;
  if (end > data_bytes)
    inspect.fail("has data_offsets " + range + ", but the file holds only " + std::to_string(data_bytes) +
                 " bytes of data");
  const std::uint64_t expected = inspect.bytes(entry.shape, entry.dtype);
  if (end - begin != expected)
    inspect.fail("has " + std::to_string(end - begin) + " bytes of data, expected " +
                 std::to_string(expected) + " for its shape and dtype");
  entry.begin = data_begin + begin;
  entry.end = data_begin + end;
  return entry;
}

inline std::map<std::string, std::string> parse_metadata(const std::string& file,
                                                         const nlohmann::json& json) {
  if (!json.is_object())
    throw LoadError(file + ": __metadata__ is " + json.type_name() + ", expected an object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string())
      throw LoadError(file + ": __metadata__ has " + value.type_name() + " for " + in_quotes(key) +
                      ", expected a string");
    metadata.emplace(key, value.get<std::string>());
  }
  return metadata;
}

/// Sorted by position, the entries must cover the data exactly.
inline void check_coverage(const std::string& file, const std::vector<Entry>& entries,
                           std::uint64_t data_begin, std::uint64_t file_size) {
  std::uint64_t covered = data_begin;
  for (const Entry& entry : entries) {
    const std::string offset = std::to_string(entry.begin - data_begin);
    if (entry.begin < covered)
      Inspector{file, entry.name}.fail("begins at byte " + offset +
                                       " of the data, inside the tensor before it");
    if (entry.begin > covered)
      Inspector{file, entry.name}.fail("begins at byte " + offset + " of the data and leaves a gap of " +
                                       std::to_string(entry.begin - covered) + " bytes before it");
    covered = entry.end;
  }
  if (covered != file_size)
    throw LoadError(file + ": has " + std::to_string(file_size - covered) + " bytes after the last tensor");
}

}  // namespace detail

/// Parses and checks everything but the tensors' values. `bytes` is the whole file, `file` its name for
/// messages. Throws LoadError.
inline Header parse_header(std::string_view bytes, const std::string& file) {
  if (bytes.size() < 8)
    throw LoadError(file + ": has " + std::to_string(bytes.size()) +
                    " bytes, expected a safetensors file of at least 8");
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  if (header_bytes > max_header_bytes)
    throw LoadError(file + ": is not a safetensors file: it announces a header of " +
                    std::to_string(header_bytes) + " bytes, expected at most " +
                    std::to_string(max_header_bytes));
  if (header_bytes > bytes.size() - 8)
    throw LoadError(file + ": announces a header of " + std::to_string(header_bytes) + " bytes, but only " +
                    std::to_string(bytes.size() - 8) + " follow: the file is cut short or damaged");
  const std::string_view text = bytes.substr(8, header_bytes);
  if (text.empty() || text.front() != '{')
    throw LoadError(file + ": is not a safetensors file: its header does not begin with '{'");
  const auto json = parse_json(text, file, 3);

  Header header;
  const std::uint64_t data_begin = 8 + header_bytes;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__")
      header.metadata = detail::parse_metadata(file, value);
    else
      header.entries.push_back(detail::parse_entry(file, name, value, data_begin, bytes.size()));
  }
  std::stable_sort(header.entries.begin(), header.entries.end(), [](const Entry& left, const Entry& right) {
    return std::pair(left.begin, left.end) < std::pair(right.begin, right.end);
  });
  detail::check_coverage(file, header.entries, data_begin, bytes.size());
  return header;
}

}  // namespace reno::safetensors
