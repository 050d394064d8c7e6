// A cage for programs that run what a model wrote: bubblewrap with namespaces of its own and resource limits.
//
// Inside, the machine's files are readable and not writable, or not there at all; /tmp is a small memory disk, /run is
// empty, there is no network, and each process is bounded in processor time, address space, file size and number of
// processes. Memory that no address space shows (files in memory, shared segments) is not counted.
// As root the program runs under an unused user id (limits on processes do not bind root), with the capability to read
// root's files where those are visible.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tenon::rl {

struct SandboxLimits {
  double cpu_seconds = 10;
  int64_t memory_mb = 512;  // address space of each process
  int64_t processes = 32;
  int64_t file_mb = 16;  // a file, and the whole of /tmp
};

/// The command line that runs `command` (for /bin/sh) in the cage, with the machine's files readable. The present
/// folder and those of the files that the command names stay visible.
std::vector<std::string> sandboxed(const std::string& command, const SandboxLimits& limits);

/// A file or folder of the machine, and where the cage shows it, to be read only.
struct ShownPath {
  std::string host, inside;
};

/// The command line that runs `argv` in a cage with a file system of its own: the system's programs and libraries,
/// `shown`, and an empty /tmp, where it starts. Environment variables are not handed on. What is shown must be readable
/// by others.
std::vector<std::string> sandboxed_alone(const std::vector<std::string>& argv, const SandboxLimits& limits,
                                         const std::vector<ShownPath>& shown = {});

/// Why the cage cannot be used here ("bwrap: No permissions to create new namespace ..."); empty when it can. Asked
/// once, by trying.
const std::string& sandbox_problem();

}  // namespace tenon::rl
