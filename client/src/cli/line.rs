//! Lines of text with colour, apart from any terminal.

/// What a piece of text looks like at a terminal with colour. Words carry all meaning without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// As it comes.
    Plain,
    /// Less important.
    Dim,
    /// More important.
    Bold,
    /// All is well.
    Good,
    /// Something wants attention.
    Warn,
    /// Something is wrong.
    Bad,
}

impl Style {
    /// The escape sequence (ECMA-48, SGR) that begins it; nothing for plain text.
    fn begin(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "\x1b[2m",
            Self::Bold => "\x1b[1m",
            Self::Good => "\x1b[32m",
            Self::Warn => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }
}

/// One line of text without a line feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line(Vec<(Style, String)>);

impl Line {
    /// A line of plain text.
    pub(super) fn plain(text: impl AsRef<str>) -> Self {
        Self::default().and(Style::Plain, text)
    }

    /// The line with more text at its end. Control characters become spaces: nothing shown can move the cursor.
    #[must_use]
    pub(super) fn and(mut self, style: Style, text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        if !text.is_empty() {
            self.0.push((style, text.chars().map(shown).collect()));
        }
        self
    }

    /// The text without its looks.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// How many columns it takes.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// The line cut to so many columns, with `…` where something is missing.
    #[must_use]
    pub(super) fn cut(mut self, width: usize) -> Self {
        if self.width() <= width {
            return self;
        }
        let mut left = width.saturating_sub(1);
        for (_, text) in &mut self.0 {
            let end = text.char_indices().nth(left).map_or(text.len(), |(at, _)| at);
            left -= text[..end].chars().count();
            text.truncate(end);
        }
        self.0.retain(|(_, text)| !text.is_empty());
        if width > 0 {
            self.0.push((Style::Plain, "…".into()));
        }
        self
    }

    /// The line as a terminal takes it.
    pub(super) fn paint(&self, color: bool) -> String {
        let mut painted = String::new();
        for (style, text) in &self.0 {
            if color && *style != Style::Plain {
                painted.extend([style.begin(), text, "\x1b[0m"]);
            } else {
                painted.push_str(text);
            }
        }
        painted
    }
}

/// A character that takes one column and does nothing else. Those that turn the direction of text, take no column or
/// take two would make a line look different from what it says.
fn shown(c: char) -> char {
    match c {
        c if c.is_control() => ' ',
        '\u{ad}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => '?',
        '\u{300}'..='\u{36f}'
        | '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}' => '?',
        '\u{f900}'..='\u{faff}' | '\u{fe00}'..='\u{fe6f}' | '\u{ff00}'..='\u{ffe6}' => '?',
        c if u32::from(c) >= 0x1_0000 => '?',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_line_is_never_wider_than_it_may_be() {
        let line = Line::plain("https://").and(Style::Bold, "shöp.example").and(Style::Dim, "/x");
        for width in 0..30 {
            let cut = line.clone().cut(width);
            assert!(cut.width() <= width, "{width}");
            assert!(cut == line || width == 0 || cut.text().ends_with('…'), "{width}: {}", cut.text());
        }
        assert_eq!(line.cut(11).text(), "https://sh…");
    }

    #[test]
    fn colour_only_where_it_is_wanted() {
        let line = Line::plain("a").and(Style::Bad, "b");
        assert_eq!(line.paint(false), "ab");
        assert_eq!(line.paint(true), "a\x1b[31mb\x1b[0m");
    }

    #[test]
    fn nothing_shown_can_move_the_cursor() {
        assert_eq!(Line::plain("a\x1b[2J\r\n\u{202e}b").text(), "a [2J  ?b");
    }
}
