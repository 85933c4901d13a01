// The beginning of a text that is too long for one line of a message.
#pragma once

#include <cstddef>
#include <string>

namespace reno {

/// At most `bytes` of a UTF-8 text, cut between characters and ended by "…".
inline std::string shortened(std::string text, std::size_t bytes = 200) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) --bytes;
  text.resize(bytes);
  return text + "…";
}

}  // namespace reno
