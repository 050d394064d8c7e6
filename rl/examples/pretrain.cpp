// A small language model from a text file: tokenizer, configuration, training, and a line that the model writes.
//
//   pretrain TEXT_FILE OUTPUT_DIR [STEPS]
//
// OUTPUT_DIR/model opens in transformers.
#include <tenon/models/generation/generator.h>
#include <tenon/models/text/train_bpe.h>
#include <tenon/rl/rl.h>

#include <iostream>
#include <string>
#include <vector>

int main(int argc, char** argv) try {
  using namespace tenon;
  if (argc != 3 && argc != 4) throw Error("usage: pretrain TEXT_FILE OUTPUT_DIR [STEPS]");
  const std::string output = argv[2];
  const int64_t steps = argc == 4 ? std::stoll(argv[3]) : 300;

  const auto data = rl::TextDataset::from_file(argv[1]);
  std::vector<std::string> texts;
  for (const rl::Row& row : data.rows()) texts.push_back(row.text);
  const auto tokenizer = text::Tokenizer::from_json(text::train_bpe(texts, 1024, {"<eos>"}), "tokenizer");

  models::ModelConfig config;  // a Llama of about a million parameters
  config.vocab_size = tokenizer->vocab_size();
  config.hidden_size = 128;
  config.num_layers = 4;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 32;
  config.intermediate_size = 384;
  config.max_position_embeddings = 256;
  config.tie_word_embeddings = true;
  config.eos_token_ids = {0};
  models::Model model = models::create(config, {.device = Device::best()});
  model.set_tokenizer(tokenizer);

  rl::PretrainTrainer trainer(
      model, data, {.train_batch_size = 16, .concatenate = true, .max_steps = steps, .output_dir = output + "/run"});
  trainer.train();
  models::save(model, output + "/model");

  models::GenerateRequest request;
  request.prompt = tokenizer->encode("The ");
  request.max_new_tokens = 40;
  request.sampling.temperature = 0.8f;
  const auto written = models::Generator(model).generate({&request, 1});
  std::cout << "The " << tokenizer->decode(written.front().tokens, /*skip_special=*/true) << '\n';
} catch (const tenon::Error& e) {
  std::cerr << e.what() << '\n';
  return 1;
}
