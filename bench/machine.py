"""What the operating system says of processes and of the machine. Times are seconds, memory is KiB."""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
CORES = os.cpu_count() or 1


def fields(stat: str) -> list[str]:
    """The fields of /proc/PID/stat after the command, which may itself hold spaces and parentheses."""
    return stat.rpartition(")")[2].split()


def tree(roots: list[int]) -> list[int]:
    """The processes and all their descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent = int(fields(Path(f"/proc/{entry}/stat").read_text())[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    found, todo = [], list(roots)
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def cpu_seconds(roots: list[int]) -> float:
    """CPU time, user and system, that the process trees have used so far."""
    ticks = 0
    for pid in tree(roots):
        try:
            stat = fields(Path(f"/proc/{pid}/stat").read_text())
        except OSError:
            continue
        ticks += int(stat[11]) + int(stat[12])
    return ticks / TICKS


def resident(roots: list[int]) -> int:
    """Resident memory of the process trees in KiB."""
    total = 0
    for pid in tree(roots):
        try:
            line = re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        except OSError:
            continue
        total += int(line[1]) if line else 0
    return total


def settled(roots: list[int], limit: float = 15.0) -> int:
    """Resident memory once it has stood still for 2 s, or after `limit` seconds."""
    end = time.monotonic() + limit
    last, since = resident(roots), time.monotonic()
    while time.monotonic() < end and time.monotonic() - since < 2.0:
        time.sleep(0.25)
        now = resident(roots)
        if abs(now - last) > last * 0.005:
            last, since = now, time.monotonic()
    return resident(roots)


@dataclass(frozen=True)
class Busy:
    """CPU time of the whole machine so far, by everyone; `stolen` is what the hypervisor gave to others."""

    used: float
    stolen: float

    @classmethod
    def now(cls) -> "Busy":
        return cls.parse(Path("/proc/stat").read_text())

    @classmethod
    def parse(cls, text: str) -> "Busy":
        user, nice, system, idle, iowait, irq, softirq, steal = map(int, text.split("\n", 1)[0].split()[1:9])
        return cls((user + nice + system + irq + softirq) / TICKS, steal / TICKS)


def wait_until_quiet(limit: float = 12.0, share: float = 0.12) -> None:
    """Waits, for `limit` seconds at most, until others use less than `share` of the machine."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        before = Busy.now()
        time.sleep(0.5)
        if (Busy.now().used - before.used) / (0.5 * CORES) < share:
            return


def description() -> str:
    """The machine in one line, for the report."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    gib = round(int(memory[1]) / 2**20) if memory else 0
    kernel = ".".join(os.uname().release.split(".")[:2])
    return f"{CORES} cores ({cpu[1] if cpu else 'unknown'}), {gib} GiB, Linux {kernel}"
