#include "vocabulary.h"

#include "../../runtime/check.h"

namespace tenon::text {

void Vocabulary::add(std::string_view token, int64_t id, const std::string& where) {
  check(id >= 0 && id < kMaxId, "{}: token '{}' has id {}, which must be from 0 to {}", where, token, id, kMaxId - 1);
  check(!contains(static_cast<int32_t>(id)), "{}: id {} belongs to '{}' and to '{}'", where, id,
        this->token(static_cast<int32_t>(id)), token);
  storage_.emplace_back(token);
  const std::string_view kept = storage_.back();
  check(ids_.emplace(kept, static_cast<int32_t>(id)).second, "{}: token '{}' is given twice", where, token);
  if (static_cast<size_t>(id) >= tokens_.size()) tokens_.resize(static_cast<size_t>(id) + 1);
  tokens_[static_cast<size_t>(id)] = kept;
}

void Vocabulary::reserve(size_t tokens) {
  ids_.reserve(tokens);
  tokens_.reserve(tokens);
}

}  // namespace tenon::text
