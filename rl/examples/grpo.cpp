// GRPO with a reward of one's own beside a built-in one.
//
//   grpo MODEL_DIR QUESTIONS.jsonl OUTPUT_DIR
//
// QUESTIONS.jsonl has a `prompt` and an `answer` a row; OUTPUT_DIR becomes the run folder. Ended and started again, it
// goes on from the last checkpoint.
#include <tenon/rl/rl.h>

#include <iostream>

int main(int argc, char** argv) try {
  using namespace tenon;
  if (argc != 4) throw Error("usage: grpo MODEL_DIR QUESTIONS.jsonl OUTPUT_DIR");

  auto device = Device::best();
  auto model = models::load(argv[1], {.device = device, .dtype = DType::bf16});
  auto data = rl::PromptDataset::from_jsonl(argv[2]);

  auto is_brief = [](const rl::Sample& s) { return s.completion_tokens.size() < 200 ? 1.0f : 0.0f; };

  rl::GrpoTrainer trainer(model, data, {.num_generations = 8, .learning_rate = 1e-6, .output_dir = argv[3]});
  trainer.reward("accuracy", rl::rewards::math_accuracy());
  trainer.reward("brief", is_brief, /*weight=*/0.2f);
  trainer.train();
} catch (const tenon::Error& e) {
  std::cerr << e.what() << '\n';
  return 1;
}
