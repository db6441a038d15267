//! One pass over all stores: notes heads, waits for readers, reads everything once, and asks each rule.
//!
//! The order of reading is what makes a platform that goes on working look consistent: what could only have come first
//! is read last.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{OrderId, PaymentId};
use mesh_contracts::subject::Context;
use mesh_contracts::view::person;

use crate::books::{self, taken};
use crate::collect::{CHUNK, Chunk, Database, KeptProfile, Stores};
use crate::documents::{Stored, folded};
use crate::findings::{Breach, Invariant, Report};
use crate::freshness;
use crate::history::{self, Entry};
use crate::keys::{self, Effects, Sent};
use crate::lateness::{self, Moment};
use crate::money::{self, Account, Claim};
use crate::orders::{self, Standing};
use crate::readers::{self, Behind, Keeps, READERS, Reader, Versions};
use crate::stamps::{self, Followers};
use crate::stock;

/// How often it is looked whether they have.
const POLL: Duration = Duration::from_millis(200);

/// Whose profiles user-info keeps.
const PEOPLE: &str = "user-master";

/// Heads, of streams and of the bus.
type Heads = BTreeMap<Context, Versions>;

pub(crate) async fn over(stores: &Stores) -> Result<Report> {
    let mut pass = Pass {
        stores,
        report: Report::default(),
        sent: BTreeMap::new(),
        acknowledged: BTreeSet::new(),
        orders: BTreeMap::new(),
        claims: BTreeMap::new(),
        accounts: BTreeMap::new(),
        effects: Effects::new(),
        read: Versions::new(),
    };
    // What clients were told of is in the stores already.
    pass.read_history()?;
    let heads = stores.heads().await?;
    pass.readers(&heads).await?;
    // Asked before payments are read: what is booked here and quiet since cannot be news to the provider.
    let ledger = stores.provider.ledger().await?;
    for database in &stores.masters {
        pass.streams(database, &heads).await?;
    }
    pass.strangers(&heads).await?;
    pass.profiles().await?;
    pass.money(ledger).await?;
    pass.conclude().await?;
    Ok(pass.report)
}

struct Pass<'a> {
    stores: &'a Stores,
    report: Report,
    sent: BTreeMap<String, Sent>,
    acknowledged: BTreeSet<String>,
    orders: BTreeMap<String, Standing>,
    claims: BTreeMap<String, Claim>,
    accounts: BTreeMap<String, Account>,
    effects: Effects,
    /// Up to which version each stream was read.
    read: Versions,
}

impl Pass<'_> {
    fn read_history(&mut self) -> Result<()> {
        let mut followers = Followers::new();
        for entry in history::read(&self.stores.history)? {
            match entry? {
                Entry::Sent(line) => {
                    self.report.checked.history_lines += 1;
                    self.acknowledged
                        .extend(keys::acknowledged_order(&line).map(str::to_owned));
                    keys::gather(&mut self.sent, line);
                }
                Entry::Read(read) => {
                    self.report.checked.token_reads += 1;
                    self.report.add(Invariant::I6, freshness::honoured(&read));
                }
                Entry::Heard(heard) => {
                    self.report.checked.live_news += 1;
                    self.report.add(Invariant::I7, stamps::hear(&mut followers, &heard));
                }
            }
        }
        Ok(())
    }

    /// I10.
    async fn readers(&mut self, heads: &Heads) -> Result<()> {
        let bus_heads = self.stores.bus_heads().await?;
        let started = Instant::now();
        let mut lagging = Lagging::all(heads);
        loop {
            lagging.look_again(self.stores, heads).await?;
            let behind = self.stores.behind(&bus_heads).await?;
            let is_over = started.elapsed() > self.stores.patience;
            if is_over || (lagging.is_nobody() && behind.is_empty()) {
                self.report.checked.readings = lagging.readings;
                self.report.add(Invariant::I10, lagging.breaches(heads, &behind));
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Everything that can be told of one stream alone, and what I1, I2 and I9 need of it.
    async fn streams(&mut self, database: &Database, heads: &Heads) -> Result<()> {
        let owned = heads.iter().filter(|(context, _)| context.owner() == database.master);
        let streams: Vec<&str> = owned.flat_map(|(_, heads)| heads.keys()).map(String::as_str).collect();
        for streams in streams.chunks(CHUNK) {
            // Documents first: events may be ahead of them, never behind.
            let shown = self.shown(streams).await?;
            let chunk = database.chunk(streams).await?;
            for (reader, documents) in &shown {
                self.compare(reader, streams, documents, &chunk);
            }
            for stream in streams {
                let events = chunk.events.get(*stream).map(Vec::as_slice).unwrap_or_default();
                self.stream(database.master, stream, events, &chunk);
            }
        }
        Ok(())
    }

    async fn shown(&self, streams: &[&str]) -> Result<Vec<(Reader, BTreeMap<String, Stored>)>> {
        let mut shown = Vec::new();
        for reader in READERS {
            let Keeps::Documents(kind) = reader.keeps else { continue };
            let ours: Vec<&str> = streams
                .iter()
                .copied()
                .filter(|stream| stream.starts_with(reader.prefix))
                .collect();
            if !ours.is_empty() {
                shown.push((reader, self.stores.documents(reader.service, kind, &ours).await?));
            }
        }
        Ok(shown)
    }

    /// I5, of these streams.
    fn compare(&mut self, reader: &Reader, streams: &[&str], documents: &BTreeMap<String, Stored>, chunk: &Chunk) {
        let Keeps::Documents(kind) = reader.keeps else { return };
        for stream in streams.iter().filter(|stream| stream.starts_with(reader.prefix)) {
            let events = chunk.events.get(*stream).map(Vec::as_slice).unwrap_or_default();
            self.report.checked.documents += 1;
            let breach = folded(reader.service, kind, stream, documents.get(*stream), events);
            self.report.add(Invariant::I5, breach);
        }
    }

    fn stream(&mut self, master: &'static str, stream: &str, events: &[Envelope], chunk: &Chunk) {
        self.report.checked.events += events.len() as u64;
        self.read
            .extend(events.last().map(|last| (stream.to_owned(), last.version)));
        for event in events {
            keys::note(&mut self.effects, master, event);
        }
        if stream.parse::<OrderId>().is_ok() {
            let head = chunk.heads.get(stream).copied().unwrap_or_default();
            self.report.checked.orders += 1;
            self.report.add(Invariant::I4, orders::path(stream, head, events));
            self.claims
                .extend(money::claim(events).map(|claim| (stream.to_owned(), claim)));
            let standing = Standing {
                status: orders::status(events),
                deadlines: chunk.deadlines.get(stream).cloned().unwrap_or_default(),
            };
            if !events.is_empty() {
                self.orders.insert(stream.to_owned(), standing);
            }
        } else if let Ok(payment) = stream.parse::<PaymentId>() {
            self.report.checked.payments += 1;
            let order = payment.order().to_string();
            self.accounts
                .extend(money::account(events).map(|account| (order, account)));
        } else if Context::of_stream(stream) == Some(Context::Point) {
            self.report.checked.food_points += 1;
            self.report.add(Invariant::I3, stock::conserved(stream, events));
        }
    }

    /// I5, of documents whose streams nobody knows.
    async fn strangers(&mut self, heads: &Heads) -> Result<()> {
        for reader in READERS {
            let Keeps::Documents(kind) = reader.keeps else { continue };
            let known = heads.get(&reader.context);
            let mut shown = self.stores.shown(reader.service, kind).await?;
            shown.retain(|stream| !known.is_some_and(|known| known.contains_key(stream)));
            let owner = self.stores.database(reader.context.owner())?;
            for streams in shown.chunks(CHUNK) {
                let streams: Vec<&str> = streams.iter().map(String::as_str).collect();
                // Some may be younger than the heads.
                let existing = owner.existing(&streams).await?;
                let strange = streams
                    .iter()
                    .filter(|stream| !existing.iter().any(|known| known == *stream));
                let breaches: Vec<Breach> = strange
                    .map(|stream| Breach::of(*stream, format!("{} ({kind}): a document of nothing", reader.service)))
                    .collect();
                self.report.add(Invariant::I5, breaches);
            }
        }
        Ok(())
    }

    /// I5, of the personal data beside the events.
    async fn profiles(&mut self) -> Result<()> {
        let kept = self.stores.profiles().await?;
        let people = self.stores.database(PEOPLE)?;
        for (id, kept) in kept {
            let (profile, events) = people.person(&id).await?;
            let person = events.iter().fold(None, |person, envelope| match envelope.body() {
                Ok(Some(event)) => person::fold(person, &event, envelope.at),
                Ok(None) | Err(_) => person,
            });
            let what = unlike_its_rows(&kept, person.as_ref(), profile.as_ref());
            self.report.checked.documents += 1;
            self.report.add(Invariant::I5, what.map(|what| Breach::of(id, what)));
        }
        Ok(())
    }

    /// I2. Money that may still move is waited for, which is over within a minute.
    async fn money(&mut self, mut ledger: money::Ledger) -> Result<()> {
        let clock = &self.stores.clock;
        let mut pending = money::pending(&self.claims, &self.accounts, clock.wall());
        if !pending.is_empty() {
            while !pending.is_empty() {
                tokio::time::sleep(POLL).await;
                let payments = pending.iter().map(|order| order.payment().to_string()).collect();
                self.read_again(payments).await?;
                pending = money::pending(&self.claims, &self.accounts, clock.wall());
            }
            // All of them once more behind a newer ledger, since it is compared with what came before it.
            ledger = self.stores.provider.ledger().await?;
            let orders = self.accounts.keys().filter_map(|order| order.parse::<OrderId>().ok());
            let payments = orders.map(|order| order.payment().to_string()).collect();
            self.read_again(payments).await?;
        }
        // Payments that are younger than the heads, of which the provider has heard since.
        let strangers = ledger.entries.iter().filter_map(|entry| entry.order_id.as_deref());
        let strangers = strangers.filter(|order| !self.accounts.contains_key(*order));
        let payments = strangers.filter_map(|order| Some(order.parse::<OrderId>().ok()?.payment().to_string()));
        self.read_again(payments.collect()).await?;
        self.report.checked.ledger_entries = ledger.entries.len() as u64;
        let breaches = money::settled(&self.claims, &self.accounts, &ledger, clock.wall());
        self.report.add(Invariant::I2, breaches);
        self.books(&ledger).await
    }

    /// I2, of our own ledger.
    async fn books(&mut self, ledger: &money::Ledger) -> Result<()> {
        let baskets = self.stores.database(Context::Basket.owner())?;
        let taken = taken(ledger);
        let orders: Vec<OrderId> = self.accounts.keys().filter_map(|order| order.parse().ok()).collect();
        for orders in orders.chunks(CHUNK) {
            let payments: Vec<String> = orders.iter().map(|order| order.payment().to_string()).collect();
            let payments: Vec<&str> = payments.iter().map(String::as_str).collect();
            let wall = self.stores.clock.wall();
            let books = baskets.books(&payments).await?;
            for (order, payment) in orders.iter().zip(payments) {
                let Some(books) = books.get(payment) else { continue };
                let taken = taken.get(order.to_string().as_str()).copied().unwrap_or_default();
                self.report.checked.ledger_lines += books.entries.len() as u64;
                let breach = books::kept(payment, books, taken, ledger.asked_at, wall);
                self.report.add(Invariant::I2, breach);
            }
        }
        Ok(())
    }

    async fn read_again(&mut self, payments: Vec<String>) -> Result<()> {
        let baskets = self.stores.database(Context::Basket.owner())?;
        for payments in payments.chunks(CHUNK) {
            let payments: Vec<&str> = payments.iter().map(String::as_str).collect();
            for (payment, events) in baskets.chunk(&payments).await?.events {
                self.account(&payment, &events);
            }
        }
        Ok(())
    }

    fn account(&mut self, stream: &str, events: &[Envelope]) {
        let order = stream.parse::<PaymentId>().map(|payment| payment.order().to_string());
        self.accounts.extend(order.ok().zip(money::account(events)));
    }

    /// I1, I8 and I9: read last, what could only have come first.
    async fn conclude(&mut self) -> Result<()> {
        let (mut timers, mut kept) = (Vec::new(), Vec::new());
        for database in &self.stores.masters {
            kept.extend(database.kept().await?);
        }
        for kept in &mut kept {
            kept.read = self.read.get(&kept.stream).copied().unwrap_or_default();
        }
        let clock = &self.stores.clock;
        // Before the timers are read: those that are there then were there at this moment, or are younger.
        let moment = Moment {
            business: clock.now(),
            wall: clock.wall(),
            rate: clock.rate(),
        };
        for database in &self.stores.masters {
            timers.extend(database.timers().await?);
        }
        let placed = kept
            .iter()
            .filter(|kept| kept.master == "order-master" && kept.status == 201);
        // Orders placed since the heads were noted were not looked at.
        let looked_at = |stream: &str| self.orders.contains_key(stream);
        let gone = placed.filter(|kept| kept.head == 0 || looked_at(&kept.stream));
        self.acknowledged.extend(gone.map(|kept| kept.stream.clone()));
        self.report.checked.timers = timers.len() as u64;
        self.report.checked.commands = kept.len() as u64;

        let i1 = orders::ended_or_waiting(&self.acknowledged, &self.orders, &moment);
        self.report.add(Invariant::I1, i1);
        self.report.add(Invariant::I8, lateness::overdue(&timers, &moment));
        let i9 = keys::once(&kept, &self.effects, &self.sent, moment.wall);
        self.report.add(Invariant::I9, i9);
        Ok(())
    }
}

/// Names members, never what is in them.
fn unlike_its_rows(
    kept: &KeptProfile,
    person: Option<&person::Person>,
    profile: Option<&mesh_contracts::api::Profile>,
) -> Option<String> {
    let (Some(person), Some(profile)) = (person.filter(|person| !person.erased), profile) else {
        return Some("user-info keeps the data of somebody who is gone".to_owned());
    };
    if kept.profile_version > person.profile_version {
        return Some(format!(
            "user-info has version {} of a profile that stands at {}",
            kept.profile_version, person.profile_version
        ));
    }
    // An old one is noticed by its version and never answered.
    let is_current = kept.profile_version == person.profile_version;
    (is_current && kept.profile != *profile).then(|| "user-info keeps other data than user-master".to_owned())
}

/// Readers that have not reached the heads yet, and where they stand.
struct Lagging {
    readers: Vec<(Reader, Versions)>,
    readings: u64,
    looked: bool,
}

impl Lagging {
    fn all(heads: &Heads) -> Self {
        let readings = READERS.iter().map(|reader| reader.owed(heads).count() as u64).sum();
        Self {
            readers: READERS.map(|reader| (reader, Versions::new())).into(),
            readings,
            looked: false,
        }
    }

    /// Reads anew where those stand that were not at the head when last looked at.
    async fn look_again(&mut self, stores: &Stores, heads: &Heads) -> Result<()> {
        for (reader, reached) in &mut self.readers {
            let lagging = readers::lags(reader, heads, reached);
            let streams: Vec<&str> = lagging.keys().map(String::as_str).collect();
            reached.extend(stores.reached(reader, &streams).await?);
        }
        self.readers
            .retain(|(reader, reached)| !readers::lags(reader, heads, reached).is_empty());
        self.looked = true;
        Ok(())
    }

    fn is_nobody(&self) -> bool {
        self.looked && self.readers.is_empty()
    }

    fn breaches(&self, heads: &Heads, behind: &[Behind]) -> Vec<Breach> {
        readers::at_the_head(heads, &self.readers, behind)
    }
}
