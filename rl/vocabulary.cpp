#include "vocabulary.h"

#include <algorithm>

#include "../models/text/tokenizer.h"
#include "../runtime/check.h"
#include "../runtime/hash.h"

namespace tenon::rl {
namespace {

constexpr const char* kAdvice =
    "a divergence compares probabilities token by token. Let the student learn the teacher's samples instead: tenon "
    "sample with the teacher, tenon sft on what it writes";

}  // namespace

void check_same_vocabulary(const models::Model& student, const models::Model& teacher) {
  const int64_t of_student = student.config().vocab_size, of_teacher = teacher.config().vocab_size;
  const auto ours = student.tokenizer(), theirs = teacher.tokenizer();
  if (ours && theirs) {
    const int64_t tokens = std::max(ours->vocab_size(), theirs->vocab_size());
    for (int64_t i = 0; i < tokens; ++i) {
      const auto id = static_cast<int32_t>(i);
      const std::string a = theirs->token(id), b = ours->token(id);
      check(a == b, "distill: the vocabularies differ: token {} is '{}' to the teacher and '{}' to the student; {}", i,
            a, b, kAdvice);
    }
  }
  check(of_student == of_teacher, "distill: the vocabularies differ: the teacher has {} tokens, the student {}{}; {}",
        of_teacher, of_student, ours && theirs ? ", of the same tokenizer" : "", kAdvice);
}

std::string vocabulary_fingerprint(const models::Model& model) {
  const int64_t size = model.config().vocab_size;
  uint64_t hash = fnv1a(std::to_string(size));
  if (const auto tokenizer = model.tokenizer()) {
    for (int64_t i = 0; i < tokenizer->vocab_size(); ++i) {
      hash = fnv1a(tokenizer->token(static_cast<int32_t>(i)), hash);
      hash = fnv1a(std::string_view("\0", 1), hash);
    }
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace tenon::rl
