use super::*;
use crate::cli::script::{self, START};

fn client(words: &[&str]) -> ClientSnapshot {
    let info = snapshot::ClientInfo {
        started_at: START,
        region: "eu.example.com".into(),
        directory: "/nowhere".into(),
        config: None,
    };
    ClientSnapshot::of(&info, &script::state(words))
}

const TWO: [&str; 7] = [
    "tunnel shop 3000",
    "tunnel docs 4000",
    "session s1 eu-7c9f connected 12",
    "session s2 eu-b41d connected 14",
    "connected",
    "open shop https://shop.eu.example.com",
    "refused docs name_taken the name belongs to another account",
];

fn ask(words: &[&str], which: Option<&str>) -> StatusReport {
    answer(&[client(words)], which, false, Path::new("/"), START)
}

#[test]
fn the_table_shows_each_tunnel_and_a_problem_is_code_8() {
    let answer = ask(&TWO, None);
    assert_eq!(
        answer.results,
        "\
NAME  URL                          SERVICE                STATE         RELAYS
shop  https://shop.eu.example.com  http://127.0.0.1:3000  connected          2
docs  -                            http://127.0.0.1:4000  name refused       0
"
    );
    assert_eq!(answer.remarks, ["docs: the name \"docs\" belongs to another account [name_taken]"]);
    assert_eq!(answer.exit_code, 8);
}

#[test]
fn a_tunnel_is_found_by_name_id_port_service_and_url() {
    for which in [
        "shop",
        "3000",
        "127.0.0.1:3000",
        "http://127.0.0.1:3000",
        "https://shop.eu.example.com",
        "https://Shop.eu.example.com/cart?x=1",
        "shop.eu.example.com",
    ] {
        let answer = ask(&TWO, Some(which));
        assert_eq!(answer.results.lines().count(), 2, "{which}: {}", answer.results);
        assert!(answer.results.contains("shop.eu") && answer.exit_code == 0, "{which}");
    }
    for which in ["shop.eu", "300", "sho", "https://eu.example.com", "/"] {
        let answer = ask(&TWO, Some(which));
        assert_eq!((answer.results.as_str(), answer.exit_code), ("", 8), "{which}");
    }
}

#[test]
fn a_tunnel_is_found_by_its_clients_directory() {
    let place = tempfile::tempdir().unwrap();
    let mut client = client(&TWO);
    client.directory = place.path().canonicalize().unwrap().display().to_string();
    let found = answer(&[client], Some("."), false, place.path(), START);
    assert_eq!(found.results.lines().count(), 3);
}

#[test]
fn nothing_runs_is_no_problem_but_nothing_found_is() {
    let nothing = answer(&[], None, false, Path::new("/"), START);
    assert_eq!((nothing.results.as_str(), nothing.exit_code), ("", 0));
    assert_eq!(nothing.remarks, ["no tunnel of yours is open on this computer"]);
    assert_eq!(answer(&[], Some("shop"), false, Path::new("/"), START).exit_code, 8);
}

#[test]
fn an_offline_client_is_a_problem_and_a_paused_tunnel_is_none() {
    let mut words = TWO[..6].to_vec();
    words.remove(1);
    words.extend([
        "session s1 eu-7c9f closed",
        "session s2 eu-b41d closed",
        "offline network unreachable in 1000",
    ]);
    let offline = ask(&words, None);
    assert!(offline.results.contains("  offline       0") && offline.exit_code == 8, "{}", offline.results);
    words.truncate(5);
    words.push("paused shop");
    assert_eq!(ask(&words, None).exit_code, 0);
}

#[test]
fn a_client_whose_only_relay_drains_says_so() {
    let moving = ask(
        &[
            "tunnel shop 3000",
            "session s1 eu-7c9f connected 12",
            "connected",
            "open shop https://shop.eu.example.com",
            "session s1 eu-7c9f moving",
            "reconnecting connection refused in 500",
        ],
        None,
    );
    assert!(moving.results.contains("  moving"), "{}", moving.results);
    assert_eq!(
        moving.remarks,
        ["shop: eu-7c9f shuts down or restarts; the client is dialling its successor"]
    );
    assert_eq!(moving.exit_code, 0);
}

#[test]
fn a_client_may_take_ten_seconds_to_connect() {
    let client =
        client(&["tunnel shop 3000", "connecting connect.eu.example.com", "connecting no network in 500"]);
    let after = |seconds| {
        answer(
            std::slice::from_ref(&client),
            None,
            false,
            Path::new("/"),
            START + Duration::from_secs(seconds),
        )
    };
    assert_eq!((after(10).exit_code, after(11).exit_code), (0, 8));
    assert_eq!(after(11).remarks, ["shop: no network"]);
}

#[test]
fn json_has_one_object_for_each_tunnel() {
    let answer = answer(&[client(&TWO)], Some("shop"), true, Path::new("/"), START);
    let value: serde_json::Value = serde_json::from_str(&answer.results).unwrap();
    assert_eq!(value["v"], 1);
    let shop = &value["tunnels"][0];
    assert_eq!(
        (&shop["url"], &shop["relays"], &shop["state"]),
        (&"https://shop.eu.example.com".into(), &2.into(), &"connected".into())
    );
    assert_eq!(value["tunnels"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_running_client_answers_on_its_socket_and_removes_it() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("adit");
    let socket = socket::Socket::bind(&folder).unwrap();
    let info = client(&TWO);
    let expected = info.clone();
    // A socket that nobody listens on is taken away.
    drop(std::os::unix::net::UnixListener::bind(folder.join("1.sock")).unwrap());
    let reader = tokio::task::spawn_blocking({
        let folder = folder.clone();
        move || snapshot::read_all(&folder)
    });
    tokio::pin!(reader);
    let clients = loop {
        tokio::select! {
            stream = socket.accept() => socket.answer(stream, &info),
            clients = &mut reader => break clients.unwrap(),
        }
    };
    assert_eq!(clients, [expected]);
    drop(socket);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}
