// tenon: training, generation and evaluation from the command line.
//
// Exit codes: 0, 1 for an error (one line on standard error), 2 for a mistake on the command line, 130 when
// interrupted.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "../../ops/profile_report.h"
#include "../../runtime/profile.h"
#include "../../runtime/threads.h"
#include "../../runtime/version.h"
#include "console.h"

namespace {

// --threads N belongs to every command. Commands hand words they do not know to their settings, so it is taken out
// before.
void take_threads(std::vector<std::string>& words) {
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] != "--threads" && words[i].rfind("--threads=", 0) != 0) continue;
    const bool joined = words[i].size() > 9;
    const std::string value = joined ? words[i].substr(10) : i + 1 < words.size() ? words[i + 1] : "";
    if (value.empty() || value.size() > 4 || value.find_first_not_of("0123456789") != std::string::npos ||
        std::stoi(value) == 0) {
      throw tenon::cli::UsageError("--threads needs a number of threads, got '" + value + "'");
    }
    tenon::set_num_threads(std::stoi(value));
    words.erase(words.begin() + static_cast<std::ptrdiff_t>(i),
                words.begin() + static_cast<std::ptrdiff_t>(i + (joined ? 1 : 2)));
    --i;
  }
}

// --profile belongs to every command too.
bool take_profile(std::vector<std::string>& words) { return std::erase(words, "--profile") > 0; }

// OpenMP's threads wait for each other by spinning, by default for milliseconds. On a machine with other work the
// thread that is waited for is the one that has no processor: two threads on two busy cores then train a tiny model
// nine times slower than one (measured: 15 steps against 135; with short spins 70 to 104). A spin of 50 microseconds
// bridges what lies between two parallel regions. libgomp reads the environment before main(), hence the exec.
void spin_briefly(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") || std::getenv("OMP_WAIT_POLICY")) return;
  ::setenv("GOMP_SPINCOUNT", "1000", 1);
  ::execv("/proc/self/exe", argv);  // where that fails, the program runs on as it is
}

// Writes what profiling found to standard error when the command ends, also when it fails.
class Profiled {
 public:
  void start() {
    tenon::profile::start();
    started_ = true;
  }
  ~Profiled() {
    if (started_) try {
        std::fputs(tenon::ops::profile_report().c_str(), stderr);
      } catch (const std::exception& e) {
        std::fprintf(stderr, "tenon: no profile: %s\n", e.what());
      }
  }

 private:
  bool started_ = false;
};

void complain(const char* what) { std::fprintf(stderr, "tenon: error: %s\n", what); }

}  // namespace

int main(int argc, char** argv) {
  using namespace tenon;
  spin_briefly(argv);
  CLI::App app("Tenon trains reasoning models: pretraining, fine-tuning, GRPO, distillation, evaluation.", "tenon");
  app.set_version_flag("--version", version());
  app.require_subcommand(1);
  std::string unused;
  app.add_option("--threads", unused, "threads to compute with (default: all); may stand anywhere");
  bool also_unused = false;
  app.add_flag("--profile", also_unused, "at the end: the time of each op, on standard error; may stand anywhere");
  cli::add_job_commands(app);
  cli::add_recipe_command(app);
  cli::add_report_command(app);
  cli::add_generate_commands(app);
  cli::add_text_commands(app);
  cli::add_score_command(app);
  cli::add_reward_command(app);
  cli::add_info_command(app);
  cli::add_merge_command(app);
  Profiled profiled;
  try {
    cli::show_log();
    std::vector<std::string> words(argv + 1, argv + argc);
    take_threads(words);
    if (take_profile(words)) profiled.start();
    std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
    app.parse(std::move(words));
    return 0;
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& e) {
    complain(e.what());
    return 2;
  } catch (const cli::UsageError& e) {
    complain(e.what());
    return 2;
  } catch (const std::exception& e) {
    if (cli::stop_requested) {
      std::fprintf(stderr, "tenon: interrupted; the same command goes on from what was saved\n");
      return 130;
    }
    complain(e.what());
    return 1;
  }
}
