"""What the numbers are made of."""

import json
import tempfile
import unittest
from pathlib import Path

from gates import Bound, times
from machine import Busy, fields
from results import Results, Spread


def run(row: str, number: int, value: float, disturbed: bool = False) -> dict:
    return {"row": row, "test": "h1", "round": number, "cpu": value, "disturbed": disturbed}


class ResultsTest(unittest.TestCase):
    def test_disturbed_runs_are_left_out_while_two_others_remain(self):
        results = Results([run("adit", 0, 1.0), run("adit", 1, 9.0, True), run("adit", 2, 3.0)])
        self.assertEqual(results.spread("adit", "h1", "cpu"), Spread(2.0, 1.0, 3.0, 2))
        self.assertEqual(results.marked("adit", "h1"), "2 (+1 disturbed)")

    def test_disturbed_runs_count_and_are_marked_when_too_few_others_remain(self):
        results = Results([run("adit", 0, 1.0), run("adit", 1, 9.0, True)])
        self.assertEqual(results.spread("adit", "h1", "cpu"), Spread(5.0, 1.0, 9.0, 2))
        self.assertEqual(results.marked("adit", "h1"), "2*")

    def test_the_runs_of_another_file_are_further_rounds(self):
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder, "a"), Path(folder, "b")]
            for file, value in zip(files, (2.0, 6.0)):
                file.write_text("".join(json.dumps(run(row, 0, value)) + "\n" for row in ("adit", "nginx2")))
            results = Results.read(files)
        self.assertEqual(results.rounds(), 2)
        self.assertEqual(results.ratio("adit", "nginx2", "h1", "cpu"), Spread(1.0, 1.0, 1.0, 2))

    def test_a_ratio_compares_runs_of_the_same_round(self):
        results = Results([
            run("adit", 0, 1.0), run("nginx2", 0, 2.0), run("adit", 1, 8.0), run("nginx2", 1, 8.0), run("adit", 2, 5.0),
        ])
        self.assertEqual(results.ratio("adit", "nginx2", "h1", "cpu"), Spread(0.75, 0.5, 1.0, 2))

    def test_a_ratio_compares_runs_of_the_same_turn_of_a_round(self):
        values = {("adit", 0): 1.0, ("nginx2", 0): 2.0, ("adit", 1): 9.0, ("nginx2", 1): 3.0}
        results = Results([run(row, 0, value) | {"turn": turn} for (row, turn), value in values.items()])
        self.assertEqual(results.ratio("adit", "nginx2", "h1", "cpu"), Spread(1.75, 0.5, 3.0, 2))
        self.assertEqual(results.rounds(), 1)

    def test_a_turn_counts_for_a_ratio_if_neither_of_its_runs_was_disturbed(self):
        quiet = [run(row, number, value) for number, value in enumerate((2.0, 4.0)) for row in ("adit", "nginx2")]
        either = [run("adit", 2, 9.0), run("nginx2", 2, 1.0, True), run("adit", 3, 9.0, True), run("nginx2", 3, 1.0)]
        ratio = Results(quiet + either).ratio("adit", "nginx2", "h1", "cpu")
        self.assertEqual(ratio, Spread(1.0, 1.0, 1.0, 2))
        ratio = Results(quiet[:2] + either).ratio("adit", "nginx2", "h1", "cpu")
        self.assertEqual(ratio, Spread(9.0, 1.0, 9.0, 3))

    def test_a_run_that_failed_is_reported_and_counts_for_nothing(self):
        failed = {"row": "adit", "test": "h1", "round": 1, "error": "no answer\nmore"}
        results = Results([run("adit", 0, 1.0), failed])
        self.assertEqual(results.spread("adit", "h1", "cpu"), Spread(1.0, 1.0, 1.0, 1))
        self.assertEqual(results.errors(), ["adit, h1, round 1: no answer"])

    def test_nothing_measured_has_no_spread(self):
        self.assertIsNone(Results().spread("adit", "h1", "cpu"))
        self.assertIsNone(Results([run("adit", 0, 1.0)]).ratio("adit", "nginx2", "h1", "cpu"))


class BoundTest(unittest.TestCase):
    def test_a_bound_on_a_ratio_is_judged_by_the_median(self):
        results = Results([run("adit", 0, 1.2), run("nginx2", 0, 1.0)])
        self.assertIn("1.20 × in 1 turn: **missed**", times("<=", 1.15, "nginx2").show(results, "h1", "cpu"))
        self.assertIn("1.20 × in 1 turn: holds", times(">", 1, "nginx2").show(results, "h1", "cpu"))

    def test_equal_is_at_most_and_at_least_but_not_more(self):
        self.assertTrue(Bound("<=", 1.0).holds(1.0))
        self.assertTrue(Bound(">=", 1.0).holds(1.0))
        self.assertFalse(Bound(">", 1.0).holds(1.0))

    def test_what_was_not_measured_neither_holds_nor_misses(self):
        self.assertIn("not measured", times("<=", 1, "rathole").show(Results(), "h1", "cpu"))


class MachineTest(unittest.TestCase):
    def test_a_command_with_parentheses_does_not_shift_the_fields(self):
        self.assertEqual(fields("7 (a) b (c)) S 1 7 7")[:2], ["S", "1"])

    def test_waiting_is_not_work(self):
        busy = Busy.parse("cpu  100 0 50 1000 500 25 25 10 0 0\ncpu0 1\n")
        self.assertEqual(busy.used, Busy.parse("cpu 100 0 50 9 9 25 25 10 0 0").used)
        self.assertGreater(busy.stolen, 0)


if __name__ == "__main__":
    unittest.main()
