//! The command line.

use adit_api::complaint::Scope;
use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};

const EXAMPLES: &str = "\
Examples:
  kubectl adit status                                    every region and its problems
  kubectl adit tunnels -n tunnels eu                     the published tunnels
  kubectl adit explain https://shop.eu.example.com/cart  why it works, or does not
  kubectl adit token -n tunnels --account me > token     a token for a client
  kubectl adit certificates                              what relays serve, and when it expires
  kubectl adit complaints                                complaints that wait for a decision
  kubectl adit acknowledge -n tunnels cpl-7f3k --reason 'copies Example Bank'";

const EXIT_CODES: &str = "\
Exit codes:
  0  success      2  bad command line      7  the cluster or a relay cannot be reached      8  a problem was found";

/// Inspects a tunnel provider on Kubernetes, issues tokens, and decides about complaints
#[derive(Clone, Debug, Parser)]
#[command(name = "kubectl-adit", bin_name = "kubectl adit", version, before_help = EXAMPLES, after_help = EXIT_CODES)]
#[command(disable_help_subcommand = true)]
pub struct CommandLine {
    /// The namespace of Regions, Certificates and Complaints [default: the context's; for status, explain, certificates and complaints: all]
    #[arg(long, short, global = true, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// The context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG, or ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) kubeconfig: Option<String>,
    /// Output format [default: for people]
    #[arg(long, short, global = true, value_name = "FORMAT")]
    pub(super) output: Option<Format>,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For programs.
    Json,
}

/// What the plugin does.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Show every region and its problems
    Status,
    /// Show the tunnels of a region, as its relays have them
    Tunnels {
        /// The Region [default: the only one of the namespace]
        #[arg(value_name = "REGION")]
        region: Option<String>,
    },
    /// Follow a public URL from DNS to the service behind it
    Explain {
        /// The URL, as a consumer opens it
        #[arg(value_name = "URL")]
        url: String,
    },
    /// Print a token for a client; it works once
    Token(TokenOptions),
    /// Show certificates: their expiry, the relays that serve them, and problems
    Certificates,
    /// Request another certificate now
    Renew {
        /// The Certificate
        #[arg(value_name = "NAME")]
        name: String,
        /// Wait until every relay serves it, or the attempt has failed
        #[arg(long)]
        wait: bool,
        /// How long to wait
        #[arg(long, value_name = "DURATION", default_value = "3m", requires = "wait")]
        timeout: String,
    },
    /// Show complaints: those that wait, the oldest first, then those in force
    Complaints {
        /// Show those that are over too
        #[arg(long)]
        all: bool,
    },
    /// Take the target of a complaint offline in every region
    Acknowledge {
        /// What is taken offline [default: the complaint's scope]
        #[arg(long, value_name = "SCOPE", value_parser = scope_parser())]
        scope: Option<Scope>,
        /// When the suspension ends, for example 2027-01-01T00:00:00Z [default: the complaint's end]
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        #[command(flatten)]
        decision: DecisionOptions,
    },
    /// Dismiss a complaint that was wrong: its target may come back
    Dismiss(DecisionOptions),
    /// Lift the suspension of a complaint that is over: its target may come back
    Lift(DecisionOptions),
    /// Print the script kubectl_complete-adit, with which kubectl completes `kubectl adit`
    #[command(
        after_help = "Put it on PATH:\n  kubectl adit completions > ~/.local/bin/kubectl_complete-adit && chmod +x ~/.local/bin/kubectl_complete-adit"
    )]
    Completions,
    /// Print candidates for the last word, in kubectl's format
    #[command(name = "__complete", hide = true)]
    Complete {
        /// The words after `kubectl adit`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

fn scope_parser() -> impl TypedValueParser<Value = Scope> {
    let account = PossibleValue::new("account").help("All that the account publishes, in every region");
    let hostname = PossibleValue::new("hostname").help("The host name or port alone");
    PossibleValuesParser::new([account, hostname])
        .map(|name| if name == "account" { Scope::Account } else { Scope::Hostname })
}

/// Options of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(super) struct DecisionOptions {
    /// The Complaint
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// The reason; it stays in the complaint's history
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    /// Who decides, for the history [default: your name on the API server]
    #[arg(long, value_name = "NAME")]
    pub(super) by: Option<String>,
    /// Do not ask for confirmation
    #[arg(long)]
    pub(super) yes: bool,
    /// Only show what would happen; the API server checks the change
    #[arg(long)]
    pub(super) dry_run: bool,
    /// How long to wait for all relays after an acknowledgement
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub(super) timeout: String,
}

/// Options of a token.
#[derive(Clone, Debug, Args)]
pub(super) struct TokenOptions {
    /// The Region [default: the only one of the namespace]
    #[arg(value_name = "REGION")]
    pub(super) region: Option<String>,
    /// The account of the client; limits and complaints apply to it
    #[arg(long, value_name = "NAME")]
    pub(super) account: String,
    /// How long the token is valid: 1s to 24h
    #[arg(long, value_name = "DURATION", default_value = "15m")]
    pub(super) ttl: String,
    /// Names that it allows, separated by commas; * matches any letters [default: every name]
    #[arg(long, value_name = "PATTERNS")]
    pub(super) names: Option<String>,
    /// Kinds of tunnels that it allows, separated by commas: http, tcp
    #[arg(long, value_name = "KINDS", default_value = "http")]
    pub(super) kinds: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kubectl accepts no flags before a plugin's name, so `kubectl -n NS adit` is never advised.
    #[test]
    fn the_chart_s_notes_advise_valid_commands() {
        let notes =
            include_str!("../../../charts/adit/templates/NOTES.txt").replace("{{ $namespace }}", "tunnels");
        let advised: Vec<&str> = notes.lines().filter(|line| line.contains(" adit ")).collect();
        let commands = advised.iter().filter_map(|line| line.split_once("kubectl ")).map(|(_, words)| words);
        let mut count = 0;
        for command in commands {
            let words = command.split(" > ").next().unwrap().split_whitespace();
            let parsed = CommandLine::try_parse_from(std::iter::once("kubectl").chain(words.skip(1)));
            assert!(command.starts_with("adit ") && parsed.is_ok(), "kubectl {command}");
            count += 1;
        }
        assert_eq!(count, 2, "{notes}");
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        CommandLine::command().debug_assert();
        let line = CommandLine::try_parse_from(["kubectl-adit", "token", "-n", "tunnels", "--account", "me"])
            .unwrap();
        assert_eq!(line.namespace.as_deref(), Some("tunnels"));
        assert!(CommandLine::try_parse_from(["kubectl-adit", "token"]).is_err(), "an account is required");
        assert!(
            CommandLine::try_parse_from(["kubectl-adit", "lift", "cpl-1"]).is_err(),
            "a reason is required"
        );
        assert!(CommandLine::try_parse_from(["kubectl-adit", "status", "-o", "yaml"]).is_err());
    }
}
