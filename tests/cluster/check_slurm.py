#!/usr/bin/env python3
"""A sweep on a real Slurm: munged, slurmctld and slurmd of Debian's slurm-wlm, started here for one node.

    python3 tests/cluster/check_slurm.py build/release/bin/reno-run

Runs a sweep of more than 200 cells in four local processes and as an array job with a GPU for each task (two are
invented; no program looks for them), of which one task is interrupted as before its time limit, and compares the
tables byte for byte. Then a run that takes longer than its time limit: Slurm interrupts it and queues it again, as
often as need be, and it ends as one that nobody interrupts. Needs root, as slurmd does. Where Slurm is not installed
or cannot be started, the script says so and ends with status 77.
"""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


class Skipped(Exception):
    pass


SHAPES = REPOSITORY / "examples" / "shapes"
GENERATOR_AND_REWARD = f"""
[generator]
plugin = "sd-turbo"
weights = "{SHAPES}/generator"

[[reward]]
plugin = "clip-score"
weight = 1.0
weights = "{SHAPES}/rewards/clip"
"""


def sweep_file(folder):
    (folder / "prompts.txt").write_text("a red circle\na blue square above a green cross\n")
    file = folder / "sweep.toml"
    file.write_text(
        f"""
[run]
task = "example-prompts"
prompts = "prompts.txt"
iterations = 2
batch = 1
device = "cpu"
{GENERATOR_AND_REWARD}
[[reward]]
plugin = "pickscore"
weight = 1.0
weights = "{SHAPES}/rewards/pickscore"

[optimizer]
plugin = "sgd"

[sweep]
kind = "leave-one-out"
seeds = [0, 1]

[sweep.grid]
"optimizer.lr" = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0]
"regularization.weight" = [0.0, 0.001, 0.01, 0.02, 0.03]

[launcher]
shards = 4
cpus = 1
gpus = 1
time = "10:00"
grace_seconds = 30
options = ["--mem=0"]
setup = ["echo GPUs: $CUDA_VISIBLE_DEVICES."]
"""
    )
    return file


def timed_file(folder):
    """One image whose optimisation is to take longer than Slurm's shortest limit, a minute. Slurm looks every half
    minute, so a task is told between 15 and 45 seconds after its beginning."""
    file = folder / "timed.toml"
    file.write_text(
        f"""
[run]
prompt = "a red circle"
iterations = 20
device = "cpu"
{GENERATOR_AND_REWARD}
[launcher]
shards = 1
cpus = 1
gpus = 0
time = "1:00"
grace_seconds = 15
options = ["--mem=0"]
"""
    )
    return file


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


class Slurm:
    """A controller and a node, as long as it lives."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []

    def __enter__(self):
        for program in ("munged", "slurmctld", "slurmd", "sbatch"):
            if shutil.which(program) is None:
                raise Skipped(f"{program} is not installed (apt-get install slurm-wlm)")
        if os.geteuid() != 0:
            raise Skipped("slurmd needs root")
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        folder = self.folder
        folder.chmod(0o755)
        (folder / "key").write_bytes(os.urandom(128))
        (folder / "key").chmod(0o600)
        munge = folder / "munge.socket"
        self.launch("munged", "--foreground", "--force", f"--key-file={folder}/key", f"--socket={munge}",
                    f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
                    f"--seed-file={folder}/munged.seed")
        host = socket.gethostname().split(".")[0]
        (folder / "slurm.conf").write_text(
            f"""
ClusterName=reno
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={munge}
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=1,sched_interval=1
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
        )
        (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
        (folder / "state").mkdir()
        (folder / "spool").mkdir()
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        self.wait_for(munge.exists, "munged")
        self.launch("slurmctld", "-D")
        self.launch("slurmd", "-D")
        self.wait_for(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%T"), "a node")

    def launch(self, *command):
        log = open(self.folder / f"{command[0]}.out", "wb")
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))

    def wait_for(self, condition, what):
        for _ in range(300):
            if condition():
                return
            ended = [p.args[0] for p in self.processes if p.poll() is not None]
            if ended:
                said = (self.folder / f"{ended[0]}.out").read_text(errors="replace").strip().splitlines()
                raise Skipped(f"{ended[0]} cannot run here: {said[-1] if said else 'no reason given'}")
            time.sleep(0.1)
        raise Skipped(f"{what} did not come up within half a minute")

    @staticmethod
    def ask(*command):
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout

    def __exit__(self, *_):
        if len(self.processes) > 1:
            subprocess.run(["scancel", "--quiet", "--user=root"], stderr=subprocess.DEVNULL)
        for process in reversed(self.processes):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            if process.poll() is None:
                process.kill()
                process.wait()


def run(*command):
    outcome = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if outcome.returncode != 0:
        raise AssertionError(f"{command[0]} ended with status {outcome.returncode}: {outcome.stderr}")
    return outcome.stdout


def check(condition, what):
    print(("ok      " if condition else "FAILED  ") + what, flush=True)
    if not condition:
        raise AssertionError(what)


def submit(reno_run, *arguments):
    said = run(reno_run, *arguments, "--launcher", "slurm")
    check("job " in said, "the array job is submitted")
    return said.split("job ")[1].split(":")[0]


def do_not_wait(job):
    """Slurm holds what is queued again for two minutes; a node takes it as soon as its clock shows another second than
    that of the job's end, whose credential is revoked."""
    time.sleep(3)
    subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], stderr=subprocess.DEVNULL)


def send_signal(task):
    """Slurm may say that a task which has just begun cannot be altered yet."""
    for _ in range(600):
        sent = subprocess.run(["scancel", "--signal=USR1", "--batch", task], stderr=subprocess.PIPE, text=True)
        if sent.returncode == 0:
            return
        time.sleep(0.1)
    check(False, f"SIGUSR1 is sent: {sent.stderr}")


def wait_for_job(slurm, job, when_pending=lambda task: None):
    """Until all tasks have ended; calls `when_pending` for those that wait for their time to begin again."""
    for _ in range(12000):
        left = slurm.ask("squeue", "-h", "-r", "-j", job, "-o", "%i %T %r").strip()
        if not left:
            return
        for line in left.splitlines():
            task, *state = line.split()
            if state == ["PENDING", "BeginTime"]:
                when_pending(task)
                do_not_wait(task)
        time.sleep(0.1)
    check(False, "all tasks have ended")


def check_sweep(slurm, reno_run, folder):
    file = sweep_file(folder)
    cells = run(reno_run, file, "--dry-run").count("#   cells/")
    check(cells == 210, f"the sweep has {cells} cells")
    began = time.monotonic()
    run(reno_run, file, "--output", folder / "local", "--jobs", "4")
    print(f"        four local processes: {time.monotonic() - began:.0f} s")

    began = time.monotonic()
    output = folder / "cluster"
    job = submit(reno_run, file, "--output", output)
    progress = output / ".shards" / "4" / "00001" / "progress.json"
    for _ in range(1200):
        if progress.exists():
            break
        time.sleep(0.1)
    check(progress.exists(), "a task of the array works")
    asked = slurm.ask("scontrol", "show", "job", f"{job}_1")
    wishes = ("TimeLimit=00:10:00", "CPUs/Task=1", "gres:gpu:1", "NumTasks=1")
    check(all(wish in asked for wish in wishes), f"Slurm was asked for what [launcher] says: {', '.join(wishes)}")
    # As Slurm does before the time limit.
    send_signal(f"{job}_1")
    held = set()
    wait_for_job(slurm, job, held.add)
    check(held == {f"{job}_1"}, f"the task that got SIGUSR1 was queued again: {held}")
    logs = [(output / "slurm" / f"{task}.log").read_text() for task in range(4)]
    check("interrupted; what was done so far" in logs[1], "it had saved before")
    check(all("GPUs: 0." in log or "GPUs: 1." in log for log in logs), "each task had a GPU")
    said = run(reno_run, "--status", output)
    check(said.count("ended") == 4 and "100 %" in said, "--status tells that all shards have ended")
    print(f"        array job of four tasks: {time.monotonic() - began:.0f} s")
    for table in ("sweep.csv", "sweep.md"):
        local, cluster = ((folder / where / table).read_bytes() for where in ("local", "cluster"))
        check(local == cluster, f"{table} is the same, byte for byte ({len(local)} bytes)")
    check(local.count(b"failed") == 0 and local.count(b"missing") == 0, "no cell has failed or is missing")
    check((output / "report.html").exists(), "the page is there")


def metrics(output):
    file = output / "metrics.jsonl"
    return file.read_text().splitlines() if file.exists() else []


def without_seconds(lines):
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def pixels(file):
    """The PNG but for its text, where the experiment stands with the folder of its results."""
    data, at, kept = file.read_bytes(), 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        kept += data[at:at + 12 + size] if kind in (b"IHDR", b"IDAT") else b""
        at += 12 + size
    return kept


def check_time_limit(slurm, reno_run, folder):
    file = timed_file(folder)
    run(reno_run, file, "--output", folder / "trial")
    fastest = min(json.loads(line)["seconds"] for line in metrics(folder / "trial")[:-1])  # the last takes no gradient
    iterations = int(90 / fastest)  # so many that they outlast 45 seconds also when nothing else runs
    wanted = ("--set", f"run.iterations={iterations}")
    output = folder / "timed"
    began = time.monotonic()
    job = submit(reno_run, file, *wanted, "--output", output)
    reference = subprocess.Popen([reno_run, file, *wanted, "--quiet", "--output", folder / "straight"])
    stops = []  # what stood in metrics.jsonl each time that it was queued again
    restarts = 0

    def note(task):
        nonlocal restarts
        told = slurm.ask("scontrol", "show", "job", task)
        now = int(told.split("Restarts=")[1].split()[0])
        if now > restarts:
            restarts = now
            stops.append(metrics(output))

    try:
        wait_for_job(slurm, job, note)
        check(reference.wait() == 0, "a run that nobody interrupts ends")
    finally:
        reference.kill()
    print(f"        {iterations} iterations within a limit of a minute for each part: {time.monotonic() - began:.0f} s")
    check(len(stops) >= 1, f"before its limit Slurm queued the run again: {len(stops)} times")
    done = metrics(output)
    check(0 < len(stops[-1]) < len(done) and all(done[:len(stop)] == stop for stop in stops), f"each part goes on behind the last: {[len(stop) for stop in stops]} of {len(done)} iterations were there")
    log = (output / "slurm" / "0.log").read_text()
    check("interrupted; what was done so far" in log, "it had saved before")
    check("TIME LIMIT" not in log, "it was never ended by force")
    straight = folder / "straight"
    check(without_seconds(done) == without_seconds(metrics(straight)), "each iteration's numbers are those of the run that nobody interrupted")
    for name in ("best_noise.safetensors", "results.jsonl"):
        check((output / name).read_bytes() == (straight / name).read_bytes(), f"{name} is the same, byte for byte")
    for name in ("init_image.png", "best_image.png"):
        check(pixels(output / name) == pixels(straight / name), f"{name} has the same pixels")
    check("100 %" in run(reno_run, "--status", output), "--status tells that it has ended")


def main(reno_run):
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="reno-slurm-") as name, Slurm(pathlib.Path(name)) as slurm:
        check_sweep(slurm, reno_run, pathlib.Path(name))
        check_time_limit(slurm, reno_run, pathlib.Path(name))


if __name__ == "__main__":
    try:
        main(pathlib.Path(sys.argv[1]).resolve())
    except Skipped as reason:
        print(f"SKIPPED: {reason}")
        sys.exit(SKIPPED)
