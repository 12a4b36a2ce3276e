//! The command line as clap reads it.

use super::{Admin, AdminAction, AdminRequest, CliError, Command, ExitReason, Shell, Token, TokenSource};
use super::{complaints::Complaints, consent::ConsentArgs};
use adit_config::{DnsName, Invalid, duration};
use adit_protocol::{Account, Kind, SessionId};
use clap::{Args, Parser, Subcommand};
use std::{path::PathBuf, time::Duration};

const TEMPLATE: &str = "{before-help}{about}\n\n{usage-heading} {usage}\n\n{all-args}{after-help}";

const EXAMPLES: &str = "\
Examples:
  adit-relay --config relay.yaml           run a relay
  adit-relay check --config relay.yaml     validate a configuration
  adit-relay defaults > relay.yaml         begin with every key and its default
  adit-relay token --account me > token    let a client in
  adit-relay admin tunnels                 what a running relay has";

const EXIT_CODES: &str = "\
Exit codes:
  0  ended as asked      2  usage or configuration
  1  unexpected failure  7  a relay or store cannot be reached";

const TOKEN_EXAMPLES: &str = "\
Examples:
  adit-relay token --account me > token
  adit-relay token --account acme-ci --names 'ci-*' --kinds http,tcp --ttl 5m
  adit-relay token --account me --key token.key --domain tunnels.example.com";

const CHECK_EXAMPLES: &str = "\
Examples:
  adit-relay check --config relay.yaml
  ADIT_LIMITS_TUNNELS=3 adit-relay check --config relay.yaml";

const ADMIN_EXAMPLES: &str = "\
Examples:
  adit-relay admin sessions --config relay.yaml
  adit-relay admin tunnels --json --socket /run/adit/admin.sock
  adit-relay admin close SESSION --yes
  adit-relay admin drain --dry-run
  adit-relay admin complaints list
  adit-relay admin complaints acknowledge ID --reason 'copies a bank'";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  adit-relay completions bash > /etc/bash_completion.d/adit-relay";

/// A tunnel provider's relay: the public process that clients dial and consumers reach.
#[derive(Parser)]
#[command(name = "adit-relay", version, help_template = TEMPLATE, before_help = EXAMPLES, after_help = EXIT_CODES)]
pub(super) struct CommandLine {
    /// The configuration [default: relay.yaml in this directory, if it is there]
    ///
    /// ADIT_* variables go before the keys of the file: ADIT_LISTEN_HTTPS is listen.https.
    #[arg(long, value_name = "FILE", env = "ADIT_CONFIG", hide_env_values = true, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    action: Option<TopCommand>,
}

#[derive(Subcommand)]
enum TopCommand {
    /// Print a token, which a client exchanges for a credential of its own; it can be used once
    #[command(help_template = TEMPLATE, before_help = TOKEN_EXAMPLES)]
    Token(TokenArgs),
    /// Validate the configuration and print what was understood; nothing is started or written
    #[command(help_template = TEMPLATE, before_help = CHECK_EXAMPLES)]
    Check,
    /// Print a relay.yaml with every key, its meaning, its variable and its default
    Defaults,
    /// Ask a running relay, or tell it to close a session or to drain
    #[command(help_template = TEMPLATE, before_help = ADMIN_EXAMPLES)]
    Admin(AdminArgs),
    /// Print what a shell needs to complete commands
    #[command(help_template = TEMPLATE, before_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Args)]
struct TokenArgs {
    /// Whose token it is: what limits and complaints apply to
    #[arg(long, value_name = "NAME", value_parser = account)]
    account: Account,
    /// How long the token can be used: 1s to 24h
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = ttl)]
    ttl: Duration,
    /// The names that it allows, with * for any letters; commas between them [default: every name]
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',', value_parser = pattern)]
    names: Vec<String>,
    /// The kinds of tunnel that it allows, and no other: http, tcp; commas between them
    #[arg(long, value_name = "KINDS", value_delimiter = ',', default_value = "http", value_parser = kind)]
    kinds: Vec<Kind>,
    /// Sign with this key instead of the configuration's
    #[arg(long, value_name = "FILE", requires = "domain")]
    key: Option<PathBuf>,
    /// The region's domain, with --key
    #[arg(long, value_name = "NAME", requires = "key")]
    domain: Option<DnsName>,
}

#[derive(Args)]
struct AdminArgs {
    #[command(subcommand)]
    call: AdminSubcommand,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// The admin socket [default: listen.admin of the configuration]
    #[arg(long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,
}

#[derive(Subcommand)]
enum AdminSubcommand {
    /// The sessions of the relay
    Sessions,
    /// The tunnels of the relay
    Tunnels,
    /// End one session; its client may come back
    Close {
        /// Its id, as `admin sessions` shows it
        #[arg(value_name = "SESSION")]
        session: SessionId,
        #[command(flatten)]
        sure: ConsentArgs,
    },
    /// Let the clients move to other relays, finish what is under way, and end, as SIGTERM does
    Drain(ConsentArgs),
    /// Complaints, of a relay that no operator looks after
    #[command(subcommand)]
    Complaints(Complaints),
}

impl CommandLine {
    /// The command, with the configuration that is there if none is named.
    pub(super) fn into_command(self, default: Option<PathBuf>) -> Result<Command, CliError> {
        let named = self.config.is_some();
        let config = self.config.or(default);
        Ok(match self.action {
            None => Command::Run { config },
            Some(TopCommand::Check) => Command::Check { config },
            Some(TopCommand::Defaults) => Command::Defaults,
            Some(TopCommand::Completions { shell }) => Command::Completions { shell },
            Some(TopCommand::Admin(AdminArgs { call, json, socket })) => {
                let call = match call {
                    AdminSubcommand::Sessions => AdminRequest::Sessions,
                    AdminSubcommand::Tunnels => AdminRequest::Tunnels,
                    AdminSubcommand::Close { session, sure } => {
                        AdminRequest::Act(AdminAction::Close(session), sure.into())
                    }
                    AdminSubcommand::Complaints(complaints) => AdminRequest::Complaints(complaints.into()),
                    AdminSubcommand::Drain(sure) => AdminRequest::Act(AdminAction::Drain, sure.into()),
                };
                Command::Admin(Admin { call, json, socket, config })
            }
            Some(TopCommand::Token(args)) => Command::Token(args.token(config, named)?),
        })
    }
}

impl TokenArgs {
    fn token(self, config: Option<PathBuf>, named: bool) -> Result<Token, CliError> {
        let source = match (self.key, self.domain) {
            (Some(_), Some(_)) if named && std::env::var_os("ADIT_CONFIG").is_none() => {
                let what = "--key and --config exclude each other";
                return Err(CliError::new(ExitReason::Usage, "usage", what, "adit-relay token --help"));
            }
            (Some(key), Some(domain)) => TokenSource::Key { key, domain: domain.into() },
            _ => TokenSource::Config(config),
        };
        let names = (!self.names.is_empty()).then_some(self.names);
        Ok(Token { account: self.account, ttl: self.ttl, names, kinds: self.kinds, source })
    }
}

fn account(text: &str) -> Result<Account, Invalid> {
    let account = Account::managed(text);
    let rule = "an account has 1 to 508 bytes, without '|' and control characters";
    if account.is_valid() { Ok(account) } else { Err(Invalid::new(rule)) }
}

fn ttl(text: &str) -> Result<Duration, Invalid> {
    let ttl = duration::parse(text).map_err(|rule| Invalid::new(format!("it {rule}")))?;
    let range = Duration::from_secs(1)..=Duration::from_secs(86_400);
    if range.contains(&ttl) { Ok(ttl) } else { Err(Invalid::new("it is not from 1s to 24h")) }
}

fn pattern(text: &str) -> Result<String, Invalid> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'*');
    if (1..=63).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(Invalid::new("a pattern has 1 to 63 of a-z, 0-9, '-' and '*'"))
}

fn kind(text: &str) -> Result<Kind, Invalid> {
    text.parse().map_err(|_| Invalid::new("it is not http or tcp"))
}
