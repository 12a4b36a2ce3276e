"""What Adit has to hold, and what it strives for."""

from dataclasses import dataclass

from results import Results, Spread

ADIT = "adit"


@dataclass(frozen=True)
class Bound:
    """`sign` and a number: of the value itself, or of its ratio to another row's or another field's value."""

    sign: str
    number: float
    row: str = ""
    field: str = ""
    text: str = ""

    def value(self, results: Results, test: str, field: str) -> Spread | None:
        if self.row:
            return results.ratio(ADIT, self.row, test, field, self.field or None)
        return results.spread(ADIT, test, field)

    def holds(self, value: float) -> bool:
        return {"<=": value <= self.number, ">=": value >= self.number, ">": value > self.number}[self.sign]

    def show(self, results: Results, test: str, field: str) -> str:
        value = self.value(results, test, field)
        if value is None:
            return f"{self.text}: not measured"
        word = "holds" if self.holds(value.middle) else "**missed**"
        if not self.row:
            return f"{self.text}: {word}"
        turns = "1 turn" if value.count == 1 else f"{value.count} turns"
        return f"{self.text}: {value.show('{:.2f}')} × in {turns}: {word}"


@dataclass(frozen=True)
class Gate:
    """One line of the table: what is measured, what must hold, and what would be better still."""

    what: str
    test: str
    field: str
    form: str
    gate: Bound
    goal: Bound


def times(sign: str, number: float, row: str, field: str = "") -> Bound:
    words = {"<=": "at most", ">=": "at least", ">": "more than"}[sign]
    factor = "" if number == 1 else f"{number:g} × "
    return Bound(sign, number, row, field, f"{words} {factor}{'alone' if field else row}")


def at_most(number: float, form: str) -> Bound:
    return Bound("<=", number, text=f"at most {form.format(number)}")


KIB, MIB_OF_KIB, SECONDS = "{:,.1f} KiB", "{:,.0f} KiB", "{:.3f} s"

GATES = (
    Gate("HTTP, 64 connections: CPU-s per 10,000 requests", "h1", "cpu", "{:.3f}",
         times("<=", 1.15, "nginx2"), times("<=", 0.8, "rathole")),
    Gate("HTTP, 64 connections: requests/s", "h1", "per_second", "{:,.0f}",
         times(">=", 0.9, "nginx2"), times(">", 1, "rathole")),
    Gate("one connection: p50 µs", "lat", "p50", "{:,.0f}",
         times("<=", 1.25, "rathole"), times("<=", 1, "rathole")),
    Gate("new connections: requests/s", "new", "per_second", "{:,.0f}",
         times(">=", 0.7, "nginx2"), times(">", 1, "nginx2")),
    Gate("bulk: MiB/s", "bulk", "mib_per_second", "{:,.0f}",
         times(">", 1, "rathole"), times(">", 1, "nginx2")),
    Gate("bulk: CPU-s per GiB", "bulk", "cpu", "{:.2f}",
         times("<=", 1.2, "nginx2"), times("<=", 0.8, "nginx2")),
    Gate("relay's memory per idle session, 1,000 sessions", "sessions", "relay_kib_each", KIB,
         at_most(80, KIB), at_most(32, KIB)),
    Gate("client's resident memory, idle after 1,000 requests", "client", "client_kib", MIB_OF_KIB,
         at_most(12 * 1024, MIB_OF_KIB), at_most(6 * 1024, MIB_OF_KIB)),
    Gate("a request beside a bulk stream: p50 µs", "beside", "bulk", "{:,.0f}",
         times("<=", 2, "nginx2"), times("<=", 1, "nginx2")),
    Gate("a request beside 8 stalled readers: p50 µs", "beside", "stalled", "{:,.0f}",
         times("<=", 1.2, ADIT, "alone"), times("<=", 1.1, ADIT, "alone")),
    Gate("client's start to the first answer", "start", "start", SECONDS,
         at_most(0.040, SECONDS), at_most(0.020, SECONDS)),
    Gate("back after the relay was away for 1 s", "start", "back", SECONDS,
         at_most(0.6, SECONDS), at_most(0.3, SECONDS)),
)
