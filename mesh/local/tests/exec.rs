//! A child started through `exec` ends with its parent, however that ends, and runs as another user from any folder.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mesh_local::exec::{self, Launcher};
use mesh_local::supervise::{Spec, Tier, User, run_once, start_tied};
use rustix::process::{Pid, Signal};

/// The kernel sends the signal at once.
const DEADLINE: Duration = Duration::from_secs(5);

fn main() {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(|arg| arg.to_str()) {
        Some("exec") => panic!("{:#}", exec::run(args)),
        Some("parent") => parent(),
        // Flags that `cargo test` passes on to every test binary.
        Some(_) | None => run_all(),
    }
}

fn run_all() {
    if !cfg!(target_os = "linux") {
        return;
    }
    a_child_ends_when_its_parent_is_killed();
    a_child_runs_as_another_user_from_a_folder_that_user_cannot_enter();
    an_exec_without_a_living_parent_does_not_run();
}

fn a_child_ends_when_its_parent_is_killed() {
    let mut parent = Command::new(this())
        .arg("parent")
        .stdout(Stdio::piped())
        .spawn()
        .expect("this binary runs");
    let child = first_line(&mut parent)
        .parse()
        .expect("the parent says its child's pid");
    assert!(is_running(child));
    parent.kill().expect("a child of ours");
    parent.wait().expect("a child of ours");
    let killed = Instant::now();
    while is_running(child) {
        assert!(killed.elapsed() < DEADLINE, "the child outlives its parent");
        std::thread::yield_now();
    }
}

fn a_child_runs_as_another_user_from_a_folder_that_user_cannot_enter() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    use std::os::unix::fs::PermissionsExt as _;
    let hidden = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(hidden.path(), std::fs::Permissions::from_mode(0o700)).expect("ours");
    let copy = hidden.path().join("exec");
    std::fs::copy(this(), &copy).expect("there is room");
    // The copy plays the parent; `id` is its child, as nobody.
    let output = Command::new(copy)
        .args(["parent", "id"])
        .output()
        .expect("the copy runs");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "65534",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn an_exec_without_a_living_parent_does_not_run() {
    let output = Command::new(this())
        .args([
            "exec", "orphan", "--parent", "1234567", "--signal", "9", "--", "echo", "ran",
        ])
        .output()
        .expect("this binary runs");
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("the parent is gone"));
}

/// In a process of its own: starts a child through `exec`, says who it is, and never ends by itself.
#[allow(clippy::print_stdout, reason = "how the parent answers")]
fn parent() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    if std::env::args().nth(2).as_deref() == Some("id") {
        let nobody = User {
            uid: 65_534,
            gid: 65_534,
        };
        let spec = spec("/usr/bin/id", &["-u"], Some(nobody));
        print!(
            "{}",
            runtime.block_on(run_once(&Launcher::Own, &spec)).expect("it runs")
        );
        return;
    }
    let spec = spec("/bin/sleep", &["1000"], None);
    let child = runtime
        .block_on(start_tied(&Launcher::Own, &spec, Path::new("/dev/null")))
        .expect("it starts");
    println!("{}", child.id().expect("it runs"));
    runtime.block_on(std::future::pending())
}

fn spec(program: &str, args: &[&str], user: Option<User>) -> Spec {
    Spec {
        name: "child".to_owned(),
        tier: Tier::Service,
        program: PathBuf::from(program),
        args: args.iter().map(Into::into).collect(),
        env: std::collections::BTreeMap::new(),
        current_dir: PathBuf::from("/"),
        user,
        niceness: 0,
        stop_signal: Signal::TERM,
        address: (std::net::Ipv4Addr::LOCALHOST, 1).into(),
        held: Vec::new(),
        admin: None,
    }
}

fn this() -> PathBuf {
    std::env::current_exe().expect("this binary has a path")
}

fn first_line(parent: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(parent.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("it says something");
    line.trim().to_owned()
}

/// A process that ended and that nobody waits for is not running.
fn is_running(pid: i32) -> bool {
    let exists = Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok());
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    exists && !stat.contains(") Z ")
}
