// The other side opens what is written here: folders of every family in transformers, adapters in peft, with the same
// logits and nothing missing. Needs a Python with these two: TENON_PYTHON, else python3.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "../../models/lora.h"
#include "../../rl/answer_batch.h"
#include "../../rl/rewards/subprocess.h"
#include "../../runtime/files.h"
#include "../../runtime/json.h"
#include "../../runtime/random.h"
#include "../paths.h"
#include "../temp_dir.h"
#include "../test_data.h"
#include "tiny.h"

namespace tenon::rl {
namespace {

using namespace tenon::testing;
namespace fs = std::filesystem;

std::vector<std::string> families() {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(tree_data_path("models")))
    if (fs::exists(entry.path() / "config.json")) out.push_back(entry.path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<float> decode_base64(const std::string& text) {
  const std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int have = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(digits.find(c));
    if ((have += 6) >= 8) bytes += static_cast<char>(bits >> (have -= 8));
  }
  std::vector<float> out(bytes.size() / sizeof(float));
  std::memcpy(out.data(), bytes.data(), out.size() * sizeof(float));
  return out;
}

const std::vector<int32_t> kIds = {3, 17, 9, 4, 11, 2, 20, 6, 5, 13, 8, 19};

// Of a model with a scalar head the scores of three beginnings of the same tokens.
std::vector<float> logits_of(models::Model& model) {
  if (model.config().scalar_head) {
    const std::span<const int32_t> ids(kIds);
    return score_sequences(model, std::vector{ids.first(3), ids.first(7), ids}, 100);
  }
  NoGrad no_grad;
  return model.next_logits(model.forward(models::pack_sequences({kIds})).hidden.value()).to_vector<float>();
}

// A folder and what Tenon computes with it.
struct Written {
  std::string name, dir;
  std::vector<float> logits;
};

Written write(models::Model& model, const std::string& name, const std::string& dir) {
  models::save(model, dir);
  write_text(dir + "/ids.json", Json(kIds).dump());
  return {name, dir, logits_of(model)};
}

TEST(Interop, TransformersAndPeftOpenWhatIsWrittenHere) {
  TempDir temp;
  std::vector<Written> all;
  for (const std::string& family : families()) {
    models::Model model = models::load(tree_data_path("models/" + family));
    // Weights of its own: what is opened is what was saved, not what was loaded.
    for (auto& p : model.params().all()) {
      Tensor changed = ops::cast(p->value(), DType::f32).clone();
      for (int64_t i = 0; i < changed.numel(); ++i)
        changed.data<float>()[i] *= 1 + 0.1f * random_uniform({5, p->name().size()}, static_cast<uint64_t>(i));
      p->assign(changed);
    }
    all.push_back(write(model, family, temp / family));
    // transformers has no class of these two with a scalar head.
    if (model.config().model_type != "olmoe" && model.config().model_type != "dots1") {
      models::Model scorer = models::with_scalar_head(model, 4);
      all.push_back(write(scorer, family + " with a scalar head", temp / (family + "-score")));
    }
    models::Model again = models::load(temp / family);
    models::add_lora(again, {.r = 4, .alpha = 6});
    for (auto& p : again.params().all()) {
      if (!p->name().ends_with(".lora_B.weight")) continue;
      Tensor b = Tensor::empty(p->shape(), DType::f32);
      fill_normal({6, p->name().size()}, 0, {b.data<float>(), static_cast<size_t>(b.numel())});
      p->assign(b);
    }
    all.push_back(write(again, family + " with an adapter", temp / (family + "-lora")));
  }
  models::Model tiny = tiny_model();
  all.push_back(write(tiny, "made here, with a tokenizer", temp / "tiny"));
  // Its last token is padding, so that scores are read before it.
  models::ModelConfig padded = tiny.config();
  padded.pad_token_id = kIds.back();
  models::Model scorer = models::with_scalar_head(models::create(padded, {.seed = 3}), 4);
  all.push_back(write(scorer, "made here, with a scalar head", temp / "tiny-score"));

  const char* set = std::getenv("TENON_PYTHON");
  std::vector<std::string> command = {set && *set ? set : "python3",
                                      source_dir() + std::string("/tests/rl/open_in_transformers.py")};
  for (const Written& w : all) command.push_back(w.dir);
  ProcessResult result;
  try {
    result = run_process(command, 240);
  } catch (const Error& e) {
    GTEST_SKIP() << "no Python: " << e.what();
  }
  if (result.exit_code == 127) GTEST_SKIP() << "no Python: " << command[0];
  std::istringstream lines(result.output);
  std::string line;
  for (const Written& w : all) {
    ASSERT_TRUE(std::getline(lines, line)) << w.name << ": " << result.errors;
    const Json json = parse_json(line, w.name);
    if (json.contains("absent")) GTEST_SKIP() << json["absent"];
    for (const char* key : {"missing_keys", "unexpected_keys", "mismatched_keys"})
      EXPECT_TRUE(json[key].empty()) << w.name << ": " << key << " " << json[key];
    const std::vector<float> theirs = decode_base64(json["logits"]);
    ASSERT_EQ(theirs.size(), w.logits.size()) << w.name;
    double largest = 0, worst = 0;
    for (size_t i = 0; i < theirs.size(); ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(theirs[i])));
      worst = std::max(worst, std::abs(static_cast<double>(theirs[i]) - w.logits[i]));
    }
    // f32 sums in another order.
    EXPECT_LT(worst / largest, 1e-4) << w.name;
    RecordProperty(w.name, std::to_string(worst / largest));
    if (json.contains("encoded")) {
      EXPECT_EQ(json["encoded"].get<std::vector<int32_t>>(), tiny.tokenizer()->encode("one plus two"));
      EXPECT_EQ(json["eos"], "<eos>");
    }
  }
}

}  // namespace
}  // namespace tenon::rl
