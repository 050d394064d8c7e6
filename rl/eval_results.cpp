#include "eval_results.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "../runtime/check.h"
#include "../runtime/files.h"
#include "../runtime/hash.h"
#include "../runtime/threads.h"
#include "../runtime/version.h"

namespace tenon::rl {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

void put(Json& out, const Figures& figures) {
  for (const auto& [name, e] : figures) {
    out[name] = number(e.mean);
    out[name + "_se"] = number(e.standard_error);
    out[name + "_ci95"] = {number(e.low), number(e.high)};
  }
}

Json json_of(const EvalResult& r) {
  Json out;
  out["questions"] = r.questions;
  out["num_samples"] = r.num_samples;
  out["data"] = r.data;
  put(out, r.figures);
  if (r.rating) {
    out["rating"] = number(r.rating->rating);
    out["rating_se"] = number(r.rating->standard_error);
    out["rating_ci95"] = {number(r.rating->low), number(r.rating->high)};
    out["percentile"] = number(r.percentile);
  }
  out["unscored"] = r.unscored;
  out["tokens"] = r.tokens;
  out["seconds"] = r.seconds;
  for (const EvalGroup& group : r.groups) {
    Json& one = out["by"][group.column][group.value];
    one["questions"] = group.questions;
    put(one, group.figures);
  }
  return out;
}

std::string rating_text(const EvalResult& r) {
  const RatingFit& fit = *r.rating;
  if (std::isnan(fit.rating))
    return std::isfinite(fit.low) ? fmt::format("above {:.0f}: everything was solved", fit.low)
                                  : fmt::format("below {:.0f}: nothing was solved", fit.high);
  return fmt::format("{:.0f} ± {:.0f}  [{:.0f}, {:.0f}], percentile {:.1f}", fit.rating, fit.standard_error, fit.low,
                     fit.high, r.percentile);
}

}  // namespace

std::string weights_fingerprint(const models::Model& model) {
  constexpr size_t kValues = 1024;  // of a parameter: a step of training changes nearly all of them
  uint64_t hash = fnv1a("");
  const auto add = [&](const std::string& name, const Tensor& value) {
    hash = fnv1a(name + value.shape().str(), hash);
    const Tensor here = value.to(Device::cpu()).contiguous();
    const auto* bytes = static_cast<const char*>(here.raw());
    const size_t size = here.numel() > 0 ? here.nbytes() / static_cast<size_t>(here.numel()) : 0;
    const auto count = static_cast<size_t>(here.numel());
    const size_t step = std::max<size_t>(1, count / kValues);
    for (size_t i = 0; i < count; i += step) hash = fnv1a({bytes + i * size, size}, hash);
  };
  for (const auto& p : model.params().all()) add(p->name(), p->value());
  for (const auto& [name, buffer] : model.params().buffers()) add(name, *buffer);
  return fmt::format("{:016x}", hash);
}

std::string to_json(const EvalResult& result) { return json_of(result).dump(); }

std::string to_text(const EvalResult& r) {
  const auto line = [](const std::string& name, const std::string& value) {
    return fmt::format("{:<21} {}\n", name, value);
  };
  const auto share = [](const Estimate& e) {
    return fmt::format("{:.3f} ± {:.3f}  [{:.3f}, {:.3f}]", e.mean, e.standard_error, e.low, e.high);
  };
  std::string out =
      fmt::format("{} questions, {} samples each; mean ± error [95 % interval]\n", r.questions, r.num_samples);
  for (const auto& [name, e] : r.figures)
    out += line(name, name == "length" ? fmt::format("{:.1f} ± {:.1f} tokens", e.mean, e.standard_error) : share(e));
  if (r.rating) out += line("rating", rating_text(r));
  for (const EvalGroup& group : r.groups)
    out += line(fmt::format("{} {}", group.column, group.value),
                fmt::format("{}  of {} questions", share(group.figures[0].second), group.questions));
  if (r.unscored > 0) out += line("not scored", std::to_string(r.unscored));
  return out + line("time", fmt::format("{}, {:.0f} tokens/s", duration_text(r.seconds),
                                        r.seconds > 0 ? static_cast<double>(r.tokens) / r.seconds : 0));
}

void write_results(const EvalResult& result, const models::Model& model, const PromptDataset& data,
                   const EvalOptions& options, const rewards::RewardOptions& reward_options,
                   const RunControl& control) {
  EvalOptions eval = options;  // to be described, which may change what it describes
  rewards::RewardOptions reward = reward_options;
  Settings settings;
  settings.add("reward", reward);
  settings.add("eval", eval);
  const std::string toml = control.settings_toml.empty() ? settings.to_toml() : control.settings_toml;

  Json out = json_of(result);
  if (!options.benchmark.empty()) out["benchmark"] = options.benchmark;
  out["data_path"] = data.name();
  out["model"] = {{"folder", model.source_dir()},
                  {"architecture", model.config().architecture},
                  {"parameters", model.params().numel()},
                  {"weights", weights_fingerprint(model)}};
  out["dtype"] = name(model.dtype());
  out["device"] = model.device().name();
  out["threads"] = num_threads();
  out["seed"] = options.seed;
  out["version"] = version();
  out["settings"] = Json::parse(toml_to_json(toml));
  const std::string& dir = options.output_dir;
  write_file_atomically(dir + "/settings.toml", toml);
  write_file_atomically(dir + "/results.json", out.dump() + "\n");
  Json questions;
  for (const auto& [name, values] : result.by_question) questions[name] = values;  // NaN becomes null
  write_file_atomically(dir + "/questions.json", questions.dump() + "\n");
}

}  // namespace tenon::rl
