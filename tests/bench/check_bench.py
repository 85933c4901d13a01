#!/usr/bin/env python3
"""The programs that measure, on networks so small that only whether they work can be seen.

    python3 tests/bench/check_bench.py race|curves build/release/bin/reno-run

race: reno-run and the Python libraries come to the same losses; status 77 where the libraries are not there (the
environment that tools/bench/race makes, or the interpreter RENO_RACE_PYTHON). curves: tables, numbers and a picture.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

BENCH = pathlib.Path(__file__).resolve().parents[2] / "tools" / "bench"
SKIPPED = 77
# How far losses may be from the Python libraries', in float32: the tests' tolerances of single rewards, and of the
# sum that is optimised.
TOLERANCES = {"clip-score": 3e-4, "pickscore": 3e-4, "imagereward": 5e-5, "hpsv2": 1e-5, "total": 1e-4}
MEMORY = ("resident", "anonymous")


def check(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    print(done.stdout + done.stderr)
    if done.returncode == SKIPPED:
        sys.exit(SKIPPED)
    check(done.returncode == 0, f"{command[0]} ended with status {done.returncode}")
    return done.stdout


def check_race(program, folder):
    options = ["--size", "tiny", "--iterations", 4, "--rounds", 1, "--threads", 1, "--skip"]
    if "RENO_RACE_PYTHON" in os.environ:
        options += ["--python", os.environ["RENO_RACE_PYTHON"]]
    table = run(BENCH / "race", *options, "--reno-run", program, "--json", folder / "race.json")
    for row in ("one iteration", "start to end of loading", "peak resident memory", "Largest difference of a loss"):
        check(row in table, f"the table has no '{row}'")
    (turns,) = json.loads((folder / "race.json").read_text())["rounds"]
    ours, theirs = turns["reno-run"], turns["python"]
    for turn in (ours, theirs):
        check(len(turn["seconds"]) == 4 and all(seconds > 0 for seconds in turn["seconds"]), "four timed iterations")
        check(0 < turn["loaded"] < turn["first"], f"loading ends at {turn['loaded']} s, the first iteration at {turn['first']} s")
        check(2**20 < turn["anonymous"] <= turn["resident"], f"memory: {[turn[kind] for kind in MEMORY]}")
        check(turn["processor"] >= 0, "processor time")
    for name, tolerance in TOLERANCES.items():
        difference = abs(ours["losses"][0][name] - theirs["losses"][0][name])
        check(difference <= tolerance, f"{name} differs by {difference} in the first iteration")
    falls = [turn["losses"][0]["total"] - turn["losses"][3]["total"] for turn in (ours, theirs)]
    check(all(fall > 0.1 for fall in falls) and abs(falls[0] - falls[1]) < 0.02 * falls[1], f"the loss falls by {falls}")


def check_curves(program, folder):
    tables = run(BENCH / "curves", "--batches", 1, 2, "--sides", 64, "--rewards", "clip-score", "--iterations", 3, "--rounds", 1,
                 "--threads", 1, "--reno-run", program, "--json", folder / "curves.json", "--svg", folder / "curves.svg")
    check(tables.count("\n| --:") == 3, "three tables")
    points = json.loads((folder / "curves.json").read_text())["points"]
    check(len(points) == 2 * 4 + 2 + 1, f"{len(points)} points")
    check(all(row["seconds"] > 0 and row["memory"] > 2**20 for point in points for row in point["rounds"]), "numbers")
    svg = "{http://www.w3.org/2000/svg}"
    picture = xml.etree.ElementTree.parse(folder / "curves.svg").getroot()
    check(len(picture.findall(f"{svg}g")) == 6, "six panels")
    check(len(picture.findall(f".//{svg}circle")) == 2 * (3 + 1 + 4) + 2 + 2 + 1, "a dot for each point")


def main():
    what, program = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory(prefix="reno-bench-") as folder:
        {"race": check_race, "curves": check_curves}[what](program, pathlib.Path(folder))


if __name__ == "__main__":
    main()
