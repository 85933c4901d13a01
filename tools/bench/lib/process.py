"""Runs a program and watches what it takes: time, resident memory, and how much of that is its own.

Resident memory counts pages of memory-mapped files too. The kernel can drop those at any time and read them again, and
processes share them; anonymous pages (heap, copies of weights, activations) are what a machine must really have.
"""

import dataclasses
import os
import pathlib
import subprocess
import threading
import time

POLL_SECONDS = 0.01


@dataclasses.dataclass
class Measured:
    seconds: float = 0.0  # from start to end
    peak_resident: int = 0  # bytes, all pages in memory at once, those of mapped files among them
    peak_anonymous: int = 0  # bytes, pages that no file backs; sampled
    lines: list = dataclasses.field(default_factory=list)  # (seconds since the start, line of standard output)
    steps: list = dataclasses.field(default_factory=list)  # (seconds since the start, processor seconds) at each step's end


def processor_per_iteration(measured, batch=1):
    """Processor seconds of the mean iteration, without the first and the last; each is a step per element of the batch."""
    ends = [seconds for _, seconds in measured.steps][batch - 1 :: batch]
    return (ends[-2] - ends[0]) / (len(ends) - 2)


class Failed(Exception):
    pass


def anonymous_bytes(pid):
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def processor_seconds(pid):
    """That the process has used, on all cores; other programs do not change it much."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(command, environment=None, count_steps=lambda lines: 0):
    """Runs `command` to its end. `count_steps` says, from the lines so far, how many steps it has done."""
    measured = Measured()
    started = time.monotonic()
    process = subprocess.Popen(
        [str(part) for part in command],
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    complaints = []

    def read(stream, keep):
        for line in stream:
            keep((time.monotonic() - started, line.rstrip("\n")))

    readers = [
        threading.Thread(target=read, args=(process.stdout, measured.lines.append)),
        threading.Thread(target=read, args=(process.stderr, complaints.append)),
    ]
    for reader in readers:
        reader.start()
    try:
        while True:
            for _ in range(count_steps(measured.lines) - len(measured.steps)):
                measured.steps.append((time.monotonic() - started, processor_seconds(process.pid)))
            measured.peak_anonymous = max(measured.peak_anonymous, anonymous_bytes(process.pid))
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(POLL_SECONDS)
    except BaseException:
        process.kill()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    measured.seconds = time.monotonic() - started
    measured.peak_resident = usage.ru_maxrss * 1024
    for reader in readers:
        reader.join()
    if process.returncode != 0:
        text = "\n".join(line for _, line in complaints[-20:])
        raise Failed(f"{command[0]} ended with status {process.returncode}:\n{text}")
    return measured


def machine():
    """The processor's name, and how many of its cores this process may use."""
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    fast = [name for name, flag in (("AVX2", " avx2"), ("AVX-512", " avx512f"), ("AVX-512 BF16", " avx512_bf16"),
                                    ("AMX", " amx_bf16")) if flag in flags]
    return f"{model} ({', '.join(fast)}), {len(os.sched_getaffinity(0))} cores"


def available_memory():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def gib(count):
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
