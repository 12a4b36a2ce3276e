use super::*;
use crate::cli::args;
use std::ffi::OsString;

/// A directory with an adit.yaml and a token in it, and what is gathered there.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
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
        super::gather(&cli, token_flags, &environment)
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
    let place = Place::new("relay: file.example\ntokenFile: f\n");
    let of_file = place.gather("adit http 3000", &[]).unwrap();
    assert_eq!((of_file.relay.to_string(), token(&of_file)), ("file.example".into(), "file f".into()));
    let variables = [("ADIT_RELAY", "variable.example"), ("ADIT_TOKEN", "abc")];
    let of_variable = place.gather("adit http 3000", &variables).unwrap();
    assert_eq!(
        (of_variable.relay.to_string(), token(&of_variable)),
        ("variable.example".into(), "text abc".into())
    );
    let of_flag = place.gather("adit http 3000 --relay flag.example --token-command c", &variables).unwrap();
    assert_eq!((of_flag.relay.to_string(), token(&of_flag)), ("flag.example".into(), "command c".into()));
}

#[test]
fn two_tokens_of_one_level_are_refused() {
    let place = Place::new("relay: a.example\n");
    let errors = place.gather("adit http 1 --token-file a --token-command b", &[]).unwrap_err();
    assert_eq!(
        errors,
        ["--token-command: is one source of the token too many: --token-file is there as well"]
    );
    let errors = place.gather("adit http 1", &[("ADIT_TOKEN_FILE", "a"), ("ADIT_TOKEN", "b")]).unwrap_err();
    assert_eq!(errors, ["ADIT_TOKEN: is one source of the token too many: ADIT_TOKEN_FILE is there as well"]);
}

#[test]
fn the_token_beside_the_file_is_the_default() {
    let place = Place::new("relay: a.example\n");
    assert_eq!(token(&place.gather("adit http 1", &[]).unwrap()), "none");
    std::fs::write(place.directory.path().join("token"), "t").unwrap();
    assert_eq!(token(&place.gather("adit http 1", &[]).unwrap()), "file token");
}

#[test]
fn the_users_own_file_is_read_where_there_is_none_here() {
    let place = Place::new("");
    let own = place.directory.path().join("own/adit");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("adit.yaml"), "relay: own.example\n").unwrap();
    let own = place.directory.path().join("own");
    let settings = place.gather("adit http 1", &[("XDG_CONFIG_HOME", own.to_str().unwrap())]).unwrap();
    assert_eq!(settings.relay.to_string(), "own.example");
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_where_it_stands() {
    let place = Place::new("relay: a b\nports: 1\n");
    let variables = [("ADIT_TOKENFILE", "secret"), ("ADIT_PORT", "tcp://10.0.0.1:443")];
    let errors =
        place.gather("adit http 70000 --name www --give-up-after soon --host-header a/b", &variables);
    let errors = errors.unwrap_err();
    for start in [
        "ADIT_TOKENFILE: no Adit program reads this variable; did you mean ADIT_TOKEN_FILE?",
        "adit.yaml: relay: \"a b\" is not a region",
        "adit.yaml: ports: is not a key",
        "--give-up-after: \"soon\" is not a duration",
        "SERVICE: \"70000\" is not a service: a port is a number from 1 to 65535",
        "--name: \"www\" cannot be had: this name is reserved",
        "--host-header: \"a/b\" is not a host",
    ] {
        assert!(errors.iter().any(|e| e.starts_with(start)), "{start}\nnot in {errors:#?}");
    }
    assert_eq!(errors.len(), 7, "{errors:#?}");
}

#[test]
fn a_bad_variable_is_named_as_one() {
    let errors = Place::new("").gather("adit http 1", &[("ADIT_RELAY", "a..b")]).unwrap_err();
    assert!(errors[0].starts_with("ADIT_RELAY: \"a..b\" is not a region"), "{errors:?}");
}

#[test]
fn start_opens_what_is_enabled_or_named() {
    let place = Place::new("relay: a.example\ntunnels: {shop: {http: 1}, ssh: {tcp: 22, enabled: false}}\n");
    let enabled = |settings: &Settings| -> Vec<bool> { settings.tunnels.iter().map(|t| t.enabled).collect() };
    assert_eq!(enabled(&place.gather("adit start", &[]).unwrap()), [true, false]);
    assert_eq!(enabled(&place.gather("adit start ssh", &[]).unwrap()), [false, true]);
    let errors = place.gather("adit start shopp", &[]).unwrap_err();
    assert_eq!(errors, ["NAME: \"shopp\" is not one of the file's tunnels: did you mean shop?"]);
    assert!(
        Place::new("relay: a.example\n").gather("adit start", &[]).unwrap_err()[0]
            .starts_with("tunnels: none")
    );
    let errors = Place::new("").gather("adit start --relay a.example", &[]).unwrap_err();
    assert_eq!(errors, ["--config: there is no adit.yaml here: write one, or name another file"]);
}

#[test]
fn a_directory_is_told_from_a_service() {
    let place = Place::new("relay: a.example\n");
    let errors = place.gather("adit http .", &[]).unwrap_err();
    assert_eq!(errors, ["SERVICE: \".\" is a directory: this version publishes only running services"]);
}
