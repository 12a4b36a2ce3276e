//! A scrape: the lanes' numbers, summed up.

use super::{
    MetricKind, Sources,
    lane::{BUCKET_BOUNDS_US, Count, Gauge, LaneMetrics, LatencyHistogram, Route, STATUS_CLASSES},
    process,
};
use adit_protocol::Code;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder},
    metrics::{MetricType, exemplar::Exemplar},
};
use std::{
    collections::HashMap,
    fmt::Error,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

type Labels<const N: usize> = [(&'static str, &'static str); N];

#[derive(Debug)]
pub(super) struct RelayCollector {
    pub(super) sources: Arc<Sources>,
    pub(super) version: &'static str,
}

impl Collector for RelayCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let lanes = self.sources.lanes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let out = &mut encoder;
        out.encode_descriptor("adit_build", "The version of the relay", None, MetricType::Info)?
            .encode_info(&[("version", self.version)])?;
        encode_routes(out, &lanes)?;
        encode_timers(out, &lanes)?;
        for (i, (_, name, help)) in Count::ALL.iter().enumerate() {
            let total = sum(&lanes, |lane| &lane.counts[i]);
            counter(&mut out.encode_descriptor(name, help, None, MetricType::Counter)?, total)?;
        }
        for (i, (_, name, help)) in Gauge::ALL.iter().enumerate() {
            let total: i64 = lanes.iter().map(|lane| lane.gauges[i].load(Relaxed)).sum();
            out.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&total)?;
        }
        let errors = "Errors that consumers got from the relay, by code";
        encode_codes(out, &lanes, "adit_errors", errors, |lane| &lane.errors)?;
        let refusals = "Sessions and tunnels of clients refused or closed, by code";
        encode_codes(out, &lanes, "adit_refusals", refusals, |lane| &lane.refusals)?;
        self.encode_watched(out)?;
        process::encode(out)
    }
}

impl RelayCollector {
    fn encode_watched(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let watched = self.sources.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for one in watched.iter() {
            let value = (one.read)();
            match one.kind {
                MetricKind::Counter => {
                    counter(
                        &mut out.encode_descriptor(one.name, one.help, None, MetricType::Counter)?,
                        value,
                    )?;
                }
                MetricKind::Gauge => {
                    let value = i64::try_from(value).unwrap_or(i64::MAX);
                    out.encode_descriptor(one.name, one.help, None, MetricType::Gauge)?
                        .encode_gauge(&value)?;
                }
            }
        }
        Ok(())
    }
}

fn sum<'a>(lanes: &'a [Arc<LaneMetrics>], number: impl Fn(&'a LaneMetrics) -> &'a AtomicU64) -> u64 {
    lanes.iter().map(|lane| number(lane).load(Relaxed)).fold(0, u64::wrapping_add)
}

pub(super) fn counter(out: &mut MetricEncoder<'_>, value: u64) -> Result<(), Error> {
    out.encode_counter(&value, None::<&Exemplar<Labels<0>, u64>>)
}

fn route_labels(route: Route) -> Labels<2> {
    let (route, via) = route.labels();
    [("route", route), ("via", via)]
}

fn encode_routes(out: &mut DescriptorEncoder<'_>, lanes: &[Arc<LaneMetrics>]) -> Result<(), Error> {
    let help = "Requests and TCP connections that have ended, by class of status";
    let mut family = out.encode_descriptor("adit_requests", help, None, MetricType::Counter)?;
    for route in Route::ALL {
        for (class, name) in STATUS_CLASSES.iter().enumerate() {
            let total = sum(lanes, |lane| &lane.routes[route as usize].ended[class]);
            if total > 0 || *name == "2xx" {
                let [route, via] = route_labels(route);
                counter(&mut family.encode_family(&[route, via, ("status", name)])?, total)?;
            }
        }
    }
    let help = "Body bytes: in from consumers, out to consumers";
    let mut family = out.encode_descriptor("adit_bytes", help, None, MetricType::Counter)?;
    for route in Route::ALL {
        let [label, via] = route_labels(route);
        let bytes_in = sum(lanes, |lane| &lane.routes[route as usize].bytes_in);
        let bytes_out = sum(lanes, |lane| &lane.routes[route as usize].bytes_out);
        counter(&mut family.encode_family(&[label, via, ("direction", "in")])?, bytes_in)?;
        counter(&mut family.encode_family(&[label, via, ("direction", "out")])?, bytes_out)?;
    }
    Ok(())
}

fn encode_timers(out: &mut DescriptorEncoder<'_>, lanes: &[Arc<LaneMetrics>]) -> Result<(), Error> {
    let help = "Seconds from a request's head to the head of its answer";
    let mut family = out.encode_descriptor("adit_answer_seconds", help, None, MetricType::Histogram)?;
    for route in Route::ALL {
        let timers = lanes.iter().map(|lane| &lane.routes[route as usize].answer);
        encode_timer(&mut family.encode_family(&route_labels(route))?, timers)?;
    }
    let help = "Seconds from a request's head to the last byte of its answer";
    let mut family = out.encode_descriptor("adit_request_seconds", help, None, MetricType::Histogram)?;
    for route in Route::ALL {
        let timers = lanes.iter().map(|lane| &lane.routes[route as usize].whole);
        encode_timer(&mut family.encode_family(&route_labels(route))?, timers)?;
    }
    Ok(())
}

fn encode_timer<'a>(
    out: &mut MetricEncoder<'_>,
    timers: impl Iterator<Item = &'a LatencyHistogram>,
) -> Result<(), Error> {
    let mut buckets = [(f64::INFINITY, 0); BUCKET_BOUNDS_US.len() + 1];
    for (bucket, bound) in buckets.iter_mut().zip(BUCKET_BOUNDS_US) {
        bucket.0 = bound as f64 / 1e6;
    }
    let mut sum_us = 0_u64;
    for timer in timers {
        for (bucket, number) in buckets.iter_mut().zip(&timer.buckets) {
            bucket.1 += number.load(Relaxed);
        }
        sum_us = sum_us.wrapping_add(timer.sum_us.load(Relaxed));
    }
    let count = buckets.iter().map(|bucket| bucket.1).sum();
    let no_exemplars = None::<&HashMap<usize, Exemplar<Labels<0>, f64>>>;
    out.encode_histogram(sum_us as f64 / 1e6, count, &buckets, no_exemplars)
}

fn encode_codes(
    out: &mut DescriptorEncoder<'_>,
    lanes: &[Arc<LaneMetrics>],
    name: &str,
    help: &str,
    of: impl Fn(&LaneMetrics) -> &[AtomicU64; Code::ALL.len() + 1],
) -> Result<(), Error> {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (i, code) in Code::ALL.iter().chain([&Code::Unknown]).enumerate() {
        let total = sum(lanes, |lane| &of(lane)[i]);
        if total > 0 {
            counter(&mut family.encode_family(&[("code", code.as_str())])?, total)?;
        }
    }
    Ok(())
}
