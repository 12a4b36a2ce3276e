//! The string literals of Rust sources, documentation comments included, without those of test modules.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The literals of a source file, in order.
pub(crate) fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(source.parse().expect("the sources are Rust"), &mut found);
    found
}

fn collect(tokens: TokenStream, found: &mut Vec<String>) {
    let mut skip = false;
    for token in tokens {
        match token {
            TokenTree::Literal(literal) => found.extend(value(&literal.to_string())),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                skip |= group.stream().to_string().replace(' ', "") == "cfg(test)";
                collect(group.stream(), found);
            }
            // The body of the item behind `#[cfg(test)]`.
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace && skip => skip = false,
            TokenTree::Group(group) => collect(group.stream(), found),
            TokenTree::Punct(punct) if punct.as_char() == ';' => skip = false,
            _ => {}
        }
    }
}

/// The value of a string literal; `None` for numbers, characters and bytes.
fn value(literal: &str) -> Option<String> {
    if let Some(raw) = literal.strip_prefix('r') {
        return Some(raw.trim_matches('#').trim_matches('"').to_owned());
    }
    let quoted = literal.strip_prefix('"')?.strip_suffix('"')?;
    let (mut text, mut rest) = (String::new(), quoted.chars().peekable());
    while let Some(c) = rest.next() {
        match (c, if c == '\\' { rest.next() } else { None }) {
            ('\\', Some('n')) => text.push('\n'),
            ('\\', Some('\n')) => while rest.next_if(|c| c.is_whitespace()).is_some() {},
            ('\\', Some(escaped)) => text.push(escaped),
            (c, _) => text.push(c),
        }
    }
    Some(text)
}

#[test]
fn literals_of_code_and_comments_are_found_and_those_of_tests_are_not() {
    let source = "/// See `adit status`.\nfn f() { g(\"a \\\"b\\\" \\\n      c\", 'd', 1, r#\"e\"f\"#); }\n\
                  #[cfg(test)]\nmod tests { fn t() { g(\"not this\") } }\nconst C: &str = \"last\";";
    assert_eq!(literals(source), [" See `adit status`.", "a \"b\" c", "e\"f", "last"]);
}
