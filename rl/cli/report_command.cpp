// tenon report RUN [RUN ...] [--output FILE]
#include <memory>

#include "../../runtime/files.h"
#include "../r1.h"
#include "../report/compare_report.h"
#include "../report/run_report.h"
#include "console.h"

namespace tenon::cli {
namespace {

struct Options {
  std::vector<std::string> runs;
  std::string output;
};

// Where its page stands.
std::string report_of(const std::string& folder) {
  switch (rl::kind_of_run(folder)) {
    case rl::FolderKind::training:
      rl::write_report(folder, folder);
      break;
    case rl::FolderKind::recipe:
      rl::report_recipe(folder);
      break;
    case rl::FolderKind::evaluation:
      write_file_atomically(folder + "/report.html", rl::comparison_page({folder}));
      break;
  }
  return folder + "/report.html";
}

void report(const Options& o) {
  std::string written;
  if (o.runs.size() == 1) {
    written = report_of(o.runs[0]);
    if (!o.output.empty()) write_file_atomically(o.output, read_file(written));
  } else {
    written = "report.html";
    write_file_atomically(o.output.empty() ? written : o.output, rl::comparison_page(o.runs));
  }
  print((o.output.empty() ? written : o.output) + "\n");
}

}  // namespace

void add_report_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("report", "write report.html of a run again, or one page that compares several");
  command
      ->add_option("runs", options->runs,
                   "folders of training runs, evaluations or recipes; of one its own report.html is written again")
      ->required();
  command->add_option("--output", options->output,
                      "the page; default: report.html, in the folder of a single run, here for several");
  command->callback([options] { report(*options); });
}

}  // namespace tenon::cli
