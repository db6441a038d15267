//! Makes planned faults happen to a platform, and undoes what lasts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream;
use http::{Request, header};
use jiff::Timestamp;
use mesh_contracts::api::{Login, Session};
use mesh_contracts::subject::Context;
use mesh_identity::{Client, Upstream};
use mesh_local::disk::Full;
use mesh_local::link::{Condition, Links};
use mesh_local::running::Running;
use mesh_local::services::{Kind, SERVICES, Service};
use mesh_runtime::failpoint;
use rustix::process::{Pid, Signal, kill_process_group};
use uuid::Uuid;

use super::plan::{Bad, Planned, What};
use mesh_verify::dice::Dice;

/// A link that is late: more than people notice, less than any time-out.
const LATE: Duration = Duration::from_millis(150);

/// One with jitter is at times beyond some time-outs.
const JITTER: Duration = Duration::from_millis(1_500);

/// A trickle: an answer of the platform takes seconds.
const TRICKLE_BYTES_PER_S: usize = 500;

/// The newest messages of a context that come once more.
const REPEATED: u64 = 100;

/// Messages that nobody can read, in a row.
const POISON: usize = 5;

/// A clock is wrong by less than this. One that was ahead stands still afterwards until the time is as late as it said,
/// and everything must have healed by then.
const WRONG_MS_MAX: usize = 60_000;

/// How often what is freed on a full disk is taken, too.
const TOP_UP_EVERY: Duration = Duration::from_millis(50);

/// Clients who ask without pause.
const OVERLOAD_CLIENTS: usize = 64;

/// None of them waits longer for an answer.
const OVERLOAD_TIMEOUT: Duration = Duration::from_secs(2);

/// What happened when, beside what clients did.
#[derive(Default)]
pub(super) struct Diary(Mutex<Vec<(Timestamp, String)>>);

impl Diary {
    pub(super) fn note(&self, what: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push((Timestamp::now(), what));
    }

    pub(super) fn lines(&self) -> Vec<(Timestamp, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whoever breaks things.
pub(super) struct Hand<'a> {
    pub(super) running: &'a Running,
    pub(super) links: &'a Arc<Links>,
    pub(super) diary: &'a Diary,
}

impl Hand<'_> {
    /// Waits for its time, lets it happen and, if it lasts, ends it.
    pub(super) async fn carry_out(&self, planned: &Planned) {
        tokio::time::sleep(planned.at()).await;
        if let Err(err) = self.inject(planned).await {
            // What it is aimed at may be down by another fault.
            self.diary
                .note(format!("fault {} could not happen: {err:#}", planned.fault));
        }
    }

    async fn inject(&self, planned: &Planned) -> Result<()> {
        let mut dice = planned.dice.clone();
        let lasts = planned.lasts();
        match planned.what {
            What::Kill(name) => {
                self.begins(planned, "");
                signal(self.running, name, Signal::KILL)
            }
            What::Stop(name) => {
                self.begins(planned, "");
                signal(self.running, name, Signal::STOP)?;
                tokio::time::sleep(lasts).await;
                self.ends(planned);
                signal(self.running, name, Signal::CONT)
            }
            What::NatsWiped => {
                self.begins(planned, "");
                self.wipe_nats()
            }
            What::RedisFlushed => {
                self.begins(planned, "");
                self.flush_redis().await
            }
            What::Link(bad) => {
                let ends = self.links.ends();
                let ends = ends.get(dice.below(ends.len())).context("there are no links")?;
                self.begins(planned, &format!(" between {} and {}", ends.0, ends.1));
                self.links.set(ends, condition(bad));
                tokio::time::sleep(lasts).await;
                self.links.set(ends, Condition::Clear);
                self.ends(planned);
                Ok(())
            }
            What::Cut(server) => {
                let ends = self.links.ends();
                let theirs = || ends.iter().filter(|(_, to)| to == server);
                self.begins(planned, "");
                theirs().for_each(|ends| self.links.set(ends, Condition::Cut));
                tokio::time::sleep(lasts).await;
                theirs().for_each(|ends| self.links.set(ends, Condition::Clear));
                self.ends(planned);
                Ok(())
            }
            What::Duplicates => self.repeat_messages(planned, &mut dice).await,
            What::Poison => self.poison(planned, &mut dice).await,
            What::Overload => self.overload(planned).await,
            What::Fail(place) => {
                let service = dice.pick(who_gets_to(place)).context("nobody gets there")?;
                self.begins(planned, &format!(" of {service}"));
                let wish = self.running.failpoints(service).join(place);
                std::fs::write(&wish, "")?;
                tokio::time::sleep(lasts).await;
                let is_alive = std::fs::remove_file(&wish).is_ok();
                let what = if is_alive { "did not get there" } else { "died" };
                self.diary
                    .note(format!("end of fault {}: {service} {what}", planned.fault));
                Ok(())
            }
            What::DiskFull(server) => {
                let full = Full::fill(&self.running.data_of(server))?;
                self.begins(planned, "");
                let until = Instant::now() + lasts;
                while Instant::now() < until {
                    tokio::time::sleep(TOP_UP_EVERY).await;
                    full.top_up()?;
                }
                drop(full);
                self.ends(planned);
                if server == "nats" {
                    // A stream that met it takes nothing until the broker is started again, which whoever makes room does.
                    signal(self.running, server, Signal::KILL)?;
                }
                Ok(())
            }
            What::ClockWrong => self.wrong_clock(planned, &mut dice).await,
            What::Restart(service) => {
                self.begins(planned, "");
                self.running.restart(service).await
            }
            // The people's affair, from their first order.
            What::Mischief => Ok(()),
        }
    }

    fn begins(&self, planned: &Planned, how: &str) {
        self.diary.note(format!("fault {}{how}", planned.fault));
    }

    fn ends(&self, planned: &Planned) {
        self.diary.note(format!("end of fault {}", planned.fault));
    }

    /// Stopped where it stands, so that it cannot save anything, emptied, killed.
    fn wipe_nats(&self) -> Result<()> {
        signal(self.running, "nats", Signal::STOP)?;
        let store = self.running.data_dir().join("nats/store");
        ensure!(store.is_dir(), "no store in {}", store.display());
        std::fs::remove_dir_all(&store)?;
        signal(self.running, "nats", Signal::KILL)
    }

    async fn flush_redis(&self) -> Result<()> {
        let client = redis::Client::open(self.running.redis()?.admin_url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
        Ok(())
    }

    async fn bus(&self) -> Result<async_nats::Client> {
        let nats = self.running.nats()?;
        let (user, password) = nats.admin();
        let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
        Ok(options.connect(nats.url()).await?)
    }

    /// As a second relay would that knows nothing of the first, and keeps no order.
    async fn repeat_messages(&self, planned: &Planned, dice: &mut Dice) -> Result<()> {
        let client = self.bus().await?;
        let context = any_context(dice);
        self.begins(planned, &format!(" of {}", context.as_str()));
        let stream = jetstream::new(client.clone()).get_stream(context.as_str()).await?;
        let state = &stream.cached_info().state;
        let first = state.first_sequence.max(state.last_sequence.saturating_sub(REPEATED));
        let mut sequences: Vec<u64> = (first.max(1)..=state.last_sequence).collect();
        dice.shuffle(&mut sequences);
        for sequence in sequences {
            let message = stream.get_raw_message(sequence).await?;
            let mut headers = message.headers.clone();
            headers.insert(NATS_MESSAGE_ID, Uuid::now_v7().to_string());
            client
                .publish_with_headers(message.subject, headers, message.payload)
                .await?;
        }
        client.flush().await?;
        Ok(())
    }

    async fn poison(&self, planned: &Planned, dice: &mut Dice) -> Result<()> {
        let client = self.bus().await?;
        let context = any_context(dice);
        self.begins(planned, &format!(" in {}", context.as_str()));
        let subject = format!("ev.{}.{}.0", self.running.region(), context.as_str());
        for _ in 0..POISON {
            let mut headers = HeaderMap::new();
            headers.insert(NATS_MESSAGE_ID, Uuid::now_v7().to_string());
            client
                .publish_with_headers(subject.clone(), headers, "{".into())
                .await?;
        }
        client.flush().await?;
        Ok(())
    }

    async fn wrong_clock(&self, planned: &Planned, dice: &mut Dice) -> Result<()> {
        let has_clock = |service: &&Service| service.kind != Kind::Sandbox;
        let services: Vec<&Service> = SERVICES.iter().filter(has_clock).collect();
        let service = dice.pick(&services).context("there are some")?.name;
        let ahead_ms = 1_000 + dice.below(WRONG_MS_MAX - 1_000);
        let wrong_by_ms = match dice.one_in(2) {
            true => format!("-{ahead_ms}"),
            false => ahead_ms.to_string(),
        };
        self.begins(planned, &format!(" of {service} by {wrong_by_ms} ms"));
        let file = self.running.failpoints(service).join(failpoint::CLOCK_WRONG_BY_MS);
        std::fs::write(&file, wrong_by_ms)?;
        tokio::time::sleep(planned.lasts()).await;
        std::fs::remove_file(&file)?;
        self.ends(planned);
        Ok(())
    }

    async fn overload(&self, planned: &Planned) -> Result<()> {
        let client = Client::public(&std::fs::read(self.running.ca_cert())?)?;
        let url = self.running.public_url();
        let door = Upstream::new("gateway", url.trim_start_matches("https://"));
        // Without a token they would be sent away at the door.
        let (email, password) = self.running.operator()?;
        let email = email.to_owned();
        let session: Session = client
            .post_json(&door, "/v1/sessions", &Login { email, password })
            .await?;
        let token = format!("Bearer {}", session.access_token);
        self.begins(planned, "");
        let until = Instant::now() + planned.lasts();
        let asking = (0..OVERLOAD_CLIENTS).map(async |_| {
            let mut asked = 0_u64;
            while Instant::now() < until {
                let question = Request::get("/v1/menu?country=XM").header(header::AUTHORIZATION, &token);
                let Ok(question) = question.body(bytes::Bytes::new()) else {
                    break;
                };
                // Whatever the answer is, the next question follows at once.
                let _ = client.request_within(&door, question, OVERLOAD_TIMEOUT).await;
                asked += 1;
            }
            asked
        });
        let asked: u64 = futures::future::join_all(asking).await.into_iter().sum();
        self.diary
            .note(format!("end of fault {}, asked {asked} times", planned.fault));
        Ok(())
    }

    /// Whatever still lasts does not any more.
    pub(super) fn heal(&self) {
        self.links.clear();
        for process in self.running.processes() {
            // Whoever is not stopped does not notice.
            let _ = signal(self.running, &process.name, Signal::CONT);
        }
        self.diary.note("everything is mended".to_owned());
    }
}

/// The services that pass a place when people order.
fn who_gets_to(place: &str) -> &'static [&'static str] {
    const MASTERS: [&str; 5] = [
        "order-master",
        "basket-master",
        "point-master",
        "courier-master",
        "notifier",
    ];
    const INFOS: [&str; 3] = ["order-info", "basket-info", "menu-info"];
    const READERS: [&str; 6] = [
        "order-master",
        "basket-master",
        "point-master",
        "courier-master",
        "order-info",
        "basket-info",
    ];
    match place {
        failpoint::ACK_BEFORE | failpoint::ACK_AFTER => &READERS,
        failpoint::REDIS_BEFORE | failpoint::REDIS_AFTER => &INFOS,
        failpoint::PROVIDER_BEFORE | failpoint::PROVIDER_AFTER => &["basket-master"],
        _ => &MASTERS,
    }
}

fn any_context(dice: &mut Dice) -> Context {
    dice.pick(&Context::ALL).expect("there are some")
}

fn condition(bad: Bad) -> Condition {
    let late = |by, jitter| Condition::Late { by, jitter };
    match bad {
        Bad::Late => late(LATE, Duration::ZERO),
        Bad::Jittery => late(Duration::ZERO, JITTER),
        Bad::Cut => Condition::Cut,
        Bad::Silent => Condition::Silent,
        Bad::OneWay => Condition::OneWay,
        Bad::Trickle => Condition::Trickle {
            bytes_per_s: TRICKLE_BYTES_PER_S,
        },
    }
}

/// A process as it is now, with its children: a database has many.
fn signal(running: &Running, name: &str, signal: Signal) -> Result<()> {
    let process = running.process(name)?;
    let pid = Pid::from_raw(process.pid).with_context(|| format!("{name} has no process"))?;
    Ok(kill_process_group(pid, signal)?)
}
