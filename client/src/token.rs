//! Where a client's token comes from.

use crate::problem::Problem;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{io::AsyncReadExt, process::Command, time::timeout};

/// The most bytes that a token may have.
const MAX_BYTES: usize = 16 * 1024;
/// How long the command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// The token as it is now.
    ///
    /// # Errors
    /// `token_file`, `token_command` or `token_malformed`.
    pub async fn read(&self) -> Result<String, Problem> {
        match self {
            Self::Text(token) => clean(token, || Problem::new("token_malformed")),
            Self::File(path) => {
                let failed = |why: &str| {
                    Problem::new("token_file").with("file", path.display().to_string()).with("message", why)
                };
                let text = read_start(path).await.map_err(|e| failed(&e.to_string()))?;
                let text = String::from_utf8(text).map_err(|_| failed("it is not text"))?;
                clean(&text, || failed("it is empty or too large to be a token"))
            }
            Self::Command(command) => {
                let failed = |why: &str| Problem::new("token_command").with("message", why);
                let text = run(command).await.map_err(|why| failed(&why))?;
                clean(&text, || failed("it printed nothing, or too much to be a token"))
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

fn clean(text: &str, otherwise: impl Fn() -> Problem) -> Result<String, Problem> {
    let token = text.trim();
    if token.is_empty() || token.len() > MAX_BYTES || token.contains(char::is_whitespace) {
        return Err(otherwise());
    }
    Ok(token.to_owned())
}

/// Runs the command and answers with what it printed; what it says on stderr stays the user's to see.
async fn run(command: &str) -> Result<String, String> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| e.to_string())?;
    let mut printed = vec![];
    let mut stdout = child.stdout.take().expect("it is piped").take(MAX_BYTES as u64 + 1024);
    let status = timeout(COMMAND_TIMEOUT, async {
        stdout.read_to_end(&mut printed).await?;
        // A command that goes on printing learns that no one reads it.
        drop(stdout);
        child.wait().await
    });
    match status.await {
        Err(_) => Err(format!("it took longer than {} s", COMMAND_TIMEOUT.as_secs())),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(status)) if !status.success() => Err(format!("it ended with {status}")),
        Ok(Ok(_)) => String::from_utf8(printed).map_err(|_| "it printed something that is not text".into()),
    }
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

    #[test]
    fn no_token_is_shown() {
        for source in [TokenSource::Text("secret".into()), TokenSource::Command("echo secret".into())] {
            assert!(!format!("{source:?}").contains("secret"));
        }
    }
}
