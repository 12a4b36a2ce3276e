//! Waiting for an object to reach a state.

use super::command_error::CommandError;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Interval between reads of an object that is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Reads an object until `is_done` holds for it or the time is over. Returns the object as it was last read.
pub(super) async fn wait_until<T>(
    timeout: Duration,
    mut read: impl AsyncFnMut() -> Result<T, CommandError>,
    is_done: impl Fn(&T) -> bool,
) -> Result<T, CommandError> {
    let deadline = Instant::now() + timeout;
    loop {
        let object = read().await?;
        if is_done(&object) || Instant::now() >= deadline {
            return Ok(object);
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Parses the value of `--timeout`, for example `30s` or `5m`.
pub(super) fn parse_timeout(text: &str) -> Result<Duration, CommandError> {
    let (count, unit) = text.split_at(text.trim_end_matches(['s', 'm']).len());
    match (count.parse::<u16>(), unit) {
        (Ok(count), "s") => Ok(Duration::from_secs(count.into())),
        (Ok(count), "m") => Ok(Duration::from_secs(u64::from(count) * 60)),
        _ => {
            let what = format!("--timeout: {text:?} is not a duration");
            Err(CommandError::usage("usage", what, "write it like 30s or 5m"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_has_a_unit() {
        assert_eq!(parse_timeout("5m"), Ok(Duration::from_secs(300)));
        for bad in ["", "30", "s", "-1s", "30é"] {
            let error = parse_timeout(bad).unwrap_err();
            assert!(error.what.starts_with("--timeout"), "{bad}");
        }
    }

    #[tokio::test]
    async fn the_last_state_is_returned_when_the_time_is_over() {
        let read = async || Ok(1);
        assert_eq!(wait_until(Duration::ZERO, read, |count| *count == 9).await, Ok(1));
    }
}
