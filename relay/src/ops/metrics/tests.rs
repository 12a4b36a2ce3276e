use super::*;
use adit_protocol::Code;
use std::time::Duration;

fn value(text: &str, series: &str) -> Option<f64> {
    let line =
        text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next().unwrap().parse().ok()
}

#[test]
fn lanes_are_summed_up() {
    let metrics = Metrics::new("0.1.0");
    for lane in [metrics.lane(), metrics.lane()] {
        lane.answered(Route::Http, Duration::from_micros(500));
        lane.ended(Route::Http, Some(200), Duration::from_millis(3), 7, 11);
        lane.ended(Route::HttpPeer, Some(599), Duration::from_secs(100), 0, 0);
        lane.ended(Route::Tcp, None, Duration::from_secs(1), 1, 1);
        lane.ended(Route::Relay, Some(999), Duration::ZERO, 0, 0);
        lane.error(Code::TunnelOffline);
        lane.refused(Code::Unknown);
        lane.count(Count::Retries);
    }
    let text = metrics.encode();
    let is =
        |series: &str, expected: f64| assert_eq!(value(&text, series), Some(expected), "{series}\n{text}");
    is("adit_requests_total{route=\"http\",via=\"session\",status=\"2xx\"}", 2.0);
    is("adit_requests_total{route=\"http\",via=\"peer\",status=\"5xx\"}", 2.0);
    is("adit_requests_total{route=\"tcp\",via=\"session\",status=\"none\"}", 2.0);
    is("adit_requests_total{route=\"relay\",via=\"none\",status=\"5xx\"}", 2.0);
    is("adit_bytes_total{route=\"http\",via=\"session\",direction=\"out\"}", 22.0);
    is("adit_answer_seconds_bucket{le=\"0.0005\",route=\"http\",via=\"session\"}", 2.0);
    is("adit_request_seconds_bucket{le=\"0.0025\",route=\"http\",via=\"session\"}", 0.0);
    is("adit_request_seconds_bucket{le=\"0.005\",route=\"http\",via=\"session\"}", 2.0);
    is("adit_request_seconds_bucket{le=\"60.0\",route=\"http\",via=\"peer\"}", 0.0);
    is("adit_request_seconds_bucket{le=\"+Inf\",route=\"http\",via=\"peer\"}", 2.0);
    is("adit_request_seconds_sum{route=\"http\",via=\"peer\"}", 200.0);
    is("adit_errors_total{code=\"tunnel_offline\"}", 2.0);
    is("adit_refusals_total{code=\"unknown\"}", 2.0);
    is("adit_retries_total", 2.0);
    is("adit_build_info{version=\"0.1.0\"}", 1.0);
    assert!(value(&text, "process_resident_memory_bytes").unwrap() > 1e5);
    assert!(value(&text, "process_open_fds").unwrap() > 2.0);
    assert!(value(&text, "process_cpu_seconds_total").unwrap() < 1e4);
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn what_is_open_is_counted_until_it_is_dropped() {
    let metrics = Metrics::new("0");
    let lane = metrics.lane();
    let open = (lane.open(Gauge::Streams), lane.open(Gauge::Streams));
    lane.shift(Gauge::BufferedBytes, 100);
    assert_eq!(value(&metrics.encode(), "adit_streams_open"), Some(2.0));
    drop(open.0);
    assert_eq!(value(&metrics.encode(), "adit_streams_open"), Some(1.0));
    assert_eq!(value(&metrics.encode(), "adit_buffered_bytes"), Some(100.0));
}

#[test]
fn numbers_of_others_are_shown() {
    let metrics = Metrics::new("0");
    metrics.watch("adit_access_log_dropped", "Lines dropped", MetricKind::Counter, || 3);
    metrics.watch("adit_peers", "Healthy peers", MetricKind::Gauge, || 2);
    let text = metrics.encode();
    assert_eq!(value(&text, "adit_access_log_dropped_total"), Some(3.0));
    assert_eq!(value(&text, "adit_peers"), Some(2.0));
}

#[test]
fn every_series_is_described_and_appears_once() {
    let metrics = Metrics::new("0");
    let lane = metrics.lane();
    Code::ALL.iter().for_each(|code| lane.error(*code));
    let text = metrics.encode();
    let mut series: Vec<&str> =
        text.lines().filter(|l| !l.starts_with('#')).map(|l| l.rsplit_once(' ').unwrap().0).collect();
    let all = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), all);
    assert_eq!(text.lines().filter(|line| line.starts_with("adit_errors_total")).count(), Code::ALL.len());
    assert_eq!(text.matches("# HELP").count(), text.matches("# TYPE").count());
}
