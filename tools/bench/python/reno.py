"""ReNO on diffusers and transformers: what reno-run races against. Started by tools/bench/race.

`--baseline published` does as the published implementation does: the prompt goes through the generator's and every
reward's text encoder in each iteration, one graph spans everything, and gradient checkpointing is asked for wherever
the libraries offer it. `--baseline tuned` is what is easily improved in Python: text once, no checkpointing.
Prints a JSON object per line: when the models are loaded, then each iteration.
"""

import argparse
import json
import math
import pathlib
import time

import torch

import rewards as reward_models

WEIGHTS = {"hpsv2": 5.0, "imagereward": 1.0, "clip-score": 0.01, "pickscore": 0.05}


class SdTurbo:
    """One step of Stable Diffusion: noise to an image in [0, 1]."""

    def __init__(self, folder, dtype):
        from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        def load(kind, part, **options):
            return kind.from_pretrained(folder, subfolder=part, **options)

        self.tokenizer = load(CLIPTokenizer, "tokenizer")
        self.scheduler = load(EulerDiscreteScheduler, "scheduler")
        self.text_encoder = reward_models.frozen(load(CLIPTextModel, "text_encoder", torch_dtype=dtype))
        self.unet = reward_models.frozen(load(UNet2DConditionModel, "unet", torch_dtype=dtype))
        self.vae = reward_models.frozen(load(AutoencoderKL, "vae", torch_dtype=dtype))

    @property
    def networks(self):
        return self.text_encoder, self.unet, self.vae

    def noise_shape(self, side):
        side = side // 2 ** (len(self.vae.config.block_out_channels) - 1) if side else self.unet.config.sample_size
        return 1, self.unet.config.in_channels, side, side

    def text(self, prompt):
        ids = self.tokenizer(prompt, padding="max_length", max_length=self.tokenizer.model_max_length, truncation=True,
                             return_tensors="pt").input_ids
        return self.text_encoder(ids.to(self.text_encoder.device))[0]

    def __call__(self, noise, text):
        self.scheduler.set_timesteps(1, device=noise.device)
        time_step = self.scheduler.timesteps[0]
        latents = noise * self.scheduler.init_noise_sigma
        scaled = self.scheduler.scale_model_input(latents, time_step)
        predicted = self.unet(scaled, time_step, encoder_hidden_states=text).sample
        latents = self.scheduler.step(predicted, time_step, latents).prev_sample
        return (self.vae.decode(latents / 0.18215).sample / 2 + 0.5).clamp(0, 1)


def ask_for_checkpointing(generator, rewards):
    generator.unet.enable_gradient_checkpointing()
    generator.text_encoder.gradient_checkpointing_enable()
    for reward in rewards.values():
        for method in ("set_grad_checkpointing", "gradient_checkpointing_enable"):
            if hasattr(reward.model, method):
                getattr(reward.model, method)()


def say(**values):
    print(json.dumps(values), flush=True)


def run(options):
    dtype, device = getattr(torch, options.dtype), torch.device(options.device)
    torch.set_default_dtype(dtype)  # the libraries build masks and constants in the default type
    torch.set_num_threads(options.threads)
    generator = SdTurbo(options.generator, dtype)
    rewards = {name: reward_models.load(name, folder, dtype) for name, folder in options.reward}
    for model in (*generator.networks, *(reward.model for reward in rewards.values())):
        model.to(device)
    published = options.baseline == "published"
    if published:
        ask_for_checkpointing(generator, rewards)

    shape = generator.noise_shape(options.side)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(options.seed), dtype=torch.float32)
    noise = torch.nn.Parameter(noise.to(device, dtype))
    optimizer = torch.optim.SGD([noise], lr=options.lr, momentum=0.9, nesterov=True)
    elements = math.prod(shape[1:])
    say(loaded=True)

    def encode():
        return generator.text(options.prompt), {name: reward.text(options.prompt) for name, reward in rewards.items()}

    texts = None
    for iteration in range(options.iterations):
        last = iteration + 1 == options.iterations
        started = time.monotonic()
        with torch.set_grad_enabled(not last):
            if texts is None or published:
                texts = encode()
            pixels = reward_models.preprocess(generator(noise, texts[0]))
            losses, total = {}, 0
            for name, reward in rewards.items():
                loss = reward.loss(pixels, texts[1][name])
                losses[name] = loss.item()
                total = total + WEIGHTS[name] * loss
            norm = torch.linalg.vector_norm(noise).float()
            penalty = 0.01 * (norm ** 2 / 2 - (elements - 1) * torch.log(norm))
        if not last:
            optimizer.zero_grad()
            (total + penalty.to(total.dtype)).backward()
            torch.nn.utils.clip_grad_norm_(noise, 0.1)
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        say(iteration=iteration, seconds=time.monotonic() - started, losses=losses, total=total.item())
    if device.type == "cuda":
        say(device_peak=torch.cuda.max_memory_allocated())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", type=pathlib.Path, required=True)
    parser.add_argument("--reward", nargs=2, action="append", default=[], metavar=("NAME", "FOLDER"))
    parser.add_argument("--baseline", choices=("published", "tuned"), default="published")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--side", type=int, default=0, help="of the image, in pixels; 0: the model's")
    parser.add_argument("--iterations", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=5.0)
    run(parser.parse_args())


if __name__ == "__main__":
    main()
