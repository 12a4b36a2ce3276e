//! Opens many idle tunnels with one relay and keeps them until it is ended: with what the benchmark measures the memory
//! of a relay's idle sessions.
//!
//! Every tunnel has a client of its own, and each client opens as many sessions as the relay tells it. They share a
//! state folder, so that the first one's credential lets the others in.

use std::{env, error::Error, path::Path};

use adit::Tunnel;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [relay, ca, token, state, service, count] = words.as_slice() else {
        return Err("usage: adit-bench-sessions RELAY CA TOKEN_FILE STATE_DIR SERVICE COUNT".into());
    };
    let mut open = vec![];
    for number in 0..count.parse::<u32>()? {
        let tunnel = Tunnel::http(service)
            .name(format!("app{number}"))
            .relay(relay)
            .ca(Path::new(ca))
            .token_file(Path::new(token))
            .state_dir(Path::new(state))
            .open()
            .await
            .map_err(|error| format!("tunnel {number}: {}", chain(&error)))?;
        open.push(tunnel);
    }
    println!("{} tunnels are open", open.len());
    std::future::pending().await
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
