//! The platform with stand-ins for its services: this binary plays each of them under its name.
//!
//! A stand-in serves `/readyz` and nothing else, so that what is proven here is the platform's own part.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mesh_local::REGION;
use mesh_local::exec::{self, Launcher};
use mesh_local::platform::{Options, Platform};
use mesh_local::probe;
use mesh_local::running::Running;
use mesh_local::services::{Kind, SERVICES, Service};
use mesh_local::supervise::Process;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A start of the servers included.
const DEADLINE: Duration = Duration::from_secs(30);

fn main() {
    let args: Vec<_> = std::env::args_os().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let name = Path::new(&args[0])
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    if let Some(service) = SERVICES.iter().find(|service| service.name == name) {
        return runtime.block_on(stand_in(service, args[1] == "migrate"));
    }
    if args.get(1).is_some_and(|arg| arg == "exec") {
        panic!("{:#}", exec::run(args.into_iter().skip(2)));
    }
    runtime.block_on(run_all());
}

async fn run_all() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = options(folder.path());
    a_folder_without_the_binaries_is_refused_by_name(&options).await;

    let platform = Platform::start(options.clone()).await.expect("it starts");
    every_service_is_ready_and_listed(&platform, &options).await;
    it_is_found_through_its_data_directory(&platform, &options).await;
    a_second_one_is_refused(&options).await;
    a_killed_service_is_started_again(&platform).await;
    a_service_is_followed_by_a_successor_or_goes_on(&platform, &options).await;
    let (pids, url, business) = (pids(&platform), platform.public_url(), platform.clock().clock().now());
    platform.stop().await;
    assert!(
        !pids.iter().any(|pid| test_kill_process(*pid).is_ok()),
        "a process outlives the stop"
    );
    Running::find(&options.data_dir).expect_err("nothing is up any more");

    let again = Platform::start(options.clone()).await.expect("it starts again");
    assert_eq!(again.public_url(), url);
    assert!(again.clock().clock().now() >= business, "business time went back");
    again.stop().await;

    a_service_that_cannot_start_is_named_and_nothing_stays_up(&options).await;
}

async fn a_folder_without_the_binaries_is_refused_by_name(options: &Options) {
    let empty = tempfile::tempdir().expect("a temporary folder");
    let wrong = Options {
        binaries_dir: empty.path().to_owned(),
        ..options.clone()
    };
    let message = Platform::start(wrong).await.err().expect("it cannot start").to_string();
    assert!(
        message.contains("order-master") && message.contains("cargo build"),
        "{message}"
    );
}

async fn every_service_is_ready_and_listed(platform: &Platform, options: &Options) {
    let processes = platform.processes();
    assert_eq!(processes.len(), SERVICES.len() + 3);
    for service in &SERVICES {
        let process = processes
            .iter()
            .find(|process| process.name == service.name)
            .expect("listed");
        assert!(
            probe::is_ready(process.admin.expect("every service has one")).await,
            "{}",
            service.name
        );
    }
    let log = std::fs::read_to_string(options.data_dir.join("logs/gateway.log")).expect("a log per service");
    assert!(log.contains("the stand-in of gateway serves"), "{log}");
    assert!(platform.ca_cert().exists());
}

async fn it_is_found_through_its_data_directory(platform: &Platform, options: &Options) {
    let running = Running::find(&options.data_dir).expect("it is up");
    assert_eq!(running.public_url(), platform.public_url());
    assert_eq!(running.processes(), platform.processes());
    assert_eq!(running.ca_cert(), platform.ca_cert());
    let now = running.clock().now().duration_since(platform.clock().clock().now());
    assert!(
        now.abs() < jiff::SignedDuration::from_secs(20),
        "the clocks differ by {now}"
    );
    let url = running.database_url(&SERVICES[0]).expect("a master has a database");
    let mut database = PgConnection::connect(&url).await.expect("its superuser enters");
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM migrated")
        .fetch_one(&mut database)
        .await
        .expect("migrated");
    assert_eq!(rows, 1);
}

async fn a_second_one_is_refused(options: &Options) {
    let message = Platform::start(options.clone())
        .await
        .err()
        .expect("one is up")
        .to_string();
    assert!(message.contains("another platform is running"), "{message}");
}

async fn a_killed_service_is_started_again(platform: &Platform) {
    let find = || {
        platform
            .processes()
            .into_iter()
            .find(|process| process.name == "order-master")
            .expect("listed")
    };
    let before = find();
    kill_process(Pid::from_raw(before.pid).expect("a pid"), Signal::KILL).expect("it runs");
    let started = Instant::now();
    while find().pid == before.pid || !probe::is_ready(before.admin.expect("it has one")).await {
        assert!(started.elapsed() < DEADLINE, "order-master does not come back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn a_service_is_followed_by_a_successor_or_goes_on(platform: &Platform, options: &Options) {
    const NAME: &str = "menu-info";
    let running = Running::find(&options.data_dir).expect("it is up");
    let find = || running.process(NAME).expect("listed");
    let is_there = |process: &Process| test_kill_process(Pid::from_raw(process.pid).expect("a pid")).is_ok();

    let before = find();
    running.restart(NAME).await.expect("its successor is ready");
    let successor = find();
    assert!(is_there(&successor) && !is_there(&before));
    assert_eq!(successor.address, before.address);
    assert_ne!(successor.admin, before.admin, "each has an admin port of its own");

    let (binary, aside) = (options.binaries_dir.join(NAME), options.binaries_dir.join("aside"));
    std::fs::rename(&binary, &aside).expect("ours");
    std::os::unix::fs::symlink("/bin/false", &binary).expect("ours");
    let failure = running.restart(NAME).await.expect_err("it ends at once");
    assert!(format!("{failure:#}").contains("menu-info ended"), "{failure:#}");
    std::fs::rename(&aside, &binary).expect("ours");
    assert_eq!(find(), successor, "who served goes on");
    assert!(is_there(&successor));
    assert_eq!(platform.processes().len(), SERVICES.len() + 3);

    running.restart("cook").await.expect_err("there is no such service");
}

async fn a_service_that_cannot_start_is_named_and_nothing_stays_up(options: &Options) {
    let broken = options.binaries_dir.join("menu-info");
    std::fs::remove_file(&broken).expect("it is there");
    std::os::unix::fs::symlink("/bin/false", &broken).expect("ours");
    let message = Platform::start(Options {
        fresh: true,
        ..options.clone()
    })
    .await
    .err()
    .expect("it cannot")
    .to_string();
    assert!(message.contains("menu-info ended"), "{message}");
    let left = mesh_local::supervise::read_processes(&options.data_dir).expect("readable");
    assert_eq!(left, []);
    drop(
        mesh_local::data_dir::DataDir::open(&options.data_dir, true)
            .await
            .expect("nobody holds it"),
    );
}

fn options(folder: &Path) -> Options {
    let binaries_dir = folder.join("bin");
    std::fs::create_dir(&binaries_dir).expect("writable");
    let this = std::env::current_exe().expect("this binary has a path");
    for service in &SERVICES {
        std::os::unix::fs::symlink(&this, binaries_dir.join(service.name)).expect("writable");
    }
    Options {
        data_dir: folder.join("data"),
        binaries_dir,
        clock_rate: 20.0,
        fresh: false,
        region: REGION.to_owned(),
        public_port: None,
        launcher: Launcher::Own,
        log: "info".to_owned(),
        links: None,
        small_disks: false,
        progress: mesh_local::unwatched(),
    }
}

fn pids(platform: &Platform) -> Vec<Pid> {
    platform
        .processes()
        .iter()
        .filter_map(|process| Pid::from_raw(process.pid))
        .collect()
}

/// Plays a service: looks at what it was given, then migrates or serves.
#[allow(clippy::print_stdout, reason = "what the log of a service is checked for")]
async fn stand_in(service: &Service, migrate: bool) {
    let given: BTreeMap<String, String> = std::env::vars().collect();
    let has = |name: &str| given.contains_key(name);
    assert_eq!(has("TIFFIN_POSTGRES_URL"), service.kind == Kind::Master);
    assert_eq!(has("TIFFIN_POSTGRES_OWNER_URL"), migrate);
    assert_eq!(
        has("TIFFIN_REDIS_URL"),
        matches!(service.kind, Kind::Info | Kind::Gateway)
    );
    assert_eq!(
        has("TIFFIN_NATS_PASSWORD"),
        matches!(service.kind, Kind::Master | Kind::Info)
    );
    assert_eq!(given["TIFFIN_CLOCK_RATE"], "20");
    mesh_identity::Mesh::load(&PathBuf::from(&given["TIFFIN_TLS_DIR"]), service.name).expect("its own certificates");
    if migrate {
        let mut owner = PgConnection::connect(&given["TIFFIN_POSTGRES_OWNER_URL"])
            .await
            .expect("the owner enters");
        let table = "CREATE TABLE IF NOT EXISTS migrated AS SELECT 1 AS step";
        owner.execute(table).await.expect("the owner makes tables");
        return;
    }
    let listener = TcpListener::bind(&given["TIFFIN_ADMIN_LISTEN"])
        .await
        .expect("its own port");
    println!("the stand-in of {} serves", service.name);
    loop {
        let (mut stream, _) = listener.accept().await.expect("a listener accepts");
        tokio::spawn(async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await;
        });
    }
}
