#include "cublas.h"

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "../../runtime/check.h"
#include "../../runtime/cuda.h"
#include "../../runtime/cuda/status.h"
#include "../../runtime/workspace.h"

namespace tenon::ops::cuda {
namespace {

constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;  // what cuBLAS recommends for Hopper; more than Ampere's 4 MiB
constexpr size_t kMaxPlans = 4096;                      // a packed batch may have any number of rows

void check_cublas(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const std::string op = tenon::cuda::current_op();
  fail("{}: {}{}{}", call, cublasLtGetStatusString(status), op.empty() ? "" : ", in ", op);
}

template <class Handle, cublasStatus_t (*kDestroy)(Handle)>
struct Destroy {
  using pointer = Handle;
  void operator()(Handle handle) const { (void)kDestroy(handle); }
};
using MatmulDesc = std::unique_ptr<void, Destroy<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>>;
using Layout = std::unique_ptr<void, Destroy<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>>;
using Preference = std::unique_ptr<void, Destroy<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>>;

cudaDataType_t data_type(DType dtype) { return dtype == DType::f32 ? CUDA_R_32F : CUDA_R_16BF; }

Layout layout(DType dtype, int64_t rows, int64_t columns, int64_t ld, int64_t batch, int64_t step) {
  cublasLtMatrixLayout_t raw = nullptr;
  check_cublas(cublasLtMatrixLayoutCreate(&raw, data_type(dtype), static_cast<uint64_t>(rows),
                                          static_cast<uint64_t>(columns), ld),
               "cublasLtMatrixLayoutCreate");
  Layout out(raw);
  if (batch > 1) {
    const auto count = static_cast<int32_t>(batch);
    check_cublas(cublasLtMatrixLayoutSetAttribute(raw, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count),
                 "cublasLtMatrixLayoutSetAttribute");
    check_cublas(cublasLtMatrixLayoutSetAttribute(raw, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step),
                 "cublasLtMatrixLayoutSetAttribute");
  }
  return out;
}

template <class T>
void set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  check_cublas(cublasLtMatmulDescSetAttribute(desc, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
}
template <class T>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
  check_cublas(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
               "cublasLtMatmulPreferenceSetAttribute");
}

// The largest power of two that divides the address, as far as cuBLASLt cares.
uint32_t alignment(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  return address == 0 ? 256u : uint32_t{1} << std::min(std::countr_zero(address), 8);
}

// cuBLASLt is column-major: it is asked for c^T = b^T a^T, and each row-major matrix is the transposed one there.
class Plan {
 public:
  Plan(cublasLtHandle_t handle, const Product& p, const Operand& a, const Operand& b, const void* c, const void* bias)
      : left_(layout(p.operands, b.transposed ? p.k : p.n, b.transposed ? p.n : p.k, b.ld, p.batch, b.step)),
        right_(layout(p.operands, a.transposed ? p.m : p.k, a.transposed ? p.k : p.m, a.ld, p.batch, a.step)),
        result_(layout(p.result, p.n, p.m, p.n, p.batch, p.m * p.n)) {
    cublasLtMatmulDesc_t desc = nullptr;
    check_cublas(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    desc_.reset(desc);
    set(desc, CUBLASLT_MATMUL_DESC_TRANSA, b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(desc, CUBLASLT_MATMUL_DESC_TRANSB, a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (bias) {
      set(desc, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    }

    cublasLtMatmulPreference_t preference = nullptr;
    check_cublas(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
    const Preference owner(preference);
    set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kWorkspaceBytes));
    // Split sums are added from the workspace in a fixed order, never in place by atomics.
    set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(b.data));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(a.data));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(c));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(c));
    int found = 0;
    cublasLtMatmulHeuristicResult_t best{};
    check_cublas(
        cublasLtMatmulAlgoGetHeuristic(handle, desc, left(), right(), result(), result(), preference, 1, &best, &found),
        "cublasLtMatmulAlgoGetHeuristic");
    check_cublas(found > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED, "cublasLtMatmulAlgoGetHeuristic");
    algorithm_ = best.algo;
    workspace_ = static_cast<int64_t>(best.workspaceSize);
  }

  void run(cublasLtHandle_t handle, Device device, float beta, const Operand& a, const Operand& b, void* c,
           const void* bias) {
    const float one = 1;
    if (bias) set(desc(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    auto workspace = Workspace::of(device).get<std::byte>(workspace_);
    check_cublas(cublasLtMatmul(handle, desc(), &one, b.data, left(), a.data, right(), &beta, c, result(), c, result(),
                                &algorithm_, workspace.data(), static_cast<size_t>(workspace_),
                                tenon::cuda::current_stream(device)),
                 "cublasLtMatmul");
  }

 private:
  cublasLtMatmulDesc_t desc() const { return desc_.get(); }
  cublasLtMatrixLayout_t left() const { return left_.get(); }
  cublasLtMatrixLayout_t right() const { return right_.get(); }
  cublasLtMatrixLayout_t result() const { return result_.get(); }

  MatmulDesc desc_;
  Layout left_, right_, result_;
  cublasLtMatmulAlgo_t algorithm_{};
  int64_t workspace_ = 0;
};

using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, DType, DType, bool, bool, int64_t, int64_t, int64_t, int64_t,
                       bool, uint32_t, uint32_t, uint32_t>;

// What a device needs: the library's handle, and plans by what they were made for. Never destroyed.
class Multiplier {
 public:
  explicit Multiplier(Device device) : device_(device) { check_cublas(cublasLtCreate(&handle_), "cublasLtCreate"); }

  void run(const Product& p, const Operand& a, const Operand& b, void* c, const void* bias) {
    const Key key{p.m,  p.n,  p.k,    p.batch, p.operands,      p.result,          a.transposed,      b.transposed,
                  a.ld, b.ld, a.step, b.step,  bias != nullptr, alignment(a.data), alignment(b.data), alignment(c)};
    std::lock_guard lock(mutex_);
    auto it = plans_.find(key);
    if (it == plans_.end()) {
      if (plans_.size() >= kMaxPlans) plans_.clear();
      it = plans_.try_emplace(key, handle_, p, a, b, c, bias).first;
    }
    it->second.run(handle_, device_, p.beta, a, b, c, bias);
  }

 private:
  Device device_;
  cublasLtHandle_t handle_ = nullptr;
  std::mutex mutex_;
  std::map<Key, Plan> plans_;
};

Multiplier& multiplier(Device device) {
  static std::mutex mutex;
  static auto* all = new std::map<int, std::unique_ptr<Multiplier>>;
  std::lock_guard lock(mutex);
  auto& slot = (*all)[device.index];
  if (!slot) slot = std::make_unique<Multiplier>(device);
  return *slot;
}

}  // namespace

void multiply(const Product& product, const Operand& a, const Operand& b, void* c, const void* bias) {
  int index = 0;
  tenon::cuda::check_status(cudaGetDevice(&index), "cudaGetDevice");
  const Device device = Device::cuda(index);
  if (product.k == 0) {  // cuBLASLt knows no empty matrices
    check(!bias, "product: a bias with nothing to multiply");
    const int64_t elements = product.batch * product.m * product.n;
    if (product.beta == 0)
      tenon::cuda::set_bytes(device, c, 0, static_cast<size_t>(elements) * size_of(product.result));
    return;
  }
  multiplier(device).run(product, a, b, c, bias);
}

}  // namespace tenon::ops::cuda
