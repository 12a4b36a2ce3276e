//! What the operating system says of this process, under the names that dashboards know.

use prometheus_client::{
    encoding::DescriptorEncoder,
    metrics::{MetricType, exemplar::Exemplar},
};
use std::{fmt::Error, fs};

pub(super) fn encode(out: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    if let Some(bytes) = resident_bytes() {
        let help = "Resident memory";
        out.encode_descriptor("process_resident_memory_bytes", help, None, MetricType::Gauge)?
            .encode_gauge(&bytes)?;
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // The listing itself holds one.
        let open = files.count().saturating_sub(1) as i64;
        let help = "Open file descriptors";
        out.encode_descriptor("process_open_fds", help, None, MetricType::Gauge)?.encode_gauge(&open)?;
    }
    if let Some(seconds) = cpu_seconds() {
        let mut total =
            out.encode_descriptor("process_cpu_seconds", "Processor time", None, MetricType::Counter)?;
        total.encode_counter(&seconds, None::<&Exemplar<[(&str, &str); 0], f64>>)?;
    }
    Ok(())
}

fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Fields 14 and 15 of proc_pid_stat(5) count in clock ticks, which Linux shows as hundredths of a second.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / 100.0)
}
