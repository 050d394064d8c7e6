"""Makes tests/data/preferences.json: losses, gradients and metrics of TRL's DPOTrainer and RewardTrainer on fixed inputs.

    python tests/rl/make_preference_oracle.py tests/data/preferences.json        (TRL 1.16)

The trainers' own loss functions run on a stand-in for the model that gives chosen numbers, so that no weights are needed.
"""
import json
import sys
from collections import defaultdict
from types import SimpleNamespace

import torch
import trl
from trl import DPOTrainer, RewardTrainer

torch.set_default_dtype(torch.float64)
LENGTHS = [(5, 3), (4, 7), (2, 2)]  # completion tokens of each pair, chosen and rejected
PROMPT = 2


def identity(x):
    return x


ACCELERATOR = SimpleNamespace(device=torch.device("cpu"), gather=identity, gather_for_metrics=identity, unwrap_model=identity)


def trainer_of(cls, **attributes):
    trainer = cls.__new__(cls)
    trainer.accelerator = ACCELERATOR
    trainer._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}
    trainer._total_train_tokens = 0
    trainer._tp_size = 1
    for name, value in attributes.items():
        setattr(trainer, name, value)
    return trainer


def metrics_of(trainer):
    return {k: v[0] if isinstance(v, list) else v for k, v in trainer._metrics["train"].items()}


def dpo_cases():
    generator = torch.Generator().manual_seed(7)
    width = PROMPT + max(max(pair) for pair in LENGTHS)
    sequences = [chosen for chosen, _ in LENGTHS] + [rejected for _, rejected in LENGTHS]
    mask = torch.zeros(len(sequences), width, dtype=torch.long)
    for row, length in zip(mask, sequences):
        row[PROMPT:PROMPT + length] = 1
    shifted = mask[:, 1:]
    base = -torch.rand(shifted.shape, generator=generator) * 3 * shifted
    reference = -torch.rand(shifted.shape, generator=generator) * 3 * shifted
    entropy = torch.rand(shifted.shape, generator=generator)
    settings = [
        dict(loss_type=["sigmoid"]), dict(loss_type=["sigmoid"], beta=0.5), dict(loss_type=["hinge"], beta=0.7), dict(loss_type=["ipo"], beta=0.3),
        dict(loss_type=["exo_pair"], label_smoothing=0.001), dict(loss_type=["nca_pair"]), dict(loss_type=["robust"], label_smoothing=0.1),
        dict(loss_type=["bco_pair"], beta=0.4), dict(loss_type=["sppo_hard"], beta=0.2), dict(loss_type=["apo_zero"]), dict(loss_type=["apo_down"], beta=0.6),
        dict(loss_type=["discopop"], beta=0.05), dict(loss_type=["sft"]), dict(loss_type=["sigmoid_norm"], beta=2.0),
        dict(loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.3]), dict(loss_type=["sigmoid", "bco_pair", "sft"], loss_weights=[0.8, 0.2, 1.0]),
        dict(loss_type=["sigmoid"], f_divergence_type="forward_kl"), dict(loss_type=["ipo"], f_divergence_type="js_divergence"),
        dict(loss_type=["hinge"], f_divergence_type="alpha_divergence", f_alpha_divergence_coef=0.3),
    ]
    cases = []
    for setting in settings:
        s = dict(beta=0.1, label_smoothing=0.0, discopop_tau=0.05, f_divergence_type="reverse_kl", f_alpha_divergence_coef=0.5, loss_weights=None) | setting
        dtype = torch.float32 if s["f_divergence_type"] == "alpha_divergence" else torch.float64  # TRL knows no f64 there
        logps = base.to(dtype, copy=True).requires_grad_()
        outputs = SimpleNamespace(log_probs=logps, entropy=entropy, mean_logits=torch.zeros_like(base), is_top1=torch.zeros_like(base, dtype=torch.bool))

        def model(**_):
            return outputs

        model.training = True
        trainer = trainer_of(
            DPOTrainer, model=model, aux_loss_enabled=False, ld_alpha=None, precompute_ref_logps=True, use_weighting=False, beta=s["beta"],
            label_smoothing=s["label_smoothing"], loss_types=s["loss_type"], loss_weights=s["loss_weights"] or [1.0] * len(s["loss_type"]),
            f_divergence_type=s["f_divergence_type"], f_alpha_divergence_coef=s["f_alpha_divergence_coef"],
            args=SimpleNamespace(discopop_tau=s["discopop_tau"]))
        n = len(LENGTHS)
        inputs = dict(
            input_ids=torch.ones_like(mask), attention_mask=torch.ones_like(mask), completion_mask=mask,
            ref_chosen_logps=reference.sum(1)[:n].to(dtype), ref_rejected_logps=reference.sum(1)[n:].to(dtype))
        loss = trainer._compute_loss(model, inputs, return_outputs=False)
        loss.backward()
        cases.append(dict(
            settings=s, loss=loss.item(),
            gradient=[logps.grad[i][shifted[i].bool()].tolist() for i in range(2 * n)],
            metrics={k: v for k, v in metrics_of(trainer).items() if not k.startswith(("logits/", "num_tokens", "mean_token"))}))

    def rows(values):
        return [values[i][shifted[i].bool()].tolist() for i in range(len(values))]

    return dict(logprobs=rows(base), reference=rows(reference), entropy=rows(entropy), cases=cases)


def reward_cases():
    scores = torch.tensor([0.3, -1.2, 2.5, 0.1, -0.4, 2.5])  # of chosen, then of rejected
    margin = torch.tensor([0.5, 0.0, 1.0])
    cases = []
    for coefficient, with_margin in [(None, False), (None, True), (0.01, False), (0.2, True)]:
        logits = scores.clone().unsqueeze(1).requires_grad_()

        def model(**_):
            return SimpleNamespace(logits=logits)

        model.training = True
        trainer = trainer_of(RewardTrainer, model=model, args=SimpleNamespace(center_rewards_coefficient=coefficient))
        inputs = dict(input_ids=torch.ones(6, 2, dtype=torch.long), attention_mask=torch.ones(6, 2, dtype=torch.long))
        if with_margin:
            inputs["margin"] = margin
        loss = trainer.compute_loss(model, inputs)
        loss.backward()
        cases.append(dict(
            center_rewards_coefficient=coefficient or 0, margin=margin.tolist() if with_margin else [0, 0, 0], loss=loss.item(),
            gradient=logits.grad.squeeze(1).tolist(), metrics={k: v for k, v in metrics_of(trainer).items() if k != "num_tokens"}))
    return dict(scores=scores.tolist(), cases=cases)


def main():
    oracle = dict(origin=f"tests/rl/make_preference_oracle.py, TRL {trl.__version__}, torch {torch.__version__}", dpo=dpo_cases(), reward=reward_cases())
    with open(sys.argv[1], "w") as file:
        json.dump(oracle, file, indent=1)
        file.write("\n")


main()
