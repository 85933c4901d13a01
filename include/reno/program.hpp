// What `main` of every program does: performs, and turns errors into sentences and an exit status.
#pragma once

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <new>
#include <sstream>
#include <string>

#include "reno/error.hpp"

namespace reno {

namespace detail {

/// One line on standard error for each line of the message.
inline int tell(const char* program, const std::string& message, ExitCode code) {
  std::istringstream lines(message);
  for (std::string text; std::getline(lines, text);) fmt::print(stderr, "{}: {}\n", program, text);
  return static_cast<int>(code);
}

}  // namespace detail

/// Calls `perform` and returns the exit status. Nothing else catches errors for good.
template <class Perform>
int run_program(const char* program, Perform&& perform) {
  try {
    perform();
    return static_cast<int>(ExitCode::done);
  } catch (const Error& error) {
    return detail::tell(program, error.what(), error.code());
  } catch (const c10::OutOfMemoryError& error) {
    return detail::tell(
        program,
        std::string("the device is out of memory (") + error.what_without_backtrace() +
            "); a smaller run.batch, run.memory = \"lean\" or run.dtype = \"bfloat16\" needs less",
        ExitCode::run);
  } catch (const c10::Error& error) {
    return detail::tell(program, error.what_without_backtrace(), ExitCode::run);
  } catch (const std::bad_alloc&) {
    return detail::tell(program, "out of memory; a smaller run.batch or run.memory = \"lean\" needs less",
                        ExitCode::run);
  } catch (const std::exception& error) {
    return detail::tell(program, error.what(), ExitCode::run);
  }
}

}  // namespace reno
