//! Foreign text that a terminal shows instead of obeying it.

use std::borrow::Cow;

/// The text with each control or invisible character as its escape, `\n` or `\u{1b}`, on one line.
///
/// Consumers, clients and reporters choose much of what is printed: paths, names, descriptions. None of it may move the
/// cursor, set colours, turn the direction of the line or hide. Letters of all scripts, combining marks and emoji stay.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Whether a character acts on the terminal, on the direction of text, or shows as nothing. The joiners U+200C and
/// U+200D are part of words and of emoji, so that they are safe.
fn is_unsafe(c: char) -> bool {
    let is_direction =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_separator = matches!(c, '\u{2028}' | '\u{2029}');
    let is_invisible = matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{2060}'..='\u{2065}'
            | '\u{206a}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    c.is_control() || is_direction || is_separator || is_invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escaped_acts_on_a_terminal() {
        for (text, escaped) in [
            ("a\u{1b}[2Jb", r"a\u{1b}[2Jb"),
            ("two\r\nlines\t", r"two\r\nlines\t"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("txt.\u{202e}exe", r"txt.\u{202e}exe"),
            ("adm\u{200b}in", r"adm\u{200b}in"),
        ] {
            assert_eq!(escape(text), escaped);
        }
    }

    #[test]
    fn words_of_all_scripts_stay_as_they_are() {
        for text in
            ["", "/shop?q=a\\b\"c'", "größe", "e\u{301}té", "日本語", "👩\u{200d}💻 ❤\u{fe0f}", "שלום"]
        {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }
}
