//! How long a connection may be silent before its other end counts as gone: a pure function of answers and traffic.
//!
//! An end that is gone should be noticed soon, and a slow line should not be taken for one. On a slow line TCP sends a lost
//! segment again after about one round trip, and after twice as long with each further loss (RFC 6298 section 5.5); what
//! arrives meanwhile stays unseen behind the gap. So the limit is a multiple of the last round trips, as long as the line
//! is under the load under which they were measured.

use std::time::Duration;

/// The limit on a line whose answers are prompt.
const MIN_SILENCE: Duration = Duration::from_secs(5);
/// The limit on a slower line, in round trips.
const ROUND_TRIPS: u32 = 20;
/// The greatest limit, and that under a new load, whose first bytes may be the lost ones.
const MAX_SILENCE: Duration = Duration::from_secs(30);
/// How long a pong may take while bytes move.
const MAX_PONG_DELAY: Duration = Duration::from_secs(60);
/// Pings and their answers move up to this many bytes: no load.
const IDLE_BYTES: u64 = 100;

/// Recent round trips and load of a connection.
#[derive(Debug)]
pub(super) struct LineEstimate {
    min_silence: Duration,
    max_silence: Duration,
    max_pong_delay: Duration,
    /// The recent round-trip time.
    round_trip: Duration,
    /// The recent number of bytes between two pongs.
    load: u64,
    /// The bytes of the connection at the last pong.
    bytes: Option<u64>,
}

impl Default for LineEstimate {
    fn default() -> Self {
        Self::new(MIN_SILENCE, MAX_SILENCE, MAX_PONG_DELAY)
    }
}

impl LineEstimate {
    pub(super) fn new(min_silence: Duration, max_silence: Duration, max_pong_delay: Duration) -> Self {
        Self { min_silence, max_silence, max_pong_delay, round_trip: Duration::ZERO, load: 0, bytes: None }
    }

    /// For a connection between relays: the limit is the shortest under any load.
    pub(super) fn between_relays() -> Self {
        Self::new(MIN_SILENCE, MIN_SILENCE, MAX_PONG_DELAY)
    }

    /// Records a pong: its round-trip time, and the bytes of the connection until then. Greater values of the past count half as
    /// much with each pong.
    pub(super) fn record_pong(&mut self, took: Duration, bytes: u64) {
        self.round_trip = took.max(self.round_trip / 2);
        self.load = self.bytes_since_pong(bytes).max(self.load / 2);
        self.bytes = Some(bytes);
    }

    /// The bytes since the last pong. Those before the first one belong to the connection's start and do not count.
    fn bytes_since_pong(&self, bytes: u64) -> u64 {
        self.bytes.map_or(0, |before| bytes - before)
    }

    /// How long the connection may be silent while a pong is due that is late by at least `late`. `bytes` are those of the
    /// connection until now.
    pub(super) fn max_silence(&self, late: Duration, bytes: u64) -> Duration {
        let is_new_load = self.bytes_since_pong(bytes) > IDLE_BYTES + 2 * self.load;
        let expected = if is_new_load {
            self.max_silence
        } else {
            self.round_trip.max(late).saturating_mul(ROUND_TRIPS)
        };
        expected.clamp(self.min_silence, self.max_silence)
    }

    /// How long a pong may take while bytes move.
    pub(super) fn max_pong_delay(&self) -> Duration {
        self.max_pong_delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ping and its answer, of both sides.
    const IDLE: u64 = 4 * 17;

    /// The limit in seconds after these round trips in ms, with this many bytes between every two pongs.
    fn limit(answers: &[u64], between: u64, late: u64, since: u64) -> u64 {
        let (mut line, mut bytes) = (LineEstimate::default(), 500);
        for took in answers {
            line.record_pong(Duration::from_millis(*took), bytes);
            bytes += between;
        }
        let before = line.bytes.unwrap_or(bytes);
        line.max_silence(Duration::from_millis(late), before + since).as_secs()
    }

    #[test]
    fn an_end_of_a_prompt_line_is_gone_after_5_s() {
        assert_eq!([0, 1, 100, 250].map(|took| limit(&[took], IDLE, 0, IDLE)), [5; 4]);
        assert_eq!(limit(&[], 0, 0, IDLE), 5);
        assert_eq!(limit(&[1; 9], 1_000_000, 0, 1_500_000), 5);
    }

    #[test]
    fn a_line_between_relays_is_never_slow() {
        let mut line = LineEstimate::between_relays();
        line.record_pong(Duration::from_secs(4), 500);
        assert_eq!(line.max_silence(Duration::from_secs(9), 1_000_000), MIN_SILENCE);
    }

    #[test]
    fn a_slow_line_may_be_silent_for_longer() {
        assert_eq!([500, 600, 900].map(|took| limit(&[took], IDLE, 0, IDLE)), [10, 12, 18]);
        assert_eq!([1_500, 60_000].map(|took| limit(&[took], IDLE, 0, IDLE)), [30; 2]);
        assert_eq!([500, 5_000].map(|late| limit(&[1], IDLE, late, IDLE)), [10, 30]);
    }

    #[test]
    fn one_prompt_answer_makes_no_slow_line_prompt() {
        assert_eq!(limit(&[4_000, 1], IDLE, 0, IDLE), 30);
        assert_eq!(limit(&[4_000, 1, 1, 1, 1], IDLE, 0, IDLE), 5);
    }

    #[test]
    fn earlier_answers_say_nothing_of_a_new_load() {
        assert_eq!(limit(&[1; 9], IDLE, 0, 500), 30);
        assert_eq!(limit(&[1; 9], IDLE, 0, 60_000), 30);
        assert_eq!(limit(&[1; 9], 1_000_000, 0, 5_000_000), 30);
    }
}
