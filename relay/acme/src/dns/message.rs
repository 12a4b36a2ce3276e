//! Messages of DNS (RFC 1035): what is written and read of them here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most jumps within one compressed name.
const MOST_JUMPS: usize = 32;

/// Kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// An IPv4 address.
    A,
    /// Another name.
    Cname,
    /// The start of a zone.
    Soa,
    /// Texts.
    Txt,
    /// An IPv6 address.
    Aaaa,
}

impl Record {
    fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Cname => 5,
            Self::Soa => 6,
            Self::Txt => 16,
            Self::Aaaa => 28,
        }
    }
}

/// A class of records.
#[derive(Clone, Copy, Debug)]
pub(super) enum Class {
    In,
    None,
}

impl Class {
    fn number(self) -> u16 {
        match self {
            Self::In => 1,
            Self::None => 254,
        }
    }
}

/// A record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An address.
    Address(IpAddr),
    /// An alias.
    Cname {
        /// What is an alias.
        owner: String,
        /// Of what.
        target: String,
    },
    /// The start of a zone.
    Soa {
        /// The zone.
        owner: String,
    },
    /// A text; its parts are put together.
    Txt(String),
}

/// An error's name.
pub(super) fn code(number: u8) -> &'static str {
    match number {
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        _ => "an unknown error",
    }
}

/// Writes a name; nothing if it is not one.
pub(super) fn write_name(out: &mut Vec<u8>, name: &str) -> Option<()> {
    let start = out.len();
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        out.push(length);
        out.extend_from_slice(label.to_ascii_lowercase().as_bytes());
    }
    out.push(0);
    (out.len() - start <= 255).then_some(())
}

pub(super) fn write_u16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// A question.
pub(super) struct Query<'a> {
    pub(super) id: u16,
    pub(super) name: &'a str,
    pub(super) record: Record,
    pub(super) class: Class,
}

impl Query<'_> {
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(64);
        // One question, and recursion is desired.
        for number in [self.id, 0x0100, 1, 0, 0, 0] {
            write_u16(&mut out, number);
        }
        write_name(&mut out, self.name)?;
        write_u16(&mut out, self.record.number());
        write_u16(&mut out, self.class.number());
        Some(out)
    }
}

/// A change of one TXT record.
pub(super) struct Update<'a> {
    pub(super) id: u16,
    pub(super) zone: &'a str,
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    /// Absent: the record is taken away.
    pub(super) ttl: Option<u32>,
}

impl Update<'_> {
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(256);
        // Opcode 5, one zone, no prerequisites, one update.
        for number in [self.id, 5 << 11, 1, 0, 1, 0] {
            write_u16(&mut out, number);
        }
        write_name(&mut out, self.zone)?;
        write_u16(&mut out, Record::Soa.number());
        write_u16(&mut out, Class::In.number());
        write_name(&mut out, self.name)?;
        write_u16(&mut out, Record::Txt.number());
        // RFC 2136 section 2.5.4: what is deleted has the class NONE.
        let class = if self.ttl.is_some() { Class::In } else { Class::None };
        write_u16(&mut out, class.number());
        out.extend_from_slice(&self.ttl.unwrap_or(0).to_be_bytes());
        let length = u8::try_from(self.text.len()).ok()?;
        write_u16(&mut out, u16::from(length) + 1);
        out.push(length);
        out.extend_from_slice(self.text.as_bytes());
        Some(out)
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) id: u16,
    pub(super) code: u8,
    pub(super) is_authoritative: bool,
    pub(super) is_truncated: bool,
    pub(super) answers: Vec<Answer>,
}

impl Response {
    /// Nothing if it is no whole response.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let (id, flags) = (reader.number()?, reader.number()?);
        if flags & 0x8000 == 0 {
            return None;
        }
        let (questions, count) = (reader.number()?, reader.number()?);
        reader.skip(4)?;
        for _ in 0..questions {
            reader.name()?;
            reader.skip(4)?;
        }
        let is_truncated = flags & 0x0200 != 0;
        let mut answers = Vec::new();
        for _ in 0..count {
            match reader.record() {
                Some(answer) => answers.extend(answer),
                None if is_truncated => break,
                None => return None,
            }
        }
        let code = u8::try_from(flags & 0xf).unwrap_or(u8::MAX);
        Some(Self { id, code, is_authoritative: flags & 0x0400 != 0, is_truncated, answers })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let from = self.at;
        self.skip(count)?;
        self.bytes.get(from..self.at)
    }

    fn number(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A name, with its compression resolved.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let (mut at, mut end) = (self.at, None);
        for _ in 0..MOST_JUMPS * 8 {
            let length = usize::from(*self.bytes.get(at)?);
            match length {
                0 => {
                    self.at = end.unwrap_or(at + 1);
                    return Some(name);
                }
                1..=63 => {
                    let label = self.bytes.get(at + 1..at + 1 + length)?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
                    at += 1 + length;
                }
                192.. => {
                    let low = usize::from(*self.bytes.get(at + 1)?);
                    end = end.or(Some(at + 2));
                    at = (length & 0x3f) << 8 | low;
                }
                _ => return None,
            }
            if name.len() > 1024 {
                return None;
            }
        }
        None
    }

    /// A record; nothing of a kind that is not asked for.
    fn record(&mut self) -> Option<Option<Answer>> {
        let owner = self.name()?;
        let kind = self.number()?;
        self.skip(6)?;
        let length = usize::from(self.number()?);
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        let answer = match kind {
            1 => <[u8; 4]>::try_from(self.take(length)?)
                .ok()
                .map(|b| Answer::Address(Ipv4Addr::from(b).into())),
            28 => <[u8; 16]>::try_from(self.take(length)?)
                .ok()
                .map(|b| Answer::Address(Ipv6Addr::from(b).into())),
            5 => Some(Answer::Cname { owner, target: self.name()? }),
            6 => Some(Answer::Soa { owner }),
            16 => {
                let mut rest = self.take(length)?;
                let mut text = Vec::new();
                while let Some((part, after)) = rest.split_first() {
                    text.extend_from_slice(after.get(..usize::from(*part))?);
                    rest = after.get(usize::from(*part)..)?;
                }
                Some(Answer::Txt(String::from_utf8_lossy(&text).into_owned()))
            }
            _ => None,
        };
        self.at = end;
        Some(answer)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_with_compressed_names_is_read() {
        let query =
            Query { id: 7, name: "_acme-challenge.Example.com", record: Record::Txt, class: Class::In };
        let mut bytes = query.encode().unwrap();
        bytes[2] = 0x84;
        bytes[7] = 2;
        // An alias of the question's name, to "x" below its second label, and a text of two parts there.
        bytes.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 4, 1, b'x', 0xc0, 28]);
        bytes.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 9, 0, 6, 2, b'a', b'b', 2, b'c', b'd']);
        let response = Response::decode(&bytes).unwrap();
        let owner = "_acme-challenge.example.com".to_owned();
        assert_eq!(
            response.answers,
            [Answer::Cname { owner, target: "x.example.com".into() }, Answer::Txt("abcd".into())]
        );
        assert!(response.is_authoritative && !response.is_truncated);
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let long = format!("{}.example.com", "a".repeat(64));
        let deep = "a.".repeat(130);
        for bad in ["", ".", "a..b", &long, &deep] {
            assert_eq!(write_name(&mut Vec::new(), bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, answers in 0_u8..4) {
            let head = [0, 7, 0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0];
            Response::decode(&bytes);
            Response::decode(&[&head[..], &bytes].concat());
        }
    }
}
