"""Writes checkpoints with random weights in the published models' file formats. Started by tools/bench/race.

Random weights cost the same work as trained ones. Folders and files are called as the published ones are, so an
experiment takes them like those.
"""

import argparse
import gzip
import importlib.util
import json
import pathlib
import shutil

import torch

SIZES = {
    "full": {  # Stable Diffusion 2.1, ViT-H/14, BLIP's ViT-L/16
        "unet": [320, 640, 1280, 1280], "heads": [5, 10, 20, 20], "vae": [128, 256, 512, 512], "text": 1024,
        "text_layers": 23, "clip": {"width": 1280, "layers": 32, "head": 80, "patch": 14, "text_width": 1024,
                                    "text_layers": 24, "embed": 1024},
        "blip": {"width": 1024, "layers": 24, "heads": 16, "text_width": 768, "text_layers": 12},
    },
    "medium": {  # the same networks at half the width, and ViT-B
        "unet": [160, 320, 640, 640], "heads": [5, 5, 10, 10], "vae": [64, 128, 256, 256], "text": 512,
        "text_layers": 12, "clip": {"width": 768, "layers": 12, "head": 64, "patch": 16, "text_width": 512,
                                    "text_layers": 12, "embed": 512},
        "blip": {"width": 768, "layers": 12, "heads": 12, "text_width": 384, "text_layers": 6},
    },
}


def randomised(module, seed):
    """Matrices scaled by their fan-in, so that signals neither die nor explode; norms near one; no biases."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 0.7 * parameter[0].numel() ** -0.5, generator=generator)
            elif "logit_scale" in name:
                parameter.fill_(4.6052)
            else:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
    return module


def merges():
    """CLIP's, which open_clip ships."""
    packed = pathlib.Path(importlib.util.find_spec("open_clip").origin).with_name("bpe_simple_vocab_16e6.txt.gz")
    return gzip.decompress(packed.read_bytes()).decode().split("\n")[1:48895]


def write_clip_tokenizer(folder):
    from transformers import CLIPTokenizer

    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(code) for code in visible] + [chr(256 + i) for i in range(256 - len(visible))]
    pairs = merges()
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair.split()) for pair in pairs),
             "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(pairs) + "\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77,
                  pad_token="<|endoftext|>").save_pretrained(folder)


def clip_text_sizes(width, layers, **more):
    return dict(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=width // 64,
                hidden_act="gelu", pad_token_id=1, bos_token_id=0, eos_token_id=2, **more)


def sd_turbo(folder, size, dtype):
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    def save(module, seed, part):
        randomised(module, seed).to(dtype).save_pretrained(folder / part)

    save(UNet2DConditionModel(sample_size=64, block_out_channels=size["unet"], attention_head_dim=size["heads"],
                              cross_attention_dim=size["text"], use_linear_projection=True), 1, "unet")
    save(AutoencoderKL(block_out_channels=size["vae"], layers_per_block=2, latent_channels=4, sample_size=512,
                       down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4), 2, "vae")
    save(CLIPTextModel(CLIPTextConfig(**clip_text_sizes(size["text"], size["text_layers"]))), 3, "text_encoder")
    EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
                           timestep_spacing="trailing").save_pretrained(folder / "scheduler")
    write_clip_tokenizer(folder / "tokenizer")


def clip(folder, size, dtype, seed):
    from transformers import CLIPConfig, CLIPModel

    c = size["clip"]
    vision = dict(hidden_size=c["width"], intermediate_size=4 * c["width"], num_hidden_layers=c["layers"],
                  num_attention_heads=c["width"] // c["head"], patch_size=c["patch"], hidden_act="gelu",
                  projection_dim=c["embed"])
    text = clip_text_sizes(c["text_width"], c["text_layers"], projection_dim=c["embed"])
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=c["embed"]))
    randomised(model, seed).to(dtype).save_pretrained(folder)
    write_clip_tokenizer(folder)


def hpsv2(folder, size, dtype):
    from open_clip.model import CLIP

    c = size["clip"]
    config = dict(embed_dim=c["embed"],
                  vision_cfg=dict(image_size=224, layers=c["layers"], width=c["width"], head_width=c["head"],
                                  patch_size=c["patch"]),
                  text_cfg=dict(context_length=77, vocab_size=49408, width=c["text_width"],
                                heads=c["text_width"] // 64, layers=c["text_layers"]))
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    write_clip_tokenizer(folder)
    with gzip.open(folder / "bpe_simple_vocab_16e6.txt.gz", "wt") as file:
        file.write("\n".join(['"bpe_simple_vocab_16e6.txt#version: 0.2', *merges()]))
    model = randomised(CLIP(**config), 7).to(dtype)
    torch.save({"state_dict": model.state_dict()}, folder / "HPS_v2.1_compressed.pt")


def imagereward(folder, size, dtype):
    import rewards

    b = size["blip"]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz",
             *("##" + letter for letter in "abcdefghijklmnopqrstuvwxyz"), "a", "and", "red", "green", "dog", "cat"]
    words = list(dict.fromkeys(words))
    words += [f"[unused{i}]" for i in range(30522 - len(words))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "model_dims.json").write_text(json.dumps(dict(
        patch_size=16, vision_width=b["width"], vision_layers=b["layers"], vision_heads=b["heads"],
        text_width=b["text_width"], text_layers=b["text_layers"], text_heads=b["text_width"] // 64)))
    (folder / "med_config.json").write_text(json.dumps(dict(
        architectures=["BertModel"], attention_probs_dropout_prob=0.1, hidden_act="gelu", hidden_dropout_prob=0.1,
        hidden_size=b["text_width"], initializer_range=0.02, intermediate_size=4 * b["text_width"],
        layer_norm_eps=1e-12, max_position_embeddings=512, model_type="bert",
        num_attention_heads=b["text_width"] // 64, num_hidden_layers=b["text_layers"], pad_token_id=0,
        type_vocab_size=2, vocab_size=30524, encoder_width=b["width"], add_cross_attention=True)))
    model = randomised(rewards.image_reward_network(folder), 9).to(dtype)
    torch.save(model.state_dict(), folder / "ImageReward.pt")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--dtype", choices=("float32", "float16"), required=True)
    parser.add_argument("models", nargs="+")
    options = parser.parse_args()
    size, dtype = SIZES[options.size], getattr(torch, options.dtype)
    for name in options.models:
        folder, unfinished = options.out / name, options.out / (name + ".unfinished")
        if folder.exists():
            continue
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        if name in ("clip", "pickscore"):
            clip(unfinished, size, dtype, seed=5 if name == "clip" else 6)
        else:
            {"sd-turbo": sd_turbo, "hpsv2": hpsv2, "imagereward": imagereward}[name](unfinished, size, dtype)
        unfinished.rename(folder)
        mebibytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) >> 20
        print(f"  {name}: {mebibytes} MiB", flush=True)


if __name__ == "__main__":
    main()
