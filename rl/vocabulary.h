// Whether two models mean the same by a token id: what comparing their probabilities token by token needs.
#pragma once

#include <cstdint>
#include <string>

#include "../models/model.h"

namespace tenon::rl {

/// Throws Error that says what differs (sizes, or the first token with another text) and what to do instead, when the
/// models have different vocabularies. Models without a tokenizer are compared by size alone.
void check_same_vocabulary(const models::Model& student, const models::Model& teacher);

/// A fingerprint of the size and of every token.
std::string vocabulary_fingerprint(const models::Model& model);

}  // namespace tenon::rl
