//! The command `adit-relay`.

use adit_protocol::Kind;
use adit_relay::{
    auth::{Keys, TokenKeys, TokenRequest, mint},
    cli::{
        self, AdminRequest, CliError, Command, EarlyExit, ExitReason, TokenSource,
        admin::{act, client, complaints},
    },
    config::{self, Config, LogFormat},
    ops::clock::now,
    proxy::raise_limit,
    server::{self, CertificateSource, Running},
};
use std::{
    io::{IsTerminal, Write},
    path::Path,
    process::ExitCode,
    time::Instant,
};
use tokio::signal::unix::{SignalKind, signal};

/// The next step where the system refuses what every program needs.
const FEWER_PROCESSES: &str = "raise the limits of processes and open files (ulimit -a shows them)";

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("nothing has installed a provider before");
    let done = match cli::parse(std::env::args_os()) {
        Ok(command) => run(command),
        Err(EarlyExit::Text(text)) => print(&text),
        Err(EarlyExit::Error(failure)) => Err(failure),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit.into()
        }
    }
}

fn run(command: Command) -> Result<(), CliError> {
    match command {
        Command::Run { config } => run_relay(cli::load(config.as_deref())?),
        Command::Token(token) => {
            let text = make_token(&token)?;
            if !token.kinds.contains(&Kind::Http) {
                eprintln!("note: this token opens no http tunnels; for both kinds: --kinds http,tcp");
            }
            print(&text)
        }
        Command::Check { config } => print(&cli::check(config.as_deref())?),
        Command::Defaults => print(&config::reference()),
        Command::Admin(admin) => print(&run_admin(&admin)?),
        Command::Completions { shell } => print(&cli::completions(shell)),
    }
}

/// Results go to stdout. A reader that has gone is no failure.
fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    Ok(())
}

/// Runs a relay until a signal ends it. The first SIGINT or SIGTERM drains, the second cuts what is left; SIGHUP opens the
/// access log anew.
fn run_relay(config: Config) -> Result<(), CliError> {
    let begun = Instant::now();
    log_to_stderr(&config);
    raise_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        CliError::new(ExitReason::Unexpected, "runtime", "cannot start a runtime", FEWER_PROCESSES)
            .because(&error)
    })?;
    runtime.block_on(async {
        let failed = |error: server::ServeError| {
            CliError::new(ExitReason::Unexpected, error.code(), "the relay cannot serve", error.next())
                .because(&error)
        };
        let listen = |kind| {
            let failure = CliError::new(
                ExitReason::Unexpected,
                "signals",
                "cannot listen for signals",
                FEWER_PROCESSES,
            );
            signal(kind).map_err(|error| failure.because(&error))
        };
        let (mut term, mut int) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        let mut hup = listen(SignalKind::hangup())?;
        let running = server::start(config).await.map_err(failed)?;
        print_greeting(&running, begun);
        let reopen = running.access_log_reopener();
        tokio::spawn(async move {
            while hup.recv().await.is_some() {
                tracing::info!("reopening the access log");
                reopen();
            }
        });
        let stop = async || {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        };
        running.until(stop).await.map_err(failed)
    })
}

fn log_to_stderr(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::new(&config.log.level);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => {
            builder
                .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
                .init();
        }
    }
}

/// What the relay serves, and what to try next.
fn print_greeting(running: &Running, begun: Instant) {
    let config = running.config();
    let mut lines = vec![format!(
        "adit-relay {}   {}   pid {}",
        env!("CARGO_PKG_VERSION"),
        config.domain,
        std::process::id()
    )];
    let mut line = |name: &str, what: String| lines.push(format!("  {name:<9}{what}"));
    for address in &running.bound.https {
        line("https", format!("{address:<20} consumers and clients"));
    }
    for address in &running.bound.http {
        let what = match config.plain_http {
            config::PlainHttp::Redirect => "redirects to https",
            config::PlainHttp::Serve => "consumers in clear",
        };
        line("http", format!("{address:<20} {what}"));
    }
    if let Some(ports) = config.tcp_ports {
        line("tcp", format!("ports {} to {}", ports.first, ports.last));
    }
    if let Some(address) = running.bound.peer {
        line("peer", format!("{:<20} the region's other relays", address.to_string()));
    }
    if let Some(address) = running.bound.ops {
        line("ops", format!("{:<20} /livez /readyz /metrics", address.to_string()));
    }
    if let Some(path) = &config.listen.admin {
        line("admin", path.display().to_string());
    }
    for (name, text) in config.summary().into_iter().filter(|(name, _)| ["store", "registry"].contains(name))
    {
        line(name, text);
    }
    let mut ca = String::new();
    match &running.certificates {
        CertificateSource::Files(count) => line("cert", format!("{count} from files")),
        CertificateSource::Development(path) => {
            line("cert", format!("development CA: clients need --ca {}", path.display()));
            ca = format!(" \\\n    --ca {}", path.display());
        }
    }
    let port = running.public_port();
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(
        stderr,
        "{}\nready in {} ms; try:\n  adit-relay token --account me > token\n  adit http 3000 --relay {}{port} \
         --token-file token{ca}",
        lines.join("\n"),
        begun.elapsed().as_millis(),
        config.domain,
    );
}

fn make_token(token: &cli::Token) -> Result<String, CliError> {
    let failed = |error: &dyn std::error::Error| {
        let next = "name the token key: adit-relay token --account NAME --key FILE --domain DOMAIN > token";
        CliError::new(ExitReason::Token, "token_key", "cannot sign a token", next).because(error)
    };
    let (key, domain) = match &token.source {
        TokenSource::Key { key, domain } => {
            (TokenKeys::load(key).map_err(|error| failed(&error))?, domain.clone())
        }
        TokenSource::Config(config) => {
            let config = cli::inspect(config.as_deref())?.config;
            let key = match &config.keys {
                Some(keys) => TokenKeys::load(&keys.tokens).map_err(|error| failed(&error))?,
                None => Keys::load_or_create(&config.data_dir).map_err(|error| failed(&error))?.tokens,
            };
            (key, config.domain)
        }
    };
    let patterns = |names: &Vec<String>| names.iter().map(|name| name.parse()).collect::<Result<Vec<_>, _>>();
    let names = token.names.as_ref().map(patterns).transpose().map_err(|error| {
        let next = "adit-relay token --help";
        CliError::new(ExitReason::Usage, "usage", "--names: is not a pattern", next).because(&error)
    })?;
    let request = TokenRequest {
        account: token.account.clone(),
        audience: domain,
        ttl: token.ttl,
        names,
        kinds: Some(token.kinds.clone()),
    };
    Ok(format!("{}\n", mint(&key, &request, now()).map_err(|error| failed(&error))?))
}

fn run_admin(admin: &cli::Admin) -> Result<String, CliError> {
    let socket = match &admin.socket {
        Some(socket) => socket.clone(),
        None => cli::inspect(admin.config.as_deref())?.config.listen.admin.ok_or_else(|| {
            let next = "give one with --socket, or set listen.admin";
            CliError::new(
                ExitReason::Usage,
                "admin_off",
                "this relay's configuration has no admin socket",
                next,
            )
        })?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        CliError::new(ExitReason::Unexpected, "runtime", "cannot start a runtime", FEWER_PROCESSES)
            .because(&error)
    })?;
    runtime.block_on(call_relay(&socket, admin))
}

async fn call_relay(socket: &Path, admin: &cli::Admin) -> Result<String, CliError> {
    Ok(match &admin.call {
        AdminRequest::Sessions => client::print_sessions(socket, admin.json, now()).await?,
        AdminRequest::Tunnels => client::print_tunnels(socket, admin.json, now()).await?,
        AdminRequest::Complaints(wish) => {
            complaints::carry_out(socket, wish, admin.json, now(), confirm).await?
        }
        AdminRequest::Act(act, consent) => act::carry_out(socket, act, *consent, admin.json, confirm).await?,
    })
}

/// Asks the person, if there is one at both ends.
fn confirm(effect: &str) -> bool {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return false;
    }
    eprint!("This will {effect}. Go on? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
