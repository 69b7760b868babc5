"""What Hugging Face PEFT computes with an adapter folder. Needs torch and peft.

    python peft_reference.py BASE FOLDER IN.npz OUT.npz [--save AGAIN]

IN.npz has `tokens` (n, length) with 0 as padding. OUT.npz gets `outputs`: embeddings of
an encoder (the normalised mean over tokens), or logits of a language model. --save has
peft write the adapter that it loaded into another folder.
"""

import argparse

import numpy as np
import peft
import torch
import transformers
from safetensors.numpy import load_file


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("base", "folder", "given", "output"):
        parser.add_argument(name)
    parser.add_argument("--save")
    args = parser.parse_args()
    kind = peft.PeftConfig.from_pretrained(args.folder).task_type
    causal = kind == "CAUSAL_LM"
    auto = transformers.AutoModelForCausalLM if causal else transformers.AutoModel
    base = auto.from_pretrained(args.base, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(base, args.folder).eval()
    check_that_all_was_loaded(model, args.folder)
    tokens = torch.from_numpy(np.load(args.given)["tokens"].astype(np.int64))
    mask = (tokens != 0).long()
    with torch.no_grad():
        result = model(input_ids=tokens, attention_mask=mask)
        if causal:
            outputs = result.logits[:, -tokens.shape[1] :]  # not those of a prompt
        else:
            count = result.last_hidden_state.shape[1] - tokens.shape[1]
            mask = torch.nn.functional.pad(mask, (count, 0), value=1)
            weight = mask[..., None].float()
            outputs = (result.last_hidden_state * weight).sum(1) / weight.sum(1)
            outputs = torch.nn.functional.normalize(outputs, dim=-1)
    np.savez(args.output, outputs=outputs.numpy())
    if args.save:
        model.save_pretrained(args.save)


def check_that_all_was_loaded(model: peft.PeftModel, folder: str) -> None:
    """Peft warns of leaves that it does not find, and goes on."""
    loaded = peft.get_peft_model_state_dict(model)
    written = load_file(f"{folder}/adapter_model.safetensors")
    if set(loaded) != set(written):
        raise SystemExit(f"peft has {sorted(loaded)[:3]}, file {sorted(written)[:3]}")
    for name, leaf in written.items():
        np.testing.assert_array_equal(loaded[name].detach().numpy(), leaf, name)


if __name__ == "__main__":
    main()
