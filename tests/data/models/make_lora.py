"""Makes the folder lora/ beside this file: an adapter that peft puts on llama/, with the logits of both together.

All linear layers, rank 4, alpha 6, B not zero. `logits` are those of the sequences of ../llama/expected.safetensors; `rslora.logits` those with the same
adapter scaled as rslora does. Needs torch, transformers, peft and safetensors.
"""
import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
SEQUENCES = [(0, 24), (24, 34), (34, 48)]


def logits_of(model, ids):
    with torch.no_grad():
        return torch.cat([model(ids[b:e][None]).logits[0] for b, e in SEQUENCES])


def adapted(use_rslora):
    base = AutoModelForCausalLM.from_pretrained(HERE / "llama", dtype=torch.float32, attn_implementation="eager")
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=6, target_modules="all-linear", use_rslora=use_rslora, task_type="CAUSAL_LM"))
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.copy_(torch.randn(p.shape, generator=g) * 0.3)
    return model.eval()


def main():
    ids = load_file(HERE / "llama/expected.safetensors")["input_ids"].flatten()
    model = adapted(False)
    model.peft_config["default"].base_model_name_or_path = "../llama"
    model.save_pretrained(HERE / "lora")
    (HERE / "lora/README.md").unlink(missing_ok=True)
    expected = {"logits": logits_of(model, ids), "rslora.logits": logits_of(adapted(True), ids)}
    save_file({k: v.contiguous() for k, v in expected.items()}, HERE / "lora/expected.safetensors")
    print(json.dumps({k: float(v.abs().max()) for k, v in expected.items()}))


if __name__ == "__main__":
    main()
