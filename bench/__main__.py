"""Measures Adit beside other tunnels. `make bench`, or `make bench BENCH="--rows adit,nginx2 --tests h1 --rounds 1"`."""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import load
import machine
import report
from measure import MEASUREMENTS, Bench
from place import Place
from results import Results
from rows import ROWS, Row

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
INSIDE = "BENCH_INSIDE"
FULL_ROUNDS = 5
# How often a test is made in each round, if more than once. One connection's latency is as much the machine's mood as the
# program's: it may be half as long, or twice, a minute later.
TURNS = {"lat": 3}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench BENCH=...", description=__doc__)
    rows, tests = ", ".join(row.key for row in ROWS), ", ".join(MEASUREMENTS)
    parser.add_argument("--rows", default="", help=f"some of: {rows} (default: all whose programs are there)")
    parser.add_argument("--tests", default="", help=f"some of: {tests} (default: all)")
    parser.add_argument("--rounds", type=int, default=FULL_ROUNDS)
    parser.add_argument("--seconds", type=float, default=6.0, help="of load in a run of h1 and new; half in the others")
    parser.add_argument("--minutes", type=float, default=75.0, help="no run starts after this")
    parser.add_argument("--profile", type=Path, help="a folder for `perf record` of relay and client in every run")
    parser.add_argument("--write", action="store_true", help="write the document although the run is not a full one")
    parser.add_argument("--report", type=Path, nargs="+", help="measure nothing; render these result files, each further rounds")
    parser.add_argument("--programs", type=Path, help="where adit and adit-relay are")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/adit/bench")
    return parser.parse_args()


def enter_namespace() -> None:
    """Runs this program again in a network namespace of its own: no other traffic, no connection tracking, free ports."""
    os.environ[INSIDE] = "1"
    inner = [sys.executable, str(Path(__file__).parent), *sys.argv[1:]]
    setup = "ip link set lo up && echo 30000 65535 >/proc/sys/net/ipv4/ip_local_port_range && exec \"$@\""
    if os.geteuid() == 0:
        outer = ["unshare", "--net"]
    else:
        # Root within, to bring up the loopback; then back to who we are, because nginx as root wants more users.
        outer = ["unshare", "--map-root-user", "--net"]
        inner = ["unshare", "--user", f"--map-user={os.getuid()}", f"--map-group={os.getgid()}", *inner]
    os.execvp(outer[0], [*outer, "sh", "-c", setup, "sh", *inner])


def chosen_rows(wanted: str) -> list[Row]:
    keys = [key for key in wanted.split(",") if key]
    unknown = set(keys) - {row.key for row in ROWS}
    if unknown:
        sys.exit(f"error: no such row: {', '.join(sorted(unknown))}")
    rows = []
    for row in ROWS:
        missing = sorted(program for program in row.programs() if not shutil.which(program))
        if keys and row.key not in keys:
            continue
        if missing and keys:
            sys.exit(f"error: {row.key} needs {', '.join(missing)} on PATH")
        if missing:
            print(f"left out: {row.title} ({', '.join(missing)} not on PATH)")
        else:
            rows.append(row)
    return rows


def chosen_tests(wanted: str) -> list[str]:
    keys = [key for key in wanted.split(",") if key] or list(MEASUREMENTS)
    unknown = set(keys) - set(MEASUREMENTS)
    if unknown:
        sys.exit(f"error: no such test: {', '.join(sorted(unknown))}")
    return keys


def run_once(bench: Bench, row: Row, test: str, number: int, turn: int) -> dict | None:
    machine.wait_until_quiet()
    start = time.monotonic()
    try:
        found = MEASUREMENTS[test](bench, row)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        found = {"error": str(error)}
    if found is None:
        return None
    numbers = {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}
    shown = " ".join(f"{key}={value}" for key, value in numbers.items())
    print(f"{number + 1}  {test:9} {row.key:9} {time.monotonic() - start:5.1f} s  {shown}", flush=True)
    return {"row": row.key, "test": test, "round": number, "turn": turn, "time": round(time.time()), **numbers}


def measure(chosen: argparse.Namespace, rows: list[Row], tests: list[str]) -> Path:
    """Round by round, test by test, row after row: what is compared is measured at nearly the same time."""
    folder = chosen.cache / "results"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / time.strftime("%Y%m%d-%H%M%S.jsonl")
    end = time.monotonic() + chosen.minutes * 60
    with Place(chosen.cache) as place, open(file, "w") as out:
        origin = place.start("nginx -c @WORK@/nginx-origin.conf")
        url = place.fill("http://127.0.0.1:@ORIGIN@")
        if load.wait_for_answer(url, "app.test") is None:
            sys.exit(f"error: the service did not start\n{place.last_words()}")
        subprocess.run(load.download_command(url, "app.test"), stdout=subprocess.DEVNULL, timeout=60, check=True)
        bench = Bench(place, origin, chosen.seconds, chosen.profile)
        for number in range(chosen.rounds):
            for test, turn in ((test, turn) for test in tests for turn in range(TURNS.get(test, 1))):
                for row in rows if (number + turn) % 2 == 0 else reversed(rows):
                    if time.monotonic() > end:
                        print(f"stopped after {chosen.minutes:g} minutes")
                        return file
                    if run := run_once(bench, row, test, number, turn):
                        out.write(json.dumps(run) + "\n")
                        out.flush()
    return file


def main() -> None:
    chosen = options()
    if chosen.report:
        files, full = chosen.report, False
    else:
        if os.environ.get(INSIDE) != "1":
            enter_namespace()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 65536, hard))
        if chosen.programs:
            os.environ["PATH"] = f"{chosen.programs.resolve()}:{os.environ['PATH']}"
        if chosen.profile:
            chosen.profile.mkdir(parents=True, exist_ok=True)
        full = not chosen.rows and not chosen.tests and chosen.rounds >= FULL_ROUNDS
        try:
            files = [measure(chosen, chosen_rows(chosen.rows), chosen_tests(chosen.tests))]
        except KeyboardInterrupt:
            sys.exit(130)
    rendered = report.render(Results.read(files), machine.description())
    print(f"\n{rendered}\nresults: {', '.join(map(str, files))}")
    if full or chosen.write:
        report.write(DOCUMENT, rendered)
        print(f"written: {DOCUMENT}")


main()
