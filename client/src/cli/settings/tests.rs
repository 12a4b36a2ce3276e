use super::*;
use crate::cli::args;
use std::{collections::BTreeMap, ffi::OsString};

/// A directory with an adit.yaml and a token in it, and what is gathered there.
struct ConfigFolder {
    directory: tempfile::TempDir,
}

impl ConfigFolder {
    fn new(file: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        if !file.is_empty() {
            std::fs::write(directory.path().join("adit.yaml"), file).unwrap();
        }
        Self { directory }
    }

    fn gather(&self, line: &str, variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        let (mut cli, token_flags) = args::read(line.split(' ').map(OsString::from)).unwrap();
        let variables: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        // clap reads the variables of the process; a test has its own.
        cli.global.relay = cli.global.relay.or_else(|| variables.get("ADIT_RELAY").cloned());
        cli.global.token_file =
            cli.global.token_file.or_else(|| variables.get("ADIT_TOKEN_FILE").map(PathBuf::from));
        let environment = Environment { variables, directory: self.directory.path().into() };
        super::gather(&cli, token_flags, &environment).map_err(|invalid| invalid.lines())
    }
}

fn token(settings: &Settings) -> String {
    match &settings.token {
        None => "none".into(),
        Some(TokenSource::Text(text)) => format!("text {text}"),
        Some(TokenSource::File(path)) => format!("file {}", path.file_name().unwrap().display()),
        Some(TokenSource::Command(command)) => format!("command {command}"),
    }
}

#[test]
fn a_flag_beats_a_variable_and_a_variable_beats_the_file() {
    let folder = ConfigFolder::new("relay: file.example\ntokenFile: f\n");
    let of_file = folder.gather("adit http 3000", &[]).unwrap();
    assert_eq!((of_file.relay.to_string(), token(&of_file)), ("file.example".into(), "file f".into()));
    let variables = [("ADIT_RELAY", "variable.example"), ("ADIT_TOKEN", "abc")];
    let of_variable = folder.gather("adit http 3000", &variables).unwrap();
    assert_eq!(
        (of_variable.relay.to_string(), token(&of_variable)),
        ("variable.example".into(), "text abc".into())
    );
    let of_flag = folder.gather("adit http 3000 --relay flag.example --token-command c", &variables).unwrap();
    assert_eq!((of_flag.relay.to_string(), token(&of_flag)), ("flag.example".into(), "command c".into()));
}

#[test]
fn two_tokens_of_one_level_are_refused() {
    let folder = ConfigFolder::new("relay: a.example\n");
    let errors = folder.gather("adit http 1 --token-file a --token-command b", &[]).unwrap_err();
    assert_eq!(errors, ["--token-file, --token-command: give one token source, not two"]);
    let errors = folder.gather("adit http 1", &[("ADIT_TOKEN_FILE", "a"), ("ADIT_TOKEN", "b")]).unwrap_err();
    assert_eq!(errors, ["ADIT_TOKEN_FILE, ADIT_TOKEN: give one token source, not two"]);
}

#[test]
fn the_token_beside_the_file_is_the_default() {
    let folder = ConfigFolder::new("relay: a.example\n");
    assert_eq!(token(&folder.gather("adit http 1", &[]).unwrap()), "none");
    std::fs::write(folder.directory.path().join("token"), "t").unwrap();
    assert_eq!(token(&folder.gather("adit http 1", &[]).unwrap()), "file token");
}

#[test]
fn the_users_own_file_is_read_where_there_is_none_here() {
    let folder = ConfigFolder::new("");
    let own = folder.directory.path().join("own/adit");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("adit.yaml"), "relay: own.example\n").unwrap();
    let own = folder.directory.path().join("own");
    let settings = folder.gather("adit http 1", &[("XDG_CONFIG_HOME", own.to_str().unwrap())]).unwrap();
    assert_eq!(settings.relay.to_string(), "own.example");
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_where_it_stands() {
    let folder = ConfigFolder::new("relay: a b\nports: 1\n");
    let variables = [("ADIT_TOKENFILE", "secret"), ("ADIT_PORT", "tcp://10.0.0.1:443")];
    let errors =
        folder.gather("adit http 70000 --name a_b --give-up-after soon --host-header a/b", &variables);
    let errors = errors.unwrap_err();
    for start in [
        "ADIT_TOKENFILE: no Adit program reads this variable; did you mean ADIT_TOKEN_FILE?",
        "adit.yaml: line 1: relay: \"a b\" is not a region",
        "adit.yaml: line 2: ports: is not a key",
        "--give-up-after: \"soon\" is not a duration",
        "SERVICE: \"70000\" is not a service: a port is a number from 1 to 65535",
        "--name: \"a_b\" is not a name: a name has 1 to 63",
        "--host-header: \"a/b\" is not a host",
    ] {
        assert!(errors.iter().any(|e| e.starts_with(start)), "{start}\nnot in {errors:#?}");
    }
    assert_eq!(errors.len(), 7, "{errors:#?}");
}

#[test]
fn a_bad_variable_is_named_as_one() {
    let errors = ConfigFolder::new("").gather("adit http 1", &[("ADIT_RELAY", "a..b")]).unwrap_err();
    assert!(errors[0].starts_with("ADIT_RELAY: \"a..b\" is not a region"), "{errors:?}");
}

#[test]
fn start_opens_what_is_enabled_or_named() {
    let folder =
        ConfigFolder::new("relay: a.example\ntunnels: {shop: {http: 1}, ssh: {tcp: 22, enabled: false}}\n");
    let enabled = |settings: &Settings| -> Vec<bool> { settings.tunnels.iter().map(|t| t.enabled).collect() };
    assert_eq!(enabled(&folder.gather("adit start", &[]).unwrap()), [true, false]);
    assert_eq!(enabled(&folder.gather("adit start ssh", &[]).unwrap()), [false, true]);
    let errors = folder.gather("adit start shopp", &[]).unwrap_err();
    assert_eq!(errors, ["\"shopp\" is not one of the file's tunnels; did you mean shop?"]);
    assert!(
        ConfigFolder::new("relay: a.example\n").gather("adit start", &[]).unwrap_err()[0]
            .starts_with("no enabled tunnel in adit.yaml")
    );
    let errors = ConfigFolder::new("").gather("adit start --relay a.example", &[]).unwrap_err();
    assert_eq!(errors, ["no adit.yaml here or in ~/.config/adit: write one, or name another with --config"]);
}

#[test]
fn a_directory_is_told_from_a_service() {
    let folder = ConfigFolder::new("relay: a.example\n");
    let errors = folder.gather("adit http .", &[]).unwrap_err();
    assert_eq!(
        errors,
        ["SERVICE: \".\" is a directory: serve it with a web server, and give that one's port"]
    );
}

#[test]
fn a_file_without_the_tunnel_that_is_named_says_which_it_has() {
    let folder = ConfigFolder::new("relay: a.example\ntunnels: {shop: {http: 1}, api: {http: 2}}\n");
    let errors = folder.gather("adit start nosuch", &[]).unwrap_err();
    assert_eq!(errors, ["\"nosuch\" is not one of the file's tunnels; it has: shop, api"]);
}

#[test]
fn authorities_are_read_before_anything_starts() {
    let folder = ConfigFolder::new("relay: a.example\n");
    let errors = folder.gather("adit http 3000 --ca nofile.pem", &[]).unwrap_err();
    assert_eq!(errors, ["--ca: nofile.pem does not exist"]);
    let errors = folder.gather("adit http 3000 --upstream-ca nofile.pem", &[]).unwrap_err();
    assert!(errors[0].starts_with("--upstream-ca: nofile.pem does not exist"), "{errors:?}");
    assert!(errors[1].starts_with("--upstream-ca: http://127.0.0.1:3000 does not speak TLS"), "{errors:?}");
}

#[test]
fn a_flag_beats_the_files_way_of_showing_itself() {
    let folder = ConfigFolder::new("relay: a.example\nquiet: true\ncolor: never\n");
    let quiet = folder.gather("adit http 1", &[]).unwrap().display;
    assert!(quiet.quiet && !quiet.verbose && quiet.color == When::Never);
    let verbose = folder.gather("adit http 1 -v --color always", &[]).unwrap().display;
    assert!(!verbose.quiet && verbose.verbose && verbose.color == When::Always);
}

#[test]
fn the_heading_names_where_the_errors_stand() {
    let heading = |file: &str, line: &str| {
        let folder = ConfigFolder::new(file);
        let (cli, flags) = args::read(line.split(' ').map(OsString::from)).unwrap();
        let environment =
            Environment { variables: BTreeMap::new(), directory: folder.directory.path().into() };
        super::gather(&cli, flags, &environment).unwrap_err().problem().to_string()
    };
    assert_eq!(heading("", "adit http 3000"), "bad command line [usage]");
    assert_eq!(heading("relay: a b\n", "adit http 3000"), "adit.yaml is not valid [config_invalid]");
    assert_eq!(heading("relay: a b\n", "adit http 0"), "the configuration is not valid [config_invalid]");
}
