//! Capabilities of the terminal: size, colour, redrawing, single keys.

use super::args::When;
use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use std::{
    collections::VecDeque, fs::OpenOptions, os::unix::fs::OpenOptionsExt, sync::OnceLock, time::Duration,
};
use tokio::net::unix::pipe::Receiver;

/// Terminals of which these are the beginnings of names can move the cursor up and erase lines.
const REDRAWABLE_TERMINALS: [&str; 28] = [
    "alacritty",
    "ansi",
    "contour",
    "cygwin",
    "eterm",
    "foot",
    "ghostty",
    "gnome",
    "iterm",
    "kitty",
    "konsole",
    "linux",
    "mintty",
    "mlterm",
    "mosh",
    "nsterm",
    "putty",
    "rio",
    "rxvt",
    "screen",
    "st-",
    "teraterm",
    "tmux",
    "vscode",
    "vt100",
    "vt220",
    "wezterm",
    "xterm",
];

/// The first byte of an escape sequence (ECMA-48), as arrow keys send.
const ESCAPE: u8 = 0x1b;
/// Between two looks at whether the program is in the foreground again.
const FOREGROUND_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The terminal's modes before the first change, for the panic hook.
static SAVED_MODES: OnceLock<Termios> = OnceLock::new();

/// Whether lines can be redrawn on a terminal of this type (`TERM`).
pub(super) fn can_redraw(term: Option<&str>) -> bool {
    let Some(term) = term.map(str::to_ascii_lowercase) else { return false };
    term == "st" || REDRAWABLE_TERMINALS.iter().any(|known| term.starts_with(known))
}

/// Whether a stream gets colour.
pub(super) fn color(when: When, is_terminal: bool, no_color: Option<&str>, term: Option<&str>) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => {
            is_terminal
                && no_color.is_none_or(str::is_empty)
                && term.is_some_and(|term| term != "dumb" && !term.is_empty())
        }
    }
}

/// Columns and rows of the terminal on stderr; 80 by 24 if it does not say.
pub(super) fn size() -> (usize, usize) {
    match termios::tcgetwinsize(rustix::stdio::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// Single keys from the terminal on stdin. Signals and line feeds stay as they are, so that Ctrl-C and Ctrl-Z work even
/// if this program does not. The terminal is put back when this is dropped, and when the program panics.
pub(super) struct Keyboard {
    /// The terminal, opened again: O_NONBLOCK on stdin would hold for the shell as well.
    input: Receiver,
    before: Termios,
    /// Keys that have been read and not been asked for.
    keys: VecDeque<char>,
}

impl Keyboard {
    /// Takes the keyboard if stdin is a terminal that this program may read from now.
    pub(super) fn open() -> Option<Self> {
        let before = termios::tcgetattr(rustix::stdio::stdin()).ok()?;
        let input = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open("/dev/tty")
            .ok()?;
        let input = Receiver::from_file_unchecked(input).ok()?;
        if SAVED_MODES.set(before.clone()).is_ok() {
            let hook = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if let Some(before) = SAVED_MODES.get() {
                    restore(before);
                }
                hook(info);
            }));
        }
        let keyboard = Self { input, before, keys: VecDeque::new() };
        keyboard.take();
        Some(keyboard)
    }

    /// Takes the keyboard again, after the program was stopped and goes on.
    pub(super) fn take(&self) {
        if !in_foreground() {
            return;
        }
        let mut single = self.before.clone();
        single.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        single.special_codes[SpecialCodeIndex::VMIN] = 1;
        single.special_codes[SpecialCodeIndex::VTIME] = 0;
        // A terminal that has gone away has no keys; the program ends by its SIGHUP.
        let _ = termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &single);
    }

    /// The next key. Escape sequences, as arrow keys send, are skipped. It is safe to cancel.
    pub(super) async fn key(&mut self) -> char {
        loop {
            if let Some(key) = self.keys.pop_front() {
                return key;
            }
            if self.input.readable().await.is_err() {
                return std::future::pending().await;
            }
            if !in_foreground() {
                // Input is the shell's now, and a read would stop this program (SIGTTIN).
                tokio::time::sleep(FOREGROUND_CHECK_INTERVAL).await;
                continue;
            }
            let mut bytes = [0; 64];
            match self.input.try_read(&mut bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return std::future::pending().await,
                Ok(count) => self.keys.extend(keys(&bytes[..count])),
            }
        }
    }
}

/// The keys that are one character each. Arrow keys and their like are escape sequences (ECMA-48), which are skipped.
fn keys(bytes: &[u8]) -> Vec<char> {
    let mut keys = Vec::new();
    let mut bytes = bytes.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != ESCAPE {
            keys.extend(byte.is_ascii_graphic().then_some(char::from(byte)));
            continue;
        }
        match bytes.next() {
            Some(b'[') => drop(bytes.find(|byte| (0x40..=0x7e).contains(byte))),
            Some(b'O') => drop(bytes.next()),
            _ => {}
        }
    }
    keys
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        restore(&self.before);
    }
}

fn restore(before: &Termios) {
    if in_foreground() {
        // There is nothing left to do if the terminal is gone.
        let _ = termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
    }
}

/// Whether another job has the terminal on stderr, so that nothing may be drawn there.
pub(super) fn in_background() -> bool {
    termios::tcgetpgrp(rustix::stdio::stderr()).is_ok_and(|group| group != rustix::process::getpgrp())
}

/// Whether this program's process group is the one that may use the terminal.
fn in_foreground() -> bool {
    termios::tcgetpgrp(rustix::stdio::stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_no_keys() {
        assert_eq!(keys(b"p\x1b[Aq\x1b[1;5Dc\x1bOPo\r \x1b"), ['p', 'q', 'c', 'o']);
        assert!(keys(b"\x1b[").is_empty() && keys(b"\x1bq").is_empty() && keys("ä".as_bytes()).is_empty());
    }

    #[test]
    fn only_known_terminals_are_redrawn() {
        for term in ["xterm-256color", "screen", "tmux-256color", "linux", "st", "st-256color", "XTERM"] {
            assert!(can_redraw(Some(term)), "{term}");
        }
        for term in [None, Some(""), Some("dumb"), Some("unknown"), Some("emacs"), Some("stx")] {
            assert!(!can_redraw(term), "{term:?}");
        }
    }

    #[test]
    fn colour_needs_a_terminal_that_can_and_a_flag_wins() {
        assert!(color(When::Auto, true, None, Some("xterm")));
        assert!(color(When::Auto, true, Some(""), Some("xterm")));
        assert!(!color(When::Auto, true, Some("1"), Some("xterm")));
        assert!(!color(When::Auto, true, None, Some("dumb")));
        assert!(!color(When::Auto, true, None, None));
        assert!(!color(When::Auto, false, None, Some("xterm")));
        assert!(color(When::Always, false, Some("1"), Some("dumb")));
        assert!(!color(When::Never, true, None, Some("xterm")));
    }
}
