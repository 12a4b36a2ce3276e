//! Request ids: short enough to read out, and sorted by time.

use http::HeaderValue;
use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// 2026-01-01T00:00:00Z in microseconds since 1970.
const EPOCH_US: u64 = 1_767_225_600_000_000;
/// Crockford's base 32: no I, L, O and U, so that nothing is misread.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// One request of one consumer. As text: 12 characters, of which the first 10 are the microsecond in which it arrived,
/// since 2026 (they last until 2061), and the last 2 the slot that counted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(u64);

impl RequestId {
    /// The number of characters.
    pub const LEN: usize = 12;

    /// The characters.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut text = [0; Self::LEN];
        for (i, byte) in text.iter_mut().rev().enumerate() {
            *byte = DIGITS[(self.0 >> (5 * i)) as usize & 31];
        }
        text
    }

    /// As the value of `adit-request-id`.
    ///
    /// It is marked as never to be indexed (RFC 7541 section 7.1.3): a value that never comes again would push those that
    /// do out of HPACK's table.
    pub fn to_value(self) -> HeaderValue {
        let mut value = HeaderValue::from_bytes(&self.to_bytes()).expect("only letters and digits");
        value.set_sensitive(true);
        value
    }

    /// Reads an id that another relay wrote.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != Self::LEN {
            return None;
        }
        let digit = |value: u64, byte: &u8| Some(value << 5 | DIGITS.iter().position(|d| d == byte)? as u64);
        text.iter().try_fold(0, digit).map(Self)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_bytes()).expect("only letters and digits"))
    }
}

/// Gives out request ids: one for each lane, so that no two lanes wait for each other.
#[derive(Debug)]
pub struct RequestIds {
    slot: u64,
    last: AtomicU64,
}

impl RequestIds {
    /// `relay` is a number that each process chooses at random, the same for all its lanes; lanes count from 0.
    /// Ids are unique in a relay of up to 1,024 lanes, and in a region but for a chance of one in a thousand that two
    /// relays share a slot and then a microsecond.
    pub fn new(relay: u16, lane: u16) -> Self {
        Self { slot: u64::from(relay.wrapping_add(lane)) % 1024, last: AtomicU64::new(0) }
    }

    /// The id of a request that arrived at `now_us`, microseconds since 1970. Each is greater than the one before,
    /// also when the clock is put back.
    pub fn next(&self, now_us: u64) -> RequestId {
        let now = now_us.saturating_sub(EPOCH_US) & ((1 << 50) - 1);
        let step = |last: u64| Some(now.max(last + 1));
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        let micros = step(last.expect("step always answers")).expect("step always answers");
        RequestId(micros << 10 | self.slot)
    }
}

/// Microseconds since 1970, as [`RequestIds::next`] and the access log take them.
pub fn now_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_as_requests_came_also_when_the_clock_is_put_back() {
        let ids = RequestIds::new(1000, 30);
        let times = [5, 5, 6, 1, 1_000, 7].map(|t| EPOCH_US + 31_536_000_000_000 + t);
        let made: Vec<RequestId> = times.iter().map(|t| ids.next(*t)).collect();
        let text: Vec<String> = made.iter().map(RequestId::to_string).collect();
        assert!(made.is_sorted_by(|a, b| a < b) && text.is_sorted_by(|a, b| a < b), "{text:?}");
        assert!(text.iter().all(|t| t.len() == RequestId::LEN), "{text:?}");
        assert_eq!(RequestId::parse(text[0].as_bytes()), Some(made[0]));
        assert_eq!(RequestId::parse(b"01JD9W7K3O00"), None);
        assert_eq!(RequestId::parse(b"01"), None);
    }

    #[test]
    fn lanes_share_no_id() {
        let (a, b) = (RequestIds::new(u16::MAX, 0), RequestIds::new(u16::MAX, 1));
        assert_ne!(a.next(EPOCH_US + 1), b.next(EPOCH_US + 1));
    }

    #[test]
    fn threads_share_no_id() {
        let ids = RequestIds::new(0, 0);
        let take = || (0..1000).map(|_| ids.next(EPOCH_US)).collect::<Vec<_>>();
        let (mut a, b) = std::thread::scope(|s| {
            let (a, b) = (s.spawn(take), s.spawn(take));
            (a.join().unwrap(), b.join().unwrap())
        });
        a.extend(b);
        a.sort();
        a.dedup();
        assert_eq!(a.len(), 2000);
    }
}
