use super::*;

fn read(line: &str) -> Result<Command, EarlyExit> {
    let words = ["adit-relay"].into_iter().chain(line.split_whitespace());
    parse(words.map(OsString::from))
}

fn command(line: &str) -> Command {
    read(line).unwrap_or_else(|stop| panic!("{line}: {stop:?}"))
}

fn failure(line: &str) -> String {
    match read(line) {
        Err(EarlyExit::Error(failure)) => {
            assert_eq!(failure.exit, ExitReason::Usage);
            failure.to_string()
        }
        other => panic!("{line}: {other:?}"),
    }
}

fn help(line: &str) -> String {
    match read(line) {
        Err(EarlyExit::Text(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_configuration_can_stand_before_or_behind_the_command() {
    let config = Some(PathBuf::from("relay.yaml"));
    assert_eq!(command("--config relay.yaml"), Command::Run { config: config.clone() });
    assert_eq!(command("check --config relay.yaml"), Command::Check { config: config.clone() });
    assert_eq!(command("--config relay.yaml check"), Command::Check { config });
    assert_eq!(command("defaults"), Command::Defaults);
    assert_eq!(command("completions zsh"), Command::Completions { shell: Shell::Zsh });
}

#[test]
fn a_token_has_an_account_and_what_it_allows() {
    let Command::Token(token) = command("token --account me --config r.yaml") else { panic!() };
    assert_eq!((token.account, token.ttl), (Account::managed("me"), Duration::from_secs(900)));
    assert_eq!((token.names, token.kinds), (None, vec![Kind::Http]));
    assert_eq!(token.source, TokenSource::Config(Some("r.yaml".into())));
    let line =
        "token --account me --ttl 5m --names ci-*,shop --kinds http,tcp --key k.pem --domain eu.example.com";
    let Command::Token(token) = command(line) else { panic!() };
    assert_eq!(token.ttl, Duration::from_secs(300));
    assert_eq!(token.names, Some(vec!["ci-*".to_owned(), "shop".to_owned()]));
    assert_eq!(token.kinds, [Kind::Http, Kind::Tcp]);
    assert_eq!(token.source, TokenSource::Key { key: "k.pem".into(), domain: "eu.example.com".into() });
}

#[test]
fn a_call_of_a_relay_names_its_socket_or_its_configuration() {
    let admin = |call, json, socket: Option<&str>, config: Option<&str>| {
        Command::Admin(Admin { call, json, socket: socket.map(Into::into), config: config.map(Into::into) })
    };
    assert_eq!(
        command("admin sessions --json --socket a.sock"),
        admin(AdminRequest::Sessions, true, Some("a.sock"), None)
    );
    assert_eq!(
        command("admin tunnels --config r.yaml"),
        admin(AdminRequest::Tunnels, false, None, Some("r.yaml"))
    );
    let close = |consent| AdminRequest::Act(AdminAction::Close("s-1".parse().unwrap()), consent);
    assert_eq!(command("admin close s-1 --socket a"), admin(close(Consent::Ask), false, Some("a"), None));
    assert_eq!(
        command("admin close s-1 --yes --json --socket a"),
        admin(close(Consent::Given), true, Some("a"), None)
    );
    assert_eq!(
        command("admin drain --dry-run --socket a"),
        admin(AdminRequest::Act(AdminAction::Drain, Consent::DryRun), false, Some("a"), None)
    );
}

#[test]
fn mistakes_say_what_why_and_what_next() {
    for (line, expected) in [
        (
            "--confg relay.yaml",
            "error: unexpected argument '--confg' found [usage]
  why:   a similar argument exists: '--config'
  next:  adit-relay --help",
        ),
        (
            "chekc",
            "error: unrecognized subcommand 'chekc' [usage]
  why:   a similar subcommand exists: 'check'
  next:  adit-relay --help",
        ),
        (
            "token",
            "error: the following required arguments were not provided [usage]
  why:   --account <NAME>
  next:  adit-relay --help",
        ),
        (
            "token --account a|b",
            "error: invalid value 'a|b' for '--account <NAME>': an account has 1 to 508 bytes, without '|' and control characters [usage]
  next:  adit-relay --help",
        ),
        (
            "token --account a --ttl 0s",
            "error: invalid value '0s' for '--ttl <DURATION>': it is not from 1s to 24h [usage]
  next:  adit-relay --help",
        ),
        (
            "token --account a --ttl 15",
            "error: invalid value '15' for '--ttl <DURATION>': it is a duration without a unit: write 15s [usage]
  next:  adit-relay --help",
        ),
        (
            "token --account a --kinds udp",
            "error: invalid value 'udp' for '--kinds <KINDS>': it is not http or tcp [usage]
  next:  adit-relay --help",
        ),
        (
            "token --account a --names A_b",
            "error: invalid value 'A_b' for '--names <PATTERNS>': a pattern has 1 to 63 of a-z, 0-9, '-' and '*' [usage]
  next:  adit-relay --help",
        ),
        (
            "token --account a --key k",
            "error: the following required arguments were not provided [usage]
  why:   --domain <NAME>
  next:  adit-relay --help",
        ),
        (
            "token --account a --key k --domain a.b --config r.yaml",
            "error: --key and --config exclude each other [usage]
  next:  adit-relay token --help",
        ),
    ] {
        assert_eq!(failure(line), expected, "{line}");
    }
    assert!(failure("admin").starts_with("error: "));
    assert!(failure("admin close S!").contains("\"S!\" is not an identifier"));
    assert!(failure("admin close").contains("<SESSION>"));
    assert!(failure("admin drain --yes --dry-run").contains("cannot be used with"));
    assert!(failure("completions tcsh").contains("invalid value 'tcsh'"));
    assert!(failure("check --config").contains("a value is required"));
}

#[test]
fn help_begins_with_examples() {
    for line in ["--help", "-h", "token --help", "check -h", "admin --help", "completions --help"] {
        assert!(help(line).starts_with("Examples:\n  adit-relay "), "{line}: {}", help(line));
    }
    assert!(help("help").contains("Exit codes:"), "{}", help("help"));
    assert!(help("help token").contains("--ttl"), "{}", help("help token"));
    assert_eq!(help("--version"), concat!("adit-relay ", env!("CARGO_PKG_VERSION"), "\n"));
    command_is_sound();
}

fn command_is_sound() {
    super::command().debug_assert();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        assert!(completions(shell).contains("adit-relay"), "{shell}");
    }
}

#[test]
fn a_bad_configuration_is_one_failure_with_all_errors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.yaml");
    std::fs::write(&path, "domain: A\nlimits: {tunnels: -1}\n").unwrap();
    let failure = check(Some(&path)).unwrap_err();
    let shown = path.display();
    assert_eq!(
        failure.to_string(),
        format!(
            "error: {shown} has 2 errors [config_invalid]
  why:   {shown}: line 1: domain: \"A\" is not in normal form: write a
         {shown}: line 2: limits.tunnels: -1 is not a whole number from 1 to 10000
  next:  correct it, then: adit-relay check --config {shown}"
        )
    );
    assert_eq!(failure.exit as u8, 2);
}

#[test]
fn a_good_configuration_is_shown_as_it_was_understood() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.yaml");
    std::fs::write(&path, "domain: adit.localhost\nstore: postgres://u:hunter2@pg/adit\n").unwrap();
    let text = check(Some(&path)).unwrap();
    for line in [
        "relay.yaml is valid\n",
        "  domain        adit.localhost\n",
        "  https         [::]:8443; URLs have port 8443\n",
        "  http          [::]:8080; redirects to https\n",
        "  registry      in memory: a region of one relay\n",
        "  store         postgres://***@pg/adit\n",
        "  limits        10 tunnels, 20 sessions, 200 names\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_command_line_panics(words in proptest::collection::vec("(--)?[a-z=*,.]{0,12}|--config|token|admin|--account|\\PC{0,6}", 0..8)) {
        let words = std::iter::once("adit-relay".to_owned()).chain(words);
        let _ = parse(words.map(OsString::from));
    }
}

#[test]
fn the_list_of_variables_is_that_of_the_keys_and_flags() {
    let mut variables = crate::config::variables();
    variables.extend(super::variables());
    let list = adit_config::environment::list(variables);
    adit_testkit::generated::assert_generated("relay/config/src/environment/adit-relay.txt", &list);
}
