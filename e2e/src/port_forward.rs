//! A connection from this machine to one pod.

use adit_testkit::process::Child;
use std::{
    process::Command,
    time::{Duration, Instant},
};

/// Maximum time until the port is open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);

/// `kubectl port-forward`, which ends when this is dropped.
#[derive(Debug)]
pub struct PortForward {
    _process: Child,
    port: u16,
}

impl PortForward {
    /// Forwards a port of a pod (`pod/NAME`), given by name or number. Panics if the port is not open within a minute.
    pub async fn to(namespace: &str, pod: &str, port: &str) -> Self {
        let mut command = Command::new("kubectl");
        command.args(["-n", namespace, "port-forward", "--address", "127.0.0.1", pod, &format!(":{port}")]);
        let mut process = Child::start(&command);
        let end = Instant::now() + OPEN_TIMEOUT;
        loop {
            let output = process.output();
            let begins = output.split("127.0.0.1:").nth(1);
            let number = begins.and_then(|rest| rest.split(' ').next()?.parse().ok());
            if let Some(port) = number {
                return Self { _process: process, port };
            }
            assert!(process.is_running() && Instant::now() < end, "cannot forward a port of {pod}: {output}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The port on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }
}
