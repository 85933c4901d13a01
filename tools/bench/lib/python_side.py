"""The Python environment and the random weights that the race needs, made when they are missing and nobody is against it."""

import os
import pathlib
import shutil
import subprocess
import sys

from . import process
from .reno import MODELS, ROOT

SIDE = ROOT / "tools" / "bench" / "python"
FOLDER = ROOT / "build" / "race"
PACKAGES = "torch, torchvision, diffusers, transformers, open_clip.model, timm, fairscale, ImageReward"
ENVIRONMENT_BYTES = 6 * 2**30
# Millions of parameters, those that the optimisation does not use (the encoder of the VAE) among them.
PARAMETERS = {
    "full": {"sd-turbo": 1290, "clip-score": 986, "pickscore": 986, "hpsv2": 986, "imagereward": 449},
    "medium": {"sd-turbo": 308, "clip-score": 150, "pickscore": 150, "hpsv2": 150, "imagereward": 118},
}


class Missing(Exception):
    pass


def works(python):
    """Whether that interpreter has what the Python side imports; the packages are looked for, not loaded."""
    check = "import importlib.util as u, sys; sys.exit(not all(u.find_spec(n) for n in sys.argv[1].split(', ')))"
    names = ", ".join(name.partition(".")[0] for name in PACKAGES.split(", "))
    try:
        return subprocess.run([python, "-c", check, names], capture_output=True).returncode == 0
    except OSError:
        return False


def find_python(given):
    """The interpreter that was asked for, or the environment made earlier; None where there is none yet."""
    if given:
        if not works(given):
            raise Missing(f"--python {given} cannot import all of {PACKAGES}; "
                          f"{SIDE / 'requirements.txt'} lists the packages")
        return given
    own = FOLDER / "venv" / "bin" / "python"
    return own if works(own) else None


def make_python():
    venv = FOLDER / "venv"
    shutil.rmtree(venv, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    install = [venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-cache-dir",
               "--disable-pip-version-check"]
    subprocess.run([*install, "-r", SIDE / "requirements.txt"], check=True)
    subprocess.run([*install, "--no-deps", "-r", SIDE / "requirements-no-deps.txt"], check=True)
    python = venv / "bin" / "python"
    if not works(python):
        raise Missing(f"{venv} was made, and still lacks one of {PACKAGES}")
    return python


def weights_folder(size, dtype):
    return FOLDER / "models" / f"{size}-{dtype}"


def missing_weights(folder, names):
    return [name for name in names if not (folder / MODELS.get(name, name)).exists()]


def weights_bytes(size, names, dtype):
    return sum(PARAMETERS[size][name] for name in names) * 10**6 * (4 if dtype == "float32" else 2)


def make_weights(python, size, dtype, names, folder):
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([python, SIDE / "make_models.py", "--out", folder, "--size", size, "--dtype", dtype,
                    *(MODELS.get(name, name) for name in names)], check=True)


def ask(lines, agreed):
    """Says what is going to be made. Without a terminal to answer from, `--yes` is needed."""
    print("\n".join(lines))
    if agreed:
        return
    if not sys.stdin.isatty():
        raise Missing("add --yes to agree")
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise Missing("nothing was made")


def require_space(folder, wanted):
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise Missing(f"{folder}: {process.gib(wanted)} are needed, {process.gib(free)} are free")


def warm(*folders):
    """Reads all files once, so that neither side waits for the disk. No use where they do not fit into memory."""
    files = {file.resolve() for folder in folders for file in pathlib.Path(folder).rglob("*") if file.is_file()}
    if sum(file.stat().st_size for file in files) > process.available_memory() // 2:
        return False
    for file in files:
        with open(file, "rb") as stream:
            while stream.read(1 << 24):
                pass
    return True


def offline():
    """Nothing is fetched from anywhere while the race is on."""
    return {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
            "PYTHONWARNINGS": "ignore", "PYTHONPATH": os.pathsep.join([str(SIDE)])}
