use super::*;
use crate::config::{AccessLogFormat as Format, AccessLogPath as Destination};
use adit_protocol::Code;
use http::{HeaderValue, Version};
use std::{
    io::{BufRead, BufReader, Read},
    os::fd::AsRawFd,
    time::Instant,
};

const NOW_US: u64 = 1_795_257_667_123_456;

fn entry() -> LogEntry<'static> {
    LogEntry {
        time_us: NOW_US,
        request_id: RequestIds::new(0, 0).next(NOW_US),
        consumer: "203.0.113.7:50000".parse().unwrap(),
        method: "GET",
        host: "shop.eu.example.com",
        target: "/a?token=x&b=\"",
        version: Some(Version::HTTP_11),
        secure: true,
        status: Some(200),
        bytes_in: 0,
        bytes_out: 4_100,
        duration: Duration::from_micros(12_034),
        tunnel: Some("tn_4k2p"),
        account: Some("https://id.example|ci"),
        peer: None,
        code: None,
        referer: None,
        user_agent: None,
    }
}

fn open(format: Format, path: Destination) -> Result<AccessLog, AccessLogError> {
    AccessLog::open(&config::AccessLog { format, path })
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn written(format: Format, entries: &[LogEntry<'_>]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = open(format, Destination::File(path.clone())).unwrap();
    let lane = log.lane();
    entries.iter().for_each(|entry| lane.write(entry));
    assert!(log.close(Duration::from_secs(20)));
    assert_eq!(log.dropped(), 0);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_json_line_reads_as_json() {
    let mut other = entry();
    let (referer, agent) = (HeaderValue::from_static("https://a.example/?key=x"), "curl/8\u{1}\"");
    let agent = HeaderValue::from_maybe_shared(agent.replace('\u{1}', "\t")).unwrap();
    other.referer = Some(&referer);
    other.user_agent = Some(&agent);
    other.code = Some(Code::ServiceDown);
    other.status = None;
    let text = written(Format::Json, &[entry(), other]);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = serde_json::json!({
        "time": "2026-11-21T10:41:07.123Z", "requestId": entry().request_id.to_string(),
        "consumer": "203.0.113.7", "consumerPort": 50000, "method": "GET", "host": "shop.eu.example.com",
        "path": "/a?token=***&b=\"", "protocol": "HTTP/1.1", "tls": true, "status": 200, "durationMs": 12.034,
        "bytesIn": 0, "bytesOut": 4100, "tunnel": "tn_4k2p", "account": "https://id.example|ci",
    });
    assert_eq!(lines[0], expected);
    assert_eq!(lines[1]["referer"], "https://a.example/?key=***");
    assert_eq!(lines[1]["userAgent"], "curl/8\t\"");
    assert_eq!(lines[1]["code"], "service_down");
    assert!(lines[1].get("status").is_none());
}

#[test]
fn a_combined_line_is_what_log_readers_know() {
    let mut aborted = entry();
    aborted.status = None;
    aborted.bytes_out = 0;
    let id = entry().request_id;
    let request = "GET https://shop.eu.example.com/a?token=***&b=\\\" HTTP/1.1";
    let start = format!("203.0.113.7 - - [21/Nov/2026:10:41:07 +0000] \"{request}\"");
    assert_eq!(
        written(Format::Combined, &[entry(), aborted]),
        format!("{start} 200 4100 \"-\" \"-\" {id}\n{start} - - \"-\" \"-\" {id}\n")
    );
}

#[test]
fn lines_of_many_lanes_are_whole_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = open(Format::Json, Destination::File(path.clone())).unwrap();
    std::thread::scope(|scope| {
        for lane in 0..3_u64 {
            let log = log.lane();
            scope.spawn(move || {
                for i in 0..2_000 {
                    let mut entry = entry();
                    (entry.bytes_in, entry.bytes_out) = (lane, i);
                    log.write(&entry);
                }
            });
        }
    });
    log.close(Duration::from_secs(20));
    let (mut next, mut lines) = ([0_u64; 3], 0);
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let lane = usize::try_from(line["bytesIn"].as_u64().unwrap()).unwrap();
        let number = line["bytesOut"].as_u64().unwrap();
        assert!(number >= next[lane], "lane {lane}: {number} after {}", next[lane]);
        next[lane] = number + 1;
        lines += 1;
    }
    assert_eq!((lines, log.dropped()), (6_000, 0));
}

#[test]
fn a_line_appears_without_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = open(Format::Json, Destination::File(path.clone())).unwrap();
    let lane = log.lane();
    lane.write(&entry());
    until("the line is written", || std::fs::read_to_string(&path).unwrap().ends_with("}\n"));
}

#[test]
fn a_full_disk_drops_lines_and_counts_them() {
    let log = open(Format::Json, Destination::File("/dev/full".into())).unwrap();
    let lane = log.lane();
    (0..500).for_each(|_| lane.write(&entry()));
    until("500 lines are dropped", || log.dropped() == 500);
    let metrics = Metrics::new("0");
    log.show_in(&metrics);
    assert!(metrics.encode().contains("\nadit_access_log_dropped_total 500\n"));
    assert!(log.close(Duration::from_secs(20)));
}

#[test]
fn a_blocked_pipe_drops_lines_and_nobody_waits() {
    let (reader, pipe) = std::io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let log = open(Format::Json, Destination::File(path.into())).unwrap();
    drop(pipe);
    let lane = log.lane();
    let mut sent = 0_u64;
    until("lines are dropped", || {
        (0..1_000).for_each(|_| lane.write(&entry()));
        sent += 1_000;
        log.dropped() > 0
    });
    // Whoever reads again finds whole lines, and those that are missing were counted.
    let drain =
        std::thread::spawn(move || BufReader::new(reader).lines().map(Result::unwrap).collect::<Vec<_>>());
    assert!(log.close(Duration::from_secs(20)));
    let lines = drain.join().unwrap();
    for line in &lines {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert_eq!(lines.len() as u64 + log.dropped(), sent);
}

#[test]
fn a_rotated_file_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let log = open(Format::Combined, Destination::File(path.clone())).unwrap();
    let lane = log.lane();
    lane.write(&entry());
    until("the first line is written", || std::fs::metadata(&path).unwrap().len() > 0);
    std::fs::rename(&path, &old).unwrap();
    log.reopen();
    until("there is a new file", || path.exists());
    lane.write(&entry());
    assert!(log.close(Duration::from_secs(20)));
    let mut text = String::new();
    std::fs::File::open(&path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!((text.lines().count(), std::fs::read_to_string(old).unwrap().lines().count()), (1, 1));
}

#[test]
fn a_file_that_cannot_be_opened_is_said_at_the_start() {
    let missing = Destination::File("/nonexistent/access.log".into());
    assert!(open(Format::Json, missing).unwrap_err().to_string().contains("/nonexistent"));
    let off = open(Format::Json, Destination::Off).unwrap();
    assert!(!off.lane().is_on() && off.close(Duration::ZERO));
}
