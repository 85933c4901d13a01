"""What transformers computes with a T5 encoder in half precision, from the tiny checkpoint beside.

    python make_t5_half.py      # torch 2.11, transformers 4.44, accelerate

`float16.kept`: loaded in float16, where the library keeps the feed-forward's output weights in float32.
`float16.cast`, `bfloat16`: the float32 model cast as a whole. All with the mask of the first prompt.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import T5EncoderModel

here = Path(__file__).parent
pixart = here.parent / "goldens/a/generators/pixart"
tokens = json.loads((pixart / "golden.json").read_text())["tokens"]["tokenizer"]["prompts"][0]
ids = torch.tensor([tokens["ids"]])
mask = load_file(pixart / "golden.safetensors")["text.0.attention_mask"]
folder = pixart / "base/text_encoder"


def states(model):
    with torch.no_grad():
        return model(ids, attention_mask=mask)[0].contiguous()


kept = T5EncoderModel.from_pretrained(folder, torch_dtype=torch.float16)
assert kept.encoder.block[0].layer[1].DenseReluDense.wo.weight.dtype == torch.float32
assert kept.encoder.block[0].layer[1].DenseReluDense.wi_0.weight.dtype == torch.float16
save_file(
    {
        "float16.kept": states(kept),
        "float16.cast": states(T5EncoderModel.from_pretrained(folder).half()),
        "bfloat16": states(T5EncoderModel.from_pretrained(folder).bfloat16()),
    },
    here / "t5_half.safetensors",
)
