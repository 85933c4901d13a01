"""An experiment for reno-run, as text, and what a run of it left."""

import json
import pathlib

from . import process

ROOT = pathlib.Path(__file__).resolve().parents[3]
MODELS = {  # folder of a reward's weights where it is not its name
    "clip-score": "clip",
}


def toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(str(value)) if isinstance(value, (str, pathlib.Path)) else repr(value)


def experiment(run, generator, rewards, **sections):
    """Sections are dicts; `rewards` is a list of them."""
    parts = [("[run]", run), ("[generator]", generator), *(("[[reward]]", reward) for reward in rewards),
             *((f"[{name}]", section) for name, section in sections.items())]
    return "\n".join(
        f"{title}\n" + "".join(f"{key} = {toml(value)}\n" for key, value in section.items()) for title, section in parts
    )


def reward(name, folder, **options):
    return {"plugin": name, "weights": pathlib.Path(folder) / MODELS.get(name, name), **options}


def run(program, text, folder, threads):
    """Runs the experiment in `folder`, which must be empty, and measures it."""
    folder.mkdir(parents=True)
    file, output = folder / "experiment.toml", folder / "output"
    file.write_text(text)
    metrics = output / "metrics.jsonl"

    def evaluations(_):
        return metrics.read_bytes().count(b"\n") if metrics.exists() else 0

    measured = process.measure([program, file, "--output", output, "--quiet"], {"OMP_NUM_THREADS": str(threads)}, evaluations)
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    return measured, lines, json.loads((output / "results.json").read_text())
