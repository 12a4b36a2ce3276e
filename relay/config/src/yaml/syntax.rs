//! Messages about texts that are not YAML.

use crate::problem::{Path, Problem};

/// The problem that an error of the parser means: the line, the mistake, and the way out where it is known.
pub(super) fn problem(text: &str, error: &serde_yaml::Error) -> Problem {
    let line = error.location().map(|location| location.line());
    let words = error.to_string();
    let at = |line, message: &str| Problem { line, ..Problem::new(Path::default(), message) };
    if words.contains("more than one document") {
        let mut starts = text.lines().enumerate().skip(1).filter(|(_, line)| line.starts_with("---"));
        let start = starts.next().map(|(index, _)| index + 1);
        return at(start, "a second document begins; remove the line ---");
    }
    match tab_at(text, line) {
        Some(tab) => at(Some(tab), "a tab; indent with spaces"),
        None => at(line, &without_position(&words)),
    }
}

/// The line with a tab in its indentation, at the place of an error or next to it: the parser also complains of the line
/// before or after.
fn tab_at(text: &str, line: Option<usize>) -> Option<usize> {
    let near = line?.saturating_sub(1)..=line? + 1;
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let has_tab = |line: &str| {
        let indentation = line.len() - line.trim_start_matches([' ', '\t', '-']).len();
        line[..indentation].contains('\t') && !line.trim().is_empty()
    };
    numbered
        .filter(|(number, _)| near.contains(number))
        .find(|(_, line)| has_tab(line))
        .map(|(number, _)| number)
}

/// The parser's words without their positions, because the line stands before them.
fn without_position(words: &str) -> String {
    let mut rest = words;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once(" at line ") {
        kept.push_str(before);
        let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
        rest = after
            .strip_prefix(" column ")
            .map_or(after, |after| after.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    #[test]
    fn a_syntax_error_has_its_line_and_a_way_out() {
        for (text, message) in [
            ("a: 1\nb:\n\tc: 2\n", "line 3: a tab; indent with spaces"),
            ("\ta: 1\n", "line 1: a tab; indent with spaces"),
            ("a:\n  - x\n\t- y\n", "line 3: a tab; indent with spaces"),
            ("a: 1\n---\nb: 2\n", "line 2: a second document begins; remove the line ---"),
            ("a: 1\nb: !tag c\n", "line 2: b: has a tag (!name): tags are not read"),
            ("a: [1\n", "line 2: did not find expected ',' or ']', while parsing a flow sequence"),
            ("a: 1\n b: 2\n", "line 2: mapping values are not allowed in this context"),
            ("a: *b\n", "line 1: unknown anchor"),
        ] {
            let problems: Vec<String> = parse(text).problems.iter().map(ToString::to_string).collect();
            assert_eq!(problems, [message], "{text:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(parse("\u{feff}a: 1\n"), parse("a: 1\n"));
        assert_eq!(parse("\u{feff}"), parse(""));
    }
}
