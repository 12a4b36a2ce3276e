//! kubectl and helm, as a person calls them.

use serde_json::Value;
use std::{process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt, process::Command, time::Instant};

/// Maximum time to wait for a state of the cluster.
pub const MAX_WAIT: Duration = Duration::from_secs(180);
/// Interval between checks while a state is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Runs a program in the repository's root with `input` on stdin. Returns its stdout.
///
/// # Errors
/// The exit code is not 0: the program's output.
pub async fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    command.current_dir(crate::root()).args(arguments).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    // A program that reads no input closes the pipe, which is not an error.
    tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
    let output = child.wait_with_output().await.expect("a child can be waited for");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!(
            "{program} {}: {}\n{}{}",
            arguments.join(" "),
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        ))
    }
}

/// Runs kubectl. Panics with its output if it fails.
pub async fn kubectl(arguments: &[&str]) -> String {
    run("kubectl", arguments, "").await.unwrap_or_else(|error| panic!("{error}"))
}

/// Runs helm. Panics with its output if it fails.
pub async fn helm(arguments: &[&str]) -> String {
    run("helm", arguments, "").await.unwrap_or_else(|error| panic!("{error}"))
}

/// `kubectl get WORDS -o json`; `None` if there is no such object.
pub async fn get(arguments: &[&str]) -> Option<Value> {
    let arguments = [&["get", "--ignore-not-found", "-o", "json"], arguments].concat();
    let text = kubectl(&arguments).await;
    (!text.trim().is_empty()).then(|| serde_json::from_str(&text).expect("kubectl prints JSON"))
}

/// Applies objects. Panics if the API server refuses one.
pub async fn apply(objects: &Value) {
    run("kubectl", &["apply", "-f", "-"], &objects.to_string())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Waits until `state` returns a value, and returns it. Panics with `what` after three minutes.
pub async fn until<T>(what: &str, mut state: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + MAX_WAIT;
    loop {
        if let Some(found) = state().await {
            return found;
        }
        assert!(Instant::now() < end, "timed out: {what}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
