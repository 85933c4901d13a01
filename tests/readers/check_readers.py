#!/usr/bin/env python3
"""What reno writes is opened by the programs that people open it with.

    tests/readers/check_readers.py [BUILD]        BUILD: build/release by default

Installs TensorBoard and Pillow into BUILD/readers-venv, runs the quickstart for three iterations with
`run.tensorboard = true`, and reads event files and PNGs back. Exit status: 0 as it should be, 1 not,
77 skipped (no package index to install from).
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parents[2]
build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else root / "build/release").resolve()
venv = build / "readers-venv"
python = venv / "bin/python"


def enter_venv():
    """Starts this script again under the venv's Python, with the readers installed."""
    if pathlib.Path(sys.prefix) == venv:
        return
    if subprocess.run([python, "-c", "import tensorboard, PIL"], capture_output=True).returncode if python.exists() else True:
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "tensorboard", "pillow"]
        if subprocess.run(pip).returncode != 0:
            print("SKIPPED: TensorBoard and Pillow cannot be installed here")
            sys.exit(77)
    sys.exit(subprocess.run([python, __file__, build]).returncode)


def check(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def check_events(run, metrics, folder):
    from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator

    events = EventAccumulator(str(run / "tensorboard" / folder), size_guidance={SCALARS: 0, IMAGES: 0})
    events.Reload()
    lines = [line for line in metrics if line["prompt"] == int(folder)]
    expected = {
        **{f"score/{name}": [line["scores"][name] for line in lines] for name in lines[0]["scores"]},
        "loss/total": [line["total"] for line in lines],
        "loss/regularization": [line["regularization"] for line in lines],
        "noise/norm": [line["norm"] for line in lines],
        "noise/grad_norm": [line["grad_norm"] for line in lines if line["grad_norm"] is not None],
        "time/seconds": [line["seconds"] for line in lines],
    }
    check(set(events.Tags()["scalars"]) == set(expected), f"{folder}: the scalars are {events.Tags()['scalars']}")
    for tag, values in expected.items():
        read = events.Scalars(tag)
        check([item.step for item in read] == list(range(len(values))), f"{folder}: steps of {tag}")
        check(all(abs(a.value - b) <= 1e-6 * max(1, abs(b)) for a, b in zip(read, values)), f"{folder}: values of {tag}")
    check(set(events.Tags()["images"]) == {"image/initial", "image/best"}, f"{folder}: the images are {events.Tags()['images']}")
    return {tag: events.Images(tag)[-1] for tag in events.Tags()["images"]}


def check_pictures(run, folder, images, texts):
    import io

    import PIL.Image

    for tag, name in (("image/initial", "init_image.png"), ("image/best", "best_image.png")):
        picture = PIL.Image.open(run / folder / name)
        event = PIL.Image.open(io.BytesIO(images[tag].encoded_image_string))
        check((images[tag].width, images[tag].height) == picture.size, f"{folder}/{name}: size")
        check(event.tobytes() == picture.tobytes(), f"{folder}/{name}: TensorBoard shows other pixels")
        prompt, parameters = picture.info["parameters"].rsplit("\n", 1)
        check(prompt == texts[folder], f"{folder}/{name}: the prompt is {prompt!r}")
        check(re.fullmatch(r"Steps: 1, Sampler: ReNO sgd, Seed: 0, Size: 64x64, Model: sd-turbo, .*", parameters), parameters)
        details = json.loads(picture.info["reno"])
        check(details["text"] == texts[folder] and "[generator]" in details["experiment"], f"{folder}/{name}: reno chunk")


def main():
    enter_venv()
    with tempfile.TemporaryDirectory() as temporary:
        run = pathlib.Path(temporary) / "run"
        prompts = ["a photo of a red circle", "caf\u00e9, ein gr\u00fcnes Kreuz", "\u7d05\u3044\u5186 and a \U0001F7E6 square"]
        (pathlib.Path(temporary) / "prompts.txt").write_text("\n".join(prompts) + "\n", encoding="utf-8")
        command = [build / "bin/reno-run", root / "configs/quickstart.toml", "--quiet", "--output", run]
        for setting in ("iterations=3", "tensorboard=true", "device=cpu", f"prompts={temporary}/prompts.txt"):
            command += ["--set", f"run.{setting}"]
        subprocess.run(command, check=True, cwd=root)
        metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        texts = {f"{index:05}": prompt for index, prompt in enumerate(prompts)}
        for folder in texts:
            check_pictures(run, folder, check_events(run, metrics, folder), texts)
    import PIL
    import tensorboard

    print(f"passed: TensorBoard {tensorboard.__version__} and Pillow {PIL.__version__} read {len(prompts)} prompts back")


main()
