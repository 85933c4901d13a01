#!/usr/bin/env python3
"""A sweep on a real Slurm: munged, slurmctld and slurmd of Debian's slurm-wlm, started here for one node.

    python3 tests/cluster/check_slurm.py build/release/bin/reno-run

Runs a sweep of more than 200 cells in four local processes and as an array job, of which one task is interrupted as
before its time limit, and compares the tables byte for byte. Needs root, as slurmd does. Where Slurm is not
installed or cannot be started, the script says so and ends with status 77.
"""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


class Skipped(Exception):
    pass


def sweep_file(folder):
    shapes = REPOSITORY / "examples" / "shapes"
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

[generator]
plugin = "sd-turbo"
weights = "{shapes}/generator"

[[reward]]
plugin = "clip-score"
weight = 1.0
weights = "{shapes}/rewards/clip"

[[reward]]
plugin = "pickscore"
weight = 1.0
weights = "{shapes}/rewards/pickscore"

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
gpus = 0
time = "10:00"
grace_seconds = 30
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
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
        )
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


def submit_and_wait(slurm, reno_run, file, output):
    said = run(reno_run, file, "--output", output, "--launcher", "slurm")
    check("job " in said and "4 tasks" in said, "the array job is submitted")
    job = said.split("job ")[1].split(":")[0]
    progress = output / ".shards" / "4" / "00001" / "progress.json"
    for _ in range(1200):
        if progress.exists():
            break
        time.sleep(0.1)
    check(progress.exists(), "a task of the array works")
    # As Slurm does before the time limit.
    subprocess.run(["scancel", "--signal=USR1", "--batch", f"{job}_1"], check=True)
    held = False
    for _ in range(6000):
        left = slurm.ask("squeue", "-h", "-r", "-j", job, "-o", "%i %T %r").strip()
        if f"{job}_1 PENDING" in left:
            held = True  # for two minutes, as Slurm does with what is queued again
        if not left:
            break
        time.sleep(0.1)
    check(not left, "all tasks have ended")
    check(held, "the task that got SIGUSR1 was queued again")
    log = (output / "slurm" / "1.log").read_text()
    check("interrupted; what was done so far" in log, "it had saved before")
    said = run(reno_run, "--status", output)
    check(said.count("ended") == 4 and "100 %" in said, "--status tells that all shards have ended")


def main(reno_run):
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="reno-slurm-") as name, Slurm(pathlib.Path(name)) as slurm:
        folder = pathlib.Path(name)
        file = sweep_file(folder)
        cells = run(reno_run, file, "--dry-run").count("#   cells/")
        check(cells == 210, f"the sweep has {cells} cells")
        began = time.monotonic()
        run(reno_run, file, "--output", folder / "local", "--jobs", "4")
        print(f"        four local processes: {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        submit_and_wait(slurm, reno_run, file, folder / "cluster")
        print(f"        array job of four tasks: {time.monotonic() - began:.0f} s")
        for table in ("sweep.csv", "sweep.md"):
            local, cluster = ((folder / where / table).read_bytes() for where in ("local", "cluster"))
            check(local == cluster, f"{table} is the same, byte for byte ({len(local)} bytes)")
        check(local.count(b"failed") == 0 and local.count(b"missing") == 0, "no cell has failed or is missing")
        check((folder / "cluster" / "report.html").exists(), "the page is there")


if __name__ == "__main__":
    try:
        main(pathlib.Path(sys.argv[1]).resolve())
    except Skipped as reason:
        print(f"SKIPPED: {reason}")
        sys.exit(SKIPPED)
