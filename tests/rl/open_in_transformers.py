"""For tests/rl/interop_test.cpp: opens every folder named on the command line in transformers (an adapter's in peft) and prints a JSON line for each.

A folder holds `ids.json`, a list of token ids beside what the library wrote; the line has the logits after each of them in f32 as base64, and what loading
said about missing, unexpected and mis-shaped tensors.
"""
import base64
import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")


def main():
    try:
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer, logging
    except ImportError as e:
        print(json.dumps({"absent": str(e)}))
        return
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)

    def plain(folder):
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager", output_loading_info=True)

    for folder in map(Path, sys.argv[1:]):
        config = folder / "adapter_config.json"
        if config.exists():
            model, info = plain(json.loads(config.read_text())["base_model_name_or_path"])
            model = PeftModel.from_pretrained(model, folder)
        else:
            model, info = plain(folder)
        ids = torch.tensor([json.loads((folder / "ids.json").read_text())])
        with torch.no_grad():
            logits = model.eval()(ids).logits[0].float().contiguous()
        line = {k: sorted(map(str, info[k])) for k in ("missing_keys", "unexpected_keys", "mismatched_keys")}
        line["logits"] = base64.b64encode(logits.numpy().tobytes()).decode()
        if (folder / "tokenizer.json").exists():
            tokenizer = AutoTokenizer.from_pretrained(folder)
            line["encoded"] = tokenizer("one plus two")["input_ids"]
            line["eos"] = tokenizer.eos_token
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
