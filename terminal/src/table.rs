//! The one printer of tables.

use crate::{escape, truncate, width};
use std::fmt;

/// The spaces between two columns.
const GAP: usize = 2;

/// Rows whose columns line up, two spaces apart, as lines of text.
///
/// ```
/// let mut table = adit_terminal::Table::new(["NAME", "STREAMS"]).right_align(1);
/// table.push(["shop", "12"]);
/// table.push(["docs", "3"]);
/// assert_eq!(table.to_string(), "NAME  STREAMS\nshop       12\ndocs        3\n");
/// ```
///
/// Cells are escaped, so that they may hold foreign text. Rows may be of different length; lines have no trailing
/// spaces. Without headings and rows the text is empty.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    right_aligned: Vec<usize>,
    max_widths: Vec<(usize, usize)>,
}

impl Table {
    /// A table whose first line is its headings.
    pub fn new<H: AsRef<str>>(headings: impl IntoIterator<Item = H>) -> Self {
        let mut table = Self::default();
        table.push(headings);
        table
    }

    /// A table without headings.
    pub fn without_headings() -> Self {
        Self::default()
    }

    /// Puts the cells of a column, counted from 0, at its right edge: for numbers.
    #[must_use]
    pub fn right_align(mut self, column: usize) -> Self {
        self.right_aligned.push(column);
        self
    }

    /// Cuts the cells of a column, counted from 0, to a width in terminal columns. What is missing shows as `…`.
    #[must_use]
    pub fn max_width(mut self, column: usize, columns: usize) -> Self {
        self.max_widths.push((column, columns));
        self
    }

    /// Adds a row.
    pub fn push<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(|cell| escape(cell.as_ref()).into_owned()).collect());
    }

    /// The lines of the table, headings first, without line feeds.
    pub fn lines(&self) -> Vec<String> {
        let rows: Vec<Vec<_>> = self
            .rows
            .iter()
            .map(|row| row.iter().enumerate().map(|(column, cell)| self.fit(column, cell)).collect())
            .collect();
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
            })
            .collect();
        rows.iter().map(|row| self.line(row, &widths)).collect()
    }

    fn fit<'a>(&self, column: usize, cell: &'a str) -> std::borrow::Cow<'a, str> {
        match self.max_widths.iter().find(|(limited, _)| *limited == column) {
            Some((_, columns)) => truncate(cell, *columns),
            None => cell.into(),
        }
    }

    fn line(&self, row: &[impl AsRef<str>], widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, (cell, column_width)) in row.iter().map(AsRef::as_ref).zip(widths).enumerate() {
            let spaces = column_width - width(cell);
            let gap = if column == 0 { 0 } else { GAP };
            let (left, right) = if self.right_aligned.contains(&column) { (spaces, 0) } else { (0, spaces) };
            line.push_str(&format!("{:before$}{cell}{:right$}", "", "", before = gap + left));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_by_display_width() {
        let mut table = Table::new(["NAME", "STATE", "N"]).right_align(2);
        table.push(["日本", "connected", "1"]);
        table.push(["e\u{301}", "offline", "22"]);
        table.push(["long name"]);
        assert_eq!(
            table.lines(),
            [
                "NAME       STATE       N",
                "日本       connected   1",
                "e\u{301}          offline    22",
                "long name"
            ]
        );
    }

    #[test]
    fn foreign_text_is_escaped_before_it_is_measured() {
        let mut table = Table::without_headings();
        table.push(["a\u{1b}[2J", "1"]);
        table.push(["b\nc", "2"]);
        assert_eq!(table.to_string(), "a\\u{1b}[2J  1\nb\\nc        2\n");
    }

    #[test]
    fn long_cells_are_cut() {
        let mut table = Table::new(["PATH", "N"]).max_width(0, 6);
        table.push(["/日本語/index.html", "1"]);
        table.push(["/", "2"]);
        assert_eq!(table.to_string(), "PATH    N\n/日本…  1\n/       2\n");
    }

    #[test]
    fn an_empty_table_is_no_text() {
        assert_eq!(Table::without_headings().to_string(), "");
    }
}
