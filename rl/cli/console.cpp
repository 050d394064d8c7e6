#include "console.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "../../runtime/log.h"

namespace tenon::cli {

std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler sets it");

namespace {

void write_error(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

extern "C" void on_signal(int signal) {
  if (stop_requested.exchange(true)) {
    ::signal(signal, SIG_DFL);
    ::raise(signal);
  }
  static constexpr char kNote[] = "\ntenon: finishing this step, then saving; once more to end at once\n";
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, kNote, sizeof kNote - 1);
}

}  // namespace

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

rl::Progress console_progress() {
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  int width = 140;  // of a line in a pipe
  winsize size{};
  if (terminal && ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) width = size.ws_col;
  return {write_error, terminal, width};
}

void show_log() {
  const char* wish = std::getenv("TENON_LOG");
  const std::string_view name = wish ? wish : "";
  const LogLevel least = name == "debug" ? LogLevel::debug : name == "warning" ? LogLevel::warning : LogLevel::info;
  set_log_sink([least](LogLevel level, std::string_view text) {
    if (level >= least) write_error("tenon: " + std::string(text) + "\n");
  });
}

std::string read_standard_input() {
  std::string out;
  char buffer[65536];
  while (const size_t n = std::fread(buffer, 1, sizeof buffer, stdin)) out.append(buffer, n);
  return out;
}

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw Error(std::string("cannot write to standard output: ") + std::strerror(errno));
  }
}

}  // namespace tenon::cli
