use super::*;

fn answers(postgres: &Postgres, database: &str) -> bool {
    answers_within(60, postgres, database)
}

fn answers_within(seconds: u32, postgres: &Postgres, database: &str) -> bool {
    let mut psql = Command::new(postgres.programs.join("psql"));
    psql.args(["-qtAc", "SELECT 1", &postgres.url(database)]);
    psql.env("PGCONNECT_TIMEOUT", seconds.to_string());
    psql.stderr(Stdio::null()).output().unwrap().stdout == b"1\n"
}

fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[test]
fn a_server_stops_starts_again_freezes_and_is_removed() {
    let mut postgres = Postgres::start();
    let url = postgres.database();
    let database = url.rsplit_once('/').unwrap().1.split_once('?').unwrap().0.to_owned();
    assert!(answers(&postgres, &database));
    postgres.stop();
    assert!(!answers(&postgres, &database));
    postgres.restart();
    assert!(answers(&postgres, &database), "databases outlive a restart");
    postgres.freeze();
    assert!(!answers_within(2, &postgres, &database));
    postgres.thaw();
    assert!(answers(&postgres, &database));
    postgres.freeze();
    let (folder, pid) = (postgres.folder.clone(), postgres.server.as_ref().unwrap().pid());
    drop(postgres);
    assert!(!folder.exists());
    assert!(is_gone(pid));
}

#[test]
fn a_panic_leaves_nothing_behind() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let test = thread::spawn(move || {
        let postgres = Postgres::start();
        sender.send((postgres.folder.clone(), postgres.server.as_ref().unwrap().pid())).unwrap();
        panic!("as a failing test does");
    });
    assert!(test.join().is_err());
    let (folder, pid) = receiver.recv().unwrap();
    assert!(!folder.exists());
    assert!(is_gone(pid));
}

/// Not a test of its own: the next one starts this test program again, with this one alone, and kills it.
#[test]
fn victim() {
    let Ok(file) = std::env::var("ADIT_TESTKIT_POSTGRES_VICTIM") else { return };
    let postgres = Postgres::shared();
    let pid = postgres.server.as_ref().unwrap().pid();
    fs::write(file, format!("{pid} {}\n", postgres.folder.display())).unwrap();
    thread::sleep(START_TIMEOUT);
}

#[test]
fn the_server_of_a_killed_test_process_is_gone_with_its_files() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("server");
    let mut test = Child::start(
        Command::new(std::env::current_exe().unwrap())
            .args(["postgres::tests::victim", "--exact"])
            .env("ADIT_TESTKIT_POSTGRES_VICTIM", &file),
    );
    let end = Instant::now() + START_TIMEOUT;
    let wait_until = |state: &str, reached: &dyn Fn() -> bool| {
        while !reached() {
            assert!(Instant::now() < end, "{state}: {}", test.output());
            thread::sleep(Duration::from_millis(10));
        }
    };
    wait_until("it starts", &|| fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')));
    let text = fs::read_to_string(&file).unwrap();
    let (pid, folder) = text.trim_end().split_once(' ').unwrap();
    let (pid, folder) = (pid.parse().unwrap(), PathBuf::from(folder));
    assert!(!is_gone(pid));
    test.kill();
    let end = Instant::now() + START_TIMEOUT;
    while !is_gone(pid) || folder.exists() {
        assert!(Instant::now() < end, "{pid} gone: {}, files: {}", is_gone(pid), folder.exists());
        thread::sleep(Duration::from_millis(10));
    }
}
