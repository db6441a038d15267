use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use mesh_local::exec::Launcher;
use mesh_local::supervise::{Process, Spec, Supervisor, Tier, read_processes};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Shells start and end within milliseconds; a stop that has to kill waits 10 s first.
const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_process_that_ends_is_started_again_and_the_file_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let supervisor = Supervisor::new(folder.path(), Launcher::foreign()).expect("writable");
    supervisor
        .start(shell(folder.path(), "echo here; exec sleep 1000"))
        .await
        .expect("it starts");
    until(|| supervisor.log_tail("shell") == "here").await;
    let before = listed(folder.path());
    kill_process(pid(&before), Signal::KILL).expect("it runs");
    until(|| listed(folder.path()).pid != before.pid).await;
    let after = listed(folder.path());
    assert_eq!((after.restarts, &after.address), (1, &before.address));
    until(|| supervisor.log_tail("shell") == "here\nhere").await;
    let mode = folder
        .path()
        .join("processes.json")
        .metadata()
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    supervisor.stop(Tier::Service).await;
    assert!(test_kill_process(pid(&after)).is_err());
}

#[tokio::test]
async fn a_process_that_cannot_start_is_told_with_the_end_of_its_log() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let supervisor = Supervisor::new(folder.path(), Launcher::foreign()).expect("writable");
    supervisor
        .start(shell(folder.path(), "echo the port is taken; exit 1"))
        .await
        .expect("it starts");
    until(|| supervisor.failure("shell", 1).is_some()).await;
    let failure = supervisor.failure("shell", 1).expect("it fails again and again");
    assert!(failure.contains("the port is taken"), "{failure}");
    supervisor.stop(Tier::Service).await;
    assert_eq!(read_processes(folder.path()).expect("readable"), []);
}

#[tokio::test]
async fn a_process_that_will_not_end_is_killed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let supervisor = Supervisor::new(folder.path(), Launcher::foreign()).expect("writable");
    let stubborn = "trap '' TERM; echo deaf; while :; do sleep 1; done";
    supervisor
        .start(shell(folder.path(), stubborn))
        .await
        .expect("it starts");
    until(|| supervisor.log_tail("shell") == "deaf").await;
    let process = listed(folder.path());
    tokio::time::timeout(DEADLINE, supervisor.stop(Tier::Service))
        .await
        .expect("a stop ends");
    assert!(test_kill_process(pid(&process)).is_err());
}

#[tokio::test]
async fn what_works_behind_the_scenes_steps_back_whenever_it_is_started() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let supervisor = Supervisor::new(folder.path(), Launcher::foreign()).expect("writable");
    // Said again and again: the first time may come before the supervisor's word.
    let spec = Spec {
        niceness: 7,
        ..shell(folder.path(), "while :; do echo $$ $(nice); sleep 0.1; done")
    };
    supervisor.start(spec).await.expect("it starts");
    let says = |process: &Process| supervisor.log_tail("shell").ends_with(&format!("{} 7", process.pid));
    let first = listed(folder.path());
    until(|| says(&first)).await;
    kill_process(pid(&first), Signal::KILL).expect("it runs");
    until(|| listed(folder.path()).pid != first.pid).await;
    until(|| says(&listed(folder.path()))).await;
    supervisor.stop(Tier::Service).await;
}

fn shell(folder: &Path, script: &str) -> Spec {
    Spec {
        name: "shell".to_owned(),
        tier: Tier::Service,
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        env: std::collections::BTreeMap::new(),
        current_dir: folder.to_owned(),
        user: None,
        niceness: 0,
        stop_signal: Signal::TERM,
        address: (std::net::Ipv4Addr::LOCALHOST, 1).into(),
        held: Vec::new(),
        admin: None,
    }
}

fn listed(folder: &Path) -> Process {
    read_processes(folder).expect("readable").pop().expect("one process")
}

fn pid(process: &Process) -> Pid {
    Pid::from_raw(process.pid).expect("a pid")
}

#[track_caller]
fn until(met: impl Fn() -> bool) -> impl Future<Output = ()> {
    let (caller, started) = (std::panic::Location::caller(), Instant::now());
    async move {
        while !met() {
            assert!(started.elapsed() < DEADLINE, "never met: {caller}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
