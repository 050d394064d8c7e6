// A model small enough to train in a second, with its tokenizer and some questions: DIR/model (a Hugging Face folder),
// DIR/questions.jsonl and DIR/text.txt.
#include <tenon/models/models.h>
#include <tenon/models/text/tokenizer.h>
#include <tenon/models/text/train_bpe.h>
#include <tenon/runtime/json_lines.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  using namespace tenon;
  const std::string dir = argc > 1 ? argv[1] : "little";
  std::filesystem::create_directories(dir);
  std::vector<std::string> texts;
  JsonLinesWriter questions(dir + "/questions.jsonl", /*append=*/false);
  for (int a = 0; a < 8; ++a) {
    const std::string question = std::to_string(a) + " + 1 =";
    texts.push_back(question + " " + std::to_string(a + 1));
    questions.write("{\"prompt\": \"" + question + "\", \"answer\": \"" + std::to_string(a + 1) + "\"}");
  }

  models::ModelConfig config;
  config.vocab_size = 300;
  config.hidden_size = 32;
  config.num_layers = 2;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 16;
  config.intermediate_size = 64;
  config.max_position_embeddings = 128;
  config.tie_word_embeddings = true;
  config.eos_token_ids = {0};
  models::Model model = models::create(config, {.seed = 1});
  model.set_tokenizer(text::Tokenizer::from_json(text::train_bpe(texts, 300, {"<eos>"}), "tokenizer"));
  models::save(model, dir + "/model");

  std::ofstream text(dir + "/text.txt");
  for (int i = 0; i < 50; ++i) text << texts[static_cast<size_t>(i) % texts.size()] << '\n';
}
