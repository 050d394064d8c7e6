"""For tests/rl/interop_test.cpp: opens every folder named on the command line in transformers (an adapter's in peft) and prints a JSON line for each.

A folder holds `ids.json`, a list of token ids beside what the library wrote; the line has the logits after each of them in f32 as base64, and what loading
said about missing, unexpected and mis-shaped tensors. Of a model with a scalar head the scores of the first three, the first seven and of all tokens stand in
the place of the logits.
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
        from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, logging
    except ImportError as e:
        print(json.dumps({"absent": str(e)}))
        return
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)

    def plain(folder):
        scores = "SequenceClassification" in json.loads((folder / "config.json").read_text())["architectures"][0]
        return (AutoModelForSequenceClassification if scores else AutoModelForCausalLM).from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager", output_loading_info=True)

    for folder in map(Path, sys.argv[1:]):
        config = folder / "adapter_config.json"
        if config.exists():
            model, info = plain(Path(json.loads(config.read_text())["base_model_name_or_path"]))
            model = PeftModel.from_pretrained(model, folder)
        else:
            model, info = plain(folder)
        ids = torch.tensor([json.loads((folder / "ids.json").read_text())])
        with torch.no_grad():
            model.eval()
            if hasattr(model, "score"):
                logits = torch.cat([model(ids[:, :n]).logits.flatten() for n in (3, 7, ids.shape[1])]).float().contiguous()
            else:
                logits = model(ids).logits[0].float().contiguous()
        line = {k: sorted(map(str, info[k])) for k in ("missing_keys", "unexpected_keys", "mismatched_keys")}
        line["logits"] = base64.b64encode(logits.numpy().tobytes()).decode()
        if (folder / "tokenizer.json").exists():
            tokenizer = AutoTokenizer.from_pretrained(folder)
            line["encoded"] = tokenizer("one plus two")["input_ids"]
            line["eos"] = tokenizer.eos_token
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
