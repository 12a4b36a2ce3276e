//! The program `adit-relay` with a wrong configuration or command line: its messages and exit codes.

use adit_testkit::{port::Port, region::TestRegion, wait::MAX_WAIT};
use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Runs the program to its end. Returns its exit code, standard output and standard error.
fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    run_command(Command::new(env!("CARGO_BIN_EXE_adit-relay")), folder, arguments, variables)
}

/// The same as a user who may not read what is private to the user of the test.
fn run_as_another(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    const NOBODY: u32 = 65_534;
    // Nobody may not look into the folder of the build.
    let program = folder.join("adit-relay");
    fs::copy(env!("CARGO_BIN_EXE_adit-relay"), &program).unwrap();
    let mut command = Command::new(program);
    command.uid(NOBODY).gid(NOBODY);
    run_command(command, folder, arguments, &[])
}

/// Whether the test may start programs as another user.
fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn run_command(
    mut command: Command,
    folder: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> (i32, String, String) {
    command.args(arguments).env_clear().envs(variables.iter().copied()).current_dir(folder);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // What should have been refused would run for ever.
    let end = Instant::now() + MAX_WAIT;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("{arguments:?} {variables:?} runs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn good(ports: &[Port; 3]) -> String {
    format!(
        "domain: adit.localhost\ndataDir: data\n\
         listen: {{https: '127.0.0.1:{}', http: '127.0.0.1:{}', ops: '127.0.0.1:{}'}}\n",
        ports[0], ports[1], ports[2]
    )
}

/// More lines of relay.yaml, the environment, and words of the error.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

#[test]
fn all_configuration_errors_are_printed_at_once_with_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let good = good(&[Port::take(), Port::take(), Port::take()]);
    let cases: &[Case<'_>] = &[
        ("limits: {tunels: 3}", &[], &["limits.tunels", "did you mean tunnels?"]),
        ("limits: {tunnels: 0}", &[], &["limits.tunnels: 0 is not a whole number from 1 to 10000"]),
        ("drainTimeout: soon", &[], &["drainTimeout: \"soon\""]),
        ("tcpPorts: {first: 9, last: 5}", &[], &["tcpPorts"]),
        ("tcpPorts: {first: 70000, last: 70001}", &[], &["tcpPorts.first: 70000"]),
        ("registry: http://x", &[], &["registry"]),
        ("store: 'mysql://root:hunter2@db/x'", &[], &["store"]),
        ("registry: 'redis://:hunter2@redis:99999'", &[], &["registry"]),
        ("tls: {certificates: [{cert: no.pem, key: no.key}]}", &[], &["tls.certificates[0]", "no.pem"]),
        (
            "proxyProtocol: {trustedCIDRs: [10.0.0.0/33]}",
            &[],
            &["proxyProtocol.trustedCIDRs[0]", "10.0.0.0/33"],
        ),
        ("plainHttp: maybe", &[], &["plainHttp: \"maybe\""]),
        ("domain: again.localhost", &[], &["domain: is set twice"]),
        ("x: [", &[], &["relay.yaml"]),
        ("", &[("ADIT_DRAIN_TIMEOUTT", "5s")], &["ADIT_DRAIN_TIMEOUTT", "ADIT_DRAIN_TIMEOUT"]),
        ("", &[("ADIT_DRAIN_TIMEOUT", "5")], &["ADIT_DRAIN_TIMEOUT"]),
        ("", &[("ADIT_DOMAIN", "a_b!")], &["ADIT_DOMAIN", "a_b!"]),
        (
            "limits: {tunnels: -1}\nplainHttp: maybe",
            &[("ADIT_STORE", "postgres://u:hunter2@")],
            &["3 errors", "limits.tunnels", "plainHttp", "ADIT_STORE"],
        ),
    ];
    for (text, variables, expected) in cases {
        fs::write(folder.path().join("relay.yaml"), format!("{good}{text}\n")).unwrap();
        let (code, printed, said) = run(folder.path(), &["--config", "relay.yaml"], variables);
        assert_eq!((code, printed.as_str()), (2, ""), "{text:?} {variables:?}: {said}");
        assert!(said.starts_with("error: ") && said.contains("[config_invalid]"), "{text:?}: {said}");
        for expected in *expected {
            assert!(said.contains(expected), "{text:?} {variables:?}: no {expected:?} in {said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
        assert!(!folder.path().join("data").exists(), "{text:?} has left something behind");
    }
    let (code, _, said) = run(folder.path(), &["--config", "missing.yaml"], &[]);
    assert!(code == 2 && said.contains("missing.yaml"), "{code}: {said}");
    fs::write(folder.path().join("relay.yaml"), [0xff, 0xfe, 0]).unwrap();
    let (code, _, said) = run(folder.path(), &["--config", "relay.yaml"], &[]);
    assert!(code == 2 && said.contains("relay.yaml"), "{code}: {said}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let ports = [Port::take(), Port::take(), Port::take()];
    fs::write(folder.path().join("relay.yaml"), good(&ports)).unwrap();
    for port in &ports {
        let taken = TcpListener::bind(port.address()).unwrap();
        let (code, printed, said) = run(folder.path(), &["--config", "relay.yaml"], &[]);
        // Somebody else may let the port go: another start may help.
        assert_eq!((code, printed.as_str()), (1, ""), "{said}");
        assert!(said.contains(&port.address().to_string()), "{said}");
        let next = format!("next:  stop what holds the port: ss -ltnp 'sport = :{port}' shows it");
        assert!(said.contains(&next), "{said}");
        drop(taken);
    }
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_what_next() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("relay.yaml"), good(&[Port::take(), Port::take(), Port::take()])).unwrap();
    let token = ["token", "--config", "relay.yaml"];
    for arguments in [
        &["--confg", "relay.yaml"][..],
        &["--config"],
        &["sudo"],
        &["token"],
        &[&token[..], &["--account", ""]].concat(),
        &[&token[..], &["--account", "me", "--ttl", "5"]].concat(),
        &[&token[..], &["--account", "me", "--ttl", "-5m"]].concat(),
        &[&token[..], &["--account", "me", "--kinds", "udp"]].concat(),
        &[&token[..], &["--account", "me", "--names", "a_b"]].concat(),
        &[&token[..], &["--account", "me", "--admin"]].concat(),
    ] {
        let (code, printed, said) = run(folder.path(), arguments, &[]);
        assert_eq!((code, printed.as_str()), (2, ""), "{arguments:?}: {said}");
        assert!(said.starts_with("error: ") && said.contains("next:"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_plain_user_checks_what_that_user_may_read() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mode = |name: &str, mode| {
        fs::set_permissions(folder.path().join(name), PermissionsExt::from_mode(mode)).unwrap();
    };
    let good = good(&[Port::take(), Port::take(), Port::take()]);
    fs::write(
        folder.path().join("relay.yaml"),
        format!("{good}keys: {{region: region.key, tokens: token.key}}\n"),
    )
    .unwrap();
    fs::write(folder.path().join("region.key"), "private").unwrap();
    fs::write(folder.path().join("token.key"), "private").unwrap();
    for (name, bits) in [("", 0o755), ("relay.yaml", 0o644), ("region.key", 0o600), ("token.key", 0o600)] {
        mode(name, bits);
    }
    let check = ["check", "--config", "relay.yaml"];
    let (code, printed, said) = run_as_another(folder.path(), &check);
    assert_eq!(code, 0, "{said}");
    let expected = "not checked, because this user may not read them:\n  region.key\n  token.key\n";
    assert!(
        printed.contains("valid as far as this user may read it") && printed.contains(expected),
        "{printed}"
    );
    let (code, printed, _) = run(folder.path(), &check, &[]);
    assert!(code == 0 && !printed.contains("not checked"), "{printed}");
    let (code, _, said) = run_as_another(folder.path(), &["--config", "relay.yaml"]);
    assert!(code == 2 && said.contains("\"region.key\" cannot be read"), "a relay needs them: {said}");
    mode("relay.yaml", 0o600);
    let (code, _, said) = run_as_another(folder.path(), &check);
    assert!(code == 2 && said.contains("next:  run the same command as the relay's user"), "{said}");
}

#[test]
fn a_data_folder_of_somebody_else_is_named() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("relay.yaml"), good(&[Port::take(), Port::take(), Port::take()])).unwrap();
    let (code, _, said) = run_as_another(folder.path(), &["--config", "relay.yaml"]);
    assert!(
        code == 1 && said.contains("[data_dir]") && said.contains("cannot make the data folder data"),
        "{said}"
    );
    fs::create_dir(folder.path().join("data")).unwrap();
    let (code, _, said) = run_as_another(folder.path(), &["--config", "relay.yaml"]);
    assert!(
        code == 1 && said.contains("[data_dir]") && said.contains("cannot write in the data folder data"),
        "{said}"
    );
    assert!(said.contains("next:  give the folder to the relay's user"), "{said}");
}

#[test]
fn a_second_relay_on_one_data_folder_does_not_start() {
    let region = TestRegion::new(env!("CARGO_BIN_EXE_adit-relay"));
    let relay = region.start("a");
    let folder = tempfile::tempdir().unwrap();
    let data = relay.config.parent().unwrap().display();
    let second = good(&[Port::take(), Port::take(), Port::take()])
        .replace("dataDir: data", &format!("dataDir: {data}"));
    fs::write(folder.path().join("relay.yaml"), second).unwrap();
    let (code, _, said) = run(folder.path(), &["--config", "relay.yaml"], &[]);
    assert!(code == 1 && said.contains("[data_dir_in_use]"), "{said}");
    assert!(said.contains(&format!("another relay uses the data folder {data}: process ")), "{said}");
    assert!(said.contains("next:  stop the other relay, or give each its own dataDir"), "{said}");
}

#[test]
fn a_token_without_http_says_so() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("relay.yaml"), good(&[Port::take(), Port::take(), Port::take()])).unwrap();
    let token = ["token", "--config", "relay.yaml", "--account", "me"];
    let (code, _, said) = run(folder.path(), &[&token[..], &["--kinds", "tcp"]].concat(), &[]);
    assert_eq!(
        (code, said.as_str()),
        (0, "note: this token opens no http tunnels; for both kinds: --kinds http,tcp\n")
    );
    let (code, _, said) = run(folder.path(), &token, &[]);
    assert_eq!((code, said.as_str()), (0, ""));
}
