//! Lists as tables for people.

use super::{
    complaints::ComplaintView,
    view::{SessionView, TunnelView},
};
use std::fmt::Write as _;

pub(super) fn sessions(sessions: &[SessionView], now: u64) -> String {
    let rows = sessions.iter().map(|s| {
        [
            s.session.to_string(),
            s.account.to_string(),
            s.address.clone(),
            s.client_version.clone(),
            s.tunnels.len().to_string(),
            s.streams.to_string(),
            age(now.saturating_sub(s.opened_at)),
        ]
    });
    table(["SESSION", "ACCOUNT", "ADDRESS", "CLIENT", "TUNNELS", "STREAMS", "AGE"], rows.collect())
}

pub(super) fn tunnels(tunnels: &[TunnelView], now: u64) -> String {
    let rows = tunnels.iter().map(|t| {
        [
            t.tunnel.to_string(),
            t.url.clone(),
            t.account.to_string(),
            t.sessions.len().to_string(),
            t.streams.to_string(),
            age(now.saturating_sub(t.opened_at)),
        ]
    });
    table(["TUNNEL", "URL", "ACCOUNT", "SESSIONS", "STREAMS", "AGE"], rows.collect())
}

pub(super) fn complaints(complaints: &[ComplaintView], now: u64) -> String {
    let rows = complaints.iter().map(|c| {
        [
            c.id.clone(),
            c.phase.clone(),
            c.against.clone(),
            c.category.clone(),
            c.account.clone().unwrap_or_else(|| "-".to_owned()),
            c.relays.clone(),
            age(now.saturating_sub(c.filed_at)),
        ]
    });
    table(["COMPLAINT", "PHASE", "AGAINST", "CATEGORY", "ACCOUNT", "RELAYS", "AGE"], rows.collect())
}

/// As kubectl writes ages: the largest unit alone.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let rows: Vec<[String; N]> = rows.into_iter().map(|row| row.map(|cell| plain(&cell))).collect();
    let mut widths = head.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    push_row(&mut text, widths, head);
    for row in &rows {
        push_row(&mut text, widths, std::array::from_fn(|i| row[i].as_str()));
    }
    text
}

fn push_row<const N: usize>(text: &mut String, widths: [usize; N], cells: [&str; N]) {
    for (i, cell) in cells.iter().enumerate() {
        let width = if i + 1 < N { widths[i] + 3 } else { 0 };
        let _ = write!(text, "{cell:<width$}");
    }
    text.push('\n');
}

/// A client's words are shown, not obeyed by the terminal.
fn plain(cell: &str) -> String {
    cell.chars().map(shown).collect()
}

/// A character as a terminal may have it.
pub(super) fn shown(c: char) -> char {
    if c.is_control() { '\u{fffd}' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_do_nothing() {
        let rows = vec![["a\u{1b}[2J".to_owned(), "1".to_owned()], ["bb".to_owned(), "22".to_owned()]];
        assert_eq!(table(["NAME", "N"], rows), "NAME    N\na\u{fffd}[2J   1\nbb      22\n");
    }

    #[test]
    fn ages_have_one_unit() {
        let ages = [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(age);
        assert_eq!(ages, ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
    }
}
