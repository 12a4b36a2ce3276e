//! The origins of configured values: the file, or a variable.

use adit_config::{Path, problem::Step};
use std::collections::BTreeMap;

/// The fields that variables have set, with the names of the variables.
#[derive(Debug, Default)]
pub(super) struct VariableOrigins(pub(super) BTreeMap<Path, String>);

impl VariableOrigins {
    /// The variable that a field comes from, and the way from the variable's value to the field.
    pub(super) fn variable_of(&self, path: &Path) -> Option<(&str, String)> {
        let (set, name) = self.0.iter().find(|(set, _)| path.0.starts_with(&set.0))?;
        let below = Path(path.0[set.0.len()..].to_vec());
        let dot = matches!(below.0.first(), Some(Step::Key(_)));
        Some((name, format!("{}{below}", if dot { "." } else { "" })))
    }
}
