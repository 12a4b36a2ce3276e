//! The simple commands of a shell script: words without quotes, redirections and comments.

use std::{iter::Peekable, str::Chars};

/// The commands of a script, those of substitutions too.
pub(crate) fn commands(script: &str) -> Vec<Vec<String>> {
    let mut parser = Parser { rest: script.chars().peekable(), commands: Vec::new() };
    parser.script(None);
    parser.commands
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    commands: Vec<Vec<String>>,
}

/// The command that is being read.
#[derive(Default)]
struct Current {
    words: Vec<String>,
    word: Option<String>,
    is_target: bool,
}

impl Current {
    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    /// Ends a word; the target of a redirection is dropped.
    fn end_word(&mut self) {
        if let Some(word) = self.word.take()
            && !std::mem::take(&mut self.is_target)
        {
            self.words.push(word);
        }
    }

    fn end(&mut self) -> Option<Vec<String>> {
        self.end_word();
        let words = std::mem::take(&mut self.words);
        (!words.is_empty()).then_some(words)
    }
}

impl Parser<'_> {
    /// Reads commands up to `until`, or to the end.
    fn script(&mut self, until: Option<char>) {
        let mut current = Current::default();
        while let Some(c) = self.rest.next() {
            match c {
                _ if Some(c) == until => break,
                '\\' => match self.rest.next() {
                    Some('\n') | None => {}
                    Some(escaped) => current.push(escaped),
                },
                '\'' => {
                    current.word.get_or_insert_default();
                    self.rest.by_ref().take_while(|&c| c != '\'').for_each(|c| current.push(c));
                }
                '"' => self.double_quoted(&mut current),
                '#' if current.word.is_none() => while self.rest.next_if(|&c| c != '\n').is_some() {},
                '$' if self.rest.next_if_eq(&'(').is_some() => self.substitution(&mut current),
                '(' => self.script(Some(')')),
                '<' | '>' => self.redirection(&mut current),
                '|' | '&' | ';' | '\n' => self.commands.extend(current.end()),
                c if c.is_whitespace() => current.end_word(),
                c => current.push(c),
            }
        }
        self.commands.extend(current.end());
    }

    fn double_quoted(&mut self, current: &mut Current) {
        current.word.get_or_insert_default();
        while let Some(c) = self.rest.next() {
            match c {
                '"' => break,
                '\\' => self.rest.next().into_iter().for_each(|c| current.push(c)),
                '$' if self.rest.next_if_eq(&'(').is_some() => self.substitution(current),
                c => current.push(c),
            }
        }
    }

    /// The command behind `$(` is one of its own; its output stands in the word as a placeholder.
    fn substitution(&mut self, current: &mut Current) {
        self.script(Some(')'));
        "OUTPUT".chars().for_each(|c| current.push(c));
    }

    fn redirection(&mut self, current: &mut Current) {
        if current.word.as_ref().is_some_and(|word| word.chars().all(|c| c.is_ascii_digit())) {
            current.word = None;
        }
        current.end_word();
        if self.rest.next_if_eq(&'(').is_some() {
            return self.script(Some(')'));
        }
        while self.rest.next_if(|c| matches!(c, '>' | '<' | '&' | '-')).is_some() {}
        current.is_target = true;
    }
}

#[test]
fn a_script_is_split_into_commands() {
    let script = "a=1 adit http 3000 --name 'my shop' 2>adit.log | head -n 1 &  # a comment\n\
                  sudo install \"$(make -s where)/adit\" \\\n  /usr/bin >> log; read -r url < <(adit tcp 22)\n";
    let commands: Vec<String> = commands(script).iter().map(|words| words.join("+")).collect();
    assert_eq!(
        commands,
        [
            "a=1+adit+http+3000+--name+my shop",
            "head+-n+1",
            "make+-s+where",
            "sudo+install+OUTPUT/adit+/usr/bin",
            "adit+tcp+22",
            "read+-r+url",
        ]
    );
}
