// The training loop of the README, on a model that trains in a second.
#include <tenon/rl/rl.h>

#include <iostream>

#include "little_model.h"

int main(int argc, char** argv) try {
  using namespace tenon;
  const std::string dir = argc > 1 ? argv[1] : "little";
  write_little_model(dir);

  auto device = Device::best();
  auto model = models::load(dir + "/model", {.device = device, .dtype = DType::bf16});
  auto data = rl::PromptDataset::from_jsonl(dir + "/questions.jsonl");

  auto is_brief = [](const rl::Sample& s) { return s.completion_tokens.size() < 8 ? 1.0f : 0.0f; };

  rl::GrpoOptions options;
  options.num_generations = 4;
  options.generation_batch_size = 16;
  options.max_completion_length = 8;
  options.max_steps = 3;
  options.learning_rate = 1e-3;
  options.output_dir = dir + "/run";
  rl::GrpoTrainer trainer(model, data, options);
  trainer.reward("accuracy", rl::rewards::math_accuracy());
  trainer.reward("brief", is_brief, /*weight=*/0.2f);
  trainer.train();

  models::load(dir + "/run/checkpoint-3");
  std::cout << "training loop: ok\n";
} catch (const tenon::Error& e) {
  std::cerr << e.what() << '\n';
  return 1;
}
