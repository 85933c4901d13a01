"""Reduces a complete model of the reference data to what fits into this repository.

    python make_recipes.py COMPLETE/generators OUTPUT/generators

The weights were drawn from seeded normal distributions, so that they need not be stored: weights.json tells how each
tensor is drawn, in order, and stored.safetensors has those few that were scaled afterwards. tests/support/drawn_models.hpp
writes the files from that. Every drawn tensor is compared with the original, bit for bit. Of the numbers, those that follow
from others are left out. It needs the packages of tools/bench/python/requirements.txt.
"""

import json
import pathlib
import re
import shutil
import sys
import zlib

import diffusers
import torch
import transformers
from safetensors.torch import load_file, save_file

# Of each file of weights: the class that tells the order of its parameters, and the label of its random numbers.
CLIP, CLIP_PROJECTED, T5 = "CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel"
UNET, VAE, FLUX = "UNet2DConditionModel", "AutoencoderKL", "FluxTransformer2DModel"


def sdxl(root, label, unet, vae):
    return {f"{root}/text_encoder/model": (CLIP, f"{label}.text"), f"{root}/text_encoder_2/model": (CLIP_PROJECTED, f"{label}.text_2"),
            unet: (UNET, f"{label}.unet"), vae: (VAE, f"{label}.vae")}


MODELS = {
    "sdxl-turbo": sdxl("model", "xl", "model/unet/diffusion_pytorch_model", "vae-fp16-fix/diffusion_pytorch_model"),
    "hyper-sd": sdxl("base", "hyper", "Hyper-SDXL-1step-Unet", "base/vae/diffusion_pytorch_model"),
    "flux-schnell": {"model/text_encoder/model": (CLIP, "flux.text"), "model/text_encoder_2/model": (T5, "flux.t5"),
                     "model/transformer/diffusion_pytorch_model": (FLUX, "flux.dit"),
                     "model/vae/diffusion_pytorch_model": (VAE, "flux.vae")},
}
CONFIGS = {"Hyper-SDXL-1step-Unet": "base/unet"}  # where it is not beside the weights
# Numbers that follow from others, and more of a kind.
DROPPED = re.compile(r"tap\.vae\..*|multi\..*_latents|text\.(1|2|6)\..*|tap\.text_encoder_2\.encoder\.block\..*|img_ids|"
                     r"tap\.transformer\.pos_embed")


def skeleton(cls, folder):
    config = json.loads((folder / "config.json").read_text())
    if hasattr(transformers, cls):
        return getattr(transformers, cls)(getattr(transformers, cls).config_class.from_dict(config))
    return getattr(diffusers, cls).from_config(config)


def read(folder, stem):
    index = folder / f"{stem}.safetensors.index.json"
    if not index.exists():
        return load_file(folder / f"{stem}.safetensors")
    tensors = {}
    for shard in set(json.loads(index.read_text())["weight_map"].values()):
        tensors |= load_file(index.parent / shard)
    return tensors


def candidates(noise):
    """Ways in which a tensor may follow from its random numbers: factor, fan-in, summand."""
    fan_in = noise[0].numel() if noise.ndim > 1 else 1
    for times in (1.0, 0.1, 0.15, 0.3, 0.5, 0.05, 8**-0.5):
        for over in {fan_in, 1}:
            for plus in (0, 1):
                yield times, over, plus


def drawn(noise, times, over, plus):
    value = noise * times
    if over != 1:
        value = value / over**0.5
    return value + plus if plus else value


def recipe(module, tensors, label):
    seed = zlib.crc32(f"w/{label}".encode()) & 0x7FFFFFFF
    generator = torch.Generator("cpu").manual_seed(seed)
    steps, stored = [], {}
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        way = next((way for way in candidates(noise) if torch.equal(drawn(noise, *way), tensors[name])), None)
        steps.append([name, list(parameter.shape), *(way or ())])
        if way is None:
            stored[name] = tensors[name]
    missing = set(tensors) - {name for name, *_ in steps}
    assert not missing, missing
    return {"seed": seed, "tensors": steps}, stored


def copy_unless(drawn_stems):
    """Copies a file, unless it has weights that are drawn."""
    def copy(source, target):
        if not re.search(f"/({'|'.join(map(re.escape, drawn_stems))})(-0.*)?\\.safetensors$", str(source)):
            shutil.copyfile(source, target)
    return copy


def main(complete, output):
    for name in MODELS:
        source, target = pathlib.Path(complete) / name, pathlib.Path(output) / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("tokenizer.json"), copy_function=copy_unless(MODELS[name]))
        pieces, same = target / "model/tokenizer_2/spiece.model", pathlib.Path("../../../pixart/base/tokenizer/spiece.model")
        if pieces.exists() and pieces.read_bytes() == (pieces.parent / same).read_bytes():
            pieces.unlink()
            pieces.symlink_to(same)
        recipes, stored = {}, {}
        for stem, (cls, label) in MODELS[name].items():
            config = source / CONFIGS.get(stem, str(pathlib.Path(stem).parent))
            recipes[stem], kept = recipe(skeleton(cls, config), read(source, stem), label)
            stored |= {f"{stem}:{key}": value for key, value in kept.items()}
            print(name, stem, len(recipes[stem]["tensors"]), "tensors,", "stored:", *kept)
        lines = [f' {json.dumps(stem)}: {{"seed": {r["seed"]}, "tensors": [\n  ' + ",\n  ".join(json.dumps(t, separators=(",", ":")) for t in r["tensors"]) + "\n ]}"
                 for stem, r in recipes.items()]
        (target / "weights.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
        save_file(stored, target / "stored.safetensors")
        numbers = {k: v for k, v in load_file(source / "golden.safetensors").items() if not DROPPED.fullmatch(k)}
        save_file(numbers, target / "golden.safetensors")
        golden = (target / "golden.json").read_text()
        kept = [i for i in json.loads(golden)["embed_prompts"] if f"text.{i}.prompt_embeds" in numbers]
        (target / "golden.json").write_text(re.sub(r'"embed_prompts": \[.*?\]', f'"embed_prompts": {kept}', golden))


main(*sys.argv[1:])
