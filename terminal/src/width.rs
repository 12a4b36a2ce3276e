//! How many columns of a terminal a text takes.
//!
//! Widths are those of Unicode Standard Annex #11, taken by grapheme cluster: an ideograph or an emoji takes two columns,
//! a combining mark none. Control characters have no width, so [`escape`](crate::escape) comes first.

use std::borrow::Cow;
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

/// What stands for the end that was cut off; one column.
const ELLIPSIS: char = '…';

/// The number of columns that a text takes.
pub fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.graphemes(true).map(|cluster| cluster.width()).sum() }
}

/// The longest beginning of a text that takes at most `columns`. A character that would only half fit is left out.
pub fn prefix(text: &str, columns: usize) -> &str {
    let mut used = 0;
    for (start, cluster) in text.grapheme_indices(true) {
        used += cluster.width();
        if used > columns {
            return &text[..start];
        }
    }
    text
}

/// The text if it takes at most `columns`, or its beginning with `…` in the last of them.
pub fn truncate(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let Some(room) = columns.checked_sub(1) else { return Cow::Borrowed("") };
    let mut cut = prefix(text, room).to_owned();
    cut.push(ELLIPSIS);
    Cow::Owned(cut)
}

/// The text with spaces behind it, so that it takes at least `columns`. `format!("{text:<columns$}")` counts characters
/// instead.
pub fn pad(text: &str, columns: usize) -> String {
    let spaces = columns.saturating_sub(width(text));
    format!("{text}{:spaces$}", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts with the columns that they take.
    const TEXTS: [(&str, usize); 8] = [
        ("", 0),
        ("/index.html", 11),
        ("größe", 5),
        ("e\u{301}te\u{301}", 3),
        ("日本語", 6),
        ("👩\u{200d}💻", 2),
        ("a❤\u{fe0f}b", 4),
        ("ｆｕｌｌ", 8),
    ];

    #[test]
    fn widths_are_columns_and_not_characters() {
        for (text, columns) in TEXTS {
            assert_eq!(width(text), columns, "{text}");
        }
    }

    #[test]
    fn no_cut_text_is_wider_than_asked_for() {
        for (text, whole) in TEXTS {
            for columns in 0..=whole + 1 {
                let cut = truncate(text, columns);
                assert!(width(&cut) <= columns, "{text:?} in {columns}: {cut:?}");
                assert_eq!(cut == text, columns >= whole, "{text:?} in {columns}: {cut:?}");
                assert!(width(prefix(text, columns)) <= columns);
                assert_eq!(width(&pad(text, columns)), columns.max(whole));
            }
        }
        assert_eq!(truncate("日本語", 4), "日…");
        assert_eq!(truncate("日本語", 5), "日本…");
        assert_eq!(truncate("👩\u{200d}💻👩\u{200d}💻", 3), "👩\u{200d}💻…");
        assert_eq!(truncate("x", 0), "");
    }
}
