//! `kubectl adit`: what a person asks a provider on Kubernetes.
//!
//! The plugin reads the kubeconfig as kubectl does and has the rights of the person who runs it. It asks relays by `exec` in
//! their pods (decision 0017): nothing of that passes the operator.

mod certificates;
mod cluster;
mod command_error;
mod command_line;
mod complaints;
mod completions;
mod consumer;
mod decide;
mod explain;
mod level;
mod output;
mod relays;
mod status;
mod token;
mod tunnels;
mod wait;

pub use command_line::CommandLine;

use adit_api::complaint::Decision;
use cluster::Cluster;
use command_error::{CommandError, PROBLEM_EXIT_CODE};
use command_line::{Command, Format};
use decide::AcknowledgeOptions;
use output::Output;
use std::process::ExitCode;

/// Runs one command and prints its output. Returns the exit code of the program.
pub fn run(line: &CommandLine) -> ExitCode {
    // Fails only if a provider is installed already, which will do as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result =
        runtime.map_err(CommandError::no_runtime).and_then(|runtime| runtime.block_on(execute(line)));
    match result {
        Ok(output) => {
            print!("{}", output.text);
            ExitCode::from(if output.is_problem { PROBLEM_EXIT_CODE } else { 0 })
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.exit_code)
        }
    }
}

async fn execute(line: &CommandLine) -> Result<Output, CommandError> {
    match &line.command {
        Command::Completions => return Ok(Output::new(completions::SCRIPT)),
        Command::Complete { words } => return Ok(Output::new(completions::complete(words))),
        _ => {}
    }
    let cluster = Cluster::connect(line).await?;
    let json = line.output == Some(Format::Json);
    match &line.command {
        Command::Status => status::status(&cluster, json).await,
        Command::Tunnels { region } => tunnels::tunnels(&cluster, region.as_deref(), json).await,
        Command::Explain { url } => explain::explain(&cluster, url, json).await,
        Command::Token(options) => token::token(&cluster, options).await,
        Command::Certificates => certificates::certificates(&cluster, json).await,
        Command::Renew { name, wait, timeout } => {
            certificates::renew(&cluster, name, wait.then_some(timeout.as_str()), json).await
        }
        Command::Complaints { all } => complaints::complaints(&cluster, *all, json).await,
        Command::Acknowledge { scope, until, decision } => {
            let options = AcknowledgeOptions { scope: *scope, until: until.as_deref() };
            decide::decide(&cluster, Decision::Acknowledged, decision, options, json).await
        }
        Command::Dismiss(decision) => {
            decide::decide(&cluster, Decision::Dismissed, decision, AcknowledgeOptions::default(), json).await
        }
        Command::Lift(decision) => {
            decide::decide(&cluster, Decision::Lifted, decision, AcknowledgeOptions::default(), json).await
        }
        Command::Completions | Command::Complete { .. } => Ok(Output::new("")),
    }
}
