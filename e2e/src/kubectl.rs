//! kubectl and helm, as a person calls them.

use serde_json::Value;
use std::{process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt, process::Command, time::Instant};

/// The longest that anything in the cluster is waited for.
pub const LONG: Duration = Duration::from_secs(180);
/// How often the cluster is asked while something is waited for.
const PAUSE: Duration = Duration::from_millis(200);

/// Runs a program in the clone, with `input` to read, and answers with what it printed.
///
/// # Errors
/// It ended with another code than 0: what it said.
pub async fn run(program: &str, words: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    command.current_dir(crate::root()).args(words).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    // Whoever reads nothing of it closes it, which is no mistake.
    tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
    let output = child.wait_with_output().await.expect("a child can be waited for");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!(
            "{program} {}: {}\n{}{}",
            words.join(" "),
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        ))
    }
}

/// kubectl. Panics with what it says when it fails.
pub async fn kubectl(words: &[&str]) -> String {
    run("kubectl", words, "").await.unwrap_or_else(|error| panic!("{error}"))
}

/// helm. Panics with what it says when it fails.
pub async fn helm(words: &[&str]) -> String {
    run("helm", words, "").await.unwrap_or_else(|error| panic!("{error}"))
}

/// `kubectl get WORDS -o json`; nothing when there is no such object.
pub async fn get(words: &[&str]) -> Option<Value> {
    let words = [&["get", "--ignore-not-found", "-o", "json"], words].concat();
    let text = kubectl(&words).await;
    (!text.trim().is_empty()).then(|| serde_json::from_str(&text).expect("kubectl prints JSON"))
}

/// Applies objects. Panics with what the API server says when it refuses one.
pub async fn apply(objects: &Value) {
    run("kubectl", &["apply", "-f", "-"], &objects.to_string())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Waits until `state` answers with something, and answers with that.
///
/// Panics with `what` after three minutes.
pub async fn until<T>(what: &str, mut state: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + LONG;
    loop {
        if let Some(found) = state().await {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
