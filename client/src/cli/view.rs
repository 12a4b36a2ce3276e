//! What a terminal shows of a client: pure functions from its state to lines.

mod scroll;
mod status_line;

pub(super) use scroll::{exchange_line, problem_lines};
pub(super) use status_line::refused_word;

use super::{
    display_state::{DisplayState, TunnelView},
    line::{Line, Style},
    number::{self, Clock},
};
use crate::event::{ClientState, Time, TunnelState};
use adit_protocol::Kind;

/// The most lines that the block has, the one that separates it not counted.
const MAX_BLOCK_LINES: usize = 6;
/// The widest that the block's lines become, where nothing needs more.
const MAX_RULE_WIDTH: usize = 74;

/// What a frame is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// The present.
    pub(super) now: Time,
    /// The terminal's columns.
    pub(super) width: usize,
    /// The terminal's rows.
    pub(super) height: usize,
    /// The local time zone.
    pub(super) clock: Clock,
    /// Whether there is a keyboard: only then are keys shown.
    pub(super) keys: bool,
}

/// The block below the requests.
pub(super) fn block(state: &DisplayState, frame: &Frame) -> Vec<Line> {
    let width = frame.width.max(1);
    let room = MAX_BLOCK_LINES.min(frame.height.saturating_sub(2)).max(1);
    let mut lines = if state.many { many(state, frame, room) } else { one(state, frame, room) };
    if frame.height > MAX_BLOCK_LINES + 2 {
        lines.insert(0, Line::default().and(Style::Dim, "-".repeat(width.min(MAX_RULE_WIDTH))));
    }
    lines
}

/// The block of a client with one tunnel. What matters least is left out first where there is no room.
fn one(state: &DisplayState, frame: &Frame, room: usize) -> Vec<Line> {
    let width = frame.width.max(1);
    let tunnel = state.tunnels.first();
    let mut head = match tunnel {
        Some(tunnel) => address(tunnel, width),
        None => vec![],
    };
    head.extend(status_line::lines(state, tunnel, frame).into_iter().map(|line| line.cut(width)));
    let stats = stats(state, tunnel.map_or(Kind::Http, |t| t.wanted.kind)).cut(width);
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

/// `URL  ->  service`, on two lines where one is too narrow. The URL is never cut: it is there to be copied.
fn address(tunnel: &TunnelView, width: usize) -> Vec<Line> {
    let url = Line::default().and(Style::Bold, tunnel.url.as_deref().unwrap_or("-"));
    let whole = url.clone().and(Style::Plain, format!("  ->  {}", tunnel.wanted.service));
    if whole.width() <= width {
        return vec![whole];
    }
    vec![url, Line::plain(format!("  ->  {}", tunnel.wanted.service)).cut(width)]
}

fn stats(state: &DisplayState, kind: Kind) -> Line {
    let traffic = &state.traffic;
    let what = match (kind, traffic.total) {
        (Kind::Http, 1) => "request",
        (Kind::Http, _) => "requests",
        (Kind::Tcp, 1) => "connection",
        (Kind::Tcp, _) => "connections",
    };
    if traffic.total == 0 {
        return Line::plain(format!("no {what} yet"));
    }
    let mut line = Line::plain(format!("{} {what}", number::count(traffic.total)));
    if traffic.open() > 0 {
        line = line.and(Style::Plain, format!(", {} open", traffic.open()));
    }
    if let Some((median, slow)) = traffic.quantiles() {
        let text = format!(", p50 {}, p99 {}", number::millis(median), number::millis(slow));
        line = line.and(Style::Plain, text);
    }
    if traffic.failed > 0 {
        line = line
            .and(Style::Plain, ", ")
            .and(Style::Warn, format!("{} answered 5xx", number::count(traffic.failed)));
    }
    line
}

fn keys(state: &DisplayState, frame: &Frame) -> Option<Line> {
    if let Some((_, remark)) = &state.remark {
        return Some(Line::plain(remark));
    }
    if !frame.keys || state.client == ClientState::Stopping {
        return None;
    }
    let tunnel = state.tunnels.first()?;
    let pause = if tunnel.state == TunnelState::Paused { "p go on" } else { "p pause" };
    let text = match (tunnel.wanted.kind, &tunnel.url) {
        (_, None) => "q quit".to_owned(),
        (Kind::Http, _) => format!("o open   c copy URL   {pause}   q quit"),
        (Kind::Tcp, _) => format!("c copy URL   {pause}   q quit"),
    };
    Some(Line::default().and(Style::Dim, text))
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
        // What is not well comes first: it is what one looks for.
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
    let column =
        |text: fn(&TunnelView) -> &str| tunnels.iter().map(|t| text(t).chars().count()).max().unwrap_or(0);
    let (names, urls, services) = (column(name), column(url), column(|t| &t.wanted.service));
    let states = tunnels.iter().map(|t| status_line::word(t).0.chars().count()).max().unwrap_or(0);
    let row = |t: &&TunnelView| {
        let (word, style) = status_line::word(t);
        let line = Line::plain(format!("{:names$}  ", name(t)));
        let line = if names + 2 + urls + 2 + states <= width {
            line.and(Style::Bold, format!("{:urls$}", url(t))).and(Style::Plain, "  ")
        } else {
            line
        };
        let line = if names + 2 + urls + 6 + services + 2 + states <= width {
            line.and(Style::Plain, format!("->  {:services$}  ", t.wanted.service))
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
