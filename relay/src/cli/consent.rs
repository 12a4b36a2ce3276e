//! The flags `--yes` and `--dry-run`.

use super::Consent;
use clap::Args;

#[derive(Args)]
pub(super) struct ConsentArgs {
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    /// Say what would be done, and do nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

impl From<ConsentArgs> for Consent {
    fn from(sure: ConsentArgs) -> Self {
        match sure {
            ConsentArgs { dry_run: true, .. } => Self::DryRun,
            ConsentArgs { yes: true, .. } => Self::Given,
            ConsentArgs { .. } => Self::Ask,
        }
    }
}
