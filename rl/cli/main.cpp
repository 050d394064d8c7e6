// tenon: training, generation and evaluation from the command line.
//
// Exit codes: 0, 1 for an error (one line on standard error), 2 for a mistake on the command line, 130 when interrupted.
#include <cstdio>
#include <exception>

#include "../../runtime/threads.h"
#include "console.h"

namespace {

void complain(const char* what) { std::fprintf(stderr, "tenon: error: %s\n", what); }

}  // namespace

int main(int argc, char** argv) {
  using namespace tenon;
  CLI::App app("Tenon trains reasoning models: pretraining, fine-tuning, GRPO, distillation, evaluation.", "tenon");
  app.require_subcommand(1);
  app.fallthrough();
  int threads = 0;
  app.add_option("--threads", threads, "threads to compute with (default: all)")->check(CLI::PositiveNumber);
  app.parse_complete_callback([&] {
    if (threads > 0) set_num_threads(threads);
  });
  cli::add_job_commands(app);
  cli::add_recipe_command(app);
  cli::add_generate_commands(app);
  cli::add_text_commands(app);
  cli::add_score_command(app);
  cli::add_reward_command(app);
  cli::add_info_command(app);
  try {
    cli::show_log();
    app.parse(argc, argv);
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
      std::fprintf(stderr, "tenon: interrupted; the same command goes on from here\n");
      return 130;
    }
    complain(e.what());
    return 1;
  }
}
