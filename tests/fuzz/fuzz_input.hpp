// What the fuzz targets share: the input as text, and promises whose breach is a finding.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace reno::test {

inline std::string_view as_text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Ends the process, which the fuzzer reports with the input, unless `promise` holds.
inline void promise(bool kept, const char* sentence) {
  if (kept) return;
  std::fprintf(stderr, "broken promise: %s\n", sentence);
  std::abort();
}

}  // namespace reno::test
