//! The grammar of the command line.

use clap::{
    Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, builder::styling,
    parser::ValueSource,
};
use std::{ffi::OsString, path::PathBuf};

/// The commands that most people need.
pub(super) const EXAMPLES: &str = "\
\x20 adit http 3000                          a public URL for http://127.0.0.1:3000
  adit http 3000 --name shop              the same under a name of your own
  adit tcp 22                             a public port for 127.0.0.1:22
  adit start                              all tunnels of adit.yaml
  adit status                             what runs, and how it is
  adit check                              whether adit.yaml is valid
";

/// Examples come first: most people need nothing else.
const TEMPLATE: &str = "\
{about}

{before-help}{usage-heading} {usage}

{all-args}{after-help}";

const STYLES: styling::Styles = styling::Styles::styled()
    .header(styling::AnsiColor::White.on_default().bold())
    .usage(styling::AnsiColor::White.on_default().bold())
    .literal(styling::AnsiColor::Cyan.on_default())
    .placeholder(styling::AnsiColor::Green.on_default());

/// Publishes local services through an Adit relay.
#[derive(Debug, Parser)]
#[command(
    name = "adit",
    version,
    help_template = TEMPLATE,
    styles = STYLES,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = false,
    before_help = format!("Examples:\n{EXAMPLES}\n"),
    after_help = "\
Each flag but --config and --port can be a variable (ADIT_RELAY for --relay), and each but --config a key of adit.yaml
(tokenFile for --token-file): flag before variable before file.
Exit codes: 0 ended as asked, 2 usage or configuration, 3 token, 4 refused, 5 suspended, 6 upgrade required,
7 relay not reachable in time, 8 `adit status` found a problem, 130 second Ctrl-C, 1 anything else."
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) global: Global,
}

/// Flags that every command has.
#[derive(Debug, Args)]
#[command(next_help_heading = "Flags of all commands")]
pub(super) struct Global {
    /// The region's domain, or domain:port.
    #[arg(long, global = true, env = "ADIT_RELAY", value_name = "DOMAIN", hide_env = true)]
    pub(super) relay: Option<String>,
    /// A file with the token; read again each time one is needed.
    #[arg(long, global = true, env = "ADIT_TOKEN_FILE", value_name = "FILE", hide_env = true)]
    pub(super) token_file: Option<PathBuf>,
    /// A command that prints the token; run each time one is needed.
    #[arg(long, global = true, env = "ADIT_TOKEN_COMMAND", value_name = "COMMAND", hide_env = true)]
    pub(super) token_command: Option<String>,
    /// A PEM file of authorities to trust beside the system's.
    #[arg(long, global = true, env = "ADIT_CA", value_name = "FILE", hide_env = true)]
    pub(super) ca: Option<PathBuf>,
    /// The configuration file. Default: ./adit.yaml, else adit/adit.yaml in $XDG_CONFIG_HOME.
    #[arg(long, global = true, env = "ADIT_CONFIG", value_name = "FILE", hide_env = true)]
    pub(super) config: Option<PathBuf>,
    /// End with code 7 once no relay has been reached for this long, for example 30s or 5m.
    #[arg(long, global = true, env = "ADIT_GIVE_UP_AFTER", value_name = "TIME", hide_env = true)]
    pub(super) give_up_after: Option<String>,
    /// Write events as JSON, one object a line.
    #[arg(long, global = true, env = "ADIT_JSON", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) json: bool,
    /// Print only results and errors.
    #[arg(short, long, global = true, env = "ADIT_QUIET", hide_env = true, value_parser = clap::builder::FalseyValueParser::new(), conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Log more, as plain lines: each request, and each step of the client.
    #[arg(short, long, global = true, env = "ADIT_VERBOSE", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) verbose: bool,
    /// When to use colour. Default: auto.
    #[arg(long, global = true, env = "ADIT_COLOR", value_name = "WHEN", hide_env = true)]
    pub(super) color: Option<When>,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    /// At a terminal that can, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Give a local HTTP service a public URL.
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  adit http 3000                          http://127.0.0.1:3000
  adit http app.internal:8080 --name shop
  adit http https://127.0.0.1:8443 --upstream-ca ca.pem
  adit http h2c://127.0.0.1:50051         gRPC in clear
  adit http 3000 > url                    the URL is the first line
  read -r url < <(adit http 3000)         bash: the URL, while the client goes on

")]
    Http(Http),
    /// Give a local TCP service a public port.
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  adit tcp 22                             127.0.0.1:22
  adit tcp db.internal:5432 --port 20022  a public port of your choice

")]
    Tcp(Tcp),
    /// Open all tunnels of adit.yaml, or those that are named.
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  adit start
  adit start shop api --config work.yaml

  # adit.yaml
  relay: eu.example.com
  tunnels:
    shop: {http: 3000}
    ssh: {tcp: 22, enabled: false}        stays configured, offline

")]
    Start(Start),
    /// Show the tunnels of this user's running clients; code 8 if one has a problem.
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  adit status
  adit status shop
  adit status 3000 --json

")]
    Status(Status),
    /// Check adit.yaml and the files that it names, without a network.
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  adit check
  adit check --config work.yaml

")]
    Check,
    /// Explain a command or a code, for example `adit help name_taken`.
    #[command(help_template = TEMPLATE)]
    Help {
        /// A command, or the code in brackets of a message.
        topic: Option<String>,
    },
    /// Print completions for a shell.
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  adit completions bash > ~/.local/share/bash-completion/completions/adit
  adit completions zsh > ~/.zfunc/_adit
  adit completions fish > ~/.config/fish/completions/adit.fish

")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Show events that `adit --json` wrote as the terminal showed them.
    #[command(hide = true, help_template = TEMPLATE)]
    Replay {
        /// The file with the events.
        file: PathBuf,
        /// Show it as `adit start` does.
        #[arg(long)]
        many: bool,
    },
}

impl Command {
    /// The command as it is typed.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Start(_) => "start",
            Self::Status(_) => "status",
            Self::Check => "check",
            Self::Help { .. } => "help",
            Self::Completions { .. } => "completions",
            Self::Replay { .. } => "replay",
        }
    }
}

/// `adit http`.
#[derive(Debug, Args)]
pub(super) struct Http {
    /// The service: a port of this computer (3000 or :3000), host:port, or a URL (http://, https://, h2c://).
    pub(super) service: String,
    /// The first part of the public host name. Default: a random one.
    #[arg(long, env = "ADIT_NAME", hide_env = true)]
    pub(super) name: Option<String>,
    /// Take a random name if --name cannot be had.
    #[arg(long, env = "ADIT_ANY_NAME", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) any_name: bool,
    /// The Host header that the service gets. Default: the public one.
    #[arg(long, env = "ADIT_HOST_HEADER", value_name = "HOST", hide_env = true)]
    pub(super) host_header: Option<String>,
    /// The version of HTTP that the service gets: auto, http1 or http2.
    #[arg(long, env = "ADIT_UPSTREAM_PROTOCOL", value_name = "VERSION", hide_env = true)]
    pub(super) upstream_protocol: Option<String>,
    /// A PEM file of authorities to trust for an https:// service, beside the system's.
    #[arg(long, env = "ADIT_UPSTREAM_CA", value_name = "FILE", hide_env = true)]
    pub(super) upstream_ca: Option<PathBuf>,
    /// Open another tunnel although one to this service is open.
    #[arg(short, long, env = "ADIT_FORCE", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) force: bool,
}

/// `adit tcp`.
#[derive(Debug, Args)]
pub(super) struct Tcp {
    /// The service: a port of this computer, host:port, or tcp://host:port.
    pub(super) service: String,
    /// The public port to ask for. Default: any of the region's.
    // It has no variable: Kubernetes sets ADIT_PORT for a Service of that name.
    #[arg(long, value_name = "PORT")]
    pub(super) port: Option<String>,
    /// Open another tunnel although one to this service is open.
    #[arg(short, long, env = "ADIT_FORCE", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) force: bool,
}

/// `adit start`.
#[derive(Debug, Args)]
pub(super) struct Start {
    /// Only these tunnels, even if the file says `enabled: false`. Default: all that are enabled.
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Open tunnels although others to the same services are open.
    #[arg(short, long, env = "ADIT_FORCE", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) force: bool,
}

/// `adit status`.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Only tunnels with this name, id, local port or URL, or of clients in this directory.
    #[arg(value_name = "NAME|ID|PORT|DIR|URL")]
    pub(super) which: Option<String>,
}

/// Which of the token's flags stood on the command line itself, not in a variable.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TokenFlags {
    /// `--token-file`.
    pub(super) token_file: bool,
    /// `--token-command`.
    pub(super) token_command: bool,
}

/// Reads the command line and the variables of its flags.
///
/// # Errors
/// Errors of the grammar, and the texts of `--help` and `--version`.
pub(super) fn read(args: impl IntoIterator<Item = OsString>) -> Result<(Cli, TokenFlags), clap::Error> {
    let matches = command().try_get_matches_from(args)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let mut token_flags = TokenFlags::default();
    let mut at = Some(&matches);
    while let Some(matches) = at {
        let given = |id: &str| {
            matches.try_get_raw(id).is_ok() && matches.value_source(id) == Some(ValueSource::CommandLine)
        };
        token_flags.token_file |= given("token_file");
        token_flags.token_command |= given("token_command");
        at = matches.subcommand().map(|(_, matches)| matches);
    }
    Ok((cli, token_flags))
}

/// The command line's own description, for help and completions.
pub(super) fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::super::settings::TOKEN_VARIABLE;
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        read(line.split(' ').map(OsString::from)).map(|(cli, _)| cli)
    }

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn flags_of_all_commands_stand_before_or_after_the_command() {
        for line in ["adit --relay eu.example.com http 3000", "adit http 3000 --relay eu.example.com"] {
            assert_eq!(parse(line).unwrap().global.relay.as_deref(), Some("eu.example.com"), "{line}");
        }
    }

    #[test]
    fn flags_and_commands_of_later_versions_are_unknown() {
        for line in [
            "adit http 3000 --auth a:b",
            "adit http 3000 --allow 10.0.0.0/8",
            "adit serve .",
            "adit tls 8443",
        ] {
            let text = parse(line).unwrap_err().to_string();
            assert!(
                text.contains("unexpected argument") || text.contains("unrecognized subcommand"),
                "{text}"
            );
        }
    }

    #[test]
    fn the_list_of_variables_is_that_of_the_flags() {
        let mut variables = vec![TOKEN_VARIABLE.to_owned()];
        let mut commands = vec![command()];
        while let Some(command) = commands.pop() {
            let flags = command.get_arguments().filter_map(clap::Arg::get_env);
            variables.extend(flags.map(|variable| variable.to_string_lossy().into_owned()));
            commands.extend(command.get_subcommands().cloned());
        }
        let list = adit_config::environment::list(variables);
        adit_testkit::generated::assert_generated("relay/config/src/environment/adit.txt", &list);
    }

    #[test]
    fn help_begins_with_what_it_is_and_examples() {
        let help = parse("adit http --help").unwrap_err().to_string();
        let examples = help.find("Examples:").unwrap();
        assert!(
            help.starts_with("Give a local HTTP service a public URL")
                && examples < help.find("Usage:").unwrap()
        );
    }
}
