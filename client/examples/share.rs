//! Publishes a local HTTP service until Ctrl-C: `cargo run --example share -- 3000 eu.example.com token`.

use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(service), Some(relay), Some(token)) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: share SERVICE RELAY TOKEN-FILE [CA-FILE]".into());
    };
    let mut tunnel = adit::Tunnel::http(service).relay(relay).token_file(token);
    if let Some(ca) = arguments.next() {
        tunnel = tunnel.ca(ca);
    }
    let tunnel = tunnel.open().await?;
    println!("{}", tunnel.url());

    let mut events = tunnel.client().events(true);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => println!("{}", serde_json::to_string(&event)?),
                None => return Ok(tunnel.closed().await?),
            },
            ended = tokio::signal::ctrl_c() => {
                ended?;
                tunnel.close(Duration::from_secs(5)).await;
                return Ok(());
            }
        }
    }
}
