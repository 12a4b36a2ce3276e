"""What comes out, and what is filled in."""

import tempfile
import unittest
from pathlib import Path

import report
from load import read_answer, wrk_result
from place import CONF, Place
from results import Results
from rows import ROWS


class Answer:
    """A connection that answers with these pieces."""

    def __init__(self, *pieces: bytes):
        self.pieces = list(pieces)

    def recv(self, _: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


class ReportTest(unittest.TestCase):
    def test_only_what_stands_between_the_markers_is_replaced(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "document.md"
            path.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
            report.write(path, "new\n")
            self.assertEqual(path.read_text(), f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n")

    def test_a_document_without_markers_is_refused_and_stays(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "document.md"
            path.write_text(f"before {report.BEGIN}")
            with self.assertRaises(ValueError):
                report.write(path, "new\n")
            self.assertEqual(path.read_text(), f"before {report.BEGIN}")

    def test_a_row_that_was_not_measured_has_no_line(self):
        run = {"row": "direct", "test": "h1", "round": 0, "per_second": 5.0, "p50": 1, "cpu": 0.0, "relay_cpu": 0.0,
               "client_cpu": 0.0, "failed": 0}
        text = report.render(Results([run]), "a machine")
        self.assertIn("| nginx alone, no tunnel | 5 |", text)
        self.assertNotIn("rathole, TLS", text)
        self.assertNotIn("Gates", text)


class LoadTest(unittest.TestCase):
    def test_an_answer_counts_when_it_is_whole(self):
        head = b"HTTP/1.1 200 OK\r\n\r\n"
        self.assertTrue(read_answer(Answer(head[:9], head[9:] + b"x" * 1000, b"x" * 24)))
        self.assertFalse(read_answer(Answer(head + b"x" * 1000)))
        self.assertFalse(read_answer(Answer(b"HTTP/1.1 502 Bad Gateway\r\n\r\n" + b"x" * 1024)))
        self.assertFalse(read_answer(Answer()))

    def test_wrk_that_says_nothing_is_an_error(self):
        self.assertEqual(wrk_result('x\nJSON {"microseconds": 500000, "requests": 5}\n')["per_second"], 10)
        with self.assertRaises(RuntimeError):
            wrk_result("unable to connect")


class RowsTest(unittest.TestCase):
    def test_every_file_that_a_command_names_is_in_conf(self):
        for row in ROWS:
            for command in (*row.relay, *row.client):
                for word in command.split():
                    if word.startswith("@WORK@/") and word.count("/") == 1 and "." in word:
                        self.assertTrue((CONF / word.removeprefix("@WORK@/")).exists(), word)

    def test_placeholders_are_filled_in_and_unknown_ones_vanish(self):
        with tempfile.TemporaryDirectory() as folder:
            place = Place.__new__(Place)
            place.work = place.tls = place.www = Path(folder)
            self.assertEqual(place.fill("@WORK@ app@I@ @PORT@", i=7), f"{folder} app7 ")


if __name__ == "__main__":
    unittest.main()
