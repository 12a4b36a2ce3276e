use super::*;
use crate::cli::number::Clock;
use crate::cli::script::{self, START};
use crate::problem::Problem;
use std::time::Duration;

fn frame(seconds: u64, width: usize) -> Frame {
    Frame { now: START + Duration::from_secs(seconds), width, height: 40, clock: Clock::utc(), keys: true }
}

fn texts(lines: &[Line]) -> Vec<String> {
    lines.iter().map(Line::text).collect()
}

/// The lines between the address and the numbers, so many seconds after the start.
fn second_lines(state: &DisplayState, seconds: u64) -> Vec<String> {
    let mut lines = texts(&block(state, &frame(seconds, 80)));
    lines.retain(|line| {
        let others = ["->", "requests yet", "request, ", "requests, ", "q quit"];
        !line.starts_with("---") && !others.iter().any(|other| line.contains(other))
    });
    lines
}

const UP: [&str; 5] = [
    "connecting connect.eu.example.com",
    "tunnel shop 3000",
    "session s1 eu-7c9f connected 12",
    "open shop https://shop.eu.example.com",
    "connected",
];

fn up() -> DisplayState {
    let mut state = script::state(&UP);
    script::play(&mut state, 0, &["session s2 eu-b41d connected 14"]);
    state
}

#[test]
fn the_block_shows_address_state_numbers_and_keys() {
    let mut state = up();
    state.inspect = Some("http://127.0.0.1:4848/k3f9xq2m".into());
    script::play(
        &mut state,
        1,
        &["request shop GET 101 - 2000 /socket", "request shop POST 500 210 612 /api/cart"],
    );
    for _ in 0..126 {
        script::play(&mut state, 2, &["request shop GET 200 18 4100 /"]);
    }
    assert_eq!(
        texts(&block(&state, &frame(9, 80)))[1..3],
        [
            "https://shop.eu.example.com  ->  http://127.0.0.1:3000",
            "connected      eu-7c9f 12 ms, eu-b41d 14 ms",
        ]
    );
    let lines = texts(&block(&state, &frame(9, 80)));
    assert_eq!(lines[0], "-".repeat(74));
    assert_eq!(lines[3], "128 requests, 1 open, p50 18 ms, p99 18 ms, 1 answered 5xx");
    assert_eq!(
        lines[4..],
        ["inspect http://127.0.0.1:4848/k3f9xq2m", "o open   c copy URL   p pause   q quit"]
    );
}

#[test]
fn connecting_says_whom_and_how_long() {
    let mut state = script::state(&UP[..2]);
    assert_eq!(second_lines(&state, 2), ["connecting     connect.eu.example.com, 2 s"]);
    script::play(
        &mut state,
        3,
        &["connecting connection refused in 1500", "connecting connection refused in 1800"],
    );
    assert_eq!(
        second_lines(&state, 4),
        ["connecting     connect.eu.example.com, 4 s: connection refused; try 3 in 0.8 s"]
    );
    assert_eq!(texts(&block(&state, &frame(0, 80)))[1], "-  ->  http://127.0.0.1:3000");
}

#[test]
fn moving_says_which_relay_drains_and_which_has_taken_over() {
    let mut state = up();
    script::play(&mut state, 3, &["session s1 eu-7c9f moving"]);
    assert_eq!(second_lines(&state, 3), ["moving         eu-7c9f drains, another relay is dialled"]);
    script::play(&mut state, 4, &["session s3 eu-02aa connected 9"]);
    assert_eq!(second_lines(&state, 4), ["moving         eu-7c9f drains, eu-02aa has taken over"]);
    script::play(&mut state, 5, &["session s1 eu-7c9f closed"]);
    assert_eq!(second_lines(&state, 5), ["connected      eu-02aa 9 ms, eu-b41d 14 ms"]);
    let mut only = script::state(&UP);
    script::play(&mut only, 1, &["session s1 eu-7c9f moving", "reconnecting connection refused in 500"]);
    assert_eq!(second_lines(&only, 1), ["moving         eu-7c9f drains, another relay is dialled"]);
}

#[test]
fn reconnecting_says_what_was_lost_and_who_carries_on() {
    let mut state = up();
    script::play(&mut state, 10, &["session s1 eu-7c9f closed", "reconnecting in 3800"]);
    assert_eq!(
        second_lines(&state, 13),
        ["reconnecting   eu-7c9f lost 3 s ago, try 2 in 0.8 s; eu-b41d carries on"]
    );
    script::play(&mut state, 13, &["session s3 eu-7c9f connected"]);
    assert_eq!(
        second_lines(&state, 13),
        ["reconnecting   one session with eu-7c9f lost 3 s ago, try 2 in 0.8 s"]
    );
}

#[test]
fn offline_says_since_when_why_and_how_long_the_name_is_safe() {
    let mut state = up();
    script::play(&mut state, 5, &["session s1 eu-7c9f closed", "session s2 eu-b41d closed"]);
    for (second, retry) in [(5, 1000), (7, 2000), (10, 4000), (20, 8000), (38, 16000)] {
        let line = format!("offline network unreachable in {retry}");
        script::play(&mut state, second, &[line.as_str()]);
    }
    assert_eq!(
        second_lines(&state, 46),
        [
            "offline        no relay for 41 s: network unreachable; try 6 in 8 s;",
            "               \"shop\" stays yours until 10:46:12"
        ]
    );
    assert_eq!(second_lines(&state, 600).len(), 1, "after five minutes nothing is promised");
}

#[test]
fn offline_counts_from_the_first_failure_on() {
    let mut state = script::state(&UP[..2]);
    for (second, words) in
        [(1, "connecting refused in 2000"), (10, "offline refused in 2000"), (13, "offline refused in 2000")]
    {
        script::play(&mut state, second, &[words]);
    }
    assert_eq!(second_lines(&state, 13), ["offline        no relay for 13 s: refused; try 4 in 2 s"]);
}

#[test]
fn a_service_that_is_down_is_named() {
    let mut state = up();
    script::play(&mut state, 1, &["down shop 127.0.0.1:3000 refuses connections"]);
    assert_eq!(
        second_lines(&state, 1),
        ["service down   127.0.0.1:3000 refuses connections; consumers get 502"]
    );
}

#[test]
fn another_name_is_told_with_the_reason() {
    let mut state = up();
    script::play(&mut state, 1, &["other-name shop https://brisk-otter.eu.example.com name_taken"]);
    assert_eq!(second_lines(&state, 1), ["connected*     as brisk-otter: \"shop\" was refused [name_taken]"]);
}

#[test]
fn a_limit_and_a_pause_say_what_consumers_get() {
    let mut state = up();
    script::play(&mut state, 1, &["limited shop 200 requests/s reached; 14 consumers got 429"]);
    assert_eq!(second_lines(&state, 1), ["limited        200 requests/s reached; 14 consumers got 429"]);
    script::play(&mut state, 2, &["paused shop"]);
    assert_eq!(second_lines(&state, 2), ["paused         consumers get 503; p resumes"]);
    assert!(texts(&block(&state, &frame(2, 80))).last().unwrap().contains("p resume"));
}

#[test]
fn stopping_says_what_it_waits_for() {
    let mut state = up();
    script::play(&mut state, 1, &["request shop GET 200 - 1 /slow", "stopping"]);
    assert_eq!(
        second_lines(&state, 1),
        ["stopping       1 answer in flight has 5 s; a second signal ends it at once"]
    );
}

#[test]
fn a_client_with_one_relay_of_several_says_so() {
    let mut state = script::state(&UP);
    script::play(&mut state, 1, &["connected single-homed in 20000"]);
    assert_eq!(second_lines(&state, 1), ["connected      eu-7c9f 12 ms; single-homed, tries again in 20 s"]);
}

#[test]
fn start_has_one_line_for_each_tunnel() {
    let mut state = script::state(&[
        "tunnel shop 3000",
        "tunnel api 8080",
        "tunnel ssh 127.0.0.1:22",
        "tunnel docs 4000",
        "session s1 eu-7c9f connected 12",
        "session s2 eu-b41d connected 14",
        "connected",
        "open shop https://shop.eu.example.com",
        "open api https://api.eu.example.com",
        "down api 127.0.0.1:8080 refuses connections",
        "open ssh tcp://eu.example.com:20022",
        "refused docs name_taken",
    ]);
    state.many = true;
    assert_eq!(
        texts(&block(&state, &frame(1, 80)))[1..],
        [
            "shop  https://shop.eu.example.com  ->  http://127.0.0.1:3000  connected",
            "api   https://api.eu.example.com   ->  http://127.0.0.1:8080  service down",
            "ssh   tcp://eu.example.com:20022   ->  127.0.0.1:22           connected",
            "docs  -                            ->  http://127.0.0.1:4000  name refused",
            "connected      eu-7c9f 12 ms, eu-b41d 14 ms",
        ]
    );
    assert_eq!(texts(&block(&state, &frame(1, 50)))[1], "shop  https://shop.eu.example.com  connected");
    assert_eq!(texts(&block(&state, &frame(1, 20)))[2], "api   service down");
}

#[test]
fn of_many_tunnels_those_with_problems_are_shown() {
    let mut state = script::state(&["session s1 eu-7c9f connected 12", "connected"]);
    state.many = true;
    for n in 0..40 {
        let (added, opened) = (format!("tunnel t{n} 3000"), format!("open t{n} https://t{n}.eu.example.com"));
        script::play(&mut state, 0, &[&added, &opened]);
    }
    script::play(&mut state, 1, &["refused t33 name_taken"]);
    let lines = texts(&block(&state, &frame(1, 80)));
    assert_eq!(lines.len(), 1 + MAX_BLOCK_LINES);
    assert!(lines[1].starts_with("t33 ") && lines[1].ends_with("name refused"), "{lines:#?}");
    assert_eq!(lines[5], "and 36 more, 36 of them connected; all: adit status");
}

#[test]
fn requests_stand_in_columns() {
    let state = up();
    let line = |words: &str, seconds| {
        let now = START + Duration::from_secs(seconds);
        exchange_line(&script::at(seconds, script::event_kind(words, now)), &state, Clock::utc(), 80)
            .unwrap()
            .text()
    };
    assert_eq!(line("request shop GET 200 12 4100 /", 0), "10:41:07  GET   200    12 ms   4.1 kB  /");
    assert_eq!(
        line("request shop POST 500 210 612 /api/cart", 2),
        "10:41:09  POST  500   210 ms    612 B  /api/cart"
    );
    assert_eq!(
        line("request shop GET 101 - 2000 /socket", 5),
        "10:41:12  GET   101     open   2.0 kB  /socket"
    );
}

#[test]
fn a_long_path_is_cut_and_letters_of_all_scripts_are_shown() {
    let state = up();
    let line = |path: &str, width| {
        let words = format!("request shop GET 200 12 4100 {path}");
        let event = script::at(0, script::event_kind(&words, START));
        exchange_line(&event, &state, Clock::utc(), width).unwrap()
    };
    assert!(line("/日本語/😀", 80).text().ends_with("  /日本語/😀"));
    let long = format!("/{}", "界".repeat(100));
    for width in [20, 59, 60, 81] {
        let line = line(&long, width);
        assert!(line.width() <= width && line.text().ends_with("界…"), "{width}: {}", line.text());
    }
    assert_eq!(line("/cart", 20).text(), "GET 200 /cart");
}

#[test]
fn a_very_small_terminal_shows_address_state_counts_and_keys() {
    let mut state = up();
    for _ in 0..1200 {
        script::play(&mut state, 1, &["request shop GET 500 18 4100 /"]);
    }
    let small = Frame { width: 20, height: 5, ..frame(2, 80) };
    assert_eq!(
        texts(&block(&state, &small)),
        ["https://shop.eu.exa…", "connected      eu-7…", "1,200 req, 1,200 5xx", "o c p q: keys"]
    );
    let low = Frame { height: 5, ..frame(2, 80) };
    assert_eq!(texts(&block(&state, &low))[3], "o open   c copy URL   p pause   q quit");
}

#[test]
fn problems_are_what_why_and_next() {
    let suspended = Problem::new("suspended")
        .with("account", "acme-ci")
        .with("until", "2027-01-01")
        .with("reason", "phishing")
        .with("complaint", "cpl-7f3k")
        .with("abuse", "abuse@example.com");
    assert_eq!(
        texts(&problem_lines(&suspended, true)),
        [
            "error: account acme-ci is suspended until 2027-01-01 [suspended]",
            "  why:   phishing, complaint cpl-7f3k",
            "  next:  write to abuse@example.com and name the complaint",
        ]
    );
    let taken = Problem::new("name_taken").with("name", "shop");
    assert_eq!(
        texts(&problem_lines(&taken, true)),
        [
            "error: the name \"shop\" belongs to another account [name_taken]",
            "  next:  choose another --name, or leave it out for a random one",
        ]
    );
}

#[test]
fn no_frame_is_wider_or_higher_than_it_may_be() {
    let mut states = vec![up(), script::state(&[]), script::state(&UP[..2])];
    let mut lost = up();
    script::play(
        &mut lost,
        5,
        &["session s1 eu-7c9f closed", "session s2 eu-b41d closed", "offline no network in 9000"],
    );
    states.push(lost);
    for state in &mut states {
        state.inspect = Some("http://127.0.0.1:4848/k3f9xq2m".into());
        for many in [false, true] {
            state.many = many;
            for (width, height) in (0..90).flat_map(|w| (0..12).map(move |h| (w, h))) {
                let lines = block(state, &Frame { width, height, ..frame(6, 80) });
                assert!(lines.len() <= MAX_BLOCK_LINES + 1, "{width} {height}");
                assert!(lines.len() < height.max(2), "{width} {height}: {}", lines.len());
                for line in lines {
                    assert!(
                        line.width() <= width.max(1) || line.text().starts_with("https://"),
                        "{width}: {}",
                        line.text()
                    );
                }
            }
        }
    }
}
