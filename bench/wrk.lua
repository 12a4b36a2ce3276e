-- wrk's summary as one line of JSON, so that nothing has to be read out of its prose.
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'JSON {"microseconds": %d, "requests": %d, "failed": %d, "p50": %d, "p99": %d}\n',
    summary.duration, summary.requests,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status,
    latency:percentile(50), latency:percentile(99)))
end
