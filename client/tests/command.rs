//! The command `adit` as a program: its streams, files, messages and exit codes. No relay is needed.

#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

/// The command in a directory of its own, with nothing of this computer's user.
fn adit(home: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
    let arguments = arguments.split(' ').filter(|a| !a.is_empty());
    command
        .args(arguments)
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home.join("run"));
    command.stdin(Stdio::null());
    command
}

fn run(home: &Path, arguments: &str) -> Output {
    adit(home, arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Events a tenth of a second apart.
fn events(home: &Path, lines: &[&str]) {
    let text = lines
        .iter()
        .enumerate()
        .map(|(n, line)| format!("{{\"v\":1,\"time\":\"2026-11-21T10:41:07.{n}00Z\",{line}}}\n"));
    fs::write(home.join("events"), text.collect::<String>()).unwrap();
}

const ADDED: &str = r#""event":"tunnel.added","tunnel":"tn_1","name":"shop","kind":"http","service":"http://127.0.0.1:3000","enabled":true,"options":{}"#;
const UP: &str = r#""event":"session.state","session":"s1","relay":"eu-7c9f","region":"eu.example.com","state":"connected","latencyMs":12"#;
const OPEN: &str = r#""event":"tunnel.state","tunnel":"tn_1","state":"connected","url":"https://shop.eu.example.com","nameGranted":true"#;
const DOWN: &str = r#""event":"tunnel.state","tunnel":"tn_1","state":"serviceDown","url":"https://shop.eu.example.com","code":"service_down","reason":"127.0.0.1:3000 refuses connections""#;
const TAKEN: &str = r#""event":"error","code":"name_taken","status":409,"message":"the name \"shop\" belongs to another account","next":"choose another --name, or leave it out for a random one","details":{"name":"shop"},"fatal":true"#;

#[test]
fn off_a_terminal_stdout_is_the_url_and_stderr_the_log() {
    let home = tempfile::tempdir().unwrap();
    events(home.path(), &[ADDED, UP, OPEN, DOWN, OPEN]);
    let output = run(home.path(), "replay events");
    assert_eq!(stdout(&output), "https://shop.eu.example.com\n");
    let log = stderr(&output);
    assert!(log.contains("Z connected relay=eu-7c9f latencyMs=12\n"), "{log}");
    assert!(log.contains("service_down name=shop") && !log.contains('\x1b'), "{log}");
    assert!(output.status.success());
}

#[test]
fn quiet_says_nothing_but_the_url_and_errors() {
    let home = tempfile::tempdir().unwrap();
    events(home.path(), &[ADDED, UP, OPEN]);
    let output = run(home.path(), "replay events -q");
    assert_eq!((stdout(&output), stderr(&output)), ("https://shop.eu.example.com\n", ""));
}

#[test]
fn the_url_comes_at_once_not_at_the_end() {
    let home = tempfile::tempdir().unwrap();
    let later = r#""event":"client.state","state":"connected""#;
    let mut lines = vec![ADDED, OPEN];
    lines.extend([later; 7]);
    events(home.path(), &lines);
    // Ten minutes later there is one more.
    let last = format!("{{\"v\":1,\"time\":\"2026-11-21T10:51:07.000Z\",{later}}}\n");
    fs::write(home.path().join("events"), fs::read_to_string(home.path().join("events")).unwrap() + &last)
        .unwrap();
    let mut child =
        adit(home.path(), "replay events").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((url.as_str(), running), ("https://shop.eu.example.com\n", true));
}

#[test]
fn json_is_one_object_a_line_and_ends_with_the_exit_code() {
    let home = tempfile::tempdir().unwrap();
    events(home.path(), &[ADDED, UP, OPEN, TAKEN]);
    let output = run(home.path(), "replay events --json");
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["tunnel.added", "session.state", "tunnel.state", "error", "client.stopped"]);
    assert!(lines.iter().all(|line| line["v"] == 1 && line["time"].is_string()));
    assert_eq!(lines[4]["exitCode"], 4);
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn a_fatal_error_is_said_in_three_parts_with_its_code() {
    let home = tempfile::tempdir().unwrap();
    events(home.path(), &[ADDED, TAKEN]);
    let output = run(home.path(), "replay events -q");
    assert_eq!(
        stderr(&output),
        "error: the name \"shop\" belongs to another account [name_taken]\n  \
         next:  choose another --name, or leave it out for a random one\n"
    );
    assert_eq!(output.status.code(), Some(4));
}

/// A client of a region that no relay answers for; it is killed when it is dropped.
struct Client(std::process::Child);

impl Client {
    fn start(home: &Path, arguments: &str) -> Self {
        let arguments = format!("{arguments} --relay adit.localhost:1");
        let mut command = adit(home, &arguments);
        command.env("ADIT_TOKEN", "a.b.c").stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Waits until `adit status` shows it.
    fn listed(&mut self, home: &Path, which: &str) -> Value {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) {
            let value: Value =
                serde_json::from_str(stdout(&run(home, &format!("status {which} --json")))).unwrap();
            if let Some(tunnel) = value["tunnels"].get(0) {
                return tunnel.clone();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.0.kill().unwrap();
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        panic!("no client shows {which}: {said}");
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_second_client_for_the_same_service_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let mut first = Client::start(home.path(), "http 3000 --name shop");
    let tunnel = first.listed(home.path(), "shop");
    assert_eq!(
        (&tunnel["service"], &tunnel["state"], &tunnel["pid"]),
        (&"http://127.0.0.1:3000".into(), &"connecting".into(), &first.0.id().into())
    );
    let mut second = adit(home.path(), "http localhost:3000 --json --relay adit.localhost:1");
    let second = second.env("ADIT_TOKEN", "a.b.c").output().unwrap();
    assert_eq!(second.status.code(), Some(4), "{}", stderr(&second));
    let error: Value = serde_json::from_str(stdout(&second).lines().next().unwrap()).unwrap();
    assert_eq!(
        (&error["event"], &error["code"], &error["status"], &error["details"]["tunnel"]),
        (&"error".into(), &"already_open".into(), &409.into(), &tunnel["tunnel"])
    );
    let mut forced = Client::start(home.path(), "http localhost:3000 --force");
    forced.listed(home.path(), "http://localhost:3000");
    drop(forced);
    first.signal(rustix::process::Signal::TERM);
    assert_eq!(ended(&mut first.0), Some(0));
    assert_eq!(stdout(&run(home.path(), "status")), "");
    // What a killed client leaves behind is in nobody's way.
    let mut killed = Client::start(home.path(), "http 3000");
    killed.listed(home.path(), "3000");
    drop(killed);
    let mut again = Client::start(home.path(), "http 3000");
    again.listed(home.path(), "3000");
    assert_eq!(stdout(&run(home.path(), "status")).lines().count(), 2);
}

#[test]
fn start_leaves_out_a_tunnel_that_is_open_already() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("adit.yaml"), "tunnels: {shop: {http: 3000}, docs: {http: 8080}}\n").unwrap();
    let mut first = Client::start(home.path(), "http 3000");
    first.listed(home.path(), "3000");
    let mut second = Client::start(home.path(), "start");
    second.listed(home.path(), "docs");
    assert_eq!(run(home.path(), "status shop").status.code(), Some(8));
    let third =
        adit(home.path(), "start --relay adit.localhost:1").env("ADIT_TOKEN", "a.b.c").output().unwrap();
    assert_eq!(third.status.code(), Some(4), "no tunnel is left: {}", stderr(&third));
    assert_eq!(stderr(&third).matches("[already_open]").count(), 2, "{}", stderr(&third));
}

#[test]
fn a_client_gives_up_with_code_7_when_it_was_told_to() {
    let home = tempfile::tempdir().unwrap();
    let mut client = adit(home.path(), "http 3000 --relay adit.localhost:1 --give-up-after 200ms");
    let output = client.env("ADIT_TOKEN", "a.b.c").output().unwrap();
    assert!(stderr(&output).contains("[relay_unreachable]"), "{}", stderr(&output));
    assert_eq!((output.status.code(), stdout(&output)), (Some(7), ""));
}

/// Waits until a child has ended, and kills it after a minute.
fn ended(child: &mut std::process::Child) -> Option<i32> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("the command did not end");
}

#[test]
fn a_reader_that_closes_stdout_ends_json_alone() {
    let home = tempfile::tempdir().unwrap();
    let later = r#""event":"client.state","state":"connected""#;
    let mut lines = vec![ADDED, OPEN];
    lines.extend([later; 8]);
    events(home.path(), &lines);
    for (arguments, all) in [("replay events --json", false), ("replay events -v", true)] {
        let mut child =
            adit(home.path(), arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut log = String::new();
        child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(ended(&mut child), Some(0), "{arguments}: {log}");
        assert_eq!(log.contains("the client has ended"), all, "{arguments}: {log}");
    }
}

#[test]
fn all_errors_of_the_configuration_come_at_once_with_code_2() {
    let home = tempfile::tempdir().unwrap();
    fs::write(
        home.path().join("adit.yaml"),
        "relay: eu.example.com\ntunnels: {b: {http: 0}, a: {serve: .}}\n",
    )
    .unwrap();
    let output = adit(home.path(), "start").env("ADIT_TOKENFILE", "x").output().unwrap();
    assert_eq!(
        stderr(&output),
        "error: the configuration is not valid [config_invalid]\n  \
         ADIT_TOKENFILE: no Adit program reads this variable; did you mean ADIT_TOKEN_FILE?\n  \
         adit.yaml: line 2: tunnels.b.http: \"0\" is not a service: a port is a number from 1 to 65535\n  \
         adit.yaml: line 2: tunnels.a: has no service: add http: or tcp: with a port\n  \
         adit.yaml: line 2: tunnels.a.serve: is not a key of this version of Adit: there are http, tcp, name, enabled, port\n  \
         next:  correct it, then: adit check\n"
    );
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""));
}

#[test]
fn a_flag_of_a_later_version_is_unknown() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), "http 3000 --auth a:b");
    assert!(
        stderr(&output).starts_with("error: unexpected argument '--auth' found [usage]\n  next:"),
        "{}",
        stderr(&output)
    );
    assert!(stderr(&output).ends_with("  next:  adit http --help\n"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_command_alone_is_told_what_there_is() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), "");
    let text = stderr(&output);
    assert!(text.starts_with("error: no command given [usage]\n  adit http 3000 "), "{text}");
    assert!(text.ends_with("  next:  adit --help\n"), "{text}");
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""));
}

#[test]
fn a_bad_flag_is_no_bad_configuration() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), "http 3000");
    assert_eq!(
        stderr(&output),
        "error: bad command line [usage]\n  no relay: add --relay DOMAIN, or relay: in adit.yaml\n  \
         next:  adit http --help\n"
    );
    let output = run(home.path(), "http 3000 --relay adit.localhost:1 --ca nofile.pem");
    assert!(stderr(&output).contains("\n  --ca: nofile.pem does not exist\n"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_reserved_name_ends_with_4_wherever_it_stands() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("adit.yaml"), "relay: adit.localhost:1\ntunnels: {www: {http: 3000}}\n")
        .unwrap();
    for arguments in ["http 3000 --name www", "start"] {
        let output = adit(home.path(), arguments).env("ADIT_TOKEN", "a.b.c").output().unwrap();
        assert!(stderr(&output).contains("[name_reserved]"), "{}", stderr(&output));
        assert_eq!(output.status.code(), Some(4), "{arguments}");
    }
}

#[test]
fn check_says_what_start_would_open_or_what_is_wrong() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("adit.yaml");
    fs::write(&file, "tunnels: {shop: {http: 3000}, ssh: {tcp: 22, enabled: false}}\n").unwrap();
    let output = run(home.path(), "check");
    assert!(stdout(&output).ends_with("adit.yaml is valid: 1 tunnel, 1 disabled\n"), "{}", stdout(&output));
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    fs::write(&file, "ca: none.pem\ntunnels: {shop: {http: https://a, upstreamCa: none.pem}}\n").unwrap();
    let output = run(home.path(), "check");
    assert!(
        stderr(&output).starts_with("error: adit.yaml is not valid [config_invalid]\n"),
        "{}",
        stderr(&output)
    );
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""));
}

#[test]
fn no_token_is_spent_whose_credential_cannot_be_kept() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("file"), "").unwrap();
    let mut client = adit(home.path(), "http 3000 --relay adit.localhost:1 --give-up-after 5s");
    client.env("ADIT_TOKEN", "a.b.c").env("XDG_STATE_HOME", home.path().join("file"));
    let output = client.output().unwrap();
    assert!(stderr(&output).contains("file/adit [state_unwritable]\n"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn verbose_lines_name_each_step_and_none_is_a_debug_line() {
    let home = tempfile::tempdir().unwrap();
    let mut client = adit(home.path(), "http 3000 -v --relay adit.localhost:1 --give-up-after 200ms");
    let output = client.env("ADIT_TOKEN", "a.b.c").output().unwrap();
    let log = stderr(&output);
    assert!(
        log.contains("Z resolved host=\"connect.adit.localhost\" addresses=\"127.0.0.1:1 [::1]:1\" ms="),
        "{log}"
    );
    assert!(log.contains("Z dial failed reason=\"connection refused\"\n"), "{log}");
    assert!(!log.contains("DEBUG") && !log.contains("adit::"), "{log}");
}

/// A shell that reads the URL goes on with it, and the client with its work.
#[test]
fn a_shell_reads_the_url_while_the_client_goes_on() {
    let home = tempfile::tempdir().unwrap();
    events(home.path(), &[ADDED, OPEN, r#""event":"client.state","state":"connected""#]);
    let later = r#"{"v":1,"time":"2026-11-21T10:51:07.000Z","event":"client.state","state":"connected"}"#;
    let path = home.path().join("events");
    fs::write(&path, format!("{}{later}\n", fs::read_to_string(&path).unwrap())).unwrap();
    let script = "read -r url < <(exec \"$0\" replay events 2>adit.log)\n\
                  kill -0 $! && echo \"$url runs\" && kill $!";
    let output = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_adit")])
        .current_dir(home.path())
        .env_remove("XDG_RUNTIME_DIR")
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "https://shop.eu.example.com runs\n", "{}", stderr(&output));
}

#[test]
fn a_signal_that_timeout_sends_twice_ends_the_client_in_order() {
    let home = tempfile::tempdir().unwrap();
    let mut client = Client::start(home.path(), "http 3000");
    client.listed(home.path(), "3000");
    client.signal(rustix::process::Signal::TERM);
    client.signal(rustix::process::Signal::TERM);
    assert_eq!(ended(&mut client.0), Some(0));
}

#[test]
fn without_a_token_the_code_is_3() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), "http 3000 --relay adit.localhost:1");
    assert!(stderr(&output).contains("[token_missing]"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn help_explains_codes_and_completions_come_for_shells() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), "help name_taken");
    assert!(stdout(&output).starts_with("name_taken: ") && output.status.success());
    let output = run(home.path(), "help nonsense-that-is-nothing");
    assert_eq!((stdout(&output), output.status.code()), ("", Some(2)));
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&run(home.path(), &format!("completions {shell}"))).contains("adit"));
    }
    assert!(stdout(&run(home.path(), "--help")).contains("Examples:"));
    assert!(stdout(&run(home.path(), "--version")).starts_with("adit "));
}

#[test]
fn status_without_clients_is_empty_and_json_is_an_empty_list() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), "status");
    assert_eq!(
        (stdout(&output), stderr(&output), output.status.code()),
        ("", "no tunnel of yours is open on this computer\n", Some(0))
    );
    let output = run(home.path(), "status shop --json");
    let value: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!((&value["tunnels"], output.status.code()), (&Value::Array(vec![]), Some(8)));
}
