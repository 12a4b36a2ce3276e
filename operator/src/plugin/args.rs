//! The command line.

use adit_api::complaint::Scope;
use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  kubectl adit status                                    every region, and what is wrong
  kubectl adit tunnels -n tunnels eu                     what is published
  kubectl adit explain https://shop.eu.example.com/cart  why it works, or does not
  kubectl adit token -n tunnels --account me > token     let a client in
  kubectl adit certificates                              what relays serve, and until when
  kubectl adit complaints                                what waits for a decision
  kubectl adit acknowledge -n tunnels cpl-7f3k --reason 'copies Example Bank'";

const EXIT_CODES: &str = "\
Exit codes:
  0  all is well      2  usage      7  the cluster or a relay cannot be reached      8  a problem was found";

/// Looks at a tunnel provider on Kubernetes, lets clients in, and decides about complaints.
#[derive(Clone, Debug, Parser)]
#[command(name = "kubectl-adit", bin_name = "kubectl adit", version, before_help = EXAMPLES, after_help = EXIT_CODES)]
#[command(disable_help_subcommand = true)]
pub struct Line {
    /// The namespace of Regions, Certificates and Complaints [default: the context's; for status, explain, certificates and complaints: all]
    #[arg(long, short, global = true, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// The context of kubectl's configuration
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// kubectl's configuration
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) kubeconfig: Option<String>,
    /// How it is printed [default: for people]
    #[arg(long, short, global = true, value_name = "FORMAT")]
    pub(super) output: Option<Format>,
    #[command(subcommand)]
    pub(super) action: Action,
}

/// How something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For programs.
    Json,
}

/// What is asked.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Action {
    /// Every region, and what is wrong with it
    Status,
    /// The tunnels of a region, as its relays have them now
    Tunnels {
        /// The Region [default: the only one of the namespace]
        #[arg(value_name = "REGION")]
        region: Option<String>,
    },
    /// Follow a public URL from DNS to the service behind it
    Explain {
        /// As a consumer opens it
        #[arg(value_name = "URL")]
        url: String,
    },
    /// Print a token, which a client exchanges for a credential of its own; it can be used once
    Token(Token),
    /// Certificates: how long they are valid, who serves them, and what is wrong
    Certificates,
    /// Ask for another certificate now
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
    /// Complaints: those that wait, the oldest first, then those in force
    Complaints {
        /// Also those that are over
        #[arg(long)]
        all: bool,
    },
    /// Take whom a complaint is about offline in every region
    Acknowledge {
        /// What is taken offline [default: as the complaint has it]
        #[arg(long, value_name = "SCOPE")]
        scope: Option<ScopeName>,
        /// When it ends by itself, like 2027-01-01T00:00:00Z [default: as the complaint has it]
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        #[command(flatten)]
        decide: Decide,
    },
    /// A complaint was not right: what it took offline may come back
    Dismiss(Decide),
    /// A complaint was right and is over: what it took offline may come back
    Lift(Decide),
}

/// What is taken offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ScopeName {
    /// All that the account publishes, in every region.
    Account,
    /// The host name or port alone.
    Hostname,
}

impl ScopeName {
    pub(super) fn scope(self) -> Scope {
        match self {
            Self::Account => Scope::Account,
            Self::Hostname => Scope::Hostname,
        }
    }
}

/// A decision about a Complaint.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(super) struct Decide {
    /// The Complaint
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// Why; it stays in the complaint's history
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    /// Who decides, for the history [default: as the API server knows you]
    #[arg(long, value_name = "NAME")]
    pub(super) by: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
    /// Only say what it would do, and have the API server check it
    #[arg(long)]
    pub(super) dry_run: bool,
    /// How long to wait for all relays when it is acknowledged
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub(super) timeout: String,
}

/// A token that is to be made.
#[derive(Clone, Debug, Args)]
pub(super) struct Token {
    /// The Region [default: the only one of the namespace]
    #[arg(value_name = "REGION")]
    pub(super) region: Option<String>,
    /// Whose token it is: what limits and complaints apply to
    #[arg(long, value_name = "NAME")]
    pub(super) account: String,
    /// How long the token can be used: 1s to 24h
    #[arg(long, value_name = "DURATION", default_value = "15m")]
    pub(super) ttl: String,
    /// The names that it allows, with * for any letters; commas between them [default: every name]
    #[arg(long, value_name = "PATTERNS")]
    pub(super) names: Option<String>,
    /// The kinds of tunnel that it allows: http, tcp; commas between them
    #[arg(long, value_name = "KINDS", default_value = "http")]
    pub(super) kinds: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Line::command().debug_assert();
        let line =
            Line::try_parse_from(["kubectl-adit", "token", "-n", "tunnels", "--account", "me"]).unwrap();
        assert_eq!(line.namespace.as_deref(), Some("tunnels"));
        assert!(Line::try_parse_from(["kubectl-adit", "token"]).is_err(), "whose?");
        assert!(Line::try_parse_from(["kubectl-adit", "lift", "cpl-1"]).is_err(), "why?");
        assert!(Line::try_parse_from(["kubectl-adit", "status", "-o", "yaml"]).is_err());
    }
}
