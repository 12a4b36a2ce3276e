//! The command `adit` at a terminal: a pseudo-terminal on which an earlier run is shown again.

#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::Path,
    process::{Child, Command},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// A run of the command at a terminal of its own; it is killed when this is dropped.
struct Terminal {
    master: File,
    slave: File,
    seen: Arc<Mutex<String>>,
    child: Child,
}

impl Terminal {
    fn start(home: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let master = File::from(master);
        let slave = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        resize(&master, 80, 24);
        // setsid makes it the controlling terminal, as a terminal emulator does.
        let mut command = Command::new("setsid");
        command.args(["--ctty", env!("CARGO_BIN_EXE_adit")]).args(arguments).current_dir(home);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home).env("TERM", "xterm-256color");
        command.envs(variables.iter().copied());
        let copy = || slave.try_clone().unwrap();
        let child = command.stdin(copy()).stdout(copy()).stderr(copy()).spawn().unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let (mut reader, into) = (master.try_clone().unwrap(), seen.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { master, slave, seen, child }
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until the terminal has got a text after what it had got before.
    fn until(&self, text: &str, after: usize) -> usize {
        let start = Instant::now();
        loop {
            let seen = self.seen();
            if let Some(at) = seen.get(after..).and_then(|new| new.find(text)) {
                return after + at + text.len();
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{text:?} is not in {:?}", &seen[after..]);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the end and answers with the exit code. The terminal has to be as it was.
    fn end(&mut self) -> Option<i32> {
        let start = Instant::now();
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            assert!(start.elapsed() < Duration::from_secs(60), "the command did not end: {:?}", self.seen());
            std::thread::sleep(Duration::from_millis(5));
        };
        let modes = tcgetattr(&self.slave).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG), "{modes:?}");
        let seen = self.seen();
        assert!(seen.rfind("\x1b[?25l") <= seen.rfind("\x1b[?25h"), "the cursor stays hidden: {seen:?}");
        assert!(!seen.contains("\x1b[?1049h"), "there is no alternate screen");
        code
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(master: &File, columns: u16, rows: u16) {
    tcsetwinsize(master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

/// A tunnel that opens at once; the run lasts ten minutes.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let lines = [
        (
            "41:07.000",
            r#""event":"tunnel.added","tunnel":"tn_1","name":"shop","kind":"http","service":"http://127.0.0.1:3000","enabled":true,"options":{}"#,
        ),
        (
            "41:07.100",
            r#""event":"session.state","session":"s1","relay":"eu-7c9f","region":"eu.example.com","state":"connected","latencyMs":12"#,
        ),
        (
            "41:07.100",
            r#""event":"tunnel.state","tunnel":"tn_1","state":"connected","url":"https://shop.eu.example.com","nameGranted":true"#,
        ),
        ("41:07.100", r#""event":"client.state","state":"connected""#),
        (
            "41:07.200",
            r#""event":"request","tunnel":"tn_1","id":"1","method":"GET","path":"/cart","status":500,"durationMs":12,"bytesIn":0,"bytesOut":4100"#,
        ),
        ("51:07.000", r#""event":"client.state","state":"connected""#),
    ];
    let text: String = lines
        .iter()
        .map(|(at, line)| format!("{{\"v\":1,\"time\":\"2026-11-21T10:{at}Z\",{line}}}\n"))
        .collect();
    std::fs::write(home.path().join("events"), text).unwrap();
    home
}

#[test]
fn requests_scroll_above_a_block_that_keys_change() {
    let home = home();
    let mut terminal = Terminal::start(home.path(), &["replay", "events"], &[]);
    let at = terminal.until("https://shop.eu.example.com", 0);
    terminal.until("/cart", 0);
    terminal.until("1 answered 5xx", at);
    let at = terminal.seen().len();
    terminal.keys("\x1b[A");
    terminal.keys("p");
    let at = terminal.until("consumers get 503; p resumes", at);
    terminal.keys("p");
    let at = terminal.until("eu-7c9f 12 ms", at);
    terminal.keys("c");
    terminal.until("\x1b]52;c;aHR0cHM6Ly9zaG9wLmV1LmV4YW1wbGUuY29t\x07", at);
    terminal.keys("q");
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn ctrl_c_says_that_it_stops_and_ends_with_0() {
    let home = home();
    let mut terminal = Terminal::start(home.path(), &["replay", "events"], &[]);
    terminal.until("1 answered 5xx", 0);
    terminal.keys("\x03");
    terminal.until("stopping", 0);
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn sigterm_ends_like_ctrl_c_and_leaves_the_terminal_in_order() {
    let home = home();
    let mut terminal = Terminal::start(home.path(), &["replay", "events"], &[]);
    terminal.until("1 answered 5xx", 0);
    let modes = tcgetattr(&terminal.slave).unwrap().local_modes;
    assert!(!modes.contains(LocalModes::ICANON) && modes.contains(LocalModes::ISIG), "single keys are read");
    // setsid has become the command: it forks only where it leads a process group already.
    let command = Pid::from_child(&terminal.child);
    kill_process(command, Signal::TERM).unwrap();
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn a_narrower_terminal_gets_narrower_lines() {
    let home = home();
    let mut terminal = Terminal::start(home.path(), &["replay", "events"], &[]);
    terminal.until("1 answered 5xx", 0);
    let at = terminal.seen().len();
    resize(&terminal.master, 40, 24);
    let at = terminal.until(&"-".repeat(40), at);
    terminal.until("  ->  http://127.0.0.1:3000", at);
    assert!(!terminal.seen()[at..].contains(&"-".repeat(41)));
    terminal.keys("q");
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn terminals_that_cannot_redraw_get_plain_lines() {
    let home = home();
    for term in ["dumb", "vendor-special", ""] {
        let mut terminal = Terminal::start(home.path(), &["replay", "events"], &[("TERM", term)]);
        terminal.until("connected relay=eu-7c9f latencyMs=12", 0);
        terminal.until("https://shop.eu.example.com", 0);
        assert!(!terminal.seen().contains('\x1b'), "{term}: {:?}", terminal.seen());
        terminal.keys("\x03");
        assert_eq!(terminal.end(), Some(0), "{term}");
    }
}

#[test]
fn colour_goes_where_it_is_wanted() {
    let home = home();
    let red = "\x1b[31m500\x1b[0m";
    for (arguments, variables, colour) in [
        (&["replay", "events"][..], &[][..], true),
        (&["replay", "events"], &[("NO_COLOR", "1")], false),
        (&["replay", "events", "--color", "always"], &[("NO_COLOR", "1")], true),
        (&["replay", "events", "--color", "never"], &[], false),
    ] {
        let mut terminal = Terminal::start(home.path(), arguments, variables);
        terminal.until("1 answered 5xx", 0);
        assert_eq!(terminal.seen().contains(red), colour, "{arguments:?} {variables:?}");
        assert_eq!(terminal.seen().contains("\x1b[0m"), colour, "{arguments:?} {variables:?}");
        terminal.keys("q");
        assert_eq!(terminal.end(), Some(0));
    }
}
