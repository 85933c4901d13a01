// What can go wrong, sorted by who can mend it. Every error that a user meets is one of these types; its
// message is one clear sentence (or several lines, one problem each) and its code is the exit status of
// `reno-run`. Only `main` catches.
#pragma once

#include <stdexcept>
#include <string>

/// Types that cross a plugin boundary by exception must be exported, or the host cannot catch them.
#define RENO_EXPORT __attribute__((visibility("default")))

namespace reno {

/// Exit status of the command-line programs.
enum class ExitCode : int { done = 0, configuration = 2, loading = 3, run = 4, interrupted = 130 };

/// Base of all errors; `what()` is meant for people.
class RENO_EXPORT Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

/// The command line or the experiment file is wrong: mend it and start again.
class RENO_EXPORT ConfigurationError : public Error {
 public:
  explicit ConfigurationError(const std::string& message) : Error(ExitCode::configuration, message) {}
};

/// A plugin or a weights file is missing, damaged or does not fit.
class RENO_EXPORT LoadError : public Error {
 public:
  explicit LoadError(const std::string& message) : Error(ExitCode::loading, message) {}
};

/// The run itself failed: a NaN, a full disk, a lost device.
class RENO_EXPORT RunError : public Error {
 public:
  explicit RunError(const std::string& message) : Error(ExitCode::run, message) {}
};

/// A signal asked to stop (SIGINT, SIGTERM, SIGUSR1); everything up to there has been saved.
class RENO_EXPORT Interrupted : public Error {
 public:
  explicit Interrupted(const std::string& message) : Error(ExitCode::interrupted, message) {}
};

}  // namespace reno
