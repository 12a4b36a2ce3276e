//! Columns for people.

/// Lines whose columns stand under each other, two spaces apart.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let mut table = adit_terminal::Table::without_headings();
    rows.iter().for_each(|row| table.push(row));
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(columns(&[row(["a", "b"]), row(["long", ""])]), "a     b\nlong\n");
        assert_eq!(columns(&[]), "");
    }
}
