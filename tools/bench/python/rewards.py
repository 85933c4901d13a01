"""The reward models on their own Python libraries, as ReNO's published implementation uses them.

Each class has `model` (the network), `text(prompt)` (what depends on the prompt alone) and `loss(pixels, text)`. Pixels
are those of `preprocess`; losses are the published ones, ceiling minus score.
"""

import importlib
import importlib.util
import json
import pathlib
import sys
import types

import torch
import torchvision.transforms.functional as image_functions

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
SIDE = 224


def preprocess(images):
    resized = image_functions.resize(images, SIDE, image_functions.InterpolationMode.BICUBIC, antialias=True)
    return image_functions.normalize(image_functions.center_crop(resized, SIDE), MEAN, DEVIATION)


def frozen(model):
    return model.eval().requires_grad_(False)


def cosine(a, b):
    return torch.nn.functional.normalize(a, dim=-1) @ torch.nn.functional.normalize(b, dim=-1).T


class ClipScore:
    """CLIPScore, and PickScore, which is a CLIP too."""

    def __init__(self, folder, dtype, ceiling=100.0):
        from transformers import AutoTokenizer, CLIPModel

        self.ceiling = ceiling
        self.model = frozen(CLIPModel.from_pretrained(folder, torch_dtype=dtype))
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def text(self, prompt):
        tokens = self.tokenizer(prompt, return_tensors="pt", padding=True, truncation=True, max_length=77)
        return self.model.get_text_features(**tokens.to(self.model.device))

    def loss(self, pixels, text):
        similarity = cosine(self.model.get_image_features(pixels), text)
        return self.ceiling - (self.model.logit_scale.exp() * similarity).mean()


class HPSv2:
    """An open_clip network; the logit scale is not used."""

    def __init__(self, folder, dtype):
        from open_clip.model import CLIP
        from open_clip.tokenizer import SimpleTokenizer

        folder = pathlib.Path(folder)
        self.model = CLIP(**json.loads((folder / "open_clip_config.json").read_text())["model_cfg"])
        checkpoint = torch.load(folder / "HPS_v2.1_compressed.pt", map_location="cpu", weights_only=True)
        self.model.load_state_dict(checkpoint["state_dict"])
        frozen(self.model.to(dtype))
        self.tokenizer = SimpleTokenizer(str(folder / "bpe_simple_vocab_16e6.txt.gz"))

    def text(self, prompt):
        return self.model.encode_text(self.tokenizer(prompt).to(self.model.logit_scale.device))

    def loss(self, pixels, text):
        return 1 - cosine(self.model.encode_image(pixels), text)[0, 0]


def image_reward_module(name):
    """A module of the package without what its `__init__`s bring in, which wants much that no network needs."""
    if "ImageReward" not in sys.modules:
        (root,) = importlib.util.find_spec("ImageReward").submodule_search_locations
        for package, folder in (("ImageReward", root), ("ImageReward.models", f"{root}/models")):
            sys.modules[package] = types.ModuleType(package)
            sys.modules[package].__path__ = [folder]
    return importlib.import_module(f"ImageReward.{name}")


def image_reward_network(folder):
    """The package has the sizes of its one checkpoint in its code, and takes BERT's vocabulary from the hub."""
    from transformers import BertTokenizer

    pretrain = image_reward_module("models.BLIP.blip_pretrain")
    vit = image_reward_module("models.BLIP.vit")
    reward = image_reward_module("ImageReward")
    folder = pathlib.Path(folder)
    sizes = json.loads((folder / "model_dims.json").read_text())

    def tower(_name, image_size, *_):
        width = sizes["vision_width"]
        return vit.VisionTransformer(img_size=image_size, patch_size=sizes["patch_size"], embed_dim=width,
                                     depth=sizes["vision_layers"], num_heads=sizes["vision_heads"]), width

    def tokenizer():
        words = BertTokenizer(str(folder / "vocab.txt"))
        words.add_special_tokens({"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]})
        words.enc_token_id = words.additional_special_tokens_ids[0]
        return words

    head = reward.MLP
    pretrain.create_vit, pretrain.init_tokenizer = tower, tokenizer
    reward.MLP = lambda _width: head(sizes["text_width"])
    try:
        return reward.ImageReward(med_config=str(folder / "med_config.json"), device="cpu")
    finally:
        reward.MLP = head


class ImageReward:
    """BLIP reads the prompt while it looks at the image: nothing but the token ids depends on the prompt alone."""

    def __init__(self, folder, dtype):
        self.model = image_reward_network(folder)
        state = torch.load(pathlib.Path(folder) / "ImageReward.pt", map_location="cpu", weights_only=True)
        missing = self.model.load_state_dict(state, strict=False).missing_keys
        if missing:
            raise SystemExit(f"{folder}/ImageReward.pt lacks {', '.join(missing[:3])}")
        frozen(self.model.to(dtype))

    def text(self, prompt):
        tokens = self.model.blip.tokenizer(prompt, padding="max_length", truncation=True, max_length=35,
                                           return_tensors="pt")
        return tokens.to(next(self.model.parameters()).device)

    def loss(self, pixels, text):
        seen = self.model.blip.visual_encoder(pixels)
        attended = torch.ones(seen.shape[:-1], dtype=torch.long, device=seen.device)
        states = self.model.blip.text_encoder(
            text.input_ids, attention_mask=text.attention_mask, encoder_hidden_states=seen,
            encoder_attention_mask=attended, return_dict=True).last_hidden_state
        score = (self.model.mlp(states[:, 0]) - self.model.mean) / self.model.std
        return (2 - score).mean()


def load(name, folder, dtype):
    if name == "pickscore":
        return ClipScore(folder, dtype, ceiling=30.0)
    return {"clip-score": ClipScore, "hpsv2": HPSv2, "imagereward": ImageReward}[name](folder, dtype)
