#include "sandbox.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <sstream>

#include "../../runtime/check.h"
#include "subprocess.h"

namespace tenon::rl {
namespace fs = std::filesystem;
namespace {

// Unused user ids below the traditional 'nobody' (65534). Two sandboxes at once get different ones, since root's limit
// on processes counts all processes of an id.
constexpr int kFirstUser = 64000, kUsers = 1000;

// Folders of the files that the command names: its program, a script.
std::vector<std::string> named_folders(const std::string& command) {
  std::vector<std::string> out;
  std::istringstream words(command);
  for (std::string word; words >> word;) {
    if (word.find('/') == std::string::npos) continue;
    std::error_code error;
    const fs::path path = fs::canonical(word, error);
    if (!error && fs::is_regular_file(path)) out.push_back(path.parent_path().string());
  }
  return out;
}

using Words = std::vector<std::string>;

void append(Words& argv, std::initializer_list<std::string> words) { argv.insert(argv.end(), words); }

bool is_root() { return ::geteuid() == 0; }

std::string bytes_of(const SandboxLimits& limits) { return std::to_string(limits.file_mb << 20); }

// Namespaces, and what of root's rights the way into the cage needs.
Words walls(const SandboxLimits& limits) {
  check(limits.cpu_seconds > 0 && limits.memory_mb > 0 && limits.processes > 0 && limits.file_mb > 0,
        "the limits of a sandbox must be positive (sandbox_cpu_seconds, sandbox_memory_mb, sandbox_processes, "
        "sandbox_file_mb)");
  Words argv{"bwrap",         "--die-with-parent", "--new-session", "--unshare-ipc",
             "--unshare-pid", "--unshare-net",     "--unshare-uts", "--unshare-cgroup-try"};
  if (is_root()) {
    append(argv, {"--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP",
                  "--cap-add", "CAP_DAC_READ_SEARCH"});
  } else {
    append(argv, {"--unshare-user"});
  }
  return argv;
}

// A read-only bind still lets one talk to sockets in it, and those live in /run and /tmp.
void add_mounts(Words& argv, const SandboxLimits& limits) {
  const std::string bytes = bytes_of(limits);
  append(argv, {"--dev",   "/dev",     "--proc",       "/proc", "--perms", "1777", "--size",  bytes,
                "--tmpfs", "/dev/shm", "--remount-ro", "/dev",  "--size",  "4096", "--tmpfs", "/run",
                "--perms", "1777",     "--size",       bytes,   "--tmpfs", "/tmp"});
}

// Another user, and the limits. `reads_all`: with the capability to read root's files.
void add_limits(Words& argv, const SandboxLimits& limits, bool reads_all) {
  static std::atomic<int> started = 0;
  if (is_root()) {
    const std::string user = std::to_string(kFirstUser + (static_cast<int>(::getpid()) + started++) % kUsers);
    const std::string kept = reads_all ? "-all,+dac_read_search" : "-all";
    append(argv, {"setpriv", "--reuid=" + user, "--regid=" + user, "--clear-groups", "--no-new-privs",
                  "--inh-caps=" + kept, "--ambient-caps=" + kept, "--bounding-set=" + kept});
  }
  const int64_t cpu = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(limits.cpu_seconds)));
  append(argv, {"prlimit", "--core=0", "--cpu=" + std::to_string(cpu) + ":" + std::to_string(cpu + 1),
                "--as=" + std::to_string(limits.memory_mb << 20), "--nproc=" + std::to_string(limits.processes),
                "--fsize=" + bytes_of(limits)});
}

}  // namespace

std::vector<std::string> sandboxed(const std::string& command, const SandboxLimits& limits) {
  const std::string here = fs::current_path().string();
  Words argv = walls(limits);
  append(argv, {"--ro-bind", "/", "/"});
  add_mounts(argv, limits);
  std::vector<std::string> needed = named_folders(command);
  needed.push_back(here);
  for (const std::string& folder : needed) {
    if (folder.rfind("/tmp/", 0) == 0 || folder.rfind("/run/", 0) == 0) append(argv, {"--ro-bind", folder, folder});
  }
  append(argv, {"--chdir", here, "--setenv", "HOME", "/tmp", "--setenv", "TMPDIR", "/tmp", "--"});
  add_limits(argv, limits, true);
  append(argv, {"/bin/sh", "-c", command});
  return argv;
}

std::vector<std::string> sandboxed_alone(const std::vector<std::string>& command, const SandboxLimits& limits,
                                         const std::vector<ShownPath>& shown) {
  Words argv = walls(limits);
  append(argv, {"--ro-bind", "/usr", "/usr"});
  for (const char* folder : {"/bin", "/sbin", "/lib", "/lib32", "/lib64"}) {  // links into /usr on a merged system
    std::error_code error;
    const fs::path target = fs::read_symlink(folder, error);
    if (!error)
      append(argv, {"--symlink", target.string(), folder});
    else
      append(argv, {"--ro-bind-try", folder, folder});
  }
  for (const char* path : {"/etc/ld.so.cache", "/etc/alternatives"}) append(argv, {"--ro-bind-try", path, path});
  add_mounts(argv, limits);
  for (const ShownPath& path : shown) {
    // bwrap makes missing parents for its own user alone.
    fs::path parent = "/";
    for (const fs::path& part : fs::path(path.inside).parent_path().relative_path()) {
      parent /= part;
      append(argv, {"--perms", "0755", "--dir", parent.string()});
    }
    append(argv, {"--ro-bind", path.host, path.inside});
  }
  append(argv,
         {"--remount-ro", "/", "--chdir", "/tmp", "--clearenv", "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin",
          "--setenv", "HOME", "/tmp", "--setenv", "TMPDIR", "/tmp", "--setenv", "LANG", "C.UTF-8", "--"});
  add_limits(argv, limits, false);
  argv.insert(argv.end(), command.begin(), command.end());
  return argv;
}

const std::string& sandbox_problem() {
  static const std::string problem = [] {
    try {
      const ProcessResult result = run_process(sandboxed("true", {}), 20);
      if (result.exit_code == 0 && !result.timed_out) return std::string();
      std::string errors = result.errors.substr(0, result.errors.find('\n'));
      return errors.empty() ? "bwrap ended with exit code " + std::to_string(result.exit_code) : errors;
    } catch (const Error& e) {
      return std::string(e.what()) + "; install the package bubblewrap";
    }
  }();
  return problem;
}

}  // namespace tenon::rl
