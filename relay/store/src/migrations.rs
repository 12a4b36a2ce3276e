//! The schema's migrations, one list for each back end.
//!
//! They are embedded by name instead of by `sqlx::migrate!`, whose crate would have the drivers compiled a second time, for
//! the compiler itself. A test compares the lists with the folders.

use sqlx::{
    SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

/// One file of a folder of migrations: its name without the ending, and its statements.
type MigrationFile = (&'static str, &'static str);

macro_rules! embed {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../migrations/", $folder, "/", $name, ".sql")))),+]
    };
}

const SQLITE: &[MigrationFile] = embed![
    "sqlite": "0001_tunnels", "0002_relay_reports", "0003_chosen_names", "0004_certificates", "0005_complaints",
];
const POSTGRES: &[MigrationFile] = embed![
    "postgres": "0001_tunnels", "0002_relay_reports", "0003_chosen_names", "0004_certificates", "0005_complaints",
];

/// The migrations of SQLite's schema.
pub(crate) fn sqlite() -> Migrator {
    migrator(SQLITE)
}

/// The migrations of Postgres's schema.
pub(crate) fn postgres() -> Migrator {
    migrator(POSTGRES)
}

/// A migrator that leaves alone what a newer program has applied.
fn migrator(files: &[MigrationFile]) -> Migrator {
    let mut migrator = Migrator::with_migrations(files.iter().map(migration).collect());
    migrator.set_ignore_missing(true);
    migrator
}

/// `0002_relay_reports` is version 2, described as `relay reports`.
fn migration((name, statements): &MigrationFile) -> Migration {
    let (version, description) = name.split_once('_').expect("NUMBER_DESCRIPTION");
    let version = version.parse().expect("the name of a migration begins with its number");
    let description = description.replace('_', " ");
    Migration::new(version, description.into(), MigrationType::Simple, statements.into_sql_str(), false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_migration_of_the_folders_is_embedded() {
        for (folder, files) in [("sqlite", SQLITE), ("postgres", POSTGRES)] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
            let mut there: Vec<String> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            there.sort();
            let embedded: Vec<String> = files.iter().map(|(name, _)| format!("{name}.sql")).collect();
            assert_eq!(embedded, there);
        }
    }

    #[test]
    fn a_migration_has_the_version_and_words_of_its_name() {
        let second = sqlite().iter().nth(1).cloned().unwrap();
        assert_eq!((second.version, &*second.description), (2, "relay reports"));
    }
}
