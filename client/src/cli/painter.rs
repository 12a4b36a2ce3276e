//! Draws a block of lines below lines that scroll, on a terminal that can move its cursor.
//!
//! No alternate screen and no hidden cursor: after each frame the cursor stands below the block, so that whatever ends
//! the program leaves a terminal in order.

use super::line::Line;
use std::fmt::Write;

/// The size of the last block.
#[derive(Debug, Default)]
pub(super) struct Painter {
    /// The widths of the block's lines.
    block: Vec<usize>,
    /// The columns that the terminal had.
    width: usize,
}

impl Painter {
    /// Leaves the last block where it is: something else was written below it.
    pub(super) fn forget(&mut self) {
        self.block.clear();
    }

    /// The bytes that replace the last block by new lines and a new block.
    pub(super) fn frame(&mut self, scrolled: &[Line], block: &[Line], width: usize, color: bool) -> Vec<u8> {
        let width = width.max(1);
        let mut frame = String::from("\x1b[?2026h\x1b[?25l\r");
        // A terminal that has become narrower has broken the block's lines itself.
        let rows: usize = self.block.iter().map(|line| rows(*line, width)).sum();
        if rows > 0 {
            let _ = write!(frame, "\x1b[{rows}A");
        }
        // One erased line is enough only where every old and new line takes one row.
        let fits = |line: &Line| line.width() <= width;
        let old_fits = width == self.width && self.block.iter().all(|line| *line <= width);
        if !old_fits || !scrolled.iter().chain(block).all(fits) {
            frame.push_str("\x1b[J");
        }
        for line in scrolled.iter().chain(block) {
            // Erased before it is written: after a full line some terminals would erase its last column.
            let _ = writeln!(frame, "\x1b[2K{}", line.paint(color));
        }
        frame.push_str("\x1b[J\x1b[?25h\x1b[?2026l");
        self.block = block.iter().map(Line::width).collect();
        self.width = width;
        frame.into_bytes()
    }
}

/// How many rows a line takes.
fn rows(line: usize, width: usize) -> usize {
    line.div_ceil(width).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(painter: &mut Painter, scrolled: &[&str], block: &[&str], width: usize) -> String {
        let lines = |texts: &[&str]| texts.iter().map(Line::plain).collect::<Vec<_>>();
        String::from_utf8(painter.frame(&lines(scrolled), &lines(block), width, false)).unwrap()
    }

    #[test]
    fn the_block_is_replaced_where_it_stands() {
        let mut painter = Painter::default();
        let first = frame(&mut painter, &[], &["a", "b"], 20);
        assert!(!first.contains('A'), "{first:?}");
        let second = frame(&mut painter, &["request"], &["a", "c"], 20);
        assert!(second.contains("\x1b[2A\x1b[2Krequest\n\x1b[2Ka\n\x1b[2Kc\n\x1b[J"), "{second:?}");
    }

    #[test]
    fn every_frame_shows_the_cursor_again() {
        let mut painter = Painter::default();
        for block in [&["a"][..], &[], &["b", "c"]] {
            let frame = frame(&mut painter, &["x"], block, 10);
            assert!(frame.rfind("\x1b[?25h") > frame.rfind("\x1b[?25l"), "{frame:?}");
        }
    }

    #[test]
    fn a_narrower_terminal_has_broken_the_old_lines() {
        let mut painter = Painter::default();
        frame(&mut painter, &[], &["0123456789", "abc"], 20);
        assert!(frame(&mut painter, &[], &["a"], 4).contains("\x1b[4A\x1b[J"));
        assert!(frame(&mut painter, &[], &["a"], 4).contains("\x1b[1A\x1b[2K"));
    }
}
