#include "subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "../../runtime/check.h"

extern char** environ;

namespace tenon::rl {
namespace {

constexpr size_t kErrorTail = 4096;
constexpr size_t kLongestAnswer = 1 << 20;  // a line longer than this is no number, however long one waits for its end

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int fds[2];
    check(::pipe2(fds, O_CLOEXEC) == 0, "cannot make a pipe: {}", std::strerror(errno));
    read = fds[0];
    write = fds[1];
  }
  ~Pipe() {
    if (read >= 0) ::close(read);
    if (write >= 0) ::close(write);
  }
  static int take(int& fd) { return std::exchange(fd, -1); }
};

// Writing to a process that died raises SIGPIPE, which would end the host. The library owns no signal handlers, so the
// signal is blocked for this thread and taken off the queue when it came from here.
class BlockSigpipe {
 public:
  BlockSigpipe() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &set_, &old_);
  }
  ~BlockSigpipe() {
    if (!was_pending_) {
      const timespec zero{};
      while (sigtimedwait(&set_, nullptr, &zero) == -1 && errno == EINTR) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &old_, nullptr);
  }
  BlockSigpipe(const BlockSigpipe&) = delete;
  BlockSigpipe& operator=(const BlockSigpipe&) = delete;

 private:
  sigset_t set_{}, old_{};
  bool was_pending_ = false;
};

pid_t spawn(const std::vector<std::string>& argv, int in, int out, int err) {
  check(!argv.empty(), "cannot start a process without a name");
  std::vector<char*> args;
  for (const std::string& a : argv) args.push_back(const_cast<char*>(a.c_str()));
  args.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, 0);
  posix_spawn_file_actions_adddup2(&actions, out, 1);
  posix_spawn_file_actions_adddup2(&actions, err, 2);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  sigaddset(&defaults, SIGINT);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, argv[0].c_str(), &actions, &attributes, args.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  check(error == 0, "cannot start '{}': {}", argv[0], std::strerror(error));
  return pid;
}

void set_nonblocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

std::string status_text(int status) {
  if (WIFEXITED(status)) return "exit code " + std::to_string(WEXITSTATUS(status));
  const int signal = WTERMSIG(status);
  return "signal " + std::to_string(signal) + " (" + strsignal(signal) + ")";
}

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

using Clock = std::chrono::steady_clock;

int left_ms(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1'000'000));
}

Clock::time_point after(double seconds) {
  return Clock::now() +
         std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(std::min(seconds, 1e8)));
}

}  // namespace

LineProcess::LineProcess(const std::vector<std::string>& argv) {
  Pipe in, out, err;
  pid_ = spawn(argv, in.read, out.write, err.write);
  in_ = Pipe::take(in.write);
  out_ = Pipe::take(out.read);
  err_ = Pipe::take(err.read);
  for (const int fd : {in_, out_, err_}) set_nonblocking(fd);
}

LineProcess::~LineProcess() {
  if (pid_ > 0) stop();
}

void LineProcess::close_all() {
  for (int* fd : {&in_, &out_, &err_}) {
    if (*fd >= 0) ::close(*fd);
    *fd = -1;
  }
}

void LineProcess::read_errors() {
  char buffer[4096];
  while (err_ >= 0) {
    const ssize_t n = ::read(err_, buffer, sizeof buffer);
    if (n > 0) {
      errors_.append(buffer, static_cast<size_t>(n));
      if (errors_.size() > 2 * kErrorTail) errors_.erase(0, errors_.size() - kErrorTail);
      continue;
    }
    if (n == 0) {
      ::close(err_);
      err_ = -1;
    } else if (errno == EINTR) {
      continue;
    }
    return;
  }
}

std::string LineProcess::stop() {
  if (pid_ <= 0) return "not running";
  if (in_ >= 0) ::close(std::exchange(in_, -1));
  // One that ends by itself now (its input is closed) keeps its own exit code.
  int status = 0;
  pid_t done = 0;
  for (int i = 0; i < 20 && done == 0; ++i) {
    done = ::waitpid(pid_, &status, WNOHANG);
    if (done == 0) ::usleep(1000);
  }
  ::kill(-pid_, SIGKILL);
  if (done == 0) status = wait_for(pid_);
  read_errors();
  close_all();
  pid_ = -1;
  return status_text(status);
}

std::string LineProcess::error_tail() const {
  std::string_view text = errors_;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  const size_t line = text.rfind('\n');
  std::string last(line == std::string_view::npos ? text : text.substr(line + 1));
  if (last.size() > 300) last.resize(300);
  return last;
}

bool LineProcess::alive() {
  if (pid_ <= 0) return false;
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

// A line said between batches is no answer, and taken for one it would shift all that follow.
size_t LineProcess::drop_unasked() {
  char buffer[65536];
  for (ssize_t n = 0; (n = ::read(out_, buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR);) {
    if (n > 0) unread_.append(buffer, static_cast<size_t>(n));
    if (unread_.size() > kLongestAnswer) break;  // one that never stops is not waited for
  }
  const auto lines = static_cast<size_t>(std::count(unread_.begin(), unread_.end(), '\n'));
  unread_.clear();
  return lines;
}

LineProcess::Exchange LineProcess::exchange(const std::vector<std::string>& requests, double timeout_seconds) {
  Exchange result;
  if (pid_ <= 0) {
    result.end = End::closed;
    return result;
  }
  const BlockSigpipe blocked;
  std::string sending;
  for (const std::string& r : requests) sending += r + "\n";
  size_t sent = 0;
  const auto deadline = after(timeout_seconds);
  result.unasked = drop_unasked();
  while (result.answers.size() < requests.size()) {
    pollfd fds[3] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}, {sent < sending.size() ? in_ : -1, POLLOUT, 0}};
    const int ready = ::poll(fds, 3, left_ms(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      result.end = End::timed_out;
      return result;
    }
    if (fds[1].revents) read_errors();
    if (fds[2].revents) {
      const ssize_t n = ::write(in_, sending.data() + sent, sending.size() - sent);
      if (n > 0) {
        sent += static_cast<size_t>(n);
      } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        sent = sending.size();  // it closed its input; answers it has given already may still be in the pipe
      }
    }
    if (fds[0].revents) {
      char buffer[65536];
      const ssize_t n = ::read(out_, buffer, sizeof buffer);
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        result.end = End::closed;
        return result;
      }
      if (n > 0) unread_.append(buffer, static_cast<size_t>(n));
      size_t begin = 0;
      for (size_t end = unread_.find('\n'); end != std::string::npos && result.answers.size() < requests.size();
           end = unread_.find('\n', begin)) {
        result.answers.push_back(unread_.substr(begin, end - begin));
        begin = end + 1;
      }
      unread_.erase(0, begin);
      if (unread_.size() > kLongestAnswer) {
        result.end = End::closed;
        return result;
      }
    }
  }
  return result;
}

ProcessResult run_process(const std::vector<std::string>& argv, double timeout_seconds, std::string_view input,
                          size_t output_limit) {
  Pipe in, out, err;
  const pid_t pid = spawn(argv, in.read, out.write, err.write);
  for (int* fd : {&in.read, &out.write, &err.write}) ::close(Pipe::take(*fd));
  set_nonblocking(in.write);
  const BlockSigpipe blocked;
  ProcessResult result;
  const auto deadline = after(timeout_seconds);
  bool open[2] = {true, true};
  if (input.empty()) ::close(Pipe::take(in.write));
  while (open[0] || open[1]) {
    pollfd fds[3] = {
        {open[0] ? out.read : -1, POLLIN, 0}, {open[1] ? err.read : -1, POLLIN, 0}, {in.write, POLLOUT, 0}};
    const int ready = ::poll(fds, 3, left_ms(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      result.timed_out = true;
      break;
    }
    if (fds[2].revents) {
      const ssize_t n = ::write(in.write, input.data(), input.size());
      if (n > 0) input.remove_prefix(static_cast<size_t>(n));
      const bool gone = n < 0 && errno != EAGAIN && errno != EINTR;  // it reads no further
      if (input.empty() || gone) ::close(Pipe::take(in.write));
    }
    for (int i = 0; i < 2; ++i) {
      if (!fds[i].revents) continue;
      char buffer[65536];
      const ssize_t n = ::read(fds[i].fd, buffer, sizeof buffer);
      std::string& text = i == 0 ? result.output : result.errors;
      if (n > 0) {
        text.append(buffer, std::min(static_cast<size_t>(n), output_limit - text.size()));
        result.flooded |= text.size() == output_limit;
      } else if (n == 0 || errno != EINTR) {
        open[i] = false;
      }
    }
    if (result.flooded) break;
  }
  // Its outputs are closed; it may still run.
  int status = 0;
  pid_t done = 0;
  while (!result.timed_out && !result.flooded && (done = ::waitpid(pid, &status, WNOHANG)) == 0) {
    if (left_ms(deadline) == 0)
      result.timed_out = true;
    else
      ::usleep(500);
  }
  ::kill(-pid, SIGKILL);  // and what it started and left behind
  if (done != pid) status = wait_for(pid);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace tenon::rl
