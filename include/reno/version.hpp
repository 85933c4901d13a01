// The version of reno; CMake reads it from here.
#pragma once

namespace reno {
inline constexpr const char* version = "0.1.0";
}
