// Settings: TOML, command line, names of unknown settings with their lines, wrong types, contradictions, and the way
// back to TOML.
#include "../../rl/settings.h"

#include <gtest/gtest.h>

#include "../../rl/datasets.h"
#include "../../rl/distill.h"
#include "../../rl/evaluate.h"
#include "../../rl/grpo.h"
#include "../../rl/pretrain.h"
#include "../../rl/sample_data.h"
#include "../../rl/tasks/countdown.h"
#include "../../runtime/error.h"
#include "../../runtime/files.h"
#include "../temp_dir.h"

namespace tenon::rl {
namespace {

enum class Kind { first, second };

struct Options {
  int64_t steps = 10;
  double rate = 0.5;
  float small = 0.1f;
  bool flag = false;
  std::string name = "x";
  std::vector<std::string> words;
  std::vector<double> weights{1.0};
  Kind kind = Kind::first;
  uint64_t seed = 1;

  void validate() const {
    if (steps < 0) throw Error("steps must not be negative");
    if (flag && rate > 1) throw Error("flag does not go with a rate above 1");
  }
};

template <class V>
void describe(V& v, Options& o) {
  v.field("steps", o.steps, "how many");
  v.field("rate", o.rate, "how fast");
  v.field("small", o.small, "a float");
  v.field("flag", o.flag, "whether");
  v.field("name", o.name, "who");
  v.field("words", o.words, "which");
  v.field("weights", o.weights, "how much");
  v.choice("kind", o.kind, {"first", "second"}, "what kind");
  v.field("seed", o.seed, "of all");
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

struct Fixture {
  Options options;
  Settings settings;
  Fixture() { settings.add("run", options); }
  std::string error(const std::string& toml) {
    return error_of([&] { settings.read_toml_text(toml, "x.toml"); });
  }
};

TEST(Settings, ReadsEveryTypeInItsSectionAndAtTheTop) {
  Fixture f;
  f.settings.read_toml_text(
      "name = \"top\"\n[run]\nsteps = 1_000\nrate = 3e-6\nsmall = 2\nflag = true\nwords = ['a', 'b']\nweights = [1, "
      "0.5]\n"
      "kind = 'second'\nseed = 1e3\n",
      "x.toml");
  EXPECT_EQ(f.options.steps, 1000);
  EXPECT_EQ(f.options.rate, 3e-6);
  EXPECT_EQ(f.options.small, 2.0f);
  EXPECT_TRUE(f.options.flag);
  EXPECT_EQ(f.options.name, "top");
  EXPECT_EQ(f.options.words, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(f.options.weights, (std::vector<double>{1, 0.5}));
  EXPECT_EQ(f.options.kind, Kind::second);
  EXPECT_EQ(f.options.seed, 1000u);
}

TEST(Settings, UnknownSettingNamesTheNearestAndTheLine) {
  Fixture f;
  EXPECT_EQ(f.error("[run]\n\nstep = 3\n"),
            "x.toml:3: unknown setting 'step' in [run]; the nearest known one is 'steps'");
  EXPECT_EQ(f.error("rte = 3\n"), "x.toml:1: unknown setting 'rte'; the nearest known one is 'rate'");
  EXPECT_EQ(f.error("\n[rnu]\nsteps = 3\n"), "x.toml:2: unknown section [rnu]; the nearest known one is [run]");
  EXPECT_NE(f.error("[run]\nzzzzzzzzzzzz = 3\n").find("unknown setting 'zzzzzzzzzzzz'"), std::string::npos);
}

TEST(Settings, WrongTypeNamesTheLineAndWhatIsExpected) {
  Fixture f;
  EXPECT_EQ(f.error("[run]\nsteps = 'many'\n"), "x.toml:2: setting 'run.steps' is an integer, got a string: 'many'");
  EXPECT_EQ(f.error("[run]\nsteps = 1.5\n"), "x.toml:2: setting 'run.steps' is an integer, got a number: 1.5");
  EXPECT_EQ(f.error("[run]\nseed = -1\n"),
            "x.toml:2: setting 'run.seed' is a non-negative integer, got an integer: -1");
  EXPECT_EQ(f.error("[run]\nflag = 1\n"), "x.toml:2: setting 'run.flag' is a boolean, got an integer: 1");
  EXPECT_EQ(f.error("[run]\nkind = 'third'\n"),
            "x.toml:2: setting 'run.kind' is one of first, second, got a string: 'third'");
  EXPECT_EQ(f.error("[run]\nname = 3\n"), "x.toml:2: setting 'run.name' is a string, got an integer: 3");
  EXPECT_NE(f.error("[run]\nweights = [1, 'a']\n").find("x.toml:2: setting 'run.weights' is a list of numbers"),
            std::string::npos);
  EXPECT_NE(f.error("[run\nsteps = 1\n").find("x.toml:1:"), std::string::npos) << "a syntax error has its place";
}

TEST(Settings, CommandLineOverridesTheFile) {
  Fixture f;
  f.settings.read_toml_text("[run]\nsteps = 5\n", "x.toml");
  const auto rest = f.settings.read_arguments(
      {"model", "--steps", "7", "--run.rate=0.25", "--flag", "--words", "a,b", "--kind=second", "more"});
  EXPECT_EQ(rest, (std::vector<std::string>{"model", "more"}));
  EXPECT_EQ(f.options.steps, 7);
  EXPECT_EQ(f.options.rate, 0.25);
  EXPECT_TRUE(f.options.flag);
  EXPECT_EQ(f.options.words, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(f.options.kind, Kind::second);
  f.settings.read_arguments({"--flag", "false"});
  EXPECT_FALSE(f.options.flag);
  EXPECT_NE(error_of([&] { f.settings.read_arguments({"--stepps", "7"}); }).find("'steps'"), std::string::npos);
  EXPECT_NE(error_of([&] { f.settings.read_arguments({"--steps"}); }).find("needs a value"), std::string::npos);
  EXPECT_NE(error_of([&] {
              f.settings.read_arguments({"--steps", "many"});
            }).find("is an integer, got 'many'"),
            std::string::npos);
}

TEST(Settings, ContradictionSaysWhereTheSettingsStand) {
  Fixture f;
  f.settings.read_toml_text("[run]\nflag = true\nrate = 2.0\n", "x.toml");
  EXPECT_EQ(error_of([&] { f.settings.validate(); }),
            "flag does not go with a rate above 1 (rate set at x.toml:3, flag set at x.toml:2)");
}

TEST(Settings, WrittenSettingsReadBackTheSame) {
  Fixture f;
  f.settings.read_toml_text(
      "[run]\nrate = 1e-7\nsmall = 0.3\nname = \"a \\\"quoted\\\"\\nline\"\nwords = ['x']\nkind = 'second'\n",
      "x.toml");
  const testing::TempDir dir;
  f.settings.write(dir.path() + "/settings.toml");
  Fixture g;
  g.settings.read_toml(dir.path() + "/settings.toml");
  EXPECT_EQ(g.settings.to_toml(), f.settings.to_toml());
  EXPECT_EQ(g.options.rate, 1e-7);
  EXPECT_EQ(g.options.small, 0.3f);
  EXPECT_EQ(g.options.name, "a \"quoted\"\nline");
  EXPECT_EQ(g.options.kind, Kind::second);
}

TEST(Settings, AmbiguousNamesNeedTheirSection) {
  Options a, b;
  Settings settings;
  settings.add("first", a);
  settings.add("second", b);
  EXPECT_EQ(error_of([&] { settings.set("steps", "3"); }),
            "setting 'steps' could be any of first.steps, second.steps; name its section");
  settings.set("second.steps", "3");
  EXPECT_EQ(a.steps, 10);
  EXPECT_EQ(b.steps, 3);
}

// Every options struct of the trainers describes each field once, accepts its own defaults, and survives the way
// through TOML.
template <class O>
void round_trip() {
  O options, again;
  Settings settings, other;
  settings.add("s", options);
  other.add("s", again);
  settings.validate();
  EXPECT_GT(settings.fields().size(), 5u);
  other.read_toml_text(settings.to_toml(), "defaults");
  EXPECT_EQ(other.to_toml(), settings.to_toml());
  for (const SettingField& f : settings.fields()) {
    EXPECT_FALSE(f.help.empty()) << f.name;
    EXPECT_EQ(f.help.find('\n'), std::string::npos) << f.name;
  }
}

TEST(Settings, EveryStructRoundTrips) {
  round_trip<DatasetOptions>();
  round_trip<PretrainOptions>();
  round_trip<SftOptions>();
  round_trip<GrpoOptions>();
  round_trip<DistillOptions>();
  round_trip<EvalOptions>();
  round_trip<SampleDataOptions>();
  round_trip<CountdownOptions>();
  round_trip<rewards::RewardOptions>();
}

}  // namespace
}  // namespace tenon::rl
