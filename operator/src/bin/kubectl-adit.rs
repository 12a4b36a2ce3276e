//! The plugin `kubectl adit`.

use clap::Parser;

fn main() -> std::process::ExitCode {
    adit_operator::plugin::run(&adit_operator::plugin::CommandLine::parse())
}
