// Ctrl-C, SIGTERM, and SIGUSR1 as cluster schedulers send it before a time limit, ask a run to finish its
// iteration, save, and end with exit code 130. A second signal of the kind ends it at once.
#pragma once

#include <csignal>

namespace reno {

namespace detail {
inline volatile std::sig_atomic_t stop_signal = 0;

inline void remember_signal(int signal) {
  stop_signal = signal;
  std::signal(signal, SIG_DFL);
}
}  // namespace detail

/// Installs the handlers; the only state of the process that reno changes, done by programs and not by
/// libraries.
inline void catch_stop_signals() {
  std::signal(SIGINT, detail::remember_signal);
  std::signal(SIGTERM, detail::remember_signal);
  std::signal(SIGUSR1, detail::remember_signal);
}

/// The signal that asked to stop, 0 if none did.
inline int stop_requested() { return detail::stop_signal; }

}  // namespace reno
