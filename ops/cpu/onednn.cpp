#include "onednn.h"

#include <omp.h>

#include <dnnl.hpp>
#include <initializer_list>
#include <memory>
#include <unordered_map>

#include "../../runtime/check.h"
#include "../../runtime/cpu.h"
#include "../../runtime/threads.h"
#include "../../runtime/workspace.h"

namespace tenon::ops::cpu::onednn {
namespace {

using Dims = dnnl::memory::dims;
using Desc = dnnl::memory::desc;

// Rows of a for which the packed layout of b is chosen; a full block of every kernel.
constexpr int64_t kLayoutRows = 64;
// A problem takes a few KiB. More problems than this mean that something does not cut its shapes.
constexpr size_t kMaxPrimitives = 4096;

/// oneDNN keeps to the instruction set that this program keeps to; it takes no notice when the host has used it before.
void cap_instructions() {
  const Isa isa = cpu_isa();
  if (isa >= Isa::amx_bf16) return;
  dnnl::set_max_cpu_isa(isa == Isa::avx512_bf16 ? dnnl::cpu_isa::avx512_core_bf16
                        : isa == Isa::avx512    ? dnnl::cpu_isa::avx512_core
                                                : dnnl::cpu_isa::avx2);
}

dnnl::engine& engine() {
  static dnnl::engine cpu = [] {
    cap_instructions();
    return dnnl::engine(dnnl::engine::kind::cpu, 0);
  }();
  return cpu;
}

dnnl::memory::data_type data_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return dnnl::memory::data_type::f32;
    case DType::bf16:
      return dnnl::memory::data_type::bf16;
    default:
      fail("oneDNN: products of {} are not used here", dtype);
  }
}

Desc strided(int64_t rows, int64_t cols, DType dtype, int64_t ld, bool transposed) {
  return Desc(Dims{rows, cols}, data_type(dtype), transposed ? Dims{1, ld} : Dims{ld, 1});
}

dnnl::matmul::primitive_desc describe(const Desc& a, const Desc& b, const Desc& c, const dnnl::primitive_attr& attr) {
#if DNNL_VERSION_MAJOR >= 3
  return dnnl::matmul::primitive_desc(engine(), a, b, c, attr);
#else
  return dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, c), attr, engine());
#endif
}

/// What oneDNN makes of the default number of threads is fixed when a primitive is made and when it runs.
class OneThread {
 public:
  explicit OneThread(bool wanted) : previous_(wanted ? omp_get_max_threads() : 0) {
    if (wanted) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (previous_) omp_set_num_threads(previous_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int previous_;
};

template <class F>
auto translated(const char* what, F&& f) {
  try {
    return f();
  } catch (const dnnl::error& e) {
    fail("oneDNN: {}: {} (status {})", what, e.what(), static_cast<int>(e.status));
  }
}

Desc packed_layout(int64_t k, int64_t n, DType dtype) {
  const Desc a = strided(kLayoutRows, k, dtype, k, false), c = strided(kLayoutRows, n, DType::f32, n, false);
  const Desc any(Dims{k, n}, data_type(dtype), dnnl::memory::format_tag::any);
  return describe(a, any, c, dnnl::primitive_attr()).weights_desc();
}

struct Key {
  Product product;
  int threads;
  bool operator==(const Key&) const = default;
};

struct KeyHash {
  size_t operator()(const Key& key) const {
    const Product& p = key.product;
    uint64_t h = 0;
    for (int64_t v : {p.m, p.n, p.k, p.lda, p.ldb, p.ldc, int64_t{key.threads}})
      h = (h ^ static_cast<uint64_t>(v)) * 0x9e3779b97f4a7c15u, h ^= h >> 29;
    const int flags = static_cast<int>(p.in) | static_cast<int>(p.out) << 3 | p.trans_a << 6 | p.trans_b << 7 |
                      p.packed_b << 8 | p.accumulate << 9;
    return (h ^ static_cast<uint64_t>(flags)) * 0x9e3779b97f4a7c15u;
  }
};

struct Made {
  dnnl::matmul primitive;
  dnnl::memory a, b, c, scratchpad;
  std::unordered_map<int, dnnl::memory> arguments;
  size_t scratchpad_bytes = 0;
};

std::unique_ptr<Made> make(const Product& p) {
  const Desc a = strided(p.m, p.k, p.in, p.lda, p.trans_a), c = strided(p.m, p.n, p.out, p.ldc, false);
  const Desc b = p.packed_b ? packed_layout(p.k, p.n, p.in) : strided(p.k, p.n, p.in, p.ldb, p.trans_b);
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (p.accumulate) {
    dnnl::post_ops post;
    post.append_sum(1.0f);
    attr.set_post_ops(post);
  }
  const auto description = describe(a, b, c, attr);

  auto made = std::make_unique<Made>();
  made->primitive = dnnl::matmul(description);
  made->a = dnnl::memory(a, engine(), nullptr);
  made->b = dnnl::memory(b, engine(), nullptr);
  made->c = dnnl::memory(c, engine(), nullptr);
  made->scratchpad = dnnl::memory(description.scratchpad_desc(), engine(), nullptr);
  made->scratchpad_bytes = description.scratchpad_desc().get_size();
  made->arguments = {{DNNL_ARG_SRC, made->a},
                     {DNNL_ARG_WEIGHTS, made->b},
                     {DNNL_ARG_DST, made->c},
                     {DNNL_ARG_SCRATCHPAD, made->scratchpad}};
  return made;
}

Made& find_or_make(const Key& key) {
  thread_local std::unordered_map<Key, std::unique_ptr<Made>, KeyHash> table;
  auto found = table.find(key);
  if (found == table.end()) {
    if (table.size() >= kMaxPrimitives) table.clear();
    found = table.emplace(key, make(key.product)).first;
  }
  return *found->second;
}

dnnl::stream& stream() {
  thread_local dnnl::stream own(engine());
  return own;
}

}  // namespace

void multiply(const Product& product, const void* a, const void* b, void* c) {
  const bool alone = product.one_thread || omp_in_parallel() || num_threads() == 1;
  ThreadCountScope count;
  OneThread one(alone);
  translated("matrix product", [&] {
    Made& made = find_or_make({product, alone ? 1 : num_threads()});
    auto scratchpad = Workspace::host().get<char>(static_cast<int64_t>(made.scratchpad_bytes));
    made.a.set_data_handle(const_cast<void*>(a));
    made.b.set_data_handle(const_cast<void*>(b));
    made.c.set_data_handle(c);
    made.scratchpad.set_data_handle(scratchpad.data());
    made.primitive.execute(stream(), made.arguments);
  });
}

size_t packed_bytes(int64_t k, int64_t n, DType dtype) {
  return translated("packed layout", [&] { return packed_layout(k, n, dtype).get_size(); });
}

void pack(int64_t k, int64_t n, DType dtype, const void* b, int64_t ldb, bool trans_b, void* packed) {
  const bool alone = omp_in_parallel() || num_threads() == 1;
  ThreadCountScope count;
  OneThread one(alone);
  translated("packing", [&] {
    dnnl::memory from(strided(k, n, dtype, ldb, trans_b), engine(), const_cast<void*>(b));
    dnnl::memory to(packed_layout(k, n, dtype), engine(), packed);
    dnnl::reorder(from, to).execute(stream(), from, to);
  });
}

}  // namespace tenon::ops::cpu::onednn
