//! Writes every error page to a folder, to be looked at in a browser:
//! `cargo run -p adit-relay --example error_pages -- FOLDER`

use adit_protocol::Code;
use adit_relay::{
    ops::access_log::{RequestIds, now_us},
    proxy::error_page::{Failure, Requester, status},
};

fn main() -> std::io::Result<()> {
    let folder = std::path::PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "error-pages".into()));
    std::fs::create_dir_all(&folder)?;
    let ids = RequestIds::new(0, 0);
    let request = http::Request::get("/").header("accept", "text/html").body(()).expect("a plain request");
    let asker = Requester::of(request.method(), request.headers());
    for code in Code::ALL.iter().filter(|code| status(**code) != http::StatusCode::INTERNAL_SERVER_ERROR) {
        let now = now_us();
        let mut failure = Failure::new(*code, Some("shop.eu.example.com"), ids.next(now), now);
        failure.abuse = Some("abuse@example.com");
        let file = folder.join(format!("{code}.html"));
        std::fs::write(&file, failure.response(asker).body())?;
        println!("{}", file.display());
    }
    Ok(())
}
