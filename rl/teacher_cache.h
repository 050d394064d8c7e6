// A teacher's most probable next tokens on disk, so that a student can be trained without the teacher in memory.
//
//   teacher_cache.json         what it is of: teacher, vocabulary, data, k, temperature
//   rows-00000.safetensors     of some rows, one after another, for each token that is learned:
//                                ids      [positions, k]     i32, or u8 [positions, k, 2], low byte first, where the
//                                                            vocabulary has at most 65,536 tokens
//                                logprob  [positions, k]     f16
//                                tail     [positions]        f32, log of the probability of all other tokens
//
// 4 k bytes a token then (k = 64: 256). What was rounded to f16 is normalised again when it is read. Files are written
// beside and renamed; a cache that was cut off is filled from where it stood. One that is of something else is an
// Error.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "../models/model.h"
#include "../ops/distill_head.h"
#include "../runtime/safetensors.h"
#include "supervised.h"
#include "trainer.h"

namespace tenon::rl {

/// What the contents of a cache depend on.
struct TeacherCacheKey {
  int64_t top_k = 0;
  double temperature = 1;  // that divides the logits
  std::string teacher;     // folder_fingerprint; empty: that of the cache is taken as it is
  std::string vocabulary;  // vocabulary_fingerprint
  std::string data;        // examples_fingerprint
};

/// Of each of `rows` of a batch's hidden states, the model's k most probable next tokens. No gradient.
ops::TopLogProbs top_logprobs_of(models::Model& model, const models::Batch& batch, const Tensor& rows, int64_t k,
                                 double temperature);

class TeacherCache {
 public:
  /// Opens the folder, or makes it. `examples` must outlive the cache. Throws Error that names what differs when the
  /// folder holds a cache of another teacher, vocabulary, data set, k or temperature, and where there is none and the
  /// key has no teacher.
  /// A shard holds rows of `shard_bytes` at most, or one row: what a kill while it is filled loses.
  TeacherCache(std::string dir, const TeacherCacheKey& key, const std::vector<TokenizedExample>& examples,
               int64_t shard_bytes = int64_t{32} << 20);

  bool complete() const;
  /// Runs the teacher over the rows that are missing. Throws Error "interrupted" when control.stop was set, and for a
  /// row that the teacher's context does not hold; what is written stays.
  void fill(models::Model& teacher, int64_t tokens_per_micro_batch, const RunControl& control = {});

  /// What the teacher says of the learned tokens of these examples, one after another. Error unless it is complete.
  ops::TopLogProbs of(std::span<const int64_t> examples, Device device) const;

 private:
  struct Shard {
    int64_t begin, end;  // examples
  };
  std::string shard_path(size_t shard) const;
  void write_shard(size_t shard, models::Model& teacher, int64_t tokens_per_micro_batch, const RunControl& control);
  void open_shards();

  std::string dir_;
  TeacherCacheKey key_;
  const std::vector<TokenizedExample>& examples_;
  std::vector<int64_t> position_;  // [examples + 1]: where the learned tokens of each begin, over all
  std::vector<Shard> shards_;
  std::vector<Safetensors> files_;  // of a complete cache, one a shard
};

/// Of a model's folder: its configuration, and of each file of weights the name, the size and pieces spread over it
/// (4 MiB of each, so that it is quick for any model; training moves all weights). An adapter's has its base's in it.
std::string folder_fingerprint(const std::string& dir);

/// Of tokens and of which are learned.
std::string examples_fingerprint(std::span<const TokenizedExample> examples);

}  // namespace tenon::rl
