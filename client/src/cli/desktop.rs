//! The desktop around the terminal: a browser, a clipboard.

use base64::{Engine, engine::general_purpose::STANDARD};
use std::{
    env,
    io::Write,
    process::{Command, Stdio},
};

/// Opens a URL in the user's browser. Returns a remark.
pub(super) fn open(url: &str) -> String {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = tokio::process::Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // The runtime waits for it when it is dropped, so that no zombie stays.
    match command.spawn() {
        Ok(_) => format!("opening {url}"),
        Err(error) => format!("no browser: cannot run {program}: {error}"),
    }
}

/// Copies a text. Returns a remark, and bytes for the terminal.
pub(super) fn copy(text: &str) -> (String, Vec<u8>) {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let candidates: &[(bool, &str, &[&str])] = &[
        (cfg!(target_os = "macos"), "pbcopy", &[]),
        (is_set("WAYLAND_DISPLAY"), "wl-copy", &[]),
        (is_set("DISPLAY"), "xclip", &["-selection", "clipboard"]),
        (is_set("DISPLAY"), "xsel", &["--clipboard", "--input"]),
    ];
    for (_, program, arguments) in candidates.iter().filter(|(there, ..)| *there) {
        if pipe(program, arguments, text) {
            return ("URL copied".to_owned(), vec![]);
        }
    }
    // OSC 52: the terminal copies, also at the far end of ssh, if it is one that does.
    let sequence = format!("\x1b]52;c;{}\x07", STANDARD.encode(text)).into_bytes();
    ("URL copied".to_owned(), sequence)
}

fn pipe(program: &str, arguments: &[&str], text: &str) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    let written = child.stdin.take().is_some_and(|mut stdin| stdin.write_all(text.as_bytes()).is_ok());
    // Each of these goes to the background or ends as soon as it has read.
    written && child.wait().is_ok_and(|status| status.success())
}
