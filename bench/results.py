"""The runs that were made, and what they say together."""

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Spread:
    """A median with the lowest and the highest, and of how many."""

    middle: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread | None":
        found = list(values)
        return cls(statistics.median(found), min(found), max(found), len(found)) if found else None

    def show(self, form: str = "{:,.0f}") -> str:
        low, middle, high = (form.format(value) for value in (self.low, self.middle, self.high))
        return middle if low == high else f"{middle} ({low}–{high})"


def when(run: dict) -> tuple[int, int]:
    """A run's round, and its turn in that."""
    return run["round"], run.get("turn", 0)


class Results:
    """Runs by row and test. Each is a dict with `row`, `test`, `round`, and either `error` or what was measured; and `turn`
    where a round has more than one run of its row and test."""

    def __init__(self, runs: Iterable[dict] = ()):
        self.runs = list(runs)

    @classmethod
    def read(cls, files: Iterable[Path]) -> "Results":
        """The runs of several files are rounds after one another."""
        runs, before = [], 0
        for file in files:
            own = [json.loads(line) for line in file.read_text().splitlines()]
            runs += [run | {"round": run["round"] + before} for run in own]
            before += max((run["round"] for run in own), default=-1) + 1
        return cls(runs)

    def good(self, row: str, test: str) -> list[dict]:
        """The runs that did not fail."""
        return [run for run in self.runs if run["row"] == row and run["test"] == test and "error" not in run]

    def of(self, row: str, test: str) -> list[dict]:
        """The good runs; those that foreign load disturbed are left out as long as two others remain."""
        good = self.good(row, test)
        quiet = [run for run in good if not run.get("disturbed")]
        return quiet if len(quiet) >= 2 else good

    def marked(self, row: str, test: str) -> str:
        """How many runs count, with * when disturbed ones had to be among them and how many were left out."""
        counted = self.of(row, test)
        left_out = len(self.good(row, test)) - len(counted)
        star = "*" if any(run.get("disturbed") for run in counted) else ""
        return f"{len(counted)}{star}" + (f" (+{left_out} disturbed)" if left_out else "")

    def spread(self, row: str, test: str, field: str) -> Spread | None:
        return Spread.of(run[field] for run in self.of(row, test) if run.get(field) is not None)

    def ratio(self, row: str, other: str, test: str, field: str, other_field: str | None = None) -> Spread | None:
        """The ratio of two rows' values, turn by turn: what is near in time is compared with each other. Turns in which foreign
        load disturbed either run are left out as long as two others remain."""
        divisors = {when(run): run for run in self.good(other, test) if run.get(other_field or field)}
        pairs = [
            (run, divisors[when(run)]) for run in self.good(row, test)
            if run.get(field) is not None and when(run) in divisors
        ]
        quiet = [pair for pair in pairs if not any(run.get("disturbed") for run in pair)]
        counted = quiet if len(quiet) >= 2 else pairs
        return Spread.of(run[field] / divisor[other_field or field] for run, divisor in counted)

    def errors(self) -> list[str]:
        return [
            f"{run['row']}, {run['test']}, round {run['round']}: {run['error'].splitlines()[0]}"
            for run in self.runs if "error" in run
        ]

    def rounds(self) -> int:
        return len({run["round"] for run in self.runs})
