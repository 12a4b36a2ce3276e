"""Markdown from results: a table a measurement, then the gates."""

from collections.abc import Callable
from pathlib import Path

from gates import ADIT, GATES
from results import Results
from rows import ROWS

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
Column = tuple[str, Callable[[Results, str], str]]


def of(test: str, field: str, form: str = "{:,.0f}") -> Callable[[Results, str], str]:
    def cell(results: Results, row: str) -> str:
        value = results.spread(row, test, field)
        return value.show(form) if value else "–"
    return cell


def against(other: str, test: str, field: str) -> Callable[[Results, str], str]:
    def cell(results: Results, row: str) -> str:
        value = results.ratio(row, other, test, field)
        return f"{value.middle:.2f}" if value else "–"
    return cell


def runs(test: str) -> Callable[[Results, str], str]:
    return lambda results, row: results.marked(row, test)


def failed(test: str) -> Callable[[Results, str], str]:
    return lambda results, row: str(sum(run["failed"] for run in results.of(row, test)))


TABLES: tuple[tuple[str, str, tuple[Column, ...]], ...] = (
    ("h1", "HTTP/1.1, 64 kept connections, 1 KiB", (
        ("requests/s", of("h1", "per_second")),
        ("of nginx2", against("nginx2", "h1", "per_second")),
        ("p50 µs", of("h1", "p50")),
        ("CPU-s per 10,000", of("h1", "cpu", "{:.3f}")),
        ("of nginx2", against("nginx2", "h1", "cpu")),
        ("relay's CPU-s", of("h1", "relay_cpu", "{:.2f}")),
        ("client's", of("h1", "client_cpu", "{:.2f}")),
        ("failed", failed("h1")),
    )),
    ("lat", "One connection, 1 KiB", (
        ("p50 µs", of("lat", "p50")),
        ("of rathole", against("rathole", "lat", "p50")),
        ("p99 µs", of("lat", "p99")),
        ("p50 µs, cores kept awake", of("lat", "awake")),
        ("CPU-s per 10,000", of("lat", "cpu", "{:.2f}")),
        ("failed", failed("lat")),
    )),
    ("new", "A new connection for each request, 64 at a time", (
        ("requests/s", of("new", "per_second")),
        ("of nginx2", against("nginx2", "new", "per_second")),
        ("CPU-s per 10,000", of("new", "cpu", "{:.2f}")),
        ("failed", failed("new")),
    )),
    ("bulk", "1 GiB, one stream, fresh processes", (
        ("MiB/s", of("bulk", "mib_per_second")),
        ("of nginx2", against("nginx2", "bulk", "mib_per_second")),
        ("CPU-s per GiB", of("bulk", "cpu", "{:.2f}")),
        ("of nginx2", against("nginx2", "bulk", "cpu")),
        ("relay's", of("bulk", "relay_cpu", "{:.2f}")),
        ("client's", of("bulk", "client_cpu", "{:.2f}")),
    )),
    ("beside", "A request beside others: p50 in µs", (
        ("alone", of("beside", "alone")),
        ("beside a 1 GiB download", of("beside", "bulk")),
        ("beside 8 stalled readers", of("beside", "stalled")),
        ("relay's KiB a stalled reader", of("beside", "relay_kib_held")),
        ("client's", of("beside", "client_kib_held")),
        ("failed", failed("beside")),
    )),
    ("sessions", "Idle sessions", (
        ("sessions", of("sessions", "sessions")),
        ("relay's KiB a session", of("sessions", "relay_kib_each", "{:.1f}")),
        ("relay's KiB without", of("sessions", "relay_kib_empty")),
    )),
    ("client", "Resident memory, idle after 1,000 requests", (
        ("client's KiB", of("client", "client_kib")),
        ("relay's KiB", of("client", "relay_kib")),
    )),
    ("start", "Start and outage, in seconds", (
        ("client's start to the first answer", of("start", "start", "{:.3f}")),
        ("back after the relay was away for 1 s", of("start", "back", "{:.3f}")),
    )),
)


def table(head: list[str], lines: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *lines]]


def render(results: Results, machine: str) -> str:
    """Everything that was measured, as Markdown."""
    text = [f"Measured on {machine}; {results.rounds()} rounds, all rows in turn in each. A value is the median with "
            "the lowest and the highest; a ratio is the median of each turn's own. `*`: disturbed by foreign load."]
    for test, title, columns in TABLES:
        lines = [
            [row.title, *(cell(results, row.key) for _, cell in columns), runs(test)(results, row.key)]
            for row in ROWS if results.of(row.key, test)
        ]
        if lines:
            text += ["", f"### {title}", "", *table(["", *(name for name, _ in columns), "runs"], lines)]
    if any(run["row"] == ADIT for run in results.runs):
        text += ["", "### Gates and goals", "", *gates(results)]
    if errors := results.errors():
        text += ["", "Runs that failed:", "", *(f"- {line}" for line in errors)]
    return "\n".join(text) + "\n"


def gates(results: Results) -> list[str]:
    lines = []
    for gate in GATES:
        value = results.spread(ADIT, gate.test, gate.field)
        if value is None:
            continue
        shown = (bound.show(results, gate.test, gate.field) for bound in (gate.gate, gate.goal))
        lines.append([gate.what, value.show(gate.form), *shown])
    return table(["", "Adit", "gate", "goal"], lines)


def write(path: Path, rendered: str) -> None:
    """Puts the tables between the markers of a document; what stands around them stays."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path}: no {BEGIN} … {END}")
    path.write_text(f"{before}{BEGIN}\n\n{rendered}\n{END}{after}")
