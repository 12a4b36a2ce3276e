//! How long a line may be silent before its other end counts as gone: a pure account of answers and traffic.
//!
//! An end that has gone should be noticed soon, and a slow line should not be taken for one. On a slow line TCP sends a
//! lost segment again after about one round trip, and twice as long after that whenever it is lost once more (RFC 6298
//! section 5.5); all that comes meanwhile stays unseen behind the gap. So patience is a multiple of what answers take, as
//! long as the line is under the load under which they took that.

use std::time::Duration;

/// How long nothing may move on a line whose answers are prompt.
const PROMPT: Duration = Duration::from_secs(5);
/// The same where answers take long, in such times.
const TIMES: u32 = 20;
/// The most of it, and how long nothing may move under a load that is new: its first bytes may be the ones that are lost.
const SLOW: Duration = Duration::from_secs(30);
/// How long an answer may be late, whatever moves.
const MOST: Duration = Duration::from_secs(60);
/// So many bytes are no load: pings and their answers.
const NO_LOAD: u64 = 100;

/// What is known of a line.
#[derive(Debug)]
pub(super) struct Line {
    prompt: Duration,
    slow: Duration,
    most: Duration,
    /// What answers take, lately.
    answer: Duration,
    /// How many bytes move between two answers, lately.
    load: u64,
    /// How many bytes had moved at the last answer.
    bytes: Option<u64>,
}

impl Default for Line {
    fn default() -> Self {
        Self::new(PROMPT, SLOW, MOST)
    }
}

impl Line {
    pub(super) fn new(prompt: Duration, slow: Duration, most: Duration) -> Self {
        Self { prompt, slow, most, answer: Duration::ZERO, load: 0, bytes: None }
    }

    /// Between machines side by side: no line is to be waited for.
    pub(super) fn near() -> Self {
        Self::new(PROMPT, PROMPT, MOST)
    }

    /// An answer took so long, and so many bytes had moved until then in all. What was longer and more before counts
    /// half as much with each answer.
    pub(super) fn answered(&mut self, took: Duration, bytes: u64) {
        self.answer = took.max(self.answer / 2);
        self.load = self.since(bytes).max(self.load / 2);
        self.bytes = Some(bytes);
    }

    /// How many bytes have moved since the last answer. What moved before the first one was the connection's beginning.
    fn since(&self, bytes: u64) -> u64 {
        self.bytes.map_or(0, |before| bytes - before)
    }

    /// How long nothing may move while an answer is due that is `late` for sure by now. Until now so many bytes have moved in
    /// all.
    pub(super) fn patience(&self, late: Duration, bytes: u64) -> Duration {
        let is_new_load = self.since(bytes) > NO_LOAD + 2 * self.load;
        let expected = if is_new_load { self.slow } else { self.answer.max(late).saturating_mul(TIMES) };
        expected.clamp(self.prompt, self.slow)
    }

    /// How long an answer may be late, whatever moves.
    pub(super) fn most(&self) -> Duration {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ping and its answer, of both sides.
    const IDLE: u64 = 4 * 17;

    /// Seconds of patience with a line that has had these answers, in ms, with so many bytes between every two of them.
    fn patience(answers: &[u64], between: u64, late: u64, since: u64) -> u64 {
        let (mut line, mut bytes) = (Line::default(), 500);
        for took in answers {
            line.answered(Duration::from_millis(*took), bytes);
            bytes += between;
        }
        let before = line.bytes.unwrap_or(bytes);
        line.patience(Duration::from_millis(late), before + since).as_secs()
    }

    #[test]
    fn an_end_of_a_prompt_line_is_gone_after_5_s() {
        assert_eq!([0, 1, 100, 250].map(|took| patience(&[took], IDLE, 0, IDLE)), [5; 4]);
        assert_eq!(patience(&[], 0, 0, IDLE), 5);
        assert_eq!(patience(&[1; 9], 1_000_000, 0, 1_500_000), 5);
    }

    #[test]
    fn a_line_between_neighbours_is_never_slow() {
        let mut line = Line::near();
        line.answered(Duration::from_secs(4), 500);
        assert_eq!(line.patience(Duration::from_secs(9), 1_000_000), PROMPT);
    }

    #[test]
    fn where_answers_take_long_silence_may_too() {
        assert_eq!([500, 600, 900].map(|took| patience(&[took], IDLE, 0, IDLE)), [10, 12, 18]);
        assert_eq!([1_500, 60_000].map(|took| patience(&[took], IDLE, 0, IDLE)), [30; 2]);
        assert_eq!([500, 5_000].map(|late| patience(&[1], IDLE, late, IDLE)), [10, 30]);
    }

    #[test]
    fn one_prompt_answer_does_not_make_a_slow_line_a_prompt_one() {
        assert_eq!(patience(&[4_000, 1], IDLE, 0, IDLE), 30);
        assert_eq!(patience(&[4_000, 1, 1, 1, 1], IDLE, 0, IDLE), 5);
    }

    #[test]
    fn of_a_load_that_is_new_no_answer_says_anything() {
        assert_eq!(patience(&[1; 9], IDLE, 0, 500), 30);
        assert_eq!(patience(&[1; 9], IDLE, 0, 60_000), 30);
        assert_eq!(patience(&[1; 9], 1_000_000, 0, 5_000_000), 30);
    }
}
