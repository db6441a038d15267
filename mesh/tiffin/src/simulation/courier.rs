//! A courier on shift: hears offers, takes them, rides, waits for the food, rings.
//!
//! Three things go on at once: listening, riding, and saying where the courier is.
//!
//! Riding goes by the courier's own time: the next leg begins when the last thing was done, not when its answer came.
//! At life's own pace that is the same; when a day takes three minutes, a tenth of a second on the wire would be half a
//! minute at every counter, and the couriers would be slower than any.

mod conduct;
mod road;
mod sight;
mod slips;

use anyhow::{Context as _, Result};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::delivery::{DropCause, Event};
use mesh_contracts::geo::Coordinates;
use mesh_contracts::id::{CourierId, DeliveryId};
use mesh_runtime::Clock;
use tokio::sync::watch;

use super::{key_of, unless_too_late};
use crate::client::live::Happened;
use crate::client::{Job, News, Person};
use road::Road;
use sight::{Sight, Taken};

pub use conduct::{Conduct, Reliable, Slip, Then};

/// Two bags of one counter go together if the second is ready within this.
const TOGETHER_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// Before a door that stays closed: bell, telephone, bell.
const WAITS_AT_DOOR: SignedDuration = SignedDuration::from_mins(5);

/// Stands for the attempt where a courier is asked to go on with what another has: such questions are not counted.
const HAND_OVER: u32 = u32::MAX;

/// Who rides, from where, until when.
pub struct Rider<C> {
    /// The courier.
    pub person: Person,
    /// Business time.
    pub clock: Clock,
    /// Where the shift begins.
    pub home: Coordinates,
    /// From when on no more offers are taken; jobs in hand are finished.
    pub off_at: Timestamp,
    /// How fast.
    pub pace: Pace,
    /// How reliably.
    pub conduct: C,
}

/// How long things take a courier.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// On the bee line.
    pub speed_m_per_min: u32,
    /// At the counter: half of it before the food is in hand, half after.
    pub pickup_service: SignedDuration,
    /// At the door: half of it before the bag is handed over, half after.
    pub dropoff_service: SignedDuration,
    /// Until an offer is answered.
    pub thinks_for: SignedDuration,
}

/// Works from now until the end of the shift and the last job in hand.
pub async fn ride<C: Conduct>(rider: Rider<C>) -> Result<()> {
    let me = rider.person.sign_in().await.context("a courier cannot sign in")?;
    let road = Road::at(rider.home, rider.clock.clone());
    let courier = Courier {
        rider: &rider,
        me: me.courier(),
        road: &road,
        sight: watch::Sender::new(Sight::default()),
    };
    courier.come_on().await?;
    tokio::select! {
        done = courier.work() => done,
        broken = courier.listen() => broken,
        broken = courier.go_off() => broken,
        never = road.report(&rider.person) => never,
    }
}

struct Courier<'a, C> {
    rider: &'a Rider<C>,
    me: CourierId,
    road: &'a Road,
    sight: watch::Sender<Sight>,
}

/// An offer being answered.
type Answering<'a> = FuturesUnordered<BoxFuture<'a, Result<()>>>;

impl<C: Conduct> Courier<'_, C> {
    async fn come_on(&self) -> Result<()> {
        let Rider { person, pace, .. } = self.rider;
        let told = person.set_shift(true, self.road.here(), pace.speed_m_per_min).await;
        told.map(drop).context("a courier cannot come on shift")
    }

    /// After a time in which the platform may have ended the shift.
    async fn come_back(&self) -> Result<()> {
        if self.sight.borrow().off || self.road.is_silent() {
            return Ok(());
        }
        self.come_on().await
    }

    async fn go_off(&self) -> Result<()> {
        self.rider.clock.sleep_until(self.rider.off_at).await;
        let told = self.rider.person.set_shift(false, self.road.here(), 0).await;
        told.context("a courier cannot go off shift")?;
        self.sight.send_modify(|sight| sight.off = true);
        std::future::pending().await
    }

    async fn listen(&self) -> Result<()> {
        let mut live = self.rider.person.jobs_live();
        let mut answering = Answering::new();
        loop {
            tokio::select! {
                news = live.next() => match news.context("a courier's live stream ended")? {
                    News::Snapshot(documents) => {
                        let jobs: Vec<Job> = documents.iter().filter_map(Job::of).collect();
                        self.see_all(&jobs, &mut answering);
                    }
                    News::Event(happened) => self.hear(&happened, &mut answering).await?,
                    // Offers may have gone unanswered in between, and with three of them the shift.
                    News::Resumed => self.come_back().await?,
                    News::Refused(failure) => return Err(failure).context("a courier may not see the own jobs"),
                },
                Some(answered) = answering.next() => answered?,
            }
        }
    }

    /// Everything there is; what is gone from it is over.
    fn see_all<'b>(&'b self, jobs: &[Job], answering: &mut Answering<'b>) {
        let now = self.rider.clock.now();
        self.sight.send_modify(|sight| {
            sight
                .jobs
                .retain(|known, _| jobs.iter().any(|job| job.delivery == *known));
            for job in jobs.iter().filter(|job| job.is_of(self.me)) {
                sight.take(*job, now);
            }
        });
        for job in jobs.iter().filter(|job| !job.is_of(self.me)) {
            self.offered(job.delivery, 0, now, answering);
        }
    }

    async fn hear<'b>(&'b self, happened: &Happened, answering: &mut Answering<'b>) -> Result<()> {
        let Ok(delivery) = happened.stream.parse::<DeliveryId>() else {
            return Ok(());
        };
        match happened.body::<Event>() {
            Some(Event::Offered { attempt, .. }) => self.offered(delivery, attempt, happened.at, answering),
            Some(Event::FoodReady { .. }) => self.sight.send_modify(|sight| {
                if let Some(seen) = sight.jobs.get_mut(&delivery) {
                    seen.called_at.get_or_insert(happened.at);
                }
            }),
            Some(Event::OfferLapsed { .. }) => {
                self.rider.conduct.slipped(delivery, Slip::Ignores);
                self.forget(delivery);
                // The third one in a row ends the shift, and it was not the courier who wanted that.
                self.come_back().await?;
            }
            Some(Event::Dropped { cause, .. }) => {
                match cause {
                    DropCause::Silent | DropCause::NotPickedUp => {
                        self.rider.conduct.slipped(delivery, Slip::Vanishes);
                    }
                    DropCause::Dropped | DropCause::Rerouted => {}
                }
                self.forget(delivery);
            }
            Some(Event::HandOverOffered { to, .. }) if to == self.me => {
                self.offered(delivery, HAND_OVER, happened.at, answering);
            }
            Some(Event::HandOverEnded { .. }) => self.sight.send_modify(|sight| {
                if let Some(seen) = sight.jobs.get_mut(&delivery) {
                    seen.stays = true;
                }
            }),
            Some(Event::HandedOver { from, .. }) if from == self.me => {
                self.rider.conduct.slipped(delivery, Slip::BreaksDown);
                self.forget(delivery);
            }
            Some(
                Event::Declined { .. }
                | Event::Moved { .. }
                | Event::Delivered { .. }
                | Event::Returned { .. }
                | Event::Lost { .. }
                | Event::Cancelled { .. },
            ) => self.forget(delivery),
            // Simulated couriers leave what others have to others: silence says so.
            Some(
                Event::Opened { .. }
                | Event::Assigned { .. }
                | Event::PickedUp { .. }
                | Event::Attempted { .. }
                | Event::HandOverOffered { .. }
                | Event::HandedOver { .. },
            )
            | None => {}
        }
        Ok(())
    }

    fn offered<'b>(&'b self, delivery: DeliveryId, attempt: u32, at: Timestamp, answering: &mut Answering<'b>) {
        self.sight.send_modify(|sight| {
            sight.jobs.entry(delivery).or_default();
            sight.answering += 1;
        });
        answering.push(Box::pin(async move {
            let answered = self.answer(delivery, attempt, at).await;
            self.sight.send_modify(|sight| sight.answering -= 1);
            answered
        }));
    }

    async fn answer(&self, delivery: DeliveryId, attempt: u32, offered_at: Timestamp) -> Result<()> {
        let Rider {
            person,
            clock,
            pace,
            conduct,
            ..
        } = self.rider;
        let answers_at = offered_at + pace.thinks_for;
        clock.sleep_until(answers_at).await;
        if self.road.is_silent() || conduct.slips(delivery, Slip::Ignores) {
            return Ok(());
        }
        let offer = format!("{delivery}/{attempt}");
        let slips = conduct.slips(delivery, Slip::Declines);
        if slips || self.sight.borrow().off {
            let told = person.decline_job(delivery, &key_of("decline", offer)).await;
            if unless_too_late(told)?.is_some() && slips {
                conduct.slipped(delivery, Slip::Declines);
            }
            return Ok(());
        }
        let told = person.accept_job(delivery, &key_of("take", offer)).await;
        let Some(reply) = unless_too_late(told)? else {
            return Ok(());
        };
        let jobs = person.jobs(reply.token).await?;
        let taken = jobs
            .into_iter()
            .find(|job| job.delivery == delivery && job.is_of(self.me));
        if let Some(job) = taken {
            self.sight.send_modify(|sight| sight.take(job, answers_at));
        }
        Ok(())
    }

    /// One round after the other: to the counter, then to every door.
    async fn work(&self) -> Result<()> {
        while let Some(taken) = self.next_job().await {
            self.road.not_before(taken.at);
            let bags = self.fetch(taken.job).await?;
            self.bring(bags).await?;
        }
        Ok(())
    }

    /// The oldest job in hand; nothing once the shift is over and no job is left.
    async fn next_job(&self) -> Option<Taken> {
        let mut sight = self.sight.subscribe();
        loop {
            let now = sight.borrow_and_update().clone();
            if let Some((first, _)) = now.mine().into_iter().next() {
                return Some(first);
            }
            if now.off && now.answering == 0 {
                return None;
            }
            sight.changed().await.expect("we hold the sender");
        }
    }

    /// Goes to a counter and comes away with what is in hand then.
    async fn fetch(&self, first: Job) -> Result<Vec<Job>> {
        let pace = self.rider.pace;
        let mut bags = Vec::new();
        if first.picked_up {
            bags.push(first);
            return Ok(bags);
        }
        self.road.go(first.pickup, pace.speed_m_per_min).await;
        self.road.stay(pace.pickup_service / 2).await;
        let mut next = Some(first);
        while let Some(job) = next {
            if self.leaves(job).await? {
                self.forget(job.delivery);
            } else if let Some(called_at) = self.is_called(job.delivery).await {
                self.road.not_before(called_at);
                let told = self
                    .rider
                    .person
                    .pick_up(job.delivery, &key_of("pick-up", job.delivery))
                    .await;
                if unless_too_late(told)?.is_some() {
                    bags.push(job);
                } else {
                    self.forget(job.delivery);
                }
            }
            next = self.one_more_here(first.pickup, &bags);
        }
        self.road.stay(pace.pickup_service / 2).await;
        Ok(bags)
    }

    /// Waits until the kitchen calls it, and tells when that was; nothing if it is this courier's job no more.
    async fn is_called(&self, delivery: DeliveryId) -> Option<Timestamp> {
        let mut sight = self.sight.subscribe();
        loop {
            let seen = sight.borrow_and_update().jobs.get(&delivery).copied();
            match seen?.called_at {
                Some(called_at) => return Some(called_at),
                None => sight.changed().await.expect("we hold the sender"),
            }
        }
    }

    /// Another job of the same counter that is worth waiting for.
    fn one_more_here(&self, counter: Coordinates, bags: &[Job]) -> Option<Job> {
        let soon = self.rider.clock.now() + TOGETHER_WITHIN;
        let mine = self.sight.borrow().mine();
        mine.into_iter()
            .map(|(taken, called_at)| (taken.job, called_at))
            .filter(|(job, _)| job.pickup == counter && !job.picked_up)
            .filter(|(job, _)| bags.iter().all(|bag| bag.delivery != job.delivery))
            .find(|(job, called_at)| called_at.is_some() || job.ready_by <= soon)
            .map(|(job, _)| job)
    }

    /// Brings every bag to its door, the nearest first.
    async fn bring(&self, mut bags: Vec<Job>) -> Result<()> {
        let Rider { person, pace, .. } = self.rider;
        loop {
            let here = self.road.here();
            bags.sort_by_key(|bag| std::cmp::Reverse(here.distance_m(bag.door)));
            let Some(bag) = bags.pop() else {
                return Ok(());
            };
            if self.is_rid_of(bag).await? {
                continue;
            }
            self.road.go(bag.door, pace.speed_m_per_min).await;
            self.road.stay(pace.dropoff_service / 2).await;
            if self.is_not_let_in(bag).await? {
                continue;
            }
            let photo = format!("photo-{}", bag.delivery);
            let told = person
                .deliver(bag.delivery, photo, &key_of("deliver", bag.delivery))
                .await;
            unless_too_late(told)?;
            self.is_over(bag.delivery);
            self.road.stay(pace.dropoff_service / 2).await;
        }
    }

    /// Nothing to be done with it any more.
    fn is_over(&self, delivery: DeliveryId) {
        self.sight.send_modify(|sight| {
            sight.over.insert(delivery);
        });
        self.forget(delivery);
    }

    /// Done, or taken away: not to be looked at again, whatever the live stream still has to say.
    fn forget(&self, delivery: DeliveryId) {
        self.sight.send_modify(|sight| {
            sight.jobs.remove(&delivery);
        });
    }
}
