use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::jetstream::stream::RetentionPolicy;
use mesh_bus::{Bus, Job, NewJob, StreamsError, Verdict, Work};
use mesh_contracts::subject::Queue;
use mesh_runtime::Shutdown;
use mesh_testkit::{Stage, eventually};
use serde_json::{Value, json};

use crate::dead_letters::letters;
use crate::events::stream;
use crate::own_server::OwnServer;

/// Longer than the broker waits for a sign of life.
const LONG: Duration = Duration::from_secs(8);

async fn producer(stage: &Stage) -> Bus {
    let bus = Bus::connect(stage.bus("order-master")).await.unwrap();
    bus.ensure_queues(&[Queue::Notify]).await.unwrap();
    bus
}

async fn worker(stage: &Stage) -> Bus {
    Bus::connect(stage.bus("notifier")).await.unwrap()
}

fn job(number: usize) -> NewJob {
    NewJob::new(format!("job-{number}"), stream(number), &json!({ "number": number })).unwrap()
}

async fn put(bus: &Bus, numbers: impl IntoIterator<Item = usize>) {
    for number in numbers {
        bus.publish_job(Queue::Notify, &job(number)).await.unwrap();
    }
}

fn number(job: &Job) -> usize {
    let body: Value = job.read().expect("JSON");
    body["number"].as_u64().expect("a number") as usize
}

/// No pause that a test would have to wait for.
fn hasty() -> Work {
    let pause = Duration::from_millis(20);
    Work::on(Queue::Notify).backoff(pause, pause)
}

/// Which jobs were tried, and which try it was, in order.
#[derive(Clone, Default)]
struct Tries(Arc<Mutex<Vec<(usize, u64)>>>);

impl Tries {
    fn note(&self, job: &Job) {
        self.0.lock().unwrap().push((number(job), job.attempt));
    }

    fn all(&self) -> Vec<(usize, u64)> {
        self.0.lock().unwrap().clone()
    }

    async fn come_to(&self, name: &str, count: usize) {
        eventually(name, async || (self.all().len() >= count).then_some(())).await;
    }
}

/// Works on a task until the guard is dropped.
struct Worker(Shutdown);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.trigger();
    }
}

fn work(bus: &Bus, work: Work, judge: impl Fn(&Job) -> Verdict + Send + Sync + 'static) -> Worker {
    work_in_batches(bus, work, move |jobs| jobs.iter().map(&judge).collect())
}

fn work_in_batches(bus: &Bus, work: Work, judge: impl Fn(&[Job]) -> Vec<Verdict> + Send + Sync + 'static) -> Worker {
    let shutdown = Shutdown::new();
    let (bus, until) = (bus.clone(), shutdown.clone());
    tokio::spawn(async move {
        bus.work(work, until, |jobs| {
            let verdicts = judge(&jobs);
            async move { verdicts }
        })
        .await;
    });
    Worker(shutdown)
}

/// Which jobs were handed over together, in order.
#[derive(Clone, Default)]
struct Batches(Arc<Mutex<Vec<Vec<usize>>>>);

impl Batches {
    fn note(&self, jobs: &[Job]) {
        self.0.lock().unwrap().push(jobs.iter().map(number).collect());
    }

    fn all(&self) -> Vec<Vec<usize>> {
        self.0.lock().unwrap().clone()
    }
}

fn note_and_do(bus: &Bus, tries: &Tries) -> Worker {
    let tries = tries.clone();
    work(bus, hasty(), move |job| {
        tries.note(job);
        Verdict::Done
    })
}

async fn empty(stage: &Stage) {
    let admin = jetstream::new(stage.bus_admin().await);
    is_empty(&admin, &format!("{}JOBS_NOTIFY", stage.bus_prefix())).await;
}

async fn is_empty(broker: &jetstream::Context, queue: &str) {
    eventually("the queue is empty", async || {
        let queue = broker.get_stream(queue).await.unwrap();
        (queue.cached_info().state.messages == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_job_published_twice_is_done_once_and_forgotten() {
    let stage = Stage::new();
    let bus = producer(&stage).await;
    let first = bus.publish_job(Queue::Notify, &job(1)).await.unwrap();
    let second = bus.publish_job(Queue::Notify, &job(1)).await.unwrap();
    assert!(!first.duplicate && second.duplicate);
    let tries = Tries::default();
    let _worker = note_and_do(&worker(&stage).await, &tries);
    empty(&stage).await;
    assert_eq!(tries.all(), [(1, 1)]);
}

#[tokio::test]
async fn one_of_several_workers_takes_each_job() {
    let stage = Stage::new();
    let bus = producer(&stage).await;
    let tries = Tries::default();
    let _first = note_and_do(&worker(&stage).await, &tries);
    let _second = note_and_do(&worker(&stage).await, &tries);
    put(&bus, 0..60).await;
    empty(&stage).await;
    let mut done = tries.all();
    done.sort_unstable();
    assert_eq!(done, (0..60).map(|number| (number, 1)).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_killed_worker_had_in_hand_comes_again_and_counts_as_tried() {
    let stage = Stage::new();
    put(&producer(&stage).await, [1]).await;
    let bus = worker(&stage).await;
    let (taken, taking) = tokio::sync::oneshot::channel();
    let taken = Mutex::new(Some(taken));
    let killed = bus.work(hasty(), Shutdown::new(), |_| {
        let taken = taken.lock().unwrap().take();
        async {
            taken.unwrap().send(()).unwrap();
            std::future::pending().await
        }
    });
    tokio::select! {
        () = killed => unreachable!("nothing shuts it down"),
        taken = taking => taken.unwrap(),
    }
    let tries = Tries::default();
    let _worker = note_and_do(&bus, &tries);
    tries.come_to("the job comes again", 1).await;
    empty(&stage).await;
    let tries = tries.all();
    assert!(matches!(tries.as_slice(), [(1, attempt)] if *attempt > 1), "{tries:?}");
}

#[tokio::test]
async fn a_job_that_always_fails_is_a_dead_letter_after_its_last_try() {
    let stage = Stage::new();
    let bus = producer(&stage).await;
    let tries = Tries::default();
    let noted = tries.clone();
    let last = Arc::new(AtomicUsize::new(0));
    let told = last.clone();
    let _worker = work(&worker(&stage).await, hasty().tries_max(3), move |job| {
        noted.note(job);
        if number(job) != 1 {
            return Verdict::Done;
        }
        told.fetch_add(usize::from(job.is_last_try), Ordering::SeqCst);
        Verdict::Retry("put off".into())
    });
    put(&bus, [1, 2]).await;
    empty(&stage).await;
    let of_the_bad_one: Vec<u64> = tries
        .all()
        .into_iter()
        .filter_map(|(number, attempt)| (number == 1).then_some(attempt))
        .collect();
    assert_eq!(of_the_bad_one, [1, 2, 3]);
    assert_eq!(last.load(Ordering::SeqCst), 1);
    let letters = letters(&stage).await;
    let [(letter, text)] = letters.as_slice() else {
        panic!("not one letter: {letters:?}");
    };
    assert_eq!(letter.event_id.as_deref(), Some("job-1"));
    assert_eq!(letter.stream, Some(stream(1)));
    assert_eq!(
        (letter.consumer.as_str(), letter.error.as_str()),
        ("notifier", "put off")
    );
    assert!(!text.contains("number"), "{text}");
}

#[tokio::test]
async fn poison_a_panic_and_a_message_that_is_no_job_are_buried_too() {
    let stage = Stage::new();
    let bus = producer(&stage).await;
    let _worker = work(&worker(&stage).await, hasty().tries_max(2), |job| match number(job) {
        1 => Verdict::Poison("unknown shape".into()),
        number => panic!("the bug with {number}"),
    });
    put(&bus, [1, 2]).await;
    let subject = format!("{}job.local.JOBS_NOTIFY", stage.bus_prefix());
    bus.jetstream()
        .publish(subject, "?".into())
        .await
        .unwrap()
        .await
        .unwrap();
    empty(&stage).await;
    let mut errors: Vec<_> = letters(&stage)
        .await
        .into_iter()
        .map(|(letter, _)| letter.error)
        .collect();
    errors.sort_unstable();
    assert_eq!(errors, ["handler panicked", "job has no id", "unknown shape"]);
}

#[tokio::test]
async fn a_dependency_that_is_away_counts_no_tries_however_long_it_is_away() {
    let stage = Stage::new();
    let bus = producer(&stage).await;
    let started = Instant::now();
    let tries = Tries::default();
    let noted = tries.clone();
    let _worker = work(&worker(&stage).await, hasty().tries_max(1), move |job| {
        noted.note(job);
        match started.elapsed() < LONG {
            true => Verdict::Later("away".into()),
            false => Verdict::Done,
        }
    });
    put(&bus, [1]).await;
    empty(&stage).await;
    let tries = tries.all();
    assert!(tries.len() > 1, "{tries:?}");
    assert!(tries.iter().all(|tried| *tried == (1, 1)), "{tries:?}");
    assert_eq!(letters(&stage).await.len(), 0);
}

#[tokio::test]
async fn what_waits_is_handed_over_together_at_once_and_up_to_a_most() {
    let stage = Stage::new();
    let bus = producer(&stage).await;
    put(&bus, 0..10).await;
    let (batches, started) = (Batches::default(), Instant::now());
    let noted = batches.clone();
    let long = Duration::from_millis(500);
    let _worker = work_in_batches(&worker(&stage).await, hasty().batch(5, long), move |jobs| {
        noted.note(jobs);
        vec![Verdict::Done; jobs.len()]
    });
    empty(&stage).await;
    let batches = batches.all();
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5], "{batches:?}");
    let mut done = batches.concat();
    done.sort_unstable();
    assert_eq!(done, (0..10).collect::<Vec<_>>());
    assert!(started.elapsed() < 2 * long, "nobody waits for what is there");
}

#[tokio::test]
async fn what_comes_soon_after_the_first_goes_with_it() {
    let stage = Stage::new();
    let bus = producer(&stage).await;
    let batches = Batches::default();
    let noted = batches.clone();
    let soon = Duration::from_secs(1);
    let _worker = work_in_batches(&worker(&stage).await, hasty().batch(100, soon), move |jobs| {
        noted.note(jobs);
        vec![Verdict::Done; jobs.len()]
    });
    put(&bus, 0..4).await;
    empty(&stage).await;
    assert_eq!(batches.all(), [[0, 1, 2, 3]]);
}

#[tokio::test]
async fn each_job_of_a_batch_has_a_verdict_of_its_own() {
    let stage = Stage::new();
    let bus = producer(&stage).await;
    put(&bus, 0..6).await;
    let (tries, batches) = (Tries::default(), Batches::default());
    let (noted, together) = (tries.clone(), batches.clone());
    let _worker = work_in_batches(&worker(&stage).await, hasty().batch(6, Duration::ZERO), move |jobs| {
        let is_first = together.all().is_empty();
        together.note(jobs);
        let judge = |job: &Job| {
            noted.note(job);
            match number(job) {
                1 if job.attempt == 1 => Verdict::Retry("put off".into()),
                2 => Verdict::Poison("unknown shape".into()),
                3 | 4 if is_first => Verdict::Later("away".into()),
                _ => Verdict::Done,
            }
        };
        // One is forgotten.
        jobs.iter()
            .filter(|job| job.attempt > 1 || number(job) != 5)
            .map(judge)
            .collect()
    });
    empty(&stage).await;
    assert!(batches.all().contains(&vec![3, 4]), "{:?}", batches.all());
    let mut tries = tries.all();
    tries.sort_unstable();
    assert_eq!(
        tries,
        [(0, 1), (1, 1), (1, 2), (2, 1), (3, 1), (3, 1), (4, 1), (4, 1), (5, 2)]
    );
    let letters = letters(&stage).await;
    assert_eq!(letters.len(), 1, "{letters:?}");
}

#[tokio::test]
async fn a_panic_over_a_batch_is_blamed_on_the_job_that_causes_it_alone() {
    let stage = Stage::new();
    let bus = producer(&stage).await;
    put(&bus, 0..4).await;
    let tries = Tries::default();
    let noted = tries.clone();
    let work = hasty().batch(4, Duration::ZERO).tries_max(2);
    let _worker = work_in_batches(&worker(&stage).await, work, move |jobs| {
        assert!(jobs.iter().all(|job| number(job) != 2), "the bug with 2");
        jobs.iter().for_each(|job| noted.note(job));
        vec![Verdict::Done; jobs.len()]
    });
    empty(&stage).await;
    let mut tries = tries.all();
    tries.sort_unstable();
    assert_eq!(tries, [(0, 1), (1, 1), (3, 1)]);
    let letters = letters(&stage).await;
    let [(letter, _)] = letters.as_slice() else {
        panic!("not one letter: {letters:?}");
    };
    assert_eq!(letter.event_id.as_deref(), Some("job-2"));
}

#[tokio::test]
async fn a_batch_stays_in_hand_however_long_it_takes() {
    let stage = Stage::new();
    let bus = producer(&stage).await;
    put(&bus, 0..3).await;
    let tries = Tries::default();
    let noted = tries.clone();
    let (bus, until) = (worker(&stage).await, Shutdown::new());
    let _worker = Worker(until.clone());
    tokio::spawn(async move {
        bus.work(hasty().batch(3, Duration::ZERO), until, |jobs| {
            jobs.iter().for_each(|job| noted.note(job));
            async move {
                tokio::time::sleep(LONG).await;
                vec![Verdict::Done; jobs.len()]
            }
        })
        .await;
    });
    empty(&stage).await;
    let mut tries = tries.all();
    tries.sort_unstable();
    assert_eq!(tries, [(0, 1), (1, 1), (2, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_and_their_worker_survive_a_killed_broker() {
    let mut server = OwnServer::start().await;
    let bus = server.bus().await;
    bus.ensure_queues(&Queue::ALL).await.unwrap();
    put(&bus, [1]).await;
    server.kill();
    server.start_again().await;
    let tries = Tries::default();
    let _worker = note_and_do(&bus, &tries);
    tries.come_to("the job of before is done", 1).await;
    is_empty(bus.jetstream(), "JOBS_NOTIFY").await;
    server.kill();
    server.start_again().await;
    eventually("the broker takes jobs again", async || {
        bus.publish_job(Queue::Notify, &job(2)).await.ok()
    })
    .await;
    tries.come_to("the job of after is done", 2).await;
    // The broker may have handed the second one to a connection that was gone, which counts as a try.
    let done: Vec<usize> = tries.all().into_iter().map(|(number, _)| number).collect();
    assert_eq!(done, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_broker_gets_its_queue_again_from_whoever_comes_first() {
    let mut server = OwnServer::start().await;
    let bus = server.bus().await;
    bus.ensure_queues(&[Queue::Notify]).await.unwrap();
    server.kill();
    server.wipe();
    server.start_again().await;
    eventually("the broker takes jobs again", async || {
        bus.publish_job(Queue::Notify, &job(1)).await.ok()
    })
    .await;
    let tries = Tries::default();
    let _worker = note_and_do(&bus, &tries);
    tries.come_to("the job is done", 1).await;
}

#[tokio::test]
async fn a_queue_that_would_keep_what_is_done_is_named_and_left_alone() {
    let stage = Stage::new();
    let admin = jetstream::new(stage.bus_admin().await);
    let bus = Bus::connect(stage.bus("order-master")).await.unwrap();
    let name = format!("{}JOBS_NOTIFY", stage.bus_prefix());
    let made = jetstream::stream::Config {
        name: name.clone(),
        subjects: vec![format!("{}job.local.JOBS_NOTIFY", stage.bus_prefix())],
        retention: RetentionPolicy::Limits,
        ..Default::default()
    };
    admin.create_stream(made).await.unwrap();
    match bus.ensure_queues(&[Queue::Notify]).await {
        Err(StreamsError::Drifted { stream, field, .. }) => assert_eq!((stream, field), (name, "retention")),
        other => panic!("drift not noticed: {other:?}"),
    }
}
