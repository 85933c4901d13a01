// The networks of a pipeline are configured by files of their own, which must fit each other.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>

#include "reno/error.hpp"

namespace reno {

/// Called with what must be equal, in words and numbers; throws LoadError naming the folder otherwise.
struct ComponentsFit {
  std::string folder;

  void operator()(const char* what, std::int64_t first, const char* other, std::int64_t second) const {
    if (first != second)
      throw LoadError(fmt::format("{}: the components do not fit: {} is {}, but {} is {}", folder, what,
                                  first, other, second));
  }
};

}  // namespace reno
