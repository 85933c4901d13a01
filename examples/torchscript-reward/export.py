"""Exports a reward for reno: any torch.nn.Module that takes pixels (N, 3, size, size) and returns scores (N).

    python export.py          # writes symmetry.pt
"""

import torch


class Symmetry(torch.nn.Module):
    """How alike the left and the right half of an image are: 1 for a mirror image of itself, less otherwise."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return 1 - (pixels - pixels.flip(-1)).abs().mean((1, 2, 3))


torch.jit.script(Symmetry()).save("symmetry.pt")
