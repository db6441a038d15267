use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_local::data_dir::DataDir;
use mesh_local::exec::Launcher;
use mesh_local::ports::Ports;
use mesh_local::secrets::Secrets;
use mesh_local::servers::{Options, Servers};
use mesh_local::services::{bus_grants, redis_users};
use mesh_local::supervise::{Supervisor, read_processes};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sqlx::{Connection as _, Executor as _, PgConnection};

/// A database that was killed replays its log; on a busy machine that takes seconds.
const HEAL_DEADLINE: Duration = Duration::from_secs(60);

struct Running {
    data_dir: DataDir,
    supervisor: Arc<Supervisor>,
    servers: Servers,
}

impl Running {
    async fn start(path: &Path) -> Self {
        let data_dir = DataDir::open(path, false).await.expect("nobody else is in it");
        let options = Options {
            durable: true,
            any_prefix: false,
            small_disks: false,
            connections_max: 50,
            bus: bus_grants(),
            redis: redis_users(),
        };
        let supervisor = Arc::new(Supervisor::new(data_dir.path(), Launcher::foreign()).expect("writable"));
        let ports = Ports::open(data_dir.path()).expect("readable");
        let secrets = Secrets::open(data_dir.path()).expect("readable");
        let progress = mesh_local::unwatched();
        let servers = Servers::start(
            data_dir.path(),
            &options,
            supervisor.clone(),
            &ports,
            &secrets,
            &progress,
        )
        .await;
        Self {
            data_dir,
            supervisor,
            servers: servers.expect("the servers start"),
        }
    }

    /// Stops it and empties its folder, the part of it elsewhere included.
    async fn end(self) {
        self.servers.stop().await;
        let path = self.data_dir.path().to_owned();
        drop(self);
        DataDir::open(&path, true).await.expect("it is ours, and free");
    }

    fn pids(&self) -> BTreeMap<String, Pid> {
        let processes = self.supervisor.processes();
        processes
            .into_iter()
            .map(|process| (process.name, Pid::from_raw(process.pid).expect("a pid")))
            .collect()
    }

    fn addresses(&self) -> BTreeMap<String, SocketAddr> {
        self.supervisor
            .processes()
            .into_iter()
            .map(|process| (process.name, process.address))
            .collect()
    }

    async fn jetstream(&self) -> async_nats::jetstream::Context {
        let (user, password) = self.servers.nats.admin();
        let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
        async_nats::jetstream::new(
            options
                .connect(self.servers.nats.url())
                .await
                .expect("the broker answers"),
        )
    }

    /// Leaves a row and a message that must still be there later.
    async fn remember(&self) {
        let database = self
            .servers
            .postgres
            .database("order_master", "serves", "owns")
            .await
            .expect("a database");
        let mut owner = PgConnection::connect(&database.owner_url)
            .await
            .expect("the owner enters");
        owner
            .execute("CREATE TABLE kept (word text); INSERT INTO kept VALUES ('row')")
            .await
            .expect("a row");
        let config = async_nats::jetstream::stream::Config {
            name: "KEPT".to_owned(),
            subjects: vec!["kept".to_owned()],
            ..Default::default()
        };
        let jetstream = self.jetstream().await;
        jetstream.create_stream(config).await.expect("a stream");
        jetstream
            .publish("kept", "message".into())
            .await
            .expect("sent")
            .await
            .expect("stored");
    }

    async fn remembers(&self) -> anyhow::Result<()> {
        let mut owner = PgConnection::connect(&self.servers.postgres.superuser_url("order_master")).await?;
        let row: String = sqlx::query_scalar("SELECT word FROM kept")
            .fetch_one(&mut owner)
            .await?;
        anyhow::ensure!(row == "row");
        let stream = self.jetstream().await.get_stream("KEPT").await?;
        anyhow::ensure!(stream.get_raw_message(1).await?.payload == "message");
        Ok(())
    }
}

fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

#[tokio::test]
async fn a_stop_leaves_no_process_and_a_second_start_finds_the_same_data_on_the_same_ports() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("data");
    let first = Running::start(&path).await;
    first.remember().await;
    let (pids, addresses) = (first.pids(), first.addresses());
    assert!(pids.values().all(|pid| is_alive(*pid)));
    first.servers.stop().await;
    assert!(!pids.values().any(|pid| is_alive(*pid)));
    assert_eq!(read_processes(&path).expect("readable"), []);
    drop(first);

    let second = Running::start(&path).await;
    assert_eq!(second.addresses(), addresses);
    second.remembers().await.expect("the row and the message");
    second.end().await;
}

#[tokio::test]
async fn each_server_that_is_killed_comes_back_on_its_port_with_its_data() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running = Running::start(&folder.path().join("data")).await;
    running.remember().await;
    let (pids, addresses) = (running.pids(), running.addresses());
    for pid in pids.values() {
        kill_process(*pid, Signal::KILL).expect("it runs");
    }
    let started = Instant::now();
    while pids.iter().any(|(name, pid)| running.pids()[name] == *pid) || running.remembers().await.is_err() {
        assert!(
            started.elapsed() < HEAL_DEADLINE,
            "not healed: {:?}",
            running.supervisor.processes()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let client = redis::Client::open(running.servers.redis.admin_url()).expect("a good URL");
    client.get_multiplexed_async_connection().await.expect("Redis answers");
    assert_eq!(running.addresses(), addresses);
    running.end().await;
}

#[tokio::test]
async fn a_port_that_somebody_took_meanwhile_is_left_to_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("data");
    let first = Running::start(&path).await;
    first.remember().await;
    let before = first.addresses();
    first.servers.stop().await;
    drop(first);

    let _theirs = before
        .values()
        .map(|address| TcpListener::bind(address).expect("free"))
        .collect::<Vec<_>>();
    let second = Running::start(&path).await;
    assert!(
        second
            .addresses()
            .values()
            .all(|address| !before.values().any(|taken| taken == address))
    );
    second.remembers().await.expect("the row and the message");
    second.end().await;
}

#[tokio::test]
async fn one_service_may_not_publish_the_events_of_another() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running = Running::start(&folder.path().join("data")).await;
    let secrets = Secrets::open(running.data_dir.path()).expect("readable");
    let config = async_nats::jetstream::stream::Config {
        name: "ORDER".to_owned(),
        subjects: vec!["ev.local.ORDER.*".to_owned()],
        ..Default::default()
    };
    running.jetstream().await.create_stream(config).await.expect("a stream");
    for (service, allowed) in [("order-master", true), ("basket-master", false), ("order-info", false)] {
        let password = secrets.get(&format!("nats/{service}")).expect("known");
        let options = async_nats::ConnectOptions::with_user_and_password(service.to_owned(), password);
        let client = options
            .connect(running.servers.nats.url())
            .await
            .expect("every service enters");
        let jetstream = async_nats::jetstream::context::ContextBuilder::new()
            .timeout(Duration::from_secs(2))
            .build(client);
        let stored = jetstream
            .publish("ev.local.ORDER.7", "{}".into())
            .await
            .expect("sent")
            .await;
        assert_eq!(stored.is_ok(), allowed, "{service}");
        assert!(
            jetstream.delete_stream("ORDER").await.is_err(),
            "no service deletes a stream"
        );
    }
    running.end().await;
}

#[tokio::test]
async fn jobs_are_put_on_a_queue_by_their_owner_and_taken_by_its_worker_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running = Running::start(&folder.path().join("data")).await;
    let secrets = Secrets::open(running.data_dir.path()).expect("readable");
    let config = async_nats::jetstream::stream::Config {
        name: "JOBS_NOTIFY".to_owned(),
        subjects: vec!["job.local.JOBS_NOTIFY".to_owned()],
        retention: async_nats::jetstream::stream::RetentionPolicy::WorkQueue,
        ..Default::default()
    };
    running.jetstream().await.create_stream(config).await.expect("a queue");
    for (service, puts, takes) in [
        ("order-master", true, false),
        ("notifier", false, true),
        ("basket-master", false, false),
    ] {
        let password = secrets.get(&format!("nats/{service}")).expect("known");
        let options = async_nats::ConnectOptions::with_user_and_password(service.to_owned(), password);
        let client = options
            .connect(running.servers.nats.url())
            .await
            .expect("every service enters");
        let jetstream = async_nats::jetstream::context::ContextBuilder::new()
            .timeout(Duration::from_secs(2))
            .build(client);
        let put = jetstream
            .publish("job.local.JOBS_NOTIFY", "{}".into())
            .await
            .expect("sent")
            .await;
        assert_eq!(put.is_ok(), puts, "{service} puts");
        let queue = jetstream.get_stream("JOBS_NOTIFY").await.expect("everyone may look");
        let config = async_nats::jetstream::consumer::pull::Config {
            durable_name: Some("notifier".to_owned()),
            ..Default::default()
        };
        assert_eq!(queue.create_consumer(config).await.is_ok(), takes, "{service} takes");
        assert_eq!(queue.get_raw_message(1).await.is_ok(), takes, "{service} reads");
    }
    running.end().await;
}
