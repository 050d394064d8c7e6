"""Makes the folder dots1/ beside this file: a tiny random Dots1ForCausalLM with its logits, hidden states, loss and gradients.

Like the other folders here, and for what they lack: a sigmoid router with a bias that only selects, groups of experts, a shared expert, a dense first layer,
a sliding window in the last layer, yarn. Needs torch, transformers and safetensors.
"""
import json
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

FOLDER = Path(__file__).parent / "dots1"
CONFIG = dict(
    architectures=["Dots1ForCausalLM"], model_type="dots1", hidden_size=32, intermediate_size=36, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, vocab_size=64, max_position_embeddings=512, rms_norm_eps=1e-2, rope_theta=10000.0, hidden_act="silu",
    attention_bias=False, attention_dropout=0.0, bos_token_id=1, eos_token_id=2, use_cache=True, initializer_range=0.02, tie_word_embeddings=False,
    torch_dtype="float32", n_routed_experts=8, n_shared_experts=2, num_experts_per_tok=3, moe_intermediate_size=10, n_group=4, topk_group=2,
    norm_topk_prob=True, routed_scaling_factor=2.5, first_k_dense_replace=1, sliding_window=8, max_window_layers=2,
    rope_scaling=dict(rope_type="yarn", factor=8.0, beta_fast=4.0, beta_slow=1.0, original_max_position_embeddings=64))


def load():
    return AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager")


def randomise(model):
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in [*model.named_parameters(), *((n, b) for n, b in model.named_buffers() if "e_score" in n)]:
            noise = torch.randn(p.shape, generator=g)
            if "e_score" in name:
                p.copy_(0.15 * noise)
            elif "norm" in name:
                p.copy_(1 + 0.3 * noise)
            else:
                p.copy_(noise if "embed_tokens" in name else noise / p.shape[-1] ** 0.5)


def save_weights(model, path):
    with tempfile.TemporaryDirectory() as tmp:
        model.save_pretrained(tmp)
        weights = load_file(Path(tmp, "model.safetensors"))
        config = Path(tmp, "config.json").read_text()
    if path:
        save_file(weights, path, metadata={"format": "pt"})
        path.chmod(0o644)
    return weights, config


def main():
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "config.json").write_text(json.dumps(CONFIG, indent=1))
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(FOLDER))
    randomise(model)
    _, config = save_weights(model, FOLDER / "model.safetensors")
    (FOLDER / "config_v5.json").write_text(config)

    model = load()
    ids = torch.randint(3, 64, (2, 24), generator=torch.Generator().manual_seed(1))
    positions = torch.stack([torch.arange(24), torch.cat([torch.arange(10), torch.arange(14)])])
    labels = ids.clone()
    labels[positions == 0] = -100
    out = model(input_ids=ids, position_ids=positions, labels=labels, use_cache=False, output_hidden_states=True)
    alone = model(input_ids=ids[1:, 10:], position_ids=positions[1:, 10:], use_cache=False)
    print("packed against alone:", (out.logits[1, 10:] - alone.logits[0]).abs().max().item(), "loss:", out.loss.item())
    out.loss.backward()

    holder = load()  # gradients saved as if they were the weights, so that transformers names them
    with torch.no_grad():
        for (_, to), (_, p) in zip(holder.named_parameters(), model.named_parameters()):
            to.copy_(p.grad)
    grads = {f"grad.{n}": t for n, t in save_weights(holder, None)[0].items() if "e_score" not in n}
    tensors = dict(input_ids=ids, position_ids=positions, labels=labels, logits=out.logits, loss=out.loss.reshape(1))
    tensors |= {f"hidden.{i}": h for i, h in enumerate(out.hidden_states)} | grads
    save_file({n: t.detach().contiguous() for n, t in tensors.items()}, FOLDER / "expected.safetensors")
    (FOLDER / "expected.safetensors").chmod(0o644)


main()
