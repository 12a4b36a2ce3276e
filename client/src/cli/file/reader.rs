//! Reads the fields of a document and collects their errors.

use adit_config::{
    Path, Problem, nearest,
    problem::{quoted, shown},
};
use serde_json::{Map, Value};
use std::{path::PathBuf, sync::LazyLock};

/// Gathers the problems of one document.
pub(super) struct Reader {
    problems: Vec<Problem>,
    /// Where keys stand, in the order of the text.
    keys: Vec<Path>,
}

/// One mapping of the document.
pub(super) struct Mapping<'a> {
    fields: &'a Map<String, Value>,
    path: Path,
    problems: &'a mut Vec<Problem>,
    keys: &'a [Path],
}

impl Reader {
    /// A reader of a document with these keys, of which these problems are known already.
    pub(super) fn new(problems: Vec<Problem>, keys: Vec<Path>) -> Self {
        Self { problems, keys }
    }

    /// The document's own mapping; an empty document is an empty one.
    pub(super) fn root<'a>(&'a mut self, root: &'a Value) -> Option<Mapping<'a>> {
        static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        let fields = match root {
            Value::Object(fields) => fields,
            Value::Null => &EMPTY,
            other => {
                let text = format!("is {}: it has to be a mapping", shown(other));
                self.problems.push(Problem::new(Path::default(), text));
                return None;
            }
        };
        Some(Mapping { fields, path: Path::default(), problems: &mut self.problems, keys: &self.keys })
    }

    /// The value if nothing was wrong, else all problems with their lines in the text.
    pub(super) fn finish<T>(mut self, value: T, text: &str) -> Result<T, Vec<String>> {
        if self.problems.is_empty() {
            return Ok(value);
        }
        adit_config::yaml::locate(text, &mut self.problems);
        self.problems.sort_by_key(|problem| problem.line);
        Err(self.problems.iter().map(Problem::to_string).collect())
    }
}

impl Mapping<'_> {
    /// Whether there is a field with this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// Refuses a field, in words that follow its name.
    pub(super) fn refuse(&mut self, key: &'static str, text: impl Into<String>) {
        self.problems.push(Problem::new(self.path.join(key), text));
    }

    /// Refuses the mapping as a whole.
    pub(super) fn refuse_all(&mut self, text: impl Into<String>) {
        self.problems.push(Problem::new(self.path.clone(), text));
    }

    /// Refuses the mapping's own key if there is a rule that it breaks.
    pub(super) fn check_key(&mut self, rule: impl FnOnce() -> Option<String>) {
        if let Some(text) = rule() {
            self.refuse_all(text);
        }
    }

    /// A text. The rule's words follow the value.
    pub(super) fn text<T>(
        &mut self,
        key: &'static str,
        rule: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match self.fields.get(key)? {
            Value::String(text) => self.ruled(key, text, rule),
            other => {
                self.refuse(key, format!("{} is not text", shown(other)));
                None
            }
        }
    }

    /// A text or a whole number.
    pub(super) fn scalar<T>(
        &mut self,
        key: &'static str,
        rule: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match self.fields.get(key)? {
            Value::Number(number) => self.ruled(key, &number.to_string(), rule),
            _ => self.text(key, rule),
        }
    }

    fn ruled<T>(
        &mut self,
        key: &'static str,
        text: &str,
        rule: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match rule(text) {
            Ok(value) => Some(value),
            Err(rule) => {
                self.refuse(key, format!("{} {rule}", quoted(text)));
                None
            }
        }
    }

    /// A duration: a number and its unit.
    pub(super) fn duration(&mut self, key: &'static str) -> Option<std::time::Duration> {
        if let Some(Value::Number(number)) = self.fields.get(key) {
            self.refuse(key, format!("{number} needs a unit, for example {number}s"));
            return None;
        }
        self.text(key, crate::cli::values::duration)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.fields.get(key)?;
        if value.as_bool().is_none() {
            self.refuse(key, format!("{} is not true or false", shown(value)));
        }
        value.as_bool()
    }

    /// A path, seen from this directory.
    pub(super) fn path(&mut self, key: &'static str, directory: &std::path::Path) -> Option<PathBuf> {
        self.text(key, |text| {
            if text.is_empty() || text.contains('\0') {
                Err("is not a path".into())
            } else {
                Ok(directory.join(text))
            }
        })
    }

    /// Each entry of a mapping of mappings, in the order of the text.
    pub(super) fn each(&mut self, key: &'static str, most: usize, mut entry: impl FnMut(&str, Mapping<'_>)) {
        let entries = match self.fields.get(key) {
            None => return,
            Some(Value::Object(entries)) if entries.len() <= most => entries,
            Some(Value::Object(entries)) => {
                return self.refuse(key, format!("has {} entries: there may be {most}", entries.len()));
            }
            Some(Value::Array(_)) => return self.refuse(key, "write name: {…}, without dashes"),
            Some(other) => {
                return self.refuse(key, format!("{} is not a mapping: write name: {{…}}", shown(other)));
            }
        };
        let path = self.path.join(key);
        let mut entries: Vec<_> =
            entries.iter().map(|(name, value)| (path.join(name.clone()), name, value)).collect();
        entries.sort_by_key(|(path, ..)| self.keys.iter().position(|key| key == path));
        for (path, name, value) in entries {
            match value {
                Value::Object(fields) => {
                    entry(name, Mapping { fields, path, problems: &mut *self.problems, keys: self.keys });
                }
                Value::Array(_) => self.problems.push(Problem::new(path, "write key: value, without dashes")),
                other => {
                    let text = format!("{} is not a mapping: write http: 3000 below it", shown(other));
                    self.problems.push(Problem::new(path, text));
                }
            }
        }
    }

    /// Refuses every field that is not one of these. The values of such fields may be secrets and are not shown.
    pub(super) fn end(self, known: &[&str]) {
        for key in self.fields.keys().filter(|key| !known.contains(&key.as_str())) {
            let meant = match nearest(key, known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("there are {}", known.join(", ")),
            };
            let text = format!("is not a key of this version of Adit: {meant}");
            self.problems.push(Problem::new(self.path.join(key.clone()), text));
        }
    }
}
