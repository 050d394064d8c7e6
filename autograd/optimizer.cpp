#include "optimizer.h"

#include <cmath>
#include <limits>

#include "../ops/adamw.h"
#include "../ops/cast.h"
#include "../ops/elementwise.h"
#include "../runtime/check.h"
#include "../runtime/memory.h"

namespace tenon {

double StepResult::grad_norm() const {
  return norm_.defined() ? norm_.item<float>() : std::numeric_limits<double>::quiet_NaN();
}

bool StepResult::skipped() const { return !std::isfinite(grad_norm()); }

AdamW::AdamW(ParamStore& parameters, AdamWOptions options)
    : parameters_(parameters), options_(options), steps_(Tensor::zeros({1}, DType::i64)) {
  check(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1,
        "AdamW: betas {} and {} must be in [0, 1)", options.beta1, options.beta2);
  check(options.eps > 0 && options.weight_decay >= 0, "AdamW: eps {} must be positive, weight_decay {} not negative",
        options.eps, options.weight_decay);
}

AdamW::Moments& AdamW::moments(Parameter& p) {
  Moments& m = moments_[&p];
  if (!m.first.defined()) {
    MemoryTag tag("optimizer");
    m.first = Tensor::zeros(p.shape(), DType::f32, p.value().device());
    m.second = Tensor::zeros(p.shape(), DType::f32, p.value().device());
  }
  return m;
}

StepResult AdamW::step(float learning_rate, float max_grad_norm, const Tensor* loss) {
  std::vector<Parameter*> with_grad;
  std::vector<Tensor> gradients;
  for (auto& p : parameters_.all())
    if (p->trainable() && p->has_grad()) {
      with_grad.push_back(p.get());
      gradients.push_back(p->grad());
    }
  check(!with_grad.empty(), "AdamW: no parameter has a gradient; is anything trainable, and was backward called?");

  Tensor norm = ops::global_norm(gradients);
  if (loss) norm = ops::add(norm, ops::scale(*loss, 0));  // NaN where the loss is not finite
  const StepResult result(std::move(norm));
  std::vector<ops::AdamWTensor> tensors;
  tensors.reserve(with_grad.size());
  for (Parameter* p : with_grad) {
    Moments& m = moments(*p);
    tensors.push_back({.master = p->master(),
                       .grad = p->grad(),
                       .exp_avg = m.first,
                       .exp_avg_sq = m.second,
                       .value = p->value().dtype() == DType::f32 ? Tensor() : p->value(),
                       .weight_decay = p->decays() ? options_.weight_decay : 0});
  }
  steps_ = steps_.to(gradients[0].device());
  ops::adamw_step(tensors, {.learning_rate = learning_rate,
                            .beta1 = options_.beta1,
                            .beta2 = options_.beta2,
                            .eps = options_.eps,
                            .step = steps_,
                            .grad_norm = result.norm(),
                            .max_grad_norm = max_grad_norm});
  for (Parameter* p : with_grad) p->changed();
  return result;
}

int64_t AdamW::steps() const { return steps_.item<int64_t>(); }

std::vector<std::pair<std::string, Tensor>> AdamW::state() const {
  std::vector<std::pair<std::string, Tensor>> out = {{"step", steps_}};
  for (auto& p : parameters_.all()) {
    if (auto found = moments_.find(p.get()); found != moments_.end()) {
      out.emplace_back(p->name() + ".exp_avg", found->second.first);
      out.emplace_back(p->name() + ".exp_avg_sq", found->second.second);
    }
    if (p->has_own_master()) out.emplace_back(p->name() + ".master", p->master());
  }
  return out;
}

void AdamW::load_state(const std::function<Tensor(const std::string&)>& lookup) {
  const Tensor step = lookup("step");
  check(step.defined() && step.dtype() == DType::i64 && step.numel() == 1, "AdamW: the state has no 'step'");
  steps_ = step.clone().view({1});
  moments_.clear();
  for (auto& p : parameters_.all()) {
    auto take = [&](const char* what) {
      Tensor t = lookup(p->name() + what);
      check(!t.defined() || t.shape() == p->shape(), "AdamW: the state's {}{} is {}, the parameter {}", p->name(), what,
            t.defined() ? t.shape() : Shape(), p->shape());
      return t;
    };
    const Tensor first = take(".exp_avg"), second = take(".exp_avg_sq"), master = take(".master");
    check(first.defined() == second.defined(), "AdamW: the state has only one of the two moments of {}", p->name());
    if (first.defined()) {
      Moments& m = moments(*p);
      ops::copy_into(m.first, first.to(p->device()));
      ops::copy_into(m.second, second.to(p->device()));
    }
    if (master.defined()) p->assign(master.to(p->device()));
  }
}

}  // namespace tenon
