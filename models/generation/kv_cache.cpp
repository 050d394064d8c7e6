#include "kv_cache.h"

#include <cstring>

#include "../../ops/cast.h"
#include "../../ops/paged_attention.h"
#include "../../runtime/check.h"
#include "../../runtime/memory.h"

namespace tenon::models {

KvCache::KvCache(const ModelConfig& config, int64_t pages, DType dtype, Device device) {
  check(pages > 0 && pages <= INT32_MAX / ops::kPageSize, "KvCache: {} pages", pages);
  MemoryTag tag("kv cache");
  for (int64_t i = 0; i < config.num_layers; ++i) {
    if (config.is_mla()) {
      latents_.push_back(Tensor::zeros({pages, ops::kPageSize, config.cached_per_layer()}, dtype, device));
      continue;
    }
    const Shape shape = {pages, config.num_kv_heads, ops::kPageSize, config.head_dim};
    keys_.push_back(Tensor::zeros(shape, dtype, device));
    values_.push_back(Tensor::zeros(shape, dtype, device));
  }
  references_.assign(static_cast<size_t>(pages), 0);
  for (int64_t page = pages; page-- > 0;) free_.push_back(static_cast<int32_t>(page));
}

int64_t KvCache::page_bytes(const ModelConfig& config, DType dtype) {
  return config.num_layers * config.cached_per_layer() * ops::kPageSize * static_cast<int64_t>(size_of(dtype));
}

int32_t KvCache::allocate() {
  check(!free_.empty(), "KvCache: all {} pages are in use", references_.size());
  int32_t page = free_.back();
  free_.pop_back();
  references_[static_cast<size_t>(page)] = 1;
  return page;
}

void KvCache::share(int32_t page) { ++references_[static_cast<size_t>(page)]; }

void KvCache::release(int32_t page) {
  if (--references_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

int32_t KvCache::writable(int32_t page) {
  if (references(page) == 1) return page;
  int32_t copy = allocate();
  for (std::vector<Tensor>* tensors : {&keys_, &values_, &latents_}) {
    for (Tensor& t : *tensors) {
      Tensor to = t.select(0, copy);
      ops::copy_into(to, t.select(0, page));
    }
  }
  release(page);
  return copy;
}

}  // namespace tenon::models
