// Several processes of this program on one machine, with one progress.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace reno {

struct Workers {
  std::filesystem::path program;
  std::filesystem::path output;                     ///< of the run or sweep, which has begun
  std::vector<std::vector<std::string>> arguments;  ///< of each process
  std::vector<std::filesystem::path> logs;          ///< where each one's standard error goes
  bool quiet = false;
};

/// Starts them and waits. A signal that asks to stop is handed on to all. Throws Interrupted then, and
/// RunError when one of them fails, with what it said last; the others go on until they are done.
void run_workers(const Workers& workers);

}  // namespace reno
