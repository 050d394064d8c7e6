#!/usr/bin/env python3
"""Writes gkd.json beside this file: losses of distillation and their gradients by the student's logits as TRL's trainers compute them, in double.

Needs a Python with torch and trl 1.16 (CPU builds do): GKDTrainer.generalized_jsd_loss over the vocabulary, and ServerDistillationTrainer's divergence over
the teacher's most probable tokens with a tail (loss_top_k, loss_add_tail).
"""
import json
from pathlib import Path

import torch
from trl.experimental.gkd.gkd_trainer import GKDTrainer
from trl.experimental.server_distillation.server_distillation_trainer import _add_tail_bucket, _jsd_divergence

BETAS = [0.0, 0.1, 0.5, 0.9, 1.0]
TEMPERATURES = [0.5, 1.0, 2.0]


def rounded(x):
    return [float(f"{v:.12g}") for v in x.flatten().tolist()]


def case(student, loss_of, **names):
    z = student.clone().requires_grad_()
    loss = loss_of(z)
    loss.backward()
    return names | {"loss": float(f"{loss.item():.12g}"), "gradient": rounded(z.grad)}


def top_k_loss(z, teacher, labels, k, beta, temperature):
    top = torch.log_softmax(teacher / temperature, -1).topk(k, -1)
    log_q = torch.log_softmax(z / temperature, -1).gather(-1, top.indices)
    valid = torch.ones_like(log_q, dtype=torch.bool)
    q, mask = _add_tail_bucket(log_q, valid)
    p, _ = _add_tail_bucket(top.values, valid)
    divergence = _jsd_divergence(q, p, beta, mask)[labels != -100]
    return divergence.sum() / (labels != -100).sum()


def main():
    torch.manual_seed(7)
    batch, length, vocabulary = 2, 4, 7
    student = (2 * torch.randn(batch, length, vocabulary)).double().round(decimals=4)
    teacher = (2 * torch.randn(batch, length, vocabulary)).double().round(decimals=4)
    labels = torch.tensor([[-100, 1, 2, 3], [-100, -100, 4, -100]])
    full = [case(student, lambda z, b=b, t=t: GKDTrainer.generalized_jsd_loss(z, teacher, labels, b, t), beta=b, temperature=t)
            for b in BETAS for t in TEMPERATURES]
    # The count over the whole batch, where this is one of its micro-batches.
    items = case(student, lambda z: GKDTrainer.generalized_jsd_loss(z, teacher, labels, 0.5, num_items_in_batch=10), beta=0.5, items=10)
    top = [case(student, lambda z, k=k, b=b, t=t: top_k_loss(z, teacher, labels, k, b, t), k=k, beta=b, temperature=t)
           for k in (1, 3, 6) for b in (0.0, 0.5, 1.0) for t in (1.0, 2.0)]
    out = {"vocabulary": vocabulary, "learned": (labels != -100).flatten().tolist(), "student": rounded(student), "teacher": rounded(teacher),
           "full": full, "items_in_batch": items, "top_k": top}
    Path(__file__).with_name("gkd.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
