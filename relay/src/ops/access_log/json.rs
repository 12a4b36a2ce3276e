//! A line as one JSON object. Fields that have no value are left out.

use super::{
    LogEntry, redact,
    stamp::TimestampCache,
    text::{json, push_address, push_number, push_thousandths, truncate},
};

pub(super) fn push(out: &mut Vec<u8>, entry: &LogEntry<'_>, stamp: &mut TimestampCache) {
    out.extend_from_slice(b"{\"time\":\"");
    stamp.push_iso(out, entry.time_us);
    out.extend_from_slice(b"\",\"requestId\":\"");
    out.extend_from_slice(&entry.request_id.to_bytes());
    out.extend_from_slice(b"\",\"consumer\":\"");
    push_address(out, entry.consumer.ip());
    out.extend_from_slice(b"\",\"consumerPort\":");
    push_number(out, u64::from(entry.consumer.port()));
    push_text(out, b",\"method\":\"", Some(entry.method));
    push_text(out, b",\"host\":\"", Some(entry.host));
    if !entry.target.is_empty() {
        out.extend_from_slice(b",\"path\":\"");
        redact::push(out, entry.target.as_bytes(), json);
        out.push(b'"');
    }
    out.extend_from_slice(b",\"protocol\":\"");
    out.extend_from_slice(entry.protocol().as_bytes());
    out.extend_from_slice(if entry.secure { b"\",\"tls\":true" } else { b"\",\"tls\":false" });
    if let Some(status) = entry.status {
        out.extend_from_slice(b",\"status\":");
        push_number(out, u64::from(status));
    }
    let micros = u64::try_from(entry.duration.as_micros()).unwrap_or(u64::MAX);
    out.extend_from_slice(b",\"durationMs\":");
    push_number(out, micros / 1000);
    out.push(b'.');
    push_thousandths(out, (micros % 1000) as u32);
    out.extend_from_slice(b",\"bytesIn\":");
    push_number(out, entry.bytes_in);
    out.extend_from_slice(b",\"bytesOut\":");
    push_number(out, entry.bytes_out);
    push_text(out, b",\"tunnel\":\"", entry.tunnel);
    push_text(out, b",\"account\":\"", entry.account);
    push_text(out, b",\"peer\":\"", entry.peer);
    push_text(out, b",\"code\":\"", entry.code.map(adit_protocol::Code::as_str));
    if let Some(referer) = entry.referer {
        out.extend_from_slice(b",\"referer\":\"");
        redact::push(out, truncate(referer), json);
        out.push(b'"');
    }
    if let Some(agent) = entry.user_agent {
        out.extend_from_slice(b",\"userAgent\":\"");
        json(out, truncate(agent));
        out.push(b'"');
    }
    out.extend_from_slice(b"}\n");
}

fn push_text(out: &mut Vec<u8>, key: &[u8], text: Option<&str>) {
    if let Some(text) = text {
        out.extend_from_slice(key);
        json(out, text.as_bytes());
        out.push(b'"');
    }
}
