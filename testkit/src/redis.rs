//! A real Redis server.

use crate::{
    port::Port,
    process::{Child, is_installed},
};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Maximum time to start a server or to answer a command on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A server on a port of its own on 127.0.0.1 that keeps nothing on disk.
///
/// It is ended when it is dropped, and when the test process is killed. All methods block their thread.
#[derive(Debug)]
pub struct Redis {
    server: Child,
    port: Port,
    options: Vec<String>,
}

impl Redis {
    /// Starts a server without any data.
    ///
    /// Panics when Redis is not installed or does not start.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further options, each name and value an item of its own: `["--maxmemory", "4mb"]`.
    ///
    /// Panics when Redis is not installed or does not start.
    pub fn start_with(options: &[&str]) -> Self {
        assert!(is_installed("redis-server"), "redis-server is not installed");
        let port = Port::take();
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let server = spawn(&port, &options);
        let mut redis = Self { server, port, options };
        redis.wait_until_ready();
        redis
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The URL of the first database.
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.port.address())
    }

    /// Deletes all data.
    pub fn flush(&self) {
        assert_eq!(self.run("FLUSHALL"), "+OK");
    }

    /// Runs one command, whose arguments are what stands between spaces, and returns the first line of the answer, with
    /// its type as in the Redis protocol: `+OK`, `:3`, `-ERR ...`; of a single string the text itself.
    ///
    /// Panics when there is no answer.
    pub fn run(&self, command: &str) -> String {
        self.try_run(command).unwrap_or_else(|error| panic!("redis did not answer {command:?}: {error}"))
    }

    fn try_run(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.port.address(), START_TIMEOUT)?;
        stream.set_read_timeout(Some(START_TIMEOUT))?;
        let arguments: Vec<&str> = command.split(' ').collect();
        let mut request = format!("*{}\r\n", arguments.len());
        for argument in arguments {
            request.push_str(&format!("${}\r\n{argument}\r\n", argument.len()));
        }
        stream.write_all(request.as_bytes())?;
        let mut answer = BufReader::new(stream);
        let mut line = String::new();
        answer.read_line(&mut line)?;
        if line.starts_with('$') && !line.starts_with("$-") {
            line.clear();
            answer.read_line(&mut line)?;
        }
        Ok(line.trim_end().to_owned())
    }

    /// Freezes the server: connections stay open, nothing is answered.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Lets a frozen server go on.
    pub fn cont(&mut self) {
        self.server.cont();
    }

    /// Ends the server at once, with all its connections and data.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Ends the server, if it still runs, and starts it again on the same port, without any data.
    pub fn restart(&mut self) {
        self.kill();
        self.server = spawn(&self.port, &self.options);
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let end = Instant::now() + START_TIMEOUT;
        // A server that wants a password says so, which is an answer.
        while !self.try_run("PING").is_ok_and(|answer| answer == "+PONG" || answer.starts_with("-NOAUTH")) {
            if let Some(status) = self.server.exited() {
                panic!("redis-server ended ({status}): {}", self.server.output());
            }
            assert!(Instant::now() < end, "redis-server did not start: {}", self.server.output());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn spawn(port: &Port, options: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    // It reads no configuration and writes no file, so that any folder will do.
    Child::start(command.args(options).current_dir(std::env::temp_dir()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_flushed_frozen_and_restarted_on_its_port() {
        let mut redis = Redis::start();
        assert_eq!(redis.run("SET a 1"), "+OK");
        redis.flush();
        assert_eq!(redis.run("GET a"), "$-1");

        assert_eq!(redis.run("SET a 1"), "+OK");
        redis.stop();
        let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
        stream.write_all(b"GET a\r\n").unwrap();
        let mut answer = BufReader::new(stream.try_clone().unwrap());
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(answer.read_line(&mut String::new()).is_err(), "a frozen server answers nothing");
        redis.cont();
        assert_eq!(redis.run("GET a"), "1");

        redis.kill();
        assert!(TcpStream::connect(("127.0.0.1", redis.port())).is_err());
        redis.restart();
        assert_eq!(redis.run("GET a"), "$-1");
    }

    #[test]
    fn options_reach_the_server() {
        let redis = Redis::start_with(&["--requirepass", "hush"]);
        assert!(redis.run("GET a").starts_with("-NOAUTH"));
    }
}
