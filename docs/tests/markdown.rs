//! Fenced blocks, code spans, headings and links of a document.

/// A fenced block.
pub(crate) struct Block {
    /// The language behind the fence; may be empty.
    pub(crate) language: String,
    /// The number of its first line.
    pub(crate) line: usize,
    /// Its text without the fence's indentation.
    pub(crate) text: String,
}

/// The fenced blocks of a document, and the text around them, in which each block is blank lines.
pub(crate) fn split(text: &str) -> (Vec<Block>, String) {
    let (mut blocks, mut prose) = (Vec::new(), String::new());
    let mut open: Option<(Block, usize)> = None;
    for (index, line) in text.lines().enumerate() {
        let content = line.trim_start();
        if let Some(language) = content.strip_prefix("```") {
            match open.take() {
                Some((block, _)) => blocks.push(block),
                None => {
                    let block = Block { language: language.into(), line: index + 2, text: String::new() };
                    open = Some((block, line.len() - content.len()));
                }
            }
        } else if let Some((block, indentation)) = &mut open {
            block.text.push_str(line.get(*indentation..).unwrap_or_default());
            block.text.push('\n');
        } else {
            prose.push_str(line);
        }
        prose.push('\n');
    }
    assert!(open.is_none(), "a fence is not closed");
    (blocks, prose)
}

/// The code spans of a text without fenced blocks, each with its line's number. A span may continue on the next line.
pub(crate) fn spans(prose: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut line = 1;
    for (index, part) in prose.split('`').enumerate() {
        if index % 2 == 1 {
            found.push((line, part.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        line += part.matches('\n').count();
    }
    found
}

/// The anchors of a document's headings, as GitHub makes them.
pub(crate) fn anchors(prose: &str) -> Vec<String> {
    let headings = prose.lines().filter_map(|line| line.strip_prefix('#'));
    headings
        .map(|heading| {
            let text = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// The targets of a document's links, each with its line's number.
pub(crate) fn links(prose: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in prose.lines().enumerate() {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        found.extend(targets.map(|(target, _)| (index + 1, target.to_owned())));
    }
    found
}
