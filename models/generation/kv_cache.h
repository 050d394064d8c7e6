// Keys and values of generated sequences in pages of 64 tokens, handed out with reference counts. A model with latent
// attention keeps its latents alone.
//
// Samples of one prompt share its full pages; a page that several sequences hold is copied before one of them writes to
// it.
#pragma once

#include <cstdint>
#include <vector>

#include "../../runtime/tensor.h"
#include "../config.h"

namespace tenon::models {

class KvCache {
 public:
  /// `pages` pages for every layer. Throws Error (out of memory) when they do not fit.
  KvCache(const ModelConfig& config, int64_t pages, DType dtype, Device device);

  static int64_t page_bytes(const ModelConfig& config, DType dtype);  // all layers

  // Of grouped-query attention:
  Tensor& keys(int64_t layer) { return keys_.at(static_cast<size_t>(layer)); }      // [pages, kv_heads, 64, head_dim]
  Tensor& values(int64_t layer) { return values_.at(static_cast<size_t>(layer)); }  // same
  // Of latent attention:
  Tensor& latents(int64_t layer) { return latents_.at(static_cast<size_t>(layer)); }  // [pages, 64, cached_per_layer]

  int64_t pages() const { return static_cast<int64_t>(references_.size()); }
  int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }

  int32_t allocate();          // a page with one reference; Error when none is free
  void share(int32_t page);    // one reference more
  void release(int32_t page);  // one less; the last gives the page back
  int32_t references(int32_t page) const { return references_[static_cast<size_t>(page)]; }

  /// A page to write to in place of `page`: itself when the caller holds its only reference, else a copy (the caller's
  /// reference moves over).
  int32_t writable(int32_t page);

 private:
  std::vector<Tensor> keys_, values_, latents_;  // one a layer, or none
  std::vector<int32_t> references_;
  std::vector<int32_t> free_;  // taken from the back, lowest page first at the start
};

}  // namespace tenon::models
