// tenon pretrain | sft | grpo | distill | eval | sample | countdown | word_problems [SETTINGS.toml ...] [--setting
// value ...]
#include <unistd.h>

#include "../benchmarks.h"
#include "../compare.h"
#include "../jobs.h"
#include "console.h"

namespace tenon::cli {
namespace {

void run(const std::string& kind, const std::vector<std::string>& arguments) {
  const auto job = rl::make_job(kind);
  std::vector<std::string> files;
  try {
    files = job->settings().read_arguments(arguments);
  } catch (const Error& e) {
    throw UsageError(e.what());
  }
  for (const std::string& file : files) job->read_toml(file);
  job->settings().read_arguments(arguments);  // again: the command line wins over the files

  catch_signals();
  rl::Progress progress = console_progress();
  rl::RunControl control;
  control.stop = &stop_requested;
  control.progress = &progress;
  const std::string result = job->run(control);
  print(result + "\n");
}

std::vector<std::string> compared;  // the folders of eval --compare
bool list_benchmarks = false;

void compare(const std::vector<std::string>& more) {
  if (!more.empty()) throw UsageError("eval --compare takes two folders and nothing else, got '" + more.front() + "'");
  const auto differences = rl::compare_evaluations(compared[0], compared[1]);
  print(::isatty(STDOUT_FILENO) ? rl::to_text(differences) : rl::to_json(differences) + "\n");
}

}  // namespace

void add_job_commands(CLI::App& app) {
  for (const std::string& kind : rl::job_kinds()) {
    CLI::App* command = app.add_subcommand(kind, rl::job_description(kind));
    command->allow_extras();
    command->footer([kind] {
      return "tenon " + kind + " [SETTINGS.toml ...] [--setting value ...]; the command line wins.\n\nSettings:\n" +
             rl::make_job(kind)->settings().help();
    });
    if (kind == "eval") {
      command
          ->add_option("--compare", compared,
                       "instead: two folders of evaluations of the same questions; is their difference real?")
          ->expected(2);
      command->add_flag("--benchmarks", list_benchmarks, "instead: the names that eval.benchmark takes");
    }
    command->callback([command, kind] {
      if (kind == "eval" && list_benchmarks)
        print(rl::benchmark_list());
      else if (kind == "eval" && !compared.empty())
        compare(command->remaining());
      else
        run(kind, command->remaining());
    });
  }
}

}  // namespace tenon::cli
