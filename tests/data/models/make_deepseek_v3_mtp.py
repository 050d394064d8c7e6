"""Makes the folder deepseek_v3_mtp/ beside this file: a tiny random DeepseekV3ForCausalLM with two modules that predict further tokens
(transformers' MtpLayer), the loss with them and its gradients. Needs torch, transformers and safetensors.

expected.safetensors: input_ids [24] of two sequences (cu_seqlens 0, 14, 24); loss: the main one, mean over the 22 targets; mtp_loss.K:
depth K's summed -log p over those 22 (DeepSeek-V3's formula divides every depth by the same number); grad.NAME: of
loss + 0.3 / 2 * (mtp_loss.1 + mtp_loss.2).
"""
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_layers import MtpLayer

FOLDER = Path(__file__).parent / "deepseek_v3_mtp"
LAYERS, MODULES, WEIGHT, STARTS = 2, 2, 0.3, [0, 14, 24]
CONFIG = dict(
    architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", hidden_size=16, intermediate_size=20, num_hidden_layers=LAYERS,
    num_attention_heads=2, num_key_value_heads=2, vocab_size=32, max_position_embeddings=128, rms_norm_eps=1e-2, rope_theta=10000.0,
    hidden_act="silu", attention_bias=False, attention_dropout=0.0, bos_token_id=1, eos_token_id=2, use_cache=True, initializer_range=0.02,
    tie_word_embeddings=False, torch_dtype="float32", q_lora_rank=None, kv_lora_rank=8, qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=6,
    first_k_dense_replace=1, moe_layer_freq=1, n_routed_experts=4, n_shared_experts=1, num_experts_per_tok=2, moe_intermediate_size=6,
    n_group=2, topk_group=1, topk_method="noaux_tc", scoring_func="sigmoid", norm_topk_prob=True, routed_scaling_factor=2.5,
    num_nextn_predict_layers=MODULES)


def published_name(module, name):
    """`model.layers.N...` of a checkpoint from the name within an MtpLayer."""
    name = name.removeprefix("mtp_block.").replace("post_norm.", "shared_head.norm.", 1)
    return f"model.layers.{LAYERS + module}.{name}"


def split_experts(weights):
    """One tensor an expert and projection, as published files have them."""
    out = {}
    for name, w in weights.items():
        if name.endswith("experts.gate_up_proj"):
            base = name.removesuffix("gate_up_proj")
            for e in range(w.shape[0]):
                gate, up = w[e].chunk(2)
                out[f"{base}{e}.gate_proj.weight"], out[f"{base}{e}.up_proj.weight"] = gate.contiguous(), up.contiguous()
        elif name.endswith("experts.down_proj"):
            base = name.removesuffix("down_proj")
            for e in range(w.shape[0]):
                out[f"{base}{e}.down_proj.weight"] = w[e].contiguous()
        else:
            out[name] = w.contiguous()
    return out


def main():
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "config.json").write_text(json.dumps(CONFIG, indent=1))
    config = AutoConfig.from_pretrained(FOLDER, attn_implementation="eager", experts_implementation="eager")
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", experts_implementation="eager")
    base = model.model
    mtp_config = config.get_mtp_config()
    mtp_config._attn_implementation, mtp_config._experts_implementation = "eager", "eager"
    modules = [MtpLayer(mtp_config, type(base.layers[-1]), type(base.norm), k) for k in range(MODULES)]

    named = [(n, t) for n, t in [*model.named_parameters(), *((n, b) for n, b in model.named_buffers() if "e_score" in n)]]
    for k, m in enumerate(modules):
        named += [(published_name(k, n), t) for n, t in [*m.named_parameters(), *((n, b) for n, b in m.named_buffers() if "e_score" in n)]]
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in named:
            noise = torch.randn(p.shape, generator=g)
            p.copy_(0.15 * noise if "e_score" in name else 1 + 0.3 * noise if "norm" in name else
                    noise if "embed_tokens" in name else noise / p.shape[-1] ** 0.5)

    ids = torch.randint(3, 32, (STARTS[-1],), generator=g)
    targets = sum(b - a - 1 for a, b in zip(STARTS, STARTS[1:]))
    loss, mtp_loss = torch.zeros(()), [torch.zeros(()) for _ in modules]
    for a, b in zip(STARTS, STARTS[1:]):
        tokens = ids[None, a:b]
        hidden = base(input_ids=tokens).last_hidden_state
        loss = loss + F.cross_entropy(model.lm_head(hidden)[0, :-1], tokens[0, 1:], reduction="sum")
        for k, m in enumerate(modules, 1):
            length = b - a - k
            positions = torch.arange(k, b - a)[None]
            mask = torch.full((length, length), torch.finfo(torch.float32).min).triu(1)[None, None]
            embeds = base.embed_tokens(tokens[:, k:])
            hidden = m(embeds, hidden[:, :length], base.rotary_emb(embeds, position_ids=positions), mask, positions, None)
            mtp_loss[k - 1] = mtp_loss[k - 1] + F.cross_entropy(model.lm_head(hidden)[0, :-1], tokens[0, k + 1:], reduction="sum")
    loss, mtp_loss = loss / targets, [x / targets for x in mtp_loss]
    (loss + WEIGHT / MODULES * sum(mtp_loss)).backward()

    weights = split_experts({n: t.detach() for n, t in named})
    for k in range(MODULES):  # copies, as published files have them
        weights[f"model.layers.{LAYERS + k}.embed_tokens.weight"] = base.embed_tokens.weight.detach().clone()
        weights[f"model.layers.{LAYERS + k}.shared_head.head.weight"] = model.lm_head.weight.detach().clone()
    save_file(weights, FOLDER / "model.safetensors", metadata={"format": "pt"})
    expected = {"input_ids": ids, "loss": loss.detach()[None]}
    expected |= {f"mtp_loss.{k}": x.detach()[None] for k, x in enumerate(mtp_loss, 1)}
    expected |= {"grad." + n: t for n, t in split_experts({n: t.grad for n, t in named if t.requires_grad}).items()}
    save_file(expected, FOLDER / "expected.safetensors", metadata={"format": "pt"})
    print("loss", loss.item(), [x.item() for x in mtp_loss])


if __name__ == "__main__":
    main()
