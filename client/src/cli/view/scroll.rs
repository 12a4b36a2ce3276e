//! The lines that scroll above the block: requests, connections, problems.

use super::super::{
    display_state::DisplayState,
    line::{Line, Style},
    number::{self, Clock},
};
use crate::{
    event::{Event, EventKind, Exchange},
    problem::Problem,
};

/// A terminal with fewer columns gets neither the time nor the size of a request, so that its path has room.
const MIN_FULL_WIDTH: usize = 60;

/// One request or connection on one row; `None` for other events. A TCP connection is shown when it ends: most are short.
/// Longer text is cut, with `…`.
pub(crate) fn exchange_line(event: &Event, state: &DisplayState, clock: Clock, width: usize) -> Option<Line> {
    let (exchange, is_request) = match &event.kind {
        EventKind::Request(exchange) => (exchange, true),
        EventKind::Connection(exchange) if exchange.duration_ms.is_some() => (exchange, false),
        _ => return None,
    };
    let is_full = width >= MIN_FULL_WIDTH;
    let mut line = Line::default();
    if is_full {
        line = line.and(Style::Dim, clock.time_of_day(event.time)).and(Style::Plain, "  ");
    }
    if state.many {
        let names = state.tunnels.iter().filter_map(|t| t.wanted.name.as_deref());
        let columns = names.map(adit_terminal::width).max().unwrap_or(0);
        let name = state.tunnel(&exchange.tunnel).and_then(|t| t.wanted.name.as_deref()).unwrap_or("-");
        line = line.and(Style::Plain, adit_terminal::pad(name, columns)).and(Style::Plain, "  ");
    }
    let method = if is_request { exchange.method.as_deref().unwrap_or("-") } else { "TCP" };
    line = line.and(Style::Plain, if is_full { format!("{method:<5} ") } else { format!("{method} ") });
    let (status, style) = status(exchange, is_request);
    let took = exchange.duration_ms.map_or_else(|| "open".to_owned(), number::millis);
    let size = number::bytes(exchange.bytes_out);
    let what = if is_request { exchange.path.as_deref() } else { exchange.consumer.as_deref() };
    let what = what.unwrap_or_default();
    let rest = if is_full { format!("{took:>9}{size:>9}  {what}") } else { format!(" {what}") };
    Some(line.and(style, status).and(Style::Plain, rest).cut(width))
}

fn status(exchange: &Exchange, is_request: bool) -> (String, Style) {
    match exchange.status {
        Some(status) if status >= 500 => (format!("{status:>3}"), Style::Bad),
        Some(status) if status >= 400 => (format!("{status:>3}"), Style::Warn),
        Some(status) => (format!("{status:>3}"), Style::Good),
        None if is_request && exchange.duration_ms.is_some() => ("---".into(), Style::Bad),
        None => ("   ".into(), Style::Plain),
    }
}

/// The lines of a problem: message, why, next.
pub(crate) fn problem_lines(problem: &Problem, is_error: bool) -> Vec<Line> {
    let head = if is_error { (Style::Bad, "error: ") } else { (Style::Warn, "warning: ") };
    let mut lines = vec![Line::default().and(head.0, head.1).and(Style::Plain, problem.to_string())];
    for (label, text) in [("  why:   ", &problem.why), ("  next:  ", &problem.next)] {
        if let Some(text) = text {
            lines.push(Line::default().and(Style::Dim, label).and(Style::Plain, text));
        }
    }
    lines
}
