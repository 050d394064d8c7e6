// A model small enough to train in a second, with its tokenizer and some questions.
#pragma once

#include <string>

/// Writes DIR/model (a Hugging Face folder) and DIR/questions.jsonl.
void write_little_model(const std::string& dir);
