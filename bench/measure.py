"""The measurements. Each starts its row afresh, so that none inherits what another has warmed up or worn out."""

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import load
from machine import CORES, Busy, cpu_seconds, resident, settled
from place import Place
from rows import Row

CONNECTIONS = 64
DISTURBED = 0.12        # a run is marked when others took more than this share of the machine


class Running:
    """A row's processes. Used with `with`."""

    def __init__(self, place: Place, row: Row):
        self.place, self.row = place, row
        self.url = place.fill(row.url)
        self.relay: list[subprocess.Popen] = []
        self.client: list[subprocess.Popen] = []

    def __enter__(self) -> "Running":
        self.place.refresh()
        self.start_relay()
        self.start_client()
        if load.wait_for_answer(self.url, self.row.host) is None:
            words = self.place.last_words()
            self.__exit__()
            raise RuntimeError(f"no answer from {self.url}\n{words}")
        return self

    def __exit__(self, *_) -> None:
        self.place.stop(self.client + self.relay)

    def start_relay(self) -> None:
        self.relay = [self.place.start(command) for command in self.row.relay]
        up = not self.row.tunnel_port or load.wait_for_listener(self.row.tunnel_port)
        if not up or (self.row.makes and not load.wait_for_file(Path(self.place.fill(self.row.makes)))):
            words = self.place.last_words()
            self.__exit__()
            raise RuntimeError(f"the relay did not start\n{words}")

    def mint(self) -> None:
        if self.row.token:
            self.place.output(self.row.token, "token")

    def start_client(self) -> None:
        self.mint()
        self.client = [self.place.start(command) for command in self.row.client]

    def relay_pids(self) -> list[int]:
        return [process.pid for process in self.relay]

    def client_pids(self) -> list[int]:
        return [process.pid for process in self.client]


@dataclass
class Bench:
    """What every measurement is given."""

    place: Place
    origin: subprocess.Popen
    seconds: float = 6.0
    profile: Path | None = None
    awake: list[subprocess.Popen] = field(default_factory=list)

    def measured(self, running: Running, command: list[str], limit: float = 90.0) -> tuple[str, dict]:
        """Runs a load to its end. Returns its output and the CPU time that everyone took meanwhile."""
        perf = self.start_perf(running)
        before, generated = self.clocks(running), children_seconds()
        busy, start = Busy.now(), time.monotonic()
        output = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False).stdout
        wall, now = time.monotonic() - start, Busy.now()
        generator = children_seconds() - generated
        relay, client, ours = (after - first for after, first in zip(self.clocks(running), before))
        if perf:
            perf.send_signal(signal.SIGINT)
            perf.wait(30)
        capacity = wall * CORES
        foreign = max(0.0, now.used - busy.used - relay - client - ours - generator) / capacity
        stolen = (now.stolen - busy.stolen) / capacity
        return output, {
            "relay_cpu": relay, "client_cpu": client, "foreign": foreign, "stolen": stolen,
            "disturbed": foreign + stolen > DISTURBED,
        }

    def clocks(self, running: Running) -> tuple[float, float, float]:
        rest = [self.origin.pid, *(process.pid for process in self.awake)]
        return cpu_seconds(running.relay_pids()), cpu_seconds(running.client_pids()), cpu_seconds(rest)

    def start_perf(self, running: Running) -> subprocess.Popen | None:
        if not self.profile:
            return None
        pids = ",".join(map(str, running.relay_pids() + running.client_pids()))
        file = self.profile / f"{running.row.key}-{int(time.time())}.perf"
        process = subprocess.Popen(["perf", "record", "-q", "-F", "499", "-g", "-o", str(file), "-p", pids])
        print(f"  profile: perf report -i {file}")
        return process

    def wrk(self, running: Running, connections: int, seconds: float, close: bool = False) -> dict:
        command = load.wrk_command(running.url, running.row.host, connections, seconds, close)
        output, usage = self.measured(running, command)
        result = load.wrk_result(output)
        used = usage["relay_cpu"] + usage["client_cpu"]
        return result | usage | {"cpu": used / max(1, result["requests"]) * 1e4}

    def warm_up(self, running: Running, connections: int = CONNECTIONS) -> None:
        command = load.wrk_command(running.url, running.row.host, connections, 1)
        subprocess.run(command, stdout=subprocess.DEVNULL, timeout=20, check=True)


class Awake:
    """One idle-priority loop a core keeps the cores from sleeping: latency is then that of the programs under test,
    not that of a hypervisor that wakes a core."""

    LOOP = "import os\nos.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"

    def __init__(self, bench: Bench):
        self.bench = bench

    def __enter__(self) -> None:
        for _ in range(CORES):
            process = subprocess.Popen([sys.executable, "-c", self.LOOP])
            self.bench.awake.append(process)
        self.bench.place.started += self.bench.awake
        time.sleep(0.2)

    def __exit__(self, *_) -> None:
        self.bench.place.stop(self.bench.awake)
        self.bench.awake.clear()


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def keep_alive(bench: Bench, row: Row) -> dict:
    with Running(bench.place, row) as running:
        bench.warm_up(running)
        return bench.wrk(running, CONNECTIONS, bench.seconds)


def latency(bench: Bench, row: Row) -> dict:
    """One connection: as it is, and with cores that are kept from sleeping."""
    with Running(bench.place, row) as running:
        bench.warm_up(running, 1)
        found = bench.wrk(running, 1, bench.seconds / 2)
        with Awake(bench):
            return found | {"awake": bench.wrk(running, 1, bench.seconds / 2)["p50"]}


def new_connections(bench: Bench, row: Row) -> dict:
    with Running(bench.place, row) as running:
        bench.warm_up(running)
        return bench.wrk(running, CONNECTIONS, bench.seconds, close=True)


def bulk(bench: Bench, row: Row) -> dict:
    with Running(bench.place, row) as running:
        output, usage = bench.measured(running, load.download_command(running.url, row.host))
    status, size, seconds = output.split()[-3:]
    if status != "200" or int(size) != 2**30:
        raise RuntimeError(f"the download ended with status {status} after {size} bytes")
    return usage | {"mib_per_second": 1024 / float(seconds), "cpu": usage["relay_cpu"] + usage["client_cpu"]}


def beside(bench: Bench, row: Row) -> dict:
    """One small request after the other: alone, beside a download, beside 8 readers that stall."""
    seconds = bench.seconds / 2
    with Running(bench.place, row) as running:
        bench.warm_up(running, 1)
        with Awake(bench):
            alone = bench.wrk(running, 1, seconds)
        with load.Downloads(running.url, row.host):
            time.sleep(0.5)
            bulk_run = bench.wrk(running, 1, seconds)
        time.sleep(0.5)
        before = resident(running.relay_pids()), resident(running.client_pids())
        with load.StalledReaders(running.url, row.host, 8), Awake(bench):
            time.sleep(1)
            stalled = bench.wrk(running, 1, seconds)
            held = resident(running.relay_pids()), resident(running.client_pids())
    runs = (alone, bulk_run, stalled)
    return {
        "alone": alone["p50"], "bulk": bulk_run["p50"], "stalled": stalled["p50"],
        "failed": sum(run["failed"] for run in runs),
        "relay_kib_held": (held[0] - before[0]) / 8, "client_kib_held": (held[1] - before[1]) / 8,
        # Beside a download the generator is itself a stranger, so only the other two can tell of a disturbance.
        "foreign": max(alone["foreign"], stalled["foreign"]), "disturbed": alone["disturbed"] or stalled["disturbed"],
    }


def client_memory(bench: Bench, row: Row) -> dict | None:
    if not row.tunnel_port:
        return None
    with Running(bench.place, row) as running:
        good = load.requests(running.url, row.host, 1000)
        if good != 1000:
            raise RuntimeError(f"{good} of 1,000 requests were answered")
        return {"client_kib": settled(running.client_pids()), "relay_kib": settled(running.relay_pids())}


def session_memory(bench: Bench, row: Row) -> dict | None:
    """The relay's memory for each idle session, from its size before the first and after the last."""
    idle, place = row.sessions, bench.place
    if not idle:
        return None
    tunnels = range(idle.tunnels)
    ports = {i: 23000 + i for i in tunnels}
    services = "".join(place.fill(idle.services, i=i, port=ports[i]) for i in tunnels)
    place.refresh(services=services)
    running = Running(place, row)
    with RelayAlone(running):
        before = settled(running.relay_pids())
        for i in tunnels[:1] if idle.together else tunnels:
            if idle.config:
                place.write(f"client-{i}", idle.config, i=i)
            running.client.append(place.start(idle.client, i=i, port=ports[i], tunnels=idle.tunnels))
            time.sleep(0.01)
        # From the last to the first: when the last one answers, all have been opened.
        sample = tunnels[::-max(1, len(tunnels) // 20)]
        answered = sum(
            load.wait_for_answer(
                place.fill(idle.probe, port=ports[i]), place.fill(idle.host, i=i), limit=60 if i == sample[0] else 20
            ) is not None for i in sample
        )
        after = settled(running.relay_pids())
        alive = sum(process.poll() is None for process in running.client)
        sessions = load.metric("http://127.0.0.1:22081/metrics", idle.counted) if idle.counted else len(tunnels)
    if answered < len(sample) or alive < len(running.client):
        words = place.last_words()
        raise RuntimeError(f"{alive} clients alive, {answered} of {len(sample)} tunnels answered\n{words}")
    return {"sessions": sessions, "relay_kib_each": (after - before) / sessions, "relay_kib_empty": before}


class RelayAlone:
    """A row's relay without its usual client."""

    def __init__(self, running: Running):
        self.running = running

    def __enter__(self) -> None:
        self.running.start_relay()
        self.running.mint()

    def __exit__(self, *_) -> None:
        self.running.__exit__()


def start_and_outage(bench: Bench, row: Row) -> dict | None:
    """From the client's start to the first answer; from the relay's return after 1 s to the next answer."""
    if not row.tunnel_port:
        return None
    bench.place.refresh()
    running = Running(bench.place, row)
    with RelayAlone(running):
        time.sleep(0.3)
        since = time.monotonic()
        running.client = [bench.place.start(command) for command in row.client]
        first = load.wait_for_answer(running.url, row.host, since)
        if first is None:
            raise RuntimeError(f"no answer within 20 s\n{bench.place.last_words()}")
        time.sleep(0.5)
        for process in running.relay:
            process.kill()
            process.wait()
        time.sleep(1)
        if any(process.poll() is not None for process in running.client):
            return {"start": first, "back": None}
        since = time.monotonic()
        running.relay = [bench.place.start(command) for command in row.relay]
        return {"start": first, "back": load.wait_for_answer(running.url, row.host, since, limit=30)}


MEASUREMENTS: dict[str, Callable[[Bench, Row], dict | None]] = {
    "h1": keep_alive,
    "lat": latency,
    "new": new_connections,
    "bulk": bulk,
    "beside": beside,
    "client": client_memory,
    "sessions": session_memory,
    "start": start_and_outage,
}
