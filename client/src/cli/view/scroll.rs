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

/// One request or connection; `None` for other events. A TCP connection is shown when it ends: most are short.
pub(crate) fn exchange_line(event: &Event, state: &DisplayState, clock: Clock) -> Option<Line> {
    let (exchange, is_request) = match &event.kind {
        EventKind::Request(exchange) => (exchange, true),
        EventKind::Connection(exchange) if exchange.duration_ms.is_some() => (exchange, false),
        _ => return None,
    };
    let mut line = Line::default().and(Style::Dim, clock.time_of_day(event.time)).and(Style::Plain, "  ");
    if state.many {
        let names = state.tunnels.iter().filter_map(|t| t.wanted.name.as_deref());
        let width = names.map(|name| name.chars().count()).max().unwrap_or(0);
        let name = state.tunnel(&exchange.tunnel).and_then(|t| t.wanted.name.as_deref()).unwrap_or("-");
        line = line.and(Style::Plain, format!("{name:width$}  "));
    }
    let method = if is_request { exchange.method.as_deref().unwrap_or("-") } else { "TCP" };
    line = line.and(Style::Plain, format!("{method:<5} "));
    let (status, style) = status(exchange, is_request);
    let took = exchange.duration_ms.map_or_else(|| "open".to_owned(), number::millis);
    let size = number::bytes(exchange.bytes_out);
    let what = if is_request { exchange.path.as_deref() } else { exchange.consumer.as_deref() };
    let rest = format!("{took:>9}{size:>9}  {}", what.unwrap_or_default());
    Some(line.and(style, status).and(Style::Plain, rest))
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

/// A problem: what, why, next.
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
