// The build without CUDA: kernels that are never called there, since no tensor is on a GPU.
#include "../runtime/check.h"
#include "cuda/activations.h"
#include "cuda/adamw.h"
#include "cuda/attention.h"
#include "cuda/cast.h"
#include "cuda/distill_head.h"
#include "cuda/elementwise.h"
#include "cuda/expert_plan.h"
#include "cuda/grouped_linear.h"
#include "cuda/indexing.h"
#include "cuda/latent_attention.h"
#include "cuda/linear.h"
#include "cuda/loss_head.h"
#include "cuda/matmul.h"
#include "cuda/paged_attention.h"
#include "cuda/reduce.h"
#include "cuda/rms_norm.h"
#include "cuda/rope.h"
#include "cuda/router_losses.h"
#include "cuda/routing.h"
#include "cuda/sampling.h"
#include "cuda/softmax.h"
#include "cuda/swiglu.h"
#include "cuda/top_k.h"

namespace tenon::ops::cuda {
namespace {

[[noreturn]] void refuse() { fail("this build of Tenon has no CUDA kernels"); }

}  // namespace

// clang-format off: one line a kernel
void activation(Activation, const Tensor&, Tensor&) { refuse(); }
void activation_backward(Activation, const Tensor&, const Tensor&, Tensor&) { refuse(); }
void adamw_step(std::span<AdamWTensor>, const AdamWStep&, Tensor&) { refuse(); }
void add_into(Tensor&, const Tensor&, float) { refuse(); }
void add_scaled_into(Tensor&, const Tensor&, const Tensor&) { refuse(); }
void attention(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const AttentionOptions&, Tensor&, Tensor&) {
  refuse();
}
void attention_backward(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                        const Tensor&, const AttentionOptions&, Tensor&, Tensor&, Tensor&) {
  refuse();
}
void binary(Binary, const Tensor&, const Tensor&, Tensor&) { refuse(); }
void convert(const Tensor&, Tensor&) { refuse(); }
void cross_entropy_one_pass(const Tensor&, const Tensor&, const Tensor&, const Tensor&, Tensor*, Tensor*, Tensor*,
                            const HeadPacks&, Tensor&) {
  refuse();
}
void distill_loss(const DistillStudent&, const Tensor&, const Tensor&, const PackedWeight*, Tensor&) { refuse(); }
void fill(Tensor&, float) { refuse(); }
void gather(const Tensor&, const Tensor&, Tensor&) { refuse(); }
void gather_rows(const Tensor&, const Tensor&, Tensor&) { refuse(); }
void global_norm(std::span<const Tensor>, Tensor&) { refuse(); }
void latent_attention(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                      const AttentionOptions&, Tensor&) {
  refuse();
}
void latent_write(const Tensor&, const Tensor&, Tensor&) { refuse(); }
void grouped_linear(Tensor&, const Tensor&, const Tensor&, const ExpertPlan&, const PackedWeight*) { refuse(); }
void grouped_linear_backward_input(Tensor&, float, const Tensor&, const Tensor&, const ExpertPlan&,
                                   const PackedWeight*) {
  refuse();
}
void grouped_linear_backward_weight(Tensor&, const Tensor&, const Tensor&, const ExpertPlan&) { refuse(); }
void linear(Tensor&, const Tensor&, const Tensor&, const Tensor*, const PackedWeight*) { refuse(); }
void linear_backward_bias(Tensor&, const Tensor&) { refuse(); }
void linear_backward_input(Tensor&, float, const Tensor&, const Tensor&, const PackedWeight*) { refuse(); }
void linear_backward_weight(Tensor&, const Tensor&, const Tensor&) { refuse(); }
void load_balancing_loss(LoadBalancing&, const Tensor&, const Tensor&) { refuse(); }
void load_balancing_loss_backward(Tensor&, const Tensor&, const Tensor&, const Tensor&) { refuse(); }
void log_softmax(const Tensor&, Tensor&) { refuse(); }
void log_softmax_backward(const Tensor&, const Tensor&, Tensor&) { refuse(); }
void matmul(Tensor&, const Tensor&, const Tensor&, bool, bool, float) { refuse(); }
void paged_attention(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                     const AttentionOptions&, Tensor&) {
  refuse();
}
void paged_write(const Tensor&, const Tensor&, const Tensor&, Tensor&, Tensor&) { refuse(); }
void permute(Tensor&, const Tensor&, const ExpertPlan&) { refuse(); }
void permute_backward(Tensor&, const Tensor&, const ExpertPlan&) { refuse(); }
void plan_experts(ExpertPlan&, const Tensor&) { refuse(); }
void mean_token_weight(const Tensor&, Tensor&) { refuse(); }
void reduce(Reduction, const Tensor&, int64_t, int64_t, int64_t, Tensor&) { refuse(); }
void rms_norm(const Tensor&, const Tensor&, float, Tensor&, Tensor&) { refuse(); }
void rms_norm_backward(const Tensor&, const Tensor*, const Tensor&, const Tensor&, const Tensor&, Tensor&, Tensor*) {
  refuse();
}
void rms_norm_residual(const Tensor&, const Tensor&, const Tensor&, float, Tensor&, Tensor&, Tensor&) { refuse(); }
void rope(const Tensor&, const RopeTable&, const Tensor&, bool, bool, int64_t, Tensor&) { refuse(); }
void route(Routing&, const Tensor&, const Tensor*, const RoutingOptions&, const Tensor*) { refuse(); }
void route_backward(Tensor&, const Tensor&, const Routing&, const RoutingOptions&) { refuse(); }
void sample(const Tensor&, std::span<const SampleRow>, Tensor&, Tensor&) { refuse(); }
void router_z_loss(Tensor&, const Tensor&) { refuse(); }
void router_z_loss_backward(Tensor&, const Tensor&, const Tensor&) { refuse(); }
void scatter_add(Tensor&, const Tensor&, const Tensor&) { refuse(); }
void scatter_add_rows(Tensor&, const Tensor&, const Tensor&) { refuse(); }
void sequence_balance_loss(SequenceBalance&, const Tensor&, const Tensor&, const Tensor&, RouterScore) { refuse(); }
void sequence_balance_loss_backward(Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, RouterScore) {
  refuse();
}
void softmax(const Tensor&, Tensor&) { refuse(); }
void softmax_backward(const Tensor&, const Tensor&, Tensor&) { refuse(); }
void swiglu(const Tensor&, const Tensor&, Tensor&) { refuse(); }
void swiglu_backward(const Tensor&, const Tensor&, const Tensor&, Tensor&, Tensor&) { refuse(); }
void top_k(const Tensor&, int64_t, Tensor&, Tensor&) { refuse(); }
void token_logprobs(const Tensor&, const Tensor&, const Tensor&, float, const PackedWeight*, TokenLogProbs&) {
  refuse();
}
void token_logprobs_backward(const Tensor&, const Tensor*, const Tensor&, const Tensor&, const Tensor&,
                             const TokenLogProbs&, float, Tensor&, Tensor*, const HeadPacks&) {
  refuse();
}
void token_loss_one_pass(const Tensor&, const Tensor&, const Tensor&, float, bool, const TokenLoss&, Tensor*, Tensor*,
                         Tensor*, Tensor*, const HeadPacks&, double&) {
  refuse();
}
void top_k_distill_loss(const DistillStudent&, const TopLogProbs&, Tensor&) { refuse(); }
void top_logprobs(const Tensor&, const Tensor&, float, const PackedWeight*, TopLogProbs&) { refuse(); }
void unary(Unary, const Tensor&, Tensor&, float, float) { refuse(); }
void unpermute(Tensor&, const Tensor&, const Tensor&, const ExpertPlan&) { refuse(); }
void unpermute_backward(Tensor&, Tensor&, const Tensor&, const Tensor&, const Tensor&, const ExpertPlan&) { refuse(); }
// clang-format on

}  // namespace tenon::ops::cuda
