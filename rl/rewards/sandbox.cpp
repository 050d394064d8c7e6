#include "sandbox.h"

#include <unistd.h>

#include <algorithm>
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

}  // namespace

std::vector<std::string> sandboxed(const std::string& command, const SandboxLimits& limits) {
  check(limits.cpu_seconds > 0 && limits.memory_mb > 0 && limits.processes > 0 && limits.file_mb > 0,
        "the limits of a sandbox must be positive (sandbox_cpu_seconds, sandbox_memory_mb, sandbox_processes, "
        "sandbox_file_mb)");
  const std::string bytes = std::to_string(limits.file_mb << 20);
  const std::string here = fs::current_path().string();
  const bool root = ::geteuid() == 0;
  static int started = 0;
  const std::string user = std::to_string(kFirstUser + (static_cast<int>(::getpid()) + started++) % kUsers);

  std::vector<std::string> argv{"bwrap",         "--die-with-parent", "--new-session", "--unshare-ipc",
                                "--unshare-pid", "--unshare-net",     "--unshare-uts", "--unshare-cgroup-try"};
  const auto add = [&](std::initializer_list<std::string> words) { argv.insert(argv.end(), words); };
  if (root) {
    add({"--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP",
         "--cap-add", "CAP_DAC_READ_SEARCH"});
  } else {
    add({"--unshare-user"});
  }
  // A read-only bind still lets one talk to sockets in it, and those live in /run and /tmp.
  add({"--ro-bind", "/",       "/",       "--dev",    "/dev",         "--proc",  "/proc",  "--perms", "1777",
       "--size",    bytes,     "--tmpfs", "/dev/shm", "--remount-ro", "/dev",    "--size", "4096",    "--tmpfs",
       "/run",      "--perms", "1777",    "--size",   bytes,          "--tmpfs", "/tmp"});
  std::vector<std::string> needed = named_folders(command);
  needed.push_back(here);
  for (const std::string& folder : needed) {
    if (folder.rfind("/tmp/", 0) == 0 || folder.rfind("/run/", 0) == 0) add({"--ro-bind", folder, folder});
  }
  add({"--chdir", here, "--setenv", "HOME", "/tmp", "--setenv", "TMPDIR", "/tmp", "--"});
  if (root) {
    add({"setpriv", "--reuid=" + user, "--regid=" + user, "--clear-groups", "--no-new-privs",
         "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search",
         "--bounding-set=-all,+dac_read_search"});
  }
  const int64_t cpu = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(limits.cpu_seconds)));
  add({"prlimit", "--core=0", "--cpu=" + std::to_string(cpu) + ":" + std::to_string(cpu + 1),
       "--as=" + std::to_string(limits.memory_mb << 20), "--nproc=" + std::to_string(limits.processes),
       "--fsize=" + bytes, "/bin/sh", "-c", command});
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
