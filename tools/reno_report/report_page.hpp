// The page of reports, put together by CMake from the files in page/ and compiled in.
#pragma once

#include <string_view>

namespace reno {

/// For `report::write_report`.
std::string_view report_page();

}  // namespace reno
