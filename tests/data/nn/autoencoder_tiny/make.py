"""Writes a small AutoencoderTiny with random weights, and what diffusers computes from it in float32 on the CPU.

    python make.py      (torch, diffusers 0.30, safetensors)

golden.safetensors: `z` latents, `decoded` what the decoder makes of them, `image` that in [0, 1], `weights` W, and `grad`,
the gradient of sum(image * W) in z.
"""

import pathlib

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

folder = pathlib.Path(__file__).resolve().parent
generator = torch.Generator().manual_seed(0)
torch.set_num_threads(1)
model = AutoencoderTiny(
    encoder_block_out_channels=(8, 8, 8),
    decoder_block_out_channels=(8, 8, 8),
    num_encoder_blocks=(1, 1, 1),
    num_decoder_blocks=(2, 1, 1),
    latent_channels=4,
    scaling_factor=0.5,
).eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        scale = 0.9 * parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
        parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    model.decoder.layers[-1].bias += 0.5  # images around grey
model.save_pretrained(folder)

z = (2 * torch.randn(2, 4, 5, 7, generator=generator)).requires_grad_()
decoded = model.decode(z).sample
image = (decoded / 2 + 0.5).clamp(0, 1)
weights = torch.randn(image.shape, generator=generator)
(image * weights).sum().backward()
inside = ((image > 0) & (image < 1)).float().mean().item()
print(f"decoded {decoded.min():.2f} to {decoded.max():.2f}; {100 * inside:.0f} % of the pixels inside the bounds")
save_file({"z": z.detach(), "decoded": decoded.detach(), "image": image.detach(), "weights": weights, "grad": z.grad},
          str(folder / "golden.safetensors"))
