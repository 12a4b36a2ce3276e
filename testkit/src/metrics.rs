//! Numbers of a program's metrics in Prometheus' text format.

/// The sum of a metric over all labels, or of the series that begin with what is given:
/// `adit_errors_total{code="rate_limited"}` for example. 0 if there is none.
pub fn sum(text: &str, name: &str) -> u64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let is_whole_name = rest.starts_with([' ', '{']) || name.ends_with('}');
        is_whole_name.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
    };
    text.lines().filter_map(value).sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_metric_are_added() {
        let text = "# TYPE open gauge\nopen 3\nopen_total 9\nerrors{code=\"a\"} 1\nerrors{code=\"b\"} 2\n";
        for (name, expected) in
            [("open", 3), ("errors", 3), ("errors{code=\"b\"}", 2), ("err", 0), ("absent", 0)]
        {
            assert_eq!(sum(text, name), expected, "{name}");
        }
    }
}
