"""Run directories as reno-run writes them, with invented numbers: what pages must cope with, at any size."""

import json
import math
import pathlib
import random
import struct
import zlib

EXPERIMENT = """[run]
task = "{task}"
prompt = "A red dog and a green cat"
mode = "optimize"
iterations = {iterations}
seed = 0
batch = 1
device = "auto"
dtype = "float32"
memory = "balanced"

[generator]
plugin = "sd-turbo"
weights = "stabilityai/sd-turbo"

{rewards}
[optimizer]
plugin = "sgd"
lr = 5.0

[regularization]
weight = 0.01
"""

WEIGHTS = {"hpsv2": 5.0, "imagereward": 1.0, "clip-score": 0.01, "pickscore": 0.05, "aesthetic": 0.0}
CEILINGS = {"hpsv2": 1, "imagereward": 2, "clip-score": 100, "pickscore": 30, "aesthetic": 10}
TYPICAL = {"hpsv2": (0.27, 0.01), "imagereward": (0.6, 0.5), "clip-score": (31.0, 2.0), "pickscore": (21.9, 0.6), "aesthetic": (5.8, 0.3)}


def png(size, colour):
    """A square of a gradient, as bytes of a PNG."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(max(0, min(255, c - 60 + 120 * (x + y) // (2 * size))) for x in range(size) for c in colour) for y in range(size))
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def measured(scores):
    losses = {name: CEILINGS[name] - score for name, score in scores.items()}
    return {"scores": scores, "losses": losses, "total": sum(WEIGHTS[name] * loss for name, loss in losses.items())}


def make_run(folder, prompts, rewards=tuple(WEIGHTS), iterations=50, seeds=(0,), labels=None, single=False, size=64, pictures=True, finished=True, frames=False, weights=None, luck=1, refined=False):
    """prompts: texts. labels: one dictionary per prompt. Deterministic."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    dice = random.Random(luck)
    weights = {**WEIGHTS, **(weights or {})}
    sections = "".join(f'[[reward]]\nplugin = "{name}"\nname = "{name}"\nweight = {weights[name]}\n\n' for name in rewards)
    (folder / "experiment.toml").write_text(EXPERIMENT.format(task="single" if single else "example-prompts", iterations=iterations, rewards=sections) + ("[refine]\nsteps = 4\n" if refined else ""))
    shades = [png(size, [dice.randrange(40, 220) for _ in range(3)]) for _ in range(12)]
    with (folder / "metrics.jsonl").open("w") as metrics, (folder / "results.jsonl").open("w") as results:
        for index, text in enumerate(prompts):
            for seed in seeds:
                place = folder if single else folder / f"{index:05}" / (f"{seed:05}" if len(seeds) > 1 else "")
                best, rows = None, []
                start = {name: dice.gauss(*TYPICAL[name]) for name in rewards}
                gain = dice.gauss(1.2, 0.8)
                for iteration in range(iterations):
                    reached = gain * (1 - math.exp(-iteration / 12))
                    scores = {name: start[name] + TYPICAL[name][1] * (reached + 0.15 * dice.gauss(0, 1) * (iteration > 0)) for name in rewards}
                    row = {"iteration": iteration, "prompt": index, "seed": seed, **measured(scores), "norm": 128 + reached, "regularization": -5.0,
                           "grad_norm": None if iteration + 1 == iterations else abs(dice.gauss(1, 0.2)), "seconds": 0.4 if iteration else 1.9}
                    rows.append(row)
                    if best is None or row["total"] < best["total"]:
                        best = row
                    metrics.write(json.dumps(row) + "\n")
                if pictures:
                    place.mkdir(parents=True, exist_ok=True)
                    for name in ("init_image.png", "best_image.png", *(("init_image_refined.png", "best_image_refined.png") if refined else ())):
                        (place / name).write_bytes(dice.choice(shades))
                    if frames:
                        (place / "images").mkdir()
                        for iteration in range(iterations):
                            (place / "images" / f"{iteration:05}.png").write_bytes(dice.choice(shades))
                if finished:
                    relative = place.relative_to(folder)
                    line = {"prompt": index, "seed": seed, "text": text, **({"labels": labels[index]} if labels else {}),
                            "initial": {key: rows[0][key] for key in ("scores", "losses", "total", "norm")},
                            "best": {key: best[key] for key in ("scores", "losses", "total", "norm")}, "best_iteration": best["iteration"],
                            "files": {"initial_image": str(relative / "init_image.png"), "best_image": str(relative / "best_image.png")}}
                    if refined:
                        line["refined"] = {key: measured({name: score + TYPICAL[name][1] for name, score in line[key]["scores"].items()}) for key in ("initial", "best")}
                        line["files"] |= {f"refined_{key}_image": str(relative / f"{file}_image_refined.png") for key, file in (("initial", "init"), ("best", "best"))}
                    results.write(json.dumps(line) + "\n")
    if finished:
        seconds = {"load": 4.2, "encode": 0.31, "optimize": 0.43 * iterations * len(prompts) * len(seeds), "per_iteration": 0.43,
                   "iteration": {"generate": 0.11, "decode": 0.05, "reward": {name: 0.02 for name in rewards}, "backward": {"rewards": 0.06, "generator": 0.1}, "step": 0.0004}}
        (folder / "results.json").write_text(json.dumps({
            "complete": True, "images": len(prompts) * len(seeds), "seconds": seconds, "peak_memory_bytes": 9_700_000_000, "seed": 0, "device": "cuda:0",
            "versions": {"reno": "0.1.0", "libtorch": "2.11.0", "build": "libtorch 2.11.0, g++ 12"}}))
    return folder


def make_sweep(folder, prompts, rewards=tuple(WEIGHTS), more_cells=0, **options):
    """Leave one out, over made-up runs. more_cells: how many further rows without a directory."""
    import csv

    folder = pathlib.Path(folder)
    cells = [("all", None)] + [(f"without {name}", name) for name in rewards]
    full = None
    rows = []
    for number, (cell, left_out) in enumerate(cells):
        place = f"{number:03} {cell}"
        make_run(folder / place, prompts, rewards, weights={left_out: 0.0} if left_out else {}, luck=number + 1, **options)
        results = [json.loads(line) for line in (folder / place / "results.jsonl").read_text().splitlines()]
        best = {name: [result["best"]["total"] if name == "total" else result["best"]["scores"][name] for result in results] for name in (*rewards, "total")}
        full = full or best
        for name, values in best.items():
            mean = sum(values) / len(values)
            error = 1.96 * math.sqrt(sum((value - mean) ** 2 for value in values)) / len(values)
            difference = mean - sum(full[name]) / len(values)
            rows.append([cell, place, "done", name, len(values), "", mean, mean - error, mean + error, *([difference, difference - error, difference + error] if number else ["", "", ""])])
    for number in range(more_cells):
        rows += [[f"optimizer.lr = {number}, \"quoted\"", f"more/{number}", "done", name, 5, "", 0.1 * number, 0.1 * number - 1, 0.1 * number + 1, 0.1 * number - 3, 0.1 * number - 4, 0.1 * number - 2] for name in (*rewards, "total")]
    rows.append(["broken", "999 broken", "failed", "", "", "", "", "", "", "", "", ""])
    with (folder / "sweep.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow("cell folder status reward images initial best low high difference difference_low difference_high".split())
        table.writerows(rows)
    (folder / "experiment.toml").write_text((folder / "000 all/experiment.toml").read_text() + '\n[sweep]\nkind = "leave-one-out"\n')
    return folder
