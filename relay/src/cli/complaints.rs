//! `adit-relay admin complaints` as clap reads it.

use super::consent::ConsentArgs;
use crate::{
    cli::admin::complaints::ComplaintRequest,
    ops::admin::complaints::{NewComplaint, NewDecision},
};
use adit_store::{Decision, Scope};
use clap::{Args, Subcommand, ValueEnum};

#[derive(Subcommand)]
pub(super) enum Complaints {
    /// All complaints
    List,
    /// One complaint with its evidence and history
    Show {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// File a complaint, and print its id
    File(FileArgs),
    /// It is right: take the account offline, and keep it out
    Acknowledge(AcknowledgeArgs),
    /// It is not right; what it took offline comes back
    Dismiss(DecisionArgs),
    /// It was right and is over
    Lift(DecisionArgs),
}

#[derive(Args)]
#[group(id = "against", required = true, multiple = false, args = ["url", "hostname", "account"])]
pub(super) struct FileArgs {
    /// The URL of a tunnel, as it was reported, of whatever path
    #[arg(long)]
    url: Option<String>,
    /// A tunnel's hostname
    #[arg(long)]
    hostname: Option<String>,
    /// An account: issuer|subject; adit|NAME for the provider's own tokens
    #[arg(long)]
    account: Option<String>,
    /// Phishing, Malware, Spam, Copyright, Illegal or Other
    #[arg(long)]
    category: String,
    /// What happened
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
    /// Who complains
    #[arg(long, default_value = "", hide_default_value = true)]
    reporter: String,
    /// A link to what proves it; may be given 20 times
    #[arg(long, value_name = "URL")]
    evidence: Vec<String>,
    #[command(flatten)]
    who: AuthorArgs,
}

#[derive(Args)]
pub(super) struct AuthorArgs {
    /// Who says so, for the history [default: the user]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl AuthorArgs {
    fn name(self) -> String {
        self.by.or_else(|| std::env::var("USER").ok()).unwrap_or_default()
    }
}

#[derive(Args)]
pub(super) struct DecisionArgs {
    /// The complaint's id
    #[arg(value_name = "ID")]
    id: String,
    /// Why it is decided so, for the history
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    who: AuthorArgs,
    #[command(flatten)]
    sure: ConsentArgs,
}

#[derive(Args)]
pub(super) struct AcknowledgeArgs {
    #[command(flatten)]
    decide: DecisionArgs,
    /// What is taken offline
    #[arg(long, value_enum, default_value_t = ScopeArg::Account)]
    scope: ScopeArg,
    /// When it ends by itself, as in 2027-01-01T00:00:00Z [default: never]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ScopeArg {
    /// All that the account publishes
    Account,
    /// The hostname alone
    Hostname,
}

impl From<Complaints> for ComplaintRequest {
    fn from(complaints: Complaints) -> Self {
        match complaints {
            Complaints::List => Self::List,
            Complaints::Show { id } => Self::Show(id),
            Complaints::File(file) => Self::File(NewComplaint {
                url: file.url,
                hostname: file.hostname,
                account: file.account,
                category: file.category,
                description: file.description,
                reporter: file.reporter,
                evidence: file.evidence,
                by: file.who.name(),
            }),
            Complaints::Acknowledge(AcknowledgeArgs { decide, scope, until }) => {
                let scope = match scope {
                    ScopeArg::Account => Scope::Account,
                    ScopeArg::Hostname => Scope::Hostname,
                };
                decide.request(Decision::Acknowledged, scope, until)
            }
            Complaints::Dismiss(decide) => decide.request(Decision::Dismissed, Scope::Account, None),
            Complaints::Lift(decide) => decide.request(Decision::Lifted, Scope::Account, None),
        }
    }
}

impl DecisionArgs {
    fn request(self, decision: Decision, scope: Scope, until: Option<String>) -> ComplaintRequest {
        let new = NewDecision { decision, scope, until, by: self.who.name(), why: self.reason };
        ComplaintRequest::Decide(self.id, new, self.sure.into())
    }
}
