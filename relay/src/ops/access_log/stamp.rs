//! Timestamps as text, formatted once a second.

use super::text::push_thousandths;

/// The last second that was written.
pub(super) struct TimestampCache {
    second: u64,
    /// `2026-11-21T10:41:07`
    iso: [u8; 19],
    /// `21/Nov/2026:10:41:07`
    apache: [u8; 20],
}

impl Default for TimestampCache {
    fn default() -> Self {
        Self { second: u64::MAX, iso: [b'0'; 19], apache: [b'0'; 20] }
    }
}

const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

impl TimestampCache {
    /// `2026-11-21T10:41:07.123Z`
    pub(super) fn push_iso(&mut self, out: &mut Vec<u8>, time_us: u64) {
        self.turn_to(time_us / 1_000_000);
        out.extend_from_slice(&self.iso);
        out.push(b'.');
        push_thousandths(out, (time_us / 1000 % 1000) as u32);
        out.push(b'Z');
    }

    /// `21/Nov/2026:10:41:07 +0000`
    pub(super) fn push_apache(&mut self, out: &mut Vec<u8>, time_us: u64) {
        self.turn_to(time_us / 1_000_000);
        out.extend_from_slice(&self.apache);
        out.extend_from_slice(b" +0000");
    }

    fn turn_to(&mut self, second: u64) {
        if second == self.second {
            return;
        }
        let Ok(time) = time::OffsetDateTime::from_unix_timestamp(i64::try_from(second).unwrap_or(i64::MAX))
        else {
            return;
        };
        self.second = second;
        let (hour, minute, second) = time.to_hms();
        let year = u32::try_from(time.year()).unwrap_or(0);
        let (month, day) = (u32::from(u8::from(time.month())), u32::from(time.day()));
        let clock = [hour, minute, second].map(u32::from);
        let iso = &mut self.iso;
        put(&mut iso[0..2], year / 100);
        put(&mut iso[2..4], year);
        put(&mut iso[5..7], month);
        put(&mut iso[8..10], day);
        [iso[4], iso[7], iso[10], iso[13], iso[16]] = *b"--T::";
        clock.into_iter().enumerate().for_each(|(i, n)| put(&mut iso[11 + 3 * i..13 + 3 * i], n));
        let apache = &mut self.apache;
        put(&mut apache[0..2], day);
        let name = (month as usize - 1) * 3;
        apache[3..6].copy_from_slice(&MONTHS[name..name + 3]);
        put(&mut apache[7..9], year / 100);
        put(&mut apache[9..11], year);
        [apache[2], apache[6], apache[11], apache[14], apache[17]] = *b"//:::";
        clock.into_iter().enumerate().for_each(|(i, n)| put(&mut apache[12 + 3 * i..14 + 3 * i], n));
    }
}

/// The last two digits.
fn put(to: &mut [u8], number: u32) {
    to[0] = b'0' + (number / 10 % 10) as u8;
    to[1] = b'0' + (number % 10) as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iso(stamp: &mut TimestampCache, time_us: u64) -> String {
        let mut out = Vec::new();
        stamp.push_iso(&mut out, time_us);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_written_as_they_are_also_when_the_clock_jumps() {
        let mut stamp = TimestampCache::default();
        assert_eq!(iso(&mut stamp, 1_795_257_667_123_999), "2026-11-21T10:41:07.123Z");
        assert_eq!(iso(&mut stamp, 1_795_257_667_999_999), "2026-11-21T10:41:07.999Z");
        assert_eq!(iso(&mut stamp, 951_782_400_000_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(iso(&mut stamp, 0), "1970-01-01T00:00:00.000Z");
        let mut out = Vec::new();
        stamp.push_apache(&mut out, 1_795_257_667_123_999);
        assert_eq!(out, b"21/Nov/2026:10:41:07 +0000");
        iso(&mut stamp, u64::MAX);
    }
}
