//! Where a client's token comes from.

use crate::{event::Time, problem::Problem};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{io::AsyncReadExt, process::Command, time::timeout};

/// The most bytes that a token may have.
const MAX_BYTES: usize = 16 * 1024;
/// How long the command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the rest of its stderr may take once it has ended.
const STDERR_TIMEOUT: Duration = Duration::from_millis(200);
/// How much of its stderr is kept for its last line.
const MAX_STDERR_BYTES: usize = 400;
/// The most characters of a claim that a message shows.
const MAX_CLAIM_CHARS: usize = 200;

/// Where a client's token comes from. Its text is never shown.
#[derive(Clone)]
pub enum TokenSource {
    /// The token itself.
    Text(String),
    /// A file that is read again each time a token is needed.
    File(PathBuf),
    /// A command of the system's shell that prints a token; run each time one is needed.
    Command(String),
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(***)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Command(_) => f.write_str("Command(***)"),
        }
    }
}

impl TokenSource {
    /// Reads the token.
    ///
    /// # Errors
    /// `token_file`, `token_command` or `token_malformed`.
    pub async fn read(&self) -> Result<String, Problem> {
        match self {
            Self::Text(token) => {
                clean(token).map_err(|why| Problem::new("token_malformed").with("message", why))
            }
            Self::File(path) => {
                let failed = |why: &str| {
                    Problem::new("token_file").with("file", path.display().to_string()).with("message", why)
                };
                let text = read_start(path).await.map_err(|e| failed(&e.to_string()))?;
                let text = String::from_utf8(text).map_err(|_| failed("it is not text"))?;
                clean(&text).map_err(failed)
            }
            Self::Command(command) => {
                let printed = run(command).await?;
                clean(&printed).map_err(|why| {
                    Problem::new("token_command")
                        .with("message", format!("what it printed is no token: {why}"))
                })
            }
        }
    }
}

/// Reads no more than shows that a file is too large: it may be one without an end.
async fn read_start(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = vec![];
    let file = tokio::fs::File::open(path).await?;
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut text).await?;
    Ok(text)
}

/// The token without spaces around it, or why it cannot be one.
fn clean(text: &str) -> Result<String, &'static str> {
    let token = text.trim();
    match token {
        "" => Err("it is empty"),
        _ if token.len() > MAX_BYTES => Err("it is larger than 16 KiB"),
        _ if token.contains(['\n', '\r']) => Err("it has a line break inside: a token is one line"),
        _ if token.contains(char::is_whitespace) => Err("it has a space inside"),
        _ => Ok(token.to_owned()),
    }
}

/// A token's claims as facts for a [`Problem`]: `issuer`, `audience`, `expired` and `notBefore`. They are not verified;
/// missing ones are left out.
pub(crate) fn claims(token: &str) -> Vec<(&'static str, String)> {
    let decoded = token.split('.').nth(1).and_then(|claims| BASE64_URL_SAFE_NO_PAD.decode(claims).ok());
    let Some(claims) = decoded.and_then(|json| serde_json::from_slice::<serde_json::Value>(&json).ok())
    else {
        return vec![];
    };
    let text = |name: &str| claims[name].as_str().map(str::to_owned);
    let audience = || {
        let list = claims["aud"].as_array()?;
        Some(list.iter().filter_map(|value| value.as_str()).collect::<Vec<_>>().join(", "))
    };
    let time = |name: &str| {
        let seconds = claims[name].as_u64()?;
        Some(
            Time::from_unix_ms(seconds.saturating_mul(1000))
                .to_seconds()
                .trim_end_matches('Z')
                .replace('T', " "),
        )
    };
    let facts = [
        ("issuer", text("iss")),
        ("audience", text("aud").or_else(audience)),
        ("expired", time("exp")),
        ("notBefore", time("nbf")),
    ];
    let short = |value: String| value.chars().take(MAX_CLAIM_CHARS).collect();
    facts.into_iter().filter_map(|(fact, value)| Some((fact, short(value?)))).collect()
}

/// Runs the command and returns what it printed. Its stderr is passed on, so that it can ask the user to log in.
async fn run(command: &str) -> Result<String, Problem> {
    let failed = |why: String| Problem::new("token_command").with("message", why);
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let mut printed = vec![];
    let mut stdout = child.stdout.take().expect("it is piped").take(MAX_BYTES as u64 + 1024);
    let stderr = tokio::spawn(pass_on(child.stderr.take().expect("it is piped")));
    let status = timeout(COMMAND_TIMEOUT, async {
        stdout.read_to_end(&mut printed).await?;
        // A command that goes on printing gets EPIPE.
        drop(stdout);
        child.wait().await
    });
    match status.await {
        Err(_) => Err(failed(format!("it took longer than {} s", COMMAND_TIMEOUT.as_secs()))),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Ok(Ok(status)) if !status.success() => {
            // A child of the command may hold its stderr open.
            let last_line =
                timeout(STDERR_TIMEOUT, stderr).await.ok().and_then(Result::ok).unwrap_or_default();
            let why = status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}"));
            Err(failed(format!("it ended with {why}"))
                .with("exitCode", status.code())
                .with("lastLine", last_line))
        }
        Ok(Ok(_)) => {
            String::from_utf8(printed).map_err(|_| failed("it printed something that is not text".into()))
        }
    }
}

/// Copies a command's stderr to this process's, and returns its last line.
async fn pass_on(mut stderr: tokio::process::ChildStderr) -> String {
    let (mut last, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        let _ = std::io::stderr().write_all(&buffer[..count]);
        last.extend_from_slice(&buffer[..count]);
        last.drain(..last.len().saturating_sub(MAX_STDERR_BYTES));
    }
    let text = String::from_utf8_lossy(&last);
    text.trim_end().lines().next_back().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn code(source: TokenSource) -> Result<String, String> {
        source.read().await.map_err(|p| p.code)
    }

    #[tokio::test]
    async fn a_file_is_read_anew_each_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = TokenSource::File(file.path().into());
        assert_eq!(code(source.clone()).await, Err("token_file".into()));
        std::fs::write(file.path(), "a.b.c\n").unwrap();
        assert_eq!(code(source.clone()).await, Ok("a.b.c".into()));
        std::fs::write(file.path(), "d.e.f\r\n").unwrap();
        assert_eq!(code(source).await, Ok("d.e.f".into()));
    }

    #[tokio::test]
    async fn a_command_prints_the_token_or_fails_with_a_reason() {
        assert_eq!(code(TokenSource::Command("echo a.b.c".into())).await, Ok("a.b.c".into()));
        for bad in ["exit 3", "true", "head -c 100000 /dev/zero | tr '\\0' x", "echo two words"] {
            assert_eq!(code(TokenSource::Command(bad.into())).await, Err("token_command".into()), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_failed_command_is_told_with_its_code_and_last_words() {
        let command = "echo one >&2; echo 'not logged in' >&2; exit 3";
        let problem = TokenSource::Command(command.into()).read().await.unwrap_err();
        assert_eq!(problem.why.as_deref(), Some("it ended with exit code 3: not logged in"));
        let silent = TokenSource::Command("exit 4".into()).read().await.unwrap_err();
        assert_eq!(silent.why.as_deref(), Some("it ended with exit code 4"));
    }

    #[tokio::test]
    async fn a_token_in_two_lines_is_told_from_one_that_is_too_large() {
        for (text, why) in [
            ("a.b\n.c", "it has a line break inside: a token is one line"),
            ("a.b .c", "it has a space inside"),
            (" \n", "it is empty"),
            (&"x".repeat(MAX_BYTES + 1), "it is larger than 16 KiB"),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let problem = TokenSource::File(file.path().into()).read().await.unwrap_err();
            assert_eq!((problem.code.as_str(), problem.why.as_deref()), ("token_file", Some(why)));
            let problem = TokenSource::Text(text.to_owned()).read().await.unwrap_err();
            assert_eq!(problem.why.as_deref(), Some(why));
        }
    }

    #[test]
    fn a_token_says_whose_it_is_and_until_when() {
        let token = |claims: &str| format!("e30.{}.sig", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let facts =
            claims(&token(r#"{"iss":"https://id.example","aud":["a","b"],"exp":1795257667,"sub":"me"}"#));
        let expected =
            [("issuer", "https://id.example"), ("audience", "a, b"), ("expired", "2026-11-21 10:41:07")];
        assert_eq!(facts, expected.map(|(fact, value)| (fact, value.to_owned())));
        for bad in ["", "a.b.c", "e30", &token("[1]"), &token(r#"{"exp":-1,"aud":7}"#)] {
            assert!(claims(bad).iter().all(|(_, value)| value.is_empty()), "{bad}");
        }
    }

    #[test]
    fn no_token_is_shown() {
        for source in [TokenSource::Text("secret".into()), TokenSource::Command("echo secret".into())] {
            assert!(!format!("{source:?}").contains("secret"));
        }
    }
}
