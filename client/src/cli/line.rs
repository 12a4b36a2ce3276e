//! Lines of text with colour, apart from any terminal.

/// The style of a piece of text. Words carry all meaning without it.
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

    /// The line with more text at its end, escaped: nothing shown can move the cursor or turn the direction of text.
    #[must_use]
    pub(super) fn and(mut self, style: Style, text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        if !text.is_empty() {
            self.0.push((style, adit_terminal::escape(text).into_owned()));
        }
        self
    }

    /// The text without its looks.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// How many columns it takes: two for an ideograph or an emoji.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| adit_terminal::width(text)).sum()
    }

    /// The line cut to so many columns, with `…` where something is missing.
    #[must_use]
    pub(super) fn cut(mut self, width: usize) -> Self {
        if self.width() <= width {
            return self;
        }
        let mut left = width.saturating_sub(1);
        let mut is_cut = false;
        for (_, text) in &mut self.0 {
            let kept = if is_cut { 0 } else { adit_terminal::prefix(text, left).len() };
            is_cut |= kept < text.len();
            text.truncate(kept);
            left -= adit_terminal::width(text);
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
        assert_eq!(Line::plain("a\x1b[2J\r\n\u{202e}b").text(), r"a\u{1b}[2J\r\n\u{202e}b");
    }

    #[test]
    fn ideographs_and_emoji_take_two_columns() {
        let line = Line::plain("/日本語/").and(Style::Bold, "👩\u{200d}💻").and(Style::Dim, "/é");
        assert_eq!((line.text().as_str(), line.width()), ("/日本語/👩\u{200d}💻/é", 12));
        assert_eq!(line.clone().cut(11).text(), "/日本語/👩\u{200d}💻…");
        assert_eq!(line.clone().cut(10).text(), "/日本語/…");
        assert_eq!(line.cut(5).text(), "/日…");
    }
}
