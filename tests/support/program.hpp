// Runs the built programs as a user does, and tells exit status and output.
#pragma once

#include <boost/process.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "support/temporary_folder.hpp"

namespace reno::test {

struct Outcome {
  int status = 0;
  std::string output;  ///< standard output
  std::string errors;  ///< standard error
};

/// A running program of this build.
class Program {
 public:
  explicit Program(const std::vector<std::string>& arguments,
                   const std::filesystem::path& working_directory = RENO_SOURCE_DIR,
                   const std::string& name = "reno-run")
      : child_(std::string(RENO_BUILD_DIR) + "/bin/" + name, boost::process::args(arguments),
               boost::process::start_dir(working_directory.string()),
               boost::process::std_in<boost::process::null, boost::process::std_out>(folder_.path() / "out")
                   .string(),
               boost::process::std_err > (folder_.path() / "err").string()) {}

  void signal(int number) { ::kill(child_.id(), number); }

  Outcome wait() {
    child_.wait();
    return {child_.exit_code(), read_file(folder_.path() / "out"), read_file(folder_.path() / "err")};
  }

 private:
  TemporaryFolder folder_;
  boost::process::child child_;
};

inline Outcome reno_run(const std::vector<std::string>& arguments) { return Program(arguments).wait(); }

}  // namespace reno::test
