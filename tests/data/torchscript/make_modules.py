"""Writes small TorchScript modules and what PyTorch computes from them, for the tests of the reward `torchscript`.

    pip install torch==2.11.0 safetensors==0.4.5
    python make_modules.py

Each module follows the convention of plugins/rewards/torchscript: forward(pixels), forward(pixels, ids), or
encode_text(ids) and forward(pixels, features). The images are 20x20 and the vocabulary has 1000 ids.
"""

import io
import pathlib
import zipfile

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
SIZE, VOCABULARY, LENGTH, WIDTH = 20, 1000, 12, 4


class Pixels(torch.nn.Module):
    """No text; dropout, which must be off; scores of shape (N, 1)."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, WIDTH, 5, stride=3)
        self.norm = torch.nn.LayerNorm(WIDTH)
        self.dropout = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(WIDTH, 1)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        hidden = torch.nn.functional.gelu(self.conv(pixels)).flatten(2).transpose(1, 2)
        return self.dropout(self.norm(hidden)).mean(1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(pixels))


class Ids(Pixels):
    """Token ids at every call, through a buffer of integers, which no change of dtype may touch."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCABULARY, WIDTH)
        self.register_buffer("positions", torch.arange(LENGTH))
        self.position_embedding = torch.nn.Embedding(LENGTH, WIDTH)

    def text(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.embedding(ids) + self.position_embedding(self.positions)
        return torch.tanh(hidden).mean(1)

    def forward(self, pixels: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return (self.features(pixels) * self.text(ids)).sum(1)


class Encoded(Ids):
    """The text is encoded once; its features are a tuple."""

    @torch.jit.export
    def encode_text(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.text(ids), (ids > 0).sum(1)

    def forward(self, pixels: torch.Tensor, text: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        features, count = text
        return (self.features(pixels) * features).sum(1) / (1 + count)


class BlackBox(torch.nn.Module):
    """A score that has no gradient."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels.flatten(1) > 0.5).sum(1).float() / pixels[0].numel()


class Fails(torch.nn.Module):
    """Everything that can go wrong, chosen by `mode`."""

    def __init__(self, mode: str):
        super().__init__()
        self.mode = mode

    def forward(self, pixels: torch.Tensor):
        if self.mode == "raises":
            raise ValueError("the sky is not blue")
        if self.mode == "mismatch":
            return pixels.flatten(1) @ torch.ones(7, 7)
        return pixels.mean((2, 3))


def save(module, name):
    """Without the names of the source files, which differ from machine to machine."""
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    with zipfile.ZipFile(buffer) as archive, zipfile.ZipFile(HERE / name, "w") as slim:
        for entry in archive.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                slim.writestr(zipfile.ZipInfo(entry.filename), archive.read(entry))


def reference(name, module, text, tensors):
    module.eval()
    pixels = tensors["pixels"].clone().requires_grad_(True)
    scores = module(pixels, *text).reshape(-1)
    tensors[f"{name}.scores"] = scores.detach()
    tensors[f"{name}.gradient"] = torch.autograd.grad(scores.sum(), pixels)[0]


def main():
    torch.manual_seed(0)
    tensors = {"pixels": torch.randn(2, 3, SIZE, SIZE), "ids": torch.randint(0, VOCABULARY, (2, LENGTH))}
    pixels, ids, encoded = Pixels(), Ids(), Encoded()
    reference("pixels", pixels, [], tensors)
    reference("ids", ids, [tensors["ids"]], tensors)
    reference("encoded", encoded, [encoded.encode_text(tensors["ids"])], tensors)
    for module in (pixels, ids, encoded):
        module.train()  # files are often written in this state
    save(torch.jit.script(pixels), "pixels.pt")
    save(torch.jit.script(ids), "ids.pt")
    save(torch.jit.script(encoded), "encoded.pt")
    save(torch.jit.trace(pixels.eval(), tensors["pixels"]), "traced.pt")
    save(torch.jit.script(BlackBox()), "black_box.pt")
    for mode in ("raises", "mismatch", "matrix"):
        save(torch.jit.script(Fails(mode)), f"{mode}.pt")
    torch.save(pixels.state_dict(), HERE / "state_dict.pt")
    save_file(tensors, HERE / "golden.safetensors")


if __name__ == "__main__":
    main()
