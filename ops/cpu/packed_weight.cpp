#include "packed_weight.h"

#include "../../runtime/check.h"
#include "../../runtime/threads.h"

namespace tenon::ops::cpu {
namespace {

constexpr int64_t kAlign = 64;

std::string_view text(PackFor use) { return use == PackFor::forward ? "forward" : "backward"; }

Matrix right_hand_side(const void* w, int64_t in, PackFor use) { return {w, in, use == PackFor::forward}; }

}  // namespace

CpuPackedWeight::CpuPackedWeight(const Tensor& w, PackFor use)
    : PackedWeight(w, use),
      product_(product_dtype(w.dtype(), w.dtype())),
      experts_(w.rank() == 3 ? w.dim(0) : 1),
      k_(w.dim(use == PackFor::forward ? -1 : -2)),
      n_(w.dim(use == PackFor::forward ? -2 : -1)),
      stride_((static_cast<int64_t>(gemm_packed_bytes(k_, n_, product_)) + kAlign - 1) / kAlign * kAlign),
      bytes_(Tensor::empty({experts_ * stride_}, DType::u8, w.device())) {}

void CpuPackedWeight::write(const Tensor& w) {
  const Tensor dense = converted(w, product_);
  const int64_t in = w.dim(-1), matrix = k_ * n_ * static_cast<int64_t>(size_of(product_));
  parallel_each(experts_, [&](int64_t e) {
    const void* from = static_cast<const char*>(dense.raw()) + e * matrix;
    gemm_pack(k_, n_, product_, right_hand_side(from, in, use()), static_cast<char*>(bytes_.raw()) + e * stride_);
  });
}

std::shared_ptr<const PackedWeight> pack_weight(const Tensor& w, PackFor use,
                                                std::shared_ptr<const PackedWeight> reuse) {
  if (w.numel() == 0) return {};
  std::shared_ptr<CpuPackedWeight> packed;
  if (reuse && reuse.use_count() == 1 && reuse->shape() == w.shape() && reuse->dtype() == w.dtype() &&
      reuse->use() == use)
    packed = std::const_pointer_cast<CpuPackedWeight>(std::dynamic_pointer_cast<const CpuPackedWeight>(reuse));
  if (!packed) packed = std::make_shared<CpuPackedWeight>(w, use);
  packed->write(w);
  return packed;
}

WeightOperand::WeightOperand(const char* op, DType x, const Tensor& w, PackFor use, const PackedWeight* packed)
    : product_(product_dtype(x, w.dtype())), use_(use), out_(w.dim(-2)), in_(w.dim(-1)) {
  if (packed) {
    check(packed->shape() == w.shape() && packed->dtype() == w.dtype() && packed->use() == use,
          "{}: the packed copy is of a weight {} {} for {}, the weight is {} {} and the use {}", op, packed->dtype(),
          packed->shape(), text(packed->use()), w.dtype(), w.shape(), text(use));
    packed_ = dynamic_cast<const CpuPackedWeight*>(packed);
    check(packed_ != nullptr, "{}: the packed copy is on {}, the weight on {}", op, packed->device(), w.device());
    if (packed_->product() != product_) packed_ = nullptr;  // packed in bf16, met by f32
  }
  if (!packed_) dense_ = converted(w, product_);
}

void WeightOperand::multiply(int64_t e, int64_t m, const void* a, int64_t lda, void* c, DType out, int64_t ldc,
                             float beta) const {
  const bool forward = use_ == PackFor::forward;
  const int64_t k = forward ? in_ : out_, n = forward ? out_ : in_;
  if (packed_) {
    gemm_packed(m, n, k, product_, {a, lda}, packed_->expert(e), c, out, ldc, beta);
  } else {
    const void* w = static_cast<const char*>(dense_.raw()) + e * in_ * out_ * static_cast<int64_t>(size_of(product_));
    gemm(m, n, k, product_, {a, lda}, right_hand_side(w, in_, use_), c, out, ldc, beta);
  }
}

}  // namespace tenon::ops::cpu
