"""Makes folders beside this file: tiny random models with their logits, hidden states, loss and gradients by transformers.

    python3 make_models.py [FAMILY ...]

For the families that the other folders here lack; in the same form. Needs torch, transformers and safetensors; everything is seeded.
"""
import json
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

HERE = Path(__file__).parent
# Published files are in the style of transformers 4. eps is large so that a wrong one shows.
COMMON = dict(hidden_size=32, intermediate_size=36, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=64,
              max_position_embeddings=512, rms_norm_eps=1e-2, rope_theta=10000.0, hidden_act="silu", attention_dropout=0.0, bos_token_id=1,
              eos_token_id=2, use_cache=True, initializer_range=0.02, tie_word_embeddings=False, torch_dtype="float32")
FAMILIES = {
    # As Llama 2's files: no key-value heads, no theta, no switches of biases, the old name of the scaling's type.
    "llama2": dict({k: v for k, v in COMMON.items() if k not in ("num_key_value_heads", "rope_theta")}, architectures=["LlamaForCausalLM"],
                   model_type="llama", pretraining_tp=1, rope_scaling=dict(type="linear", factor=2.0)),
    # A window shorter than the sequences; heads wider than hidden / heads.
    "mistral": dict(COMMON, architectures=["MistralForCausalLM"], model_type="mistral", head_dim=16, sliding_window=8),
    # A gated shared expert, biases on q, k and v, experts in every second layer, a window in the first; tied, weights not normalised.
    "qwen2_moe": dict(COMMON, architectures=["Qwen2MoeForCausalLM"], model_type="qwen2_moe", num_hidden_layers=4, num_experts=6,
                      num_experts_per_tok=3, moe_intermediate_size=8, shared_expert_intermediate_size=12, norm_topk_prob=False,
                      decoder_sparse_step=2, mlp_only_layers=[], router_aux_loss_coef=0.02, output_router_logits=False, rope_scaling=None,
                      tie_word_embeddings=True, use_sliding_window=True, sliding_window=8, max_window_layers=2),
    # q and k normed over all heads together, then clipped; weights normalised.
    "olmoe": dict(COMMON, architectures=["OlmoeForCausalLM"], model_type="olmoe", intermediate_size=10, num_experts=6, num_experts_per_tok=2,
                  norm_topk_prob=True, clip_qkv=2.5, attention_bias=False, pad_token_id=1, router_aux_loss_coef=0.02, output_router_logits=False,
                  rope_scaling=None),
    # A sigmoid router with a bias that only selects, groups of experts, shared experts, a dense first layer, a window in the last, yarn.
    "dots1": dict(COMMON, architectures=["Dots1ForCausalLM"], model_type="dots1", num_hidden_layers=3, head_dim=16, attention_bias=False,
                  n_routed_experts=8, n_shared_experts=2, num_experts_per_tok=3, moe_intermediate_size=10, n_group=4, topk_group=2,
                  norm_topk_prob=True, routed_scaling_factor=2.5, first_k_dense_replace=1, sliding_window=8, max_window_layers=2,
                  rope_scaling=dict(rope_type="yarn", factor=8.0, beta_fast=4.0, beta_slow=1.0, original_max_position_embeddings=64)),
}


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager")


def randomise(model, seed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in [*model.named_parameters(), *((n, b) for n, b in model.named_buffers() if "e_score" in n)]:
            noise = torch.randn(p.shape, generator=g)
            if "e_score" in name:
                p.copy_(0.15 * noise)
            elif "norm" in name:
                p.copy_(1 + 0.3 * noise)
            elif name.endswith("bias"):
                p.copy_(0.3 * noise)
            elif "embed_tokens" in name:
                p.copy_(noise * (0.3 if model.config.tie_word_embeddings else 1.0))
            else:
                p.copy_(noise / p.shape[-1] ** 0.5)


def save_weights(model, path):
    with tempfile.TemporaryDirectory() as tmp:
        model.save_pretrained(tmp)
        weights = load_file(Path(tmp, "model.safetensors"))
        config = Path(tmp, "config.json").read_text()
    if path:
        save_file(weights, path, metadata={"format": "pt"})
        path.chmod(0o644)
    return weights, config


def gradients(model, folder):
    """The gradients saved as if they were the weights, so that transformers names them."""
    holder = load(folder)
    with torch.no_grad():
        for (_, to), (_, p) in zip(holder.named_parameters(), model.named_parameters()):
            to.copy_(p.grad if p.grad is not None else torch.zeros_like(p))
    return {n: t for n, t in save_weights(holder, None)[0].items() if "e_score" not in n}


def is_firm(folder, ids, positions, logits):
    """No choice of experts hangs on rounding: noise of 1e-4 on the weights must not move the logits by a jump."""
    for seed in range(4):
        model = load(folder)
        g = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1 + 1e-4 * torch.randn(p.shape, generator=g))
            if (model(input_ids=ids, position_ids=positions, use_cache=False).logits - logits).abs().max() > 1e-2:
                return False
    return True


def make(family):
    folder, config = HERE / family, FAMILIES[family]
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    for seed in range(1, 50):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
        randomise(model, seed)
        _, written = save_weights(model, folder / "model.safetensors")
        (folder / "config_v5.json").write_text(written)

        model = load(folder)
        ids = torch.randint(3, 64, (2, 24), generator=torch.Generator().manual_seed(seed))
        positions = torch.stack([torch.arange(24), torch.cat([torch.arange(10), torch.arange(14)])])
        labels = ids.clone()
        labels[positions == 0] = -100
        out = model(input_ids=ids, position_ids=positions, labels=labels, use_cache=False, output_hidden_states=True)
        if is_firm(folder, ids, positions, out.logits):
            break
    alone = model(input_ids=ids[1:, 10:], position_ids=positions[1:, 10:], use_cache=False)
    print(f"{family}: seed {seed}, loss {out.loss.item():.4f}, packed against alone",
          (out.logits[1, 10:] - alone.logits[0]).abs().max().item())
    out.loss.backward()
    tensors = dict(input_ids=ids, position_ids=positions, labels=labels, logits=out.logits, loss=out.loss.reshape(1))
    tensors |= {f"hidden.{i}": h for i, h in enumerate(out.hidden_states)}
    tensors |= {f"grad.{n}": t for n, t in gradients(model, folder).items()}
    if "router_aux_loss_coef" in config:
        model.zero_grad()
        out = model(input_ids=ids, position_ids=positions, labels=labels, use_cache=False, output_router_logits=True)
        out.loss.backward()
        tensors |= {"aux.loss": out.loss.reshape(1), "aux.aux_loss": out.aux_loss.reshape(1)}
        tensors |= {f"aux.grad.{n}": t for n, t in gradients(model, folder).items() if ".experts." not in n}  # to keep the file small
    save_file({n: t.detach().contiguous() for n, t in tensors.items()}, folder / "expected.safetensors")
    (folder / "expected.safetensors").chmod(0o644)


for family in sys.argv[1:] or FAMILIES:
    make(family)
