//! The live view: pure functions from a client's state to lines.

mod frame;
mod scroll;
mod status_line;

pub(super) use frame::Frame;
pub(super) use scroll::{exchange_line, problem_lines};
pub(super) use status_line::refused_word;

use super::{
    display_state::{DisplayState, TunnelView},
    line::{Line, Style},
    number,
};
use crate::event::{ClientState, TunnelState};
use adit_protocol::Kind;

/// The most lines that the block has, the one that separates it not counted.
const MAX_BLOCK_LINES: usize = 6;
/// The widest that the block's lines become, where nothing needs more.
const MAX_RULE_WIDTH: usize = 74;

/// The columns and rows that the whole block needs; smaller terminals get its essence.
const MIN_FULL_WIDTH: usize = 40;
const MIN_FULL_HEIGHT: usize = MAX_BLOCK_LINES + 2;

/// The block below the requests.
pub(super) fn block(state: &DisplayState, frame: &Frame) -> Vec<Line> {
    let width = frame.width.max(1);
    let room = MAX_BLOCK_LINES.min(frame.height.saturating_sub(2)).max(1);
    let mut lines = match state.many {
        true => many(state, frame, room),
        false if width < MIN_FULL_WIDTH || frame.height < MIN_FULL_HEIGHT => small(state, frame),
        false => one(state, frame, room),
    };
    if frame.height > MAX_BLOCK_LINES + 2 {
        lines.insert(0, Line::default().and(Style::Dim, "-".repeat(width.min(MAX_RULE_WIDTH))));
    }
    lines
}

/// The block of a client with one tunnel. The least important lines are left out first where there is no room.
fn one(state: &DisplayState, frame: &Frame, room: usize) -> Vec<Line> {
    let width = frame.width.max(1);
    let tunnel = state.tunnels.first();
    let mut head = match tunnel {
        Some(tunnel) => address(tunnel, width),
        None => vec![],
    };
    head.extend(status_line::lines(state, tunnel, frame).into_iter().map(|line| line.cut(width)));
    let stats = stats(state, tunnel.map_or(Kind::Http, |t| t.wanted.kind), width).cut(width);
    let inspect = state.inspect.as_ref().map(|url| Line::plain(format!("inspect {url}")).cut(width));
    let keys = keys(state, frame).map(|line| line.cut(width));
    let mut optional = [(Some(stats), 1), (inspect, 3), (keys, 2)];
    // The greater the number, the sooner a line is left out.
    for least in [3, 2, 1] {
        let lines = head.len() + optional.iter().filter(|(line, _)| line.is_some()).count();
        if lines > room {
            for (line, _) in optional.iter_mut().filter(|(_, importance)| *importance == least) {
                *line = None;
            }
        }
    }
    head.extend(optional.into_iter().filter_map(|(line, _)| line));
    head.truncate(room.max(1));
    head
}

/// The block on a very small terminal: address, state, counts and keys, one row each. It may take all rows but the
/// cursor's; where there are fewer than four, the last are left out.
fn small(state: &DisplayState, frame: &Frame) -> Vec<Line> {
    let width = frame.width.max(1);
    let tunnel = state.tunnels.first();
    let mut lines = vec![];
    if let Some(tunnel) = tunnel {
        lines.push(Line::default().and(Style::Bold, tunnel.url.as_deref().unwrap_or(&tunnel.wanted.service)));
    }
    lines.extend(status_line::lines(state, tunnel, frame).into_iter().take(1));
    lines.push(stats(state, tunnel.map_or(Kind::Http, |t| t.wanted.kind), width));
    lines.extend(keys(state, frame));
    lines.truncate(frame.height.saturating_sub(1).clamp(1, MAX_BLOCK_LINES));
    lines.into_iter().map(|line| line.cut(width)).collect()
}

/// The first of these lines that fits, else the last.
fn first_that_fits(lines: impl IntoIterator<Item = Line>, width: usize) -> Line {
    let mut last = Line::default();
    for line in lines {
        last = line;
        if last.width() <= width {
            break;
        }
    }
    last
}

/// `URL  ->  service`, on two lines where one is too narrow. The URL is never cut: it is there to be copied.
fn address(tunnel: &TunnelView, width: usize) -> Vec<Line> {
    let url = Line::default().and(Style::Bold, tunnel.url.as_deref().unwrap_or("-"));
    let whole = url.clone().and(Style::Plain, format!("  ->  {}", tunnel.wanted.service));
    if whole.width() <= width {
        return vec![whole];
    }
    vec![url, Line::plain(format!("  ->  {}", tunnel.wanted.service)).cut(width)]
}

/// The numbers, as many of them as have room.
fn stats(state: &DisplayState, kind: Kind, width: usize) -> Line {
    let traffic = &state.traffic;
    let (one, several, short) = match kind.is_by_port() {
        false => ("request", "requests", "req"),
        true => ("connection", "connections", "conn"),
    };
    if traffic.total == 0 {
        return Line::plain(format!("no {several} yet"));
    }
    let count = number::count(traffic.total);
    let what = if traffic.total == 1 { one } else { several };
    let open = match traffic.open() {
        0 => String::new(),
        open => format!(", {open} open"),
    };
    let times = traffic.quantiles().map_or_else(String::new, |(median, slow)| {
        format!(", p50 {}, p99 {}", number::millis(median), number::millis(slow))
    });
    let failed = |words: &str| match traffic.failed {
        0 => String::new(),
        failed => format!("{}{words}", number::count(failed)),
    };
    let line = |text: String, failed: String| {
        let separator = if failed.is_empty() { "" } else { ", " };
        Line::plain(text).and(Style::Plain, separator).and(Style::Warn, failed)
    };
    let lines = [
        line(format!("{count} {what}{open}{times}"), failed(" answered 5xx")),
        line(format!("{count} {what}{open}"), failed(" 5xx")),
        line(format!("{count} {short}{open}"), failed(" 5xx")),
    ];
    first_that_fits(lines, width)
}

/// The keys, in as many words as have room; or the remark about the last key.
fn keys(state: &DisplayState, frame: &Frame) -> Option<Line> {
    if let Some((_, remark)) = &state.remark {
        return Some(Line::plain(remark));
    }
    if !frame.keys || state.client == ClientState::Stopping {
        return None;
    }
    let tunnel = state.tunnels.first()?;
    let pause = if tunnel.state == TunnelState::Paused { "p resume" } else { "p pause" };
    let texts = match (tunnel.wanted.kind.is_by_port(), &tunnel.url) {
        (_, None) => vec!["q quit".to_owned()],
        (false, _) => vec![
            format!("o open   c copy URL   {pause}   q quit"),
            format!("o open c copy {pause} q quit"),
            "o c p q: keys".to_owned(),
        ],
        (true, _) => vec![
            format!("c copy URL   {pause}   q quit"),
            format!("c copy {pause} q quit"),
            "c p q: keys".to_owned(),
        ],
    };
    let lines = texts.into_iter().map(|text| Line::default().and(Style::Dim, text));
    Some(first_that_fits(lines, frame.width.max(1)))
}

/// The block of `adit start`: one line for each tunnel, as many as there is room for, and one for the relays.
fn many(state: &DisplayState, frame: &Frame, all: usize) -> Vec<Line> {
    let width = frame.width.max(1);
    let mut below = status_line::client_lines(state, frame);
    below.truncate(2);
    let room = all.saturating_sub(below.len()).max(1);
    let mut shown: Vec<&TunnelView> = state.tunnels.iter().collect();
    let mut rest = String::new();
    if shown.len() > room {
        // Tunnels with a problem come first.
        shown.sort_by_key(|t| matches!(t.state, TunnelState::Connected | TunnelState::Paused));
        let left = shown.split_off(room.saturating_sub(1));
        let well = left.iter().filter(|t| t.state == TunnelState::Connected).count();
        rest = format!("and {} more, {well} of them connected; all: adit status", left.len());
    }
    let mut lines = rows(&shown, width);
    if !rest.is_empty() {
        lines.push(Line::plain(rest).cut(width));
    }
    lines.extend(below.into_iter().map(|line| line.cut(width)));
    lines.truncate(all);
    lines
}

/// One line for each tunnel in columns. A narrow terminal gets no service, then no URL.
fn rows(tunnels: &[&TunnelView], width: usize) -> Vec<Line> {
    let column = |text: fn(&TunnelView) -> &str| {
        tunnels.iter().map(|t| adit_terminal::width(text(t))).max().unwrap_or(0)
    };
    let (names, urls, services) = (column(name), column(url), column(|t| &t.wanted.service));
    let states = tunnels.iter().map(|t| status_line::word(t).0.chars().count()).max().unwrap_or(0);
    let row = |t: &&TunnelView| {
        let (word, style) = status_line::word(t);
        let line = Line::plain(adit_terminal::pad(name(t), names + 2));
        let line = if names + 2 + urls + 2 + states <= width {
            line.and(Style::Bold, adit_terminal::pad(url(t), urls)).and(Style::Plain, "  ")
        } else {
            line
        };
        let line = if names + 2 + urls + 6 + services + 2 + states <= width {
            line.and(Style::Plain, format!("->  {}  ", adit_terminal::pad(&t.wanted.service, services)))
        } else {
            line
        };
        line.and(style, word).cut(width)
    };
    tunnels.iter().map(row).collect()
}

fn name(tunnel: &TunnelView) -> &str {
    tunnel.wanted.name.as_deref().unwrap_or("-")
}

fn url(tunnel: &TunnelView) -> &str {
    tunnel.url.as_deref().unwrap_or("-")
}

#[cfg(test)]
mod tests;
