//! A way from this machine to one pod.

use adit_testkit::process::Child;
use std::{
    process::Command,
    time::{Duration, Instant},
};

/// The longest that it may take until it is open.
const PATIENCE: Duration = Duration::from_secs(60);

/// `kubectl port-forward`, which ends when this is dropped.
#[derive(Debug)]
pub struct PortForward {
    _process: Child,
    port: u16,
}

impl PortForward {
    /// To a port of a pod (`pod/NAME`), by its name or number.
    ///
    /// Panics with what kubectl says when it is not open within a minute.
    pub async fn to(namespace: &str, pod: &str, port: &str) -> Self {
        let mut command = Command::new("kubectl");
        command.args(["-n", namespace, "port-forward", "--address", "127.0.0.1", pod, &format!(":{port}")]);
        let mut process = Child::start(&command);
        let end = Instant::now() + PATIENCE;
        loop {
            let said = process.output();
            let begins = said.split("127.0.0.1:").nth(1);
            let number = begins.and_then(|rest| rest.split(' ').next()?.parse().ok());
            if let Some(port) = number {
                return Self { _process: process, port };
            }
            assert!(process.is_running() && Instant::now() < end, "no way to {pod}: {said}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The port of this machine that leads there.
    pub fn port(&self) -> u16 {
        self.port
    }
}
