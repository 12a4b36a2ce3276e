"""Where a run works: certificates, files to serve, filled-in configuration, and the processes that it starts."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from machine import CORES

ORIGIN = 19000
CONF = Path(__file__).parent / "conf"


class Place:
    """A folder for one run, and the cache that outlives it. Used with `with`: at the end no process is left."""

    def __init__(self, cache: Path):
        self.tls = cache / "tls"
        self.www = cache / "www"
        self.work = Path(tempfile.mkdtemp(prefix="adit-bench-"))
        self.started: list[subprocess.Popen] = []
        make_files(self.www)
        make_certificates(self.tls)
        self.refresh()

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_) -> None:
        self.stop(self.started)
        shutil.rmtree(self.work, ignore_errors=True)

    def fill(self, text: str, **values: object) -> str:
        """Replaces the placeholders; those that are not given become empty."""
        known = {"WORK": self.work, "TLS": self.tls, "WWW": self.www, "ORIGIN": ORIGIN, "CORES": CORES}
        known |= {key.upper(): value for key, value in values.items()}
        return re.sub(r"@([A-Z]+)@", lambda found: str(known.get(found[1], "")), text)

    def refresh(self, **values: object) -> None:
        """Writes all of conf/ anew and forgets what earlier processes left."""
        shutil.rmtree(self.work / "adit", ignore_errors=True)
        for log in self.work.glob("*.log"):
            log.unlink()
        (self.work / "adit").mkdir(mode=0o700)
        (self.work / "nginx-tmp").mkdir(exist_ok=True)
        for template in CONF.iterdir():
            (self.work / template.name).write_text(self.fill(template.read_text(), **values))

    def write(self, name: str, template: str, **values: object) -> None:
        (self.work / name).write_text(self.fill((CONF / template).read_text(), **values))

    def start(self, command: str, **values: object) -> subprocess.Popen:
        """Starts a program; what it prints goes to a log named after it."""
        argv = shlex.split(self.fill(command, **values))
        if argv[0] == "nginx":
            argv += ["-e", "stderr", "-p", str(self.work)]
        with open(self.work / f"{argv[0]}.log", "ab") as log:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment())
        self.started.append(process)
        return process

    def environment(self) -> dict[str, str]:
        """What is kept from one run of a client to the next is forgotten with everything else."""
        home = str(self.work / "adit")
        return os.environ | {"HOME": home, "XDG_STATE_HOME": home, "XDG_RUNTIME_DIR": home}

    def output(self, command: str, into: str) -> None:
        """Runs a command to its end and keeps what it prints in a file of its own."""
        result = subprocess.run(
            shlex.split(self.fill(command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20, check=False
        )
        if result.returncode != 0:
            raise RuntimeError(f"{command}: {result.stderr.decode(errors='replace').strip()[-500:]}")
        path = self.work / into
        path.write_bytes(result.stdout)
        path.chmod(0o600)

    def stop(self, processes: list[subprocess.Popen]) -> None:
        """Ends the processes: asks first, 3 s later it insists."""
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.started = [process for process in self.started if process.poll() is None]

    def last_words(self, lines: int = 3) -> str:
        """The end of every log: why something did not come up."""
        return "\n".join(
            f"{log.name}: {line}" for log in sorted(self.work.glob("*.log"))
            for line in log.read_text(errors="replace").splitlines()[-lines:]
        )


def make_files(www: Path) -> None:
    """1 KiB and 1 GiB of random bytes, made once."""
    www.mkdir(parents=True, exist_ok=True)
    for name, size in (("1k", 2**10), ("1g", 2**30)):
        path = www / name
        if path.exists() and path.stat().st_size == size:
            continue
        with open(path, "wb") as file:
            for _ in range(0, size, 2**20):
                file.write(os.urandom(min(size, 2**20)))


def make_certificates(tls: Path) -> None:
    """A CA, and a certificate of its for every name that a product wants to see; made once."""
    if (tls / "relay.p12").exists():
        return
    tls.mkdir(parents=True, exist_ok=True)
    curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    (tls / "names").write_text(
        "subjectAltName=DNS:relay.test,DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n"
    )
    for arguments in (
        f"req -x509 {curve} -keyout ca.key -out ca.crt -days 3650 -subj /CN=bench",
        f"req {curve} -keyout relay.key -out relay.csr -subj /CN=relay.test",
        "x509 -req -in relay.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out relay.crt -days 3650 -extfile names",
        "pkcs12 -export -in relay.crt -inkey relay.key -certfile ca.crt -passout pass:bench -out relay.p12",
    ):
        subprocess.run(["openssl", *arguments.split()], cwd=tls, check=True, capture_output=True, timeout=30)
