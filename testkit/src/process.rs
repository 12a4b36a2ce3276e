//! Programs that end with the test, however the test ends.
//!
//! A dropped [`Child`] is killed. When the whole test process is killed, the kernel kills the child (`setpriv
//! --pdeathsig` from util-linux asks it to). It does so when the *thread* that started the child ends, and each test has
//! a thread of its own: all children are therefore started by one thread that lives as long as the process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io,
    os::unix::{fs::FileExt, process::CommandExt},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// How much of a program's output is shown when its test fails.
const SHOWN_BYTES: usize = 8 * 1024;

/// Pause between two checks of a state.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: end in an orderly way.
    Term,
    /// SIGINT, as Ctrl-C.
    Int,
    /// SIGQUIT.
    Quit,
    /// SIGHUP.
    Hup,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGKILL: end now.
    Kill,
    /// SIGSTOP: stand still, with all sockets open.
    Stop,
    /// SIGCONT: go on.
    Cont,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Quit => "QUIT",
            Self::Hup => "HUP",
            Self::Usr1 => "USR1",
            Self::Usr2 => "USR2",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
        }
    }
}

/// A program that runs. Its output goes to a file; the end of it is shown when the test panics.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: std::process::Child,
    output: File,
}

impl Child {
    /// Starts a program with its arguments, environment and folder, without input, and with its output in a file that
    /// has no name, so that nothing is left of it. `Command::env_clear` is not heeded: it cannot be seen.
    ///
    /// Panics when the program cannot be started.
    pub fn start(command: &Command) -> Self {
        Self::start_with(command, tempfile::tempfile().expect("a file for output can be made"), Signal::Kill)
    }

    /// As [`Child::start`]; the output is added to a file of the caller's.
    pub fn start_with_output(command: &Command, output: &Path) -> Self {
        Self::start_with(command, append_to(output), Signal::Kill)
    }

    /// As [`Child::start_with_output`]; `at_death` is what the kernel sends it when the test process ends.
    pub(crate) fn start_with(command: &Command, output: File, at_death: Signal) -> Self {
        let name =
            Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let another = || output.try_clone().expect("a file descriptor is free");
        let mut wrapped = Command::new("setpriv");
        wrapped
            .args(["--pdeathsig", at_death.name(), "--"])
            .arg(command.get_program())
            .args(command.get_args());
        copy_surroundings(command, &mut wrapped);
        // A group of its own: Ctrl-C at a terminal reaches the test alone, which then takes its children along.
        wrapped.stdin(Stdio::null()).stdout(another()).stderr(another()).process_group(0);
        let process =
            spawn(wrapped).unwrap_or_else(|error| panic!("cannot start setpriv and {name}: {error}"));
        Self { name, process, output }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal. A program that has ended already gets none.
    pub fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            send(self.process.id(), signal);
        }
    }

    /// SIGTERM.
    pub fn term(&mut self) {
        self.signal(Signal::Term);
    }

    /// SIGSTOP: the program stands still with its sockets open, as one whose machine has lost its network.
    pub fn stop(&mut self) {
        self.signal(Signal::Stop);
    }

    /// SIGCONT.
    pub fn cont(&mut self) {
        self.signal(Signal::Cont);
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> ExitStatus {
        // It can only fail when the program has ended, which is what is wanted.
        let _ = self.process.kill();
        self.process.wait().expect("a child can be waited for")
    }

    /// Whether the program has not ended yet; one that is stopped has not.
    pub fn is_running(&mut self) -> bool {
        self.exited().is_none()
    }

    /// How the program ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("a child can be waited for")
    }

    /// The program's resident memory in bytes, as in proc(5).
    ///
    /// Panics when the program has ended.
    pub fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line VmRSS");
        resident.trim_end_matches("kB").trim().parse::<usize>().expect("a number of KiB") * 1024
    }

    /// Waits for the end of the program; nothing when it still runs after `within`. Blocks its thread.
    pub fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + within;
        loop {
            let status = self.exited();
            if status.is_some() || Instant::now() >= end {
                return status;
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// All that the program has written so far, to standard output and error.
    pub fn output(&self) -> String {
        let mut bytes = vec![0; usize::try_from(self.output.metadata().map_or(0, |m| m.len())).unwrap_or(0)];
        // The child writes at the position of this very file: it must not be moved.
        let read = self.output.read_at(&mut bytes, 0).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }

    /// Waits until a line of the output contains `text`, and returns the first such line. Blocks its thread.
    ///
    /// Panics when that takes longer than `within`, or when the program ends without it.
    pub fn wait_for_line(&mut self, text: &str, within: Duration) -> String {
        let end = Instant::now() + within;
        loop {
            // Looked at before the output: what a program wrote before its end is in the file then.
            let exited = self.exited();
            if let Some(line) = self.output().lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            if let Some(status) = exited {
                panic!("{} ended ({status}) without {text:?}", self.name);
            }
            assert!(Instant::now() < end, "{} did not write {text:?} within {within:?}", self.name);
            thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let ended = self.exited();
        if thread::panicking() {
            let output = self.output();
            let mut from = output.len().saturating_sub(SHOWN_BYTES);
            while !output.is_char_boundary(from) {
                from += 1;
            }
            let state = ended.map_or_else(|| "runs".to_owned(), |status| status.to_string());
            eprintln!("--- {} (pid {}, {state}):\n{}---", self.name, self.pid(), &output[from..]);
        }
        self.kill();
    }
}

/// Opens a file that output is added to.
pub(crate) fn append_to(output: &Path) -> File {
    OpenOptions::new().create(true).append(true).read(true).open(output).expect("the output file can be made")
}

/// Gives one command the environment and the folder of another.
pub(crate) fn copy_surroundings(from: &Command, to: &mut Command) {
    for (key, value) in from.get_envs() {
        match value {
            Some(value) => to.env(key, value),
            None => to.env_remove(key),
        };
    }
    if let Some(folder) = from.get_current_dir() {
        to.current_dir(folder);
    }
}

/// Sends a signal with the shell's own `kill`: the system call itself is not in the standard library.
pub(crate) fn send(pid: u32, signal: Signal) {
    let mut kill = Command::new("/bin/sh");
    kill.args(["-c", "kill -s \"$0\" \"$1\"", signal.name()]).arg(pid.to_string());
    // A process that has ended meanwhile is no failure.
    let _ = kill.stderr(Stdio::null()).status().expect("/bin/sh can be started");
}

type Start = (Command, Sender<io::Result<std::process::Child>>);

/// Starts a command on the thread that outlives every test.
pub(crate) fn spawn(command: Command) -> io::Result<std::process::Child> {
    static STARTER: OnceLock<Sender<Start>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, receiver) = channel::<Start>();
        let starter = move || {
            for (mut command, reply) in receiver {
                // Nobody waits for the reply any more when a test was ended: then the child is ended, too.
                if let Err(unsent) = reply.send(command.spawn())
                    && let Ok(mut orphan) = unsent.0
                {
                    let _ = orphan.kill();
                    let _ = orphan.wait();
                }
            }
        };
        thread::Builder::new().name("starter".to_owned()).spawn(starter).expect("a thread can be started");
        sender
    });
    let (reply, answer) = channel();
    starter.send((command, reply)).expect("the starter's thread never ends");
    answer.recv().expect("the starter's thread never ends")
}

/// Whether a program of this name can be found in `PATH`.
pub fn is_installed(program: impl AsRef<OsStr>) -> bool {
    let program = program.as_ref();
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// Raises this process's limit of open files to the hard limit. Tests with thousands of consumers need it.
///
/// Panics when that is below `minimum`.
pub fn raise_open_file_limit(minimum: u64) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("a soft limit may be raised to the hard one");
    assert!(
        limit.maximum.is_none_or(|hard| hard >= minimum),
        "this test needs {minimum} open files: {limit:?}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::{MAX_WAIT, block_until};
    use std::os::unix::process::ExitStatusExt;

    fn shell(script: &str) -> Child {
        Child::start(Command::new("sh").args(["-c", script]))
    }

    /// The state letter of a process, as in proc(5): `T` is stopped, `Z` ended; nothing when it is gone.
    fn state(pid: u32) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    }

    fn wait_for_state(pid: u32, wanted: impl Fn(Option<char>) -> bool) {
        block_until(&format!("process {pid} reaches the state"), || wanted(state(pid)));
    }

    #[test]
    fn output_environment_and_exit_status_are_kept() {
        let mut child = Child::start(
            Command::new("sh").args(["-c", "echo \"to $WHOM\"; echo oops >&2; exit 3"]).env("WHOM", "stdout"),
        );
        assert_eq!(child.wait(MAX_WAIT).and_then(|status| status.code()), Some(3));
        assert_eq!(child.output(), "to stdout\noops\n");
        assert_eq!(child.wait_for_line("oops", MAX_WAIT), "oops");
    }

    #[test]
    fn a_child_is_stopped_goes_on_and_is_ended() {
        let mut child = shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done");
        child.wait_for_line("up", MAX_WAIT);
        child.stop();
        wait_for_state(child.pid(), |state| state == Some('T'));
        assert!(child.is_running());
        child.cont();
        child.term();
        assert_eq!(child.wait(MAX_WAIT).and_then(|status| status.code()), Some(0));
        assert!(child.output().ends_with("bye\n"));
        child.term();
    }

    #[test]
    fn a_dropped_child_is_gone_even_when_it_is_stopped() {
        let mut child = shell("exec sleep 600");
        child.stop();
        let pid = child.pid();
        drop(child);
        assert_eq!(state(pid), None);
        assert_eq!(shell("exec sleep 600").kill().signal(), Some(9));
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let mut child = thread::spawn(|| shell("echo up; exec sleep 600")).join().unwrap();
        child.wait_for_line("up", MAX_WAIT);
        // The kernel sends its signal while the thread ends, which join() has waited for.
        assert!(child.wait(Duration::from_millis(100)).is_none(), "{:?}", child.exited());
    }

    #[test]
    #[should_panic(expected = "ended (exit status: 7) without \"never\"")]
    fn waiting_for_a_line_of_a_program_that_ended_fails_at_once() {
        shell("exit 7").wait_for_line("never", MAX_WAIT);
    }

    /// Not a test of its own: the next one starts this test program again, with this one alone, and kills it.
    #[test]
    fn victim() {
        let Ok(file) = std::env::var("ADIT_TESTKIT_VICTIM") else { return };
        // Once they have said something the kernel has been asked to end them.
        let mut child = shell("echo up; exec sleep 600");
        child.wait_for_line("up", MAX_WAIT);
        let mut stopped = shell("echo up; exec sleep 600");
        stopped.wait_for_line("up", MAX_WAIT);
        stopped.stop();
        std::fs::write(file, format!("{} {}\n", child.pid(), stopped.pid())).unwrap();
        thread::sleep(MAX_WAIT);
    }

    #[test]
    fn the_children_of_a_killed_test_process_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let mut test = Child::start(
            Command::new(std::env::current_exe().unwrap())
                .args(["process::tests::victim", "--exact"])
                .env("ADIT_TESTKIT_VICTIM", &pids),
        );
        let text = || std::fs::read_to_string(&pids).unwrap_or_default();
        block_until("the test has started children", || text().ends_with('\n'));
        let children: Vec<u32> = text().split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        test.kill();
        for pid in children {
            wait_for_state(pid, |state| matches!(state, None | Some('Z')));
        }
    }
}
