#include "workers.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "reno/error.hpp"
#include "reno/run/progress.hpp"
#include "reno/run/signals.hpp"
#include "status.hpp"

namespace reno {

namespace {

using Clock = std::chrono::steady_clock;

struct Worker {
  pid_t process = 0;
  int status = 0;
  bool running = true;
};

Worker start(const Workers& workers, std::size_t index) {
  std::vector<std::string> words = {workers.program.string()};
  words.insert(words.end(), workers.arguments[index].begin(), workers.arguments[index].end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string log = workers.logs[index].string();

  Worker worker;
  worker.process = ::fork();
  if (worker.process < 0) throw RunError("a process cannot be started");
  if (worker.process > 0) return worker;
  // A group of its own: Ctrl-C reaches it through us, once. And it does not outlive us.
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  const int file = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (file >= 0) {
    ::dup2(file, STDOUT_FILENO);
    ::dup2(file, STDERR_FILENO);
  }
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

/// The bar of all processes, or lines now and then.
class Display {
 public:
  Display(const Workers& workers) : workers_(workers), terminal_(::isatty(STDERR_FILENO) == 1) {}

  void show(std::size_t running) {
    const double interval = terminal_ ? 0.5 : 10.0;
    const auto now = Clock::now();
    if (workers_.quiet || std::chrono::duration<double>(now - last_).count() < interval) return;
    last_ = now;
    const auto statuses = read_statuses(workers_.output, std::ssize(workers_.arguments));
    const double share = overall_share(statuses);
    if (first_ < 0.0) first_ = share;
    const double elapsed = std::chrono::duration<double>(now - started_).count();
    const double gained = share - first_;
    const std::string eta = gained > 0.0 ? "  ETA " + format_duration(elapsed / gained * (1.0 - share)) : "";
    fmt::print(stderr, "{}{}  {} process{}{}{}", terminal_ ? "\r\033[K" : "", overall_text(statuses), running,
               running == 1 ? "" : "es", eta, terminal_ ? "" : "\n");
    std::fflush(stderr);
  }

  void clear() const {
    if (terminal_ && !workers_.quiet) fmt::print(stderr, "\r\033[K");
  }

 private:
  const Workers& workers_;
  bool terminal_;
  double first_ = -1.0;
  Clock::time_point started_ = Clock::now();
  Clock::time_point last_ = Clock::now();
};

std::string last_line(const std::filesystem::path& log) {
  std::ifstream stream(log);
  std::string last;
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty()) last = line;
  }
  return last;
}

std::string ending(const Worker& worker) {
  return WIFSIGNALED(worker.status) ? fmt::format("was ended by signal {}", WTERMSIG(worker.status))
                                    : fmt::format("ended with status {}", WEXITSTATUS(worker.status));
}

bool succeeded(const Worker& worker) { return WIFEXITED(worker.status) && WEXITSTATUS(worker.status) == 0; }

}  // namespace

void run_workers(const Workers& workers) {
  std::vector<Worker> started;
  for (std::size_t i = 0; i < workers.arguments.size(); ++i) started.push_back(start(workers, i));
  Display display(workers);
  bool told = false;
  for (std::size_t running = started.size(); running > 0;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (stop_requested() != 0 && !told) {
      told = true;
      for (const auto& worker : started) {
        if (worker.running) ::kill(worker.process, SIGTERM);
      }
    }
    for (auto& worker : started) {
      if (!worker.running || ::waitpid(worker.process, &worker.status, WNOHANG) != worker.process) continue;
      worker.running = false;
      --running;
    }
    display.show(running);
  }
  display.clear();
  if (told) {
    throw Interrupted(fmt::format("interrupted; what was done so far is in {}, --resume continues it",
                                  workers.output.string()));
  }
  std::string problems;
  for (std::size_t i = 0; i < started.size(); ++i) {
    if (succeeded(started[i])) continue;
    problems += fmt::format("{}process {} of {} {}: {}", problems.empty() ? "" : "\n", i + 1, started.size(),
                            ending(started[i]), last_line(workers.logs[i]));
  }
  if (!problems.empty()) throw RunError(problems);
}

}  // namespace reno
