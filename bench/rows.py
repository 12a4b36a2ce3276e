"""What is measured: one Row a product. A placeholder in a command is the same as in conf/: @WORK@, @TLS@, @ORIGIN@, ..."""

from dataclasses import dataclass

from machine import CORES


@dataclass(frozen=True)
class Sessions:
    """How many idle sessions a row opens, and with what. @I@ counts tunnels from 0, @PORT@ is 23000 + @I@."""

    tunnels: int
    client: str                     # one command a tunnel
    together: bool = False          # or one command for all
    counted: str = ""               # the metric that tells how many sessions there are; else one a tunnel
    config: str = ""                # a file of conf/ that each client gets as its own, filled in
    services: str = ""              # what the relay's configuration must list for each client
    probe: str = "http://127.0.0.1:@PORT@"
    host: str = "app.test"


@dataclass(frozen=True)
class Row:
    """One product, as it is started. Commands are split as a shell would."""

    key: str
    title: str
    url: str                        # what the consumer asks, without the path
    relay: tuple[str, ...] = ()
    client: tuple[str, ...] = ()
    host: str = "app.test"
    tunnel_port: int = 0            # where the relay awaits clients; 0: not a tunnel
    makes: str = ""                 # a file that the relay writes before clients can come
    token: str = ""                 # a command whose output the client reads as @WORK@/token; run before each client
    sessions: Sessions | None = None

    def programs(self) -> set[str]:
        """The programs that must be on PATH for this row."""
        return {command.split()[0] for command in (*self.relay, *self.client)}


PIKO_SERVER = (
    "piko server --proxy.bind-addr 127.0.0.1:21060 --upstream.bind-addr 127.0.0.1:22060"
    " --admin.bind-addr 127.0.0.1:22061 --cluster.gossip.bind-addr 127.0.0.1:22062"
    " --upstream.tls.cert @TLS@/relay.crt --upstream.tls.key @TLS@/relay.key"
    " --proxy.access-log.disable --log.level warn"
)
PIKO_AGENT = (
    "piko agent http app@I@ 127.0.0.1:@ORIGIN@ --connect.url https://127.0.0.1:22060"
    " --connect.tls.root-cas @TLS@/ca.crt --access-log.disable --log.level warn --server.enabled=false"
)
ADIT_RELAY = "adit-relay --config @WORK@/adit-relay.yaml"
ADIT_TOKEN = "adit-relay token --account bench --kinds http,tcp --config @WORK@/adit-relay.yaml"
ADIT_OPTIONS = "--relay bench.localhost:22080 --token-file @WORK@/token --ca @WORK@/adit/ca.pem"

ROWS = (
    Row("direct", "nginx alone, no tunnel", "http://127.0.0.1:@ORIGIN@"),
    Row("nginx1", "nginx, one hop", "http://127.0.0.1:21000", relay=("nginx -c @WORK@/nginx-hop.conf",)),
    Row(
        "nginx2", "nginx, two hops, TLS between", "http://127.0.0.1:21010",
        relay=("nginx -c @WORK@/nginx-front.conf",), client=("nginx -c @WORK@/nginx-back.conf",),
    ),
    Row(
        "rathole", "rathole, TLS", "http://127.0.0.1:21020", tunnel_port=22020,
        relay=("rathole --server @WORK@/rathole-server.toml",),
        client=("rathole --client @WORK@/rathole-client.toml",),
        # Each of its clients holds an inotify instance, of which Debian grants a user 128.
        sessions=Sessions(
            100, "rathole --client @WORK@/client-@I@", config="rathole-client.toml",
            services='[server.services.app@I@]\nbind_addr = "127.0.0.1:@PORT@"\n',
        ),
    ),
    Row(
        "bore", "bore, not encrypted", "http://127.0.0.1:21030", tunnel_port=7835,
        relay=("bore server --bind-addr 127.0.0.1",),
        client=("bore local @ORIGIN@ --local-host 127.0.0.1 --to 127.0.0.1 --port 21030",),
        sessions=Sessions(
            500, "bore local @ORIGIN@ --local-host 127.0.0.1 --to 127.0.0.1 --port @PORT@"
        ),
    ),
    Row(
        "frp-http", "frp HTTP, TLS", "http://127.0.0.1:21040", tunnel_port=22040,
        relay=("frps -c @WORK@/frp-http-server.toml",), client=("frpc -c @WORK@/frp-http-client.toml",),
        sessions=Sessions(
            300, "frpc -c @WORK@/client-@I@", config="frp-http-client.toml",
            probe="http://127.0.0.1:21040", host="app@I@.test",
        ),
    ),
    Row(
        "frp-tcp", "frp TCP, TLS, no mux", "http://127.0.0.1:21050", tunnel_port=22050,
        relay=("frps -c @WORK@/frp-tcp-server.toml",), client=("frpc -c @WORK@/frp-tcp-client.toml",),
    ),
    Row(
        "piko", "piko HTTP, TLS", "http://127.0.0.1:21060", tunnel_port=22060,
        relay=(PIKO_SERVER,), client=(PIKO_AGENT,),
        sessions=Sessions(300, PIKO_AGENT, probe="http://127.0.0.1:21060", host="app@I@.test"),
    ),
    Row(
        "chisel", "chisel (SSH over WebSocket)", "http://127.0.0.1:21070", tunnel_port=22070,
        relay=("chisel server --host 127.0.0.1 --port 22070 --reverse",),
        client=("chisel client http://127.0.0.1:22070 R:127.0.0.1:21070:127.0.0.1:@ORIGIN@",),
        sessions=Sessions(
            300, "chisel client http://127.0.0.1:22070 R:127.0.0.1:@PORT@:127.0.0.1:@ORIGIN@"
        ),
    ),
    Row(
        "adit", "Adit, http", "http://127.0.0.1:21080", tunnel_port=22080, host="app.bench.localhost",
        relay=(ADIT_RELAY,), makes="@WORK@/adit/ca.pem", token=ADIT_TOKEN,
        client=(f"adit http 127.0.0.1:@ORIGIN@ --name app {ADIT_OPTIONS}",),
        # A client opens a session to each of the relay's lanes, two at most: 1,000 sessions in all.
        sessions=Sessions(
            1000 // min(2, CORES),
            "adit-bench-sessions bench.localhost:22080 @WORK@/adit/ca.pem @WORK@/token @WORK@/adit/state"
            " 127.0.0.1:@ORIGIN@ @TUNNELS@",
            together=True, counted="adit_sessions_open",
            probe="http://127.0.0.1:21080", host="app@I@.bench.localhost",
        ),
    ),
    Row(
        "adit-tcp", "Adit, tcp", "http://127.0.0.1:21081", tunnel_port=22080,
        relay=(ADIT_RELAY,), makes="@WORK@/adit/ca.pem", token=ADIT_TOKEN,
        client=(f"adit tcp 127.0.0.1:@ORIGIN@ {ADIT_OPTIONS}",),
    ),
)
