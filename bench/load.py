"""What asks: single requests, wrk, downloads, readers that stall."""

import json
import re
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

SCRIPT = Path(__file__).parent / "wrk.lua"
ANSWER = 2**10


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 80


def request(path: str, host: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


def read_answer(connection: socket.socket) -> bool:
    """Reads one whole 1 KiB answer; False if it is another."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = connection.recv(8192)
        if not piece:
            return False
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    while len(body) < ANSWER:
        piece = connection.recv(8192)
        if not piece:
            return False
        body += piece
    return head.startswith(b"HTTP/1.1 200") and len(body) == ANSWER


def probe(url: str, host: str, timeout: float = 1.0) -> bool:
    """Whether one request on a connection of its own is answered as it should be."""
    try:
        with socket.create_connection(address(url), timeout=timeout) as connection:
            connection.sendall(request("/1k", host, "Connection: close"))
            return read_answer(connection)
    except OSError:
        return False


def wait_for_answer(url: str, host: str, since: float | None = None, limit: float = 20.0) -> float | None:
    """Seconds from `since` to the first good answer, asked every millisecond; None if it does not come."""
    start = time.monotonic() if since is None else since
    while time.monotonic() - start < limit:
        if probe(url, host):
            return time.monotonic() - start
        time.sleep(0.001)
    return None


def wait_for_listener(port: int, limit: float = 10.0) -> bool:
    end = time.monotonic() + limit
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            time.sleep(0.005)
    return False


def wait_for_file(path: Path, limit: float = 10.0) -> bool:
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if path.exists():
            return True
        time.sleep(0.005)
    return False


def requests(url: str, host: str, count: int, connections: int = 8) -> int:
    """Sends `count` requests over a few kept connections, one after the other; how many were answered well."""
    good = 0
    for index in range(connections):
        with socket.create_connection(address(url), timeout=5) as connection:
            for _ in range(count // connections + (index < count % connections)):
                connection.sendall(request("/1k", host))
                good += read_answer(connection)
    return good


def metric(url: str, name: str) -> int:
    """The value of a gauge without labels."""
    with urlopen(url, timeout=5) as response:
        text = response.read().decode()
    line = re.search(rf"^{name} (\d+)$", text, re.MULTILINE)
    if not line:
        raise RuntimeError(f"{url} has no {name}")
    return int(line[1])


def wrk_command(url: str, host: str, connections: int, seconds: float, close: bool = False) -> list[str]:
    # wrk takes whole seconds.
    command = ["wrk", "-t", str(min(2, connections)), "-c", str(connections), "-d", f"{max(1, round(seconds))}s",
               "--timeout", "5s", "-s", str(SCRIPT), "-H", f"Host: {host}"]
    return command + (["-H", "Connection: close"] if close else []) + [f"{url}/1k"]


def wrk_result(output: str) -> dict:
    """What wrk.lua printed."""
    line = re.search(r"^JSON (\{.*\})$", output, re.MULTILINE)
    if not line:
        raise RuntimeError(f"wrk: {output.strip()[:300]}")
    result = json.loads(line[1])
    result["per_second"] = result["requests"] / (result["microseconds"] / 1e6)
    return result


def download_command(url: str, host: str) -> list[str]:
    return ["curl", "-s", "--http1.1", "-o", "/dev/null", "-m", "60", "-H", f"Host: {host}",
            "-w", "%{http_code} %{size_download} %{time_total}", f"{url}/1g"]


class Downloads:
    """One download after the other in the background, as fast as they come."""

    def __init__(self, url: str, host: str):
        self.command = ["sh", "-c", 'while "$@"; do :; done', "sh", *download_command(url, host)]

    def __enter__(self) -> "Downloads":
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, start_new_session=True)
        return self

    def __exit__(self, *_) -> None:
        subprocess.run(["kill", "-KILL", "--", f"-{self.process.pid}"], check=False)
        self.process.wait()


class StalledReaders:
    """Consumers that asked for 1 GiB, took the first bytes and read no more."""

    def __init__(self, url: str, host: str, count: int):
        self.url, self.host, self.count = url, host, count
        self.connections: list[socket.socket] = []

    def __enter__(self) -> "StalledReaders":
        for _ in range(self.count):
            connection = socket.socket()
            self.connections.append(connection)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.settimeout(5)
            connection.connect(address(self.url))
            connection.sendall(request("/1g", self.host))
            connection.recv(100)
        return self

    def __exit__(self, *_) -> None:
        for connection in self.connections:
            connection.close()
