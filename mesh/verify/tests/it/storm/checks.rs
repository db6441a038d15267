//! What must hold when everything has come to rest: by the checkers of `tiffin verify`, over what the models hold.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::subject::Context;
use mesh_verify::documents::{self, Stored};
use mesh_verify::keys::{self, Kept, Sent};
use mesh_verify::lateness::{self, Moment, Timer};
use mesh_verify::orders::{self, Standing};
use mesh_verify::readers::{self, Behind, Keeps, Versions};
use mesh_verify::{Breach, Invariant, Report, stock};
use serde_json::json;

use super::{Storm, readers as all_readers};
use crate::silence::told::Master;
use crate::silence::{as_verified, leftovers, of_stream};

/// Money has come to rest by then, and a deadline that passed has been missed.
const LONG_ENOUGH: SignedDuration = SignedDuration::from_mins(2);

impl Storm {
    pub fn check(&mut self) -> (Report, Vec<String>) {
        self.world.now += LONG_ENOUGH;
        let mut report = Report::default();
        let mut rest = Vec::new();
        self.check_orders(&mut report, &mut rest);
        for stream in self.streams.keys().filter(|stream| stream.starts_with("pnt_")) {
            report.add(Invariant::I3, stock::conserved(stream, &of_stream(&self.world, stream)));
        }
        self.check_documents(&mut report);
        self.check_readers(&mut report);
        self.check_keys(&mut report);
        (report, rest)
    }

    fn moment(&self) -> Moment {
        Moment {
            business: self.world.now,
            wall: self.world.now,
            rate: 1.0,
        }
    }

    fn check_orders(&self, report: &mut Report, rest: &mut Vec<String>) {
        let mut standings = BTreeMap::new();
        for order in &self.people.orders {
            let id = order.to_string();
            let events = of_stream(&self.world, &id);
            if events.is_empty() {
                continue;
            }
            let timers = self.world.timers.iter().filter(|((stream, _), _)| *stream == id);
            let standing = Standing {
                status: orders::status(&events),
                deadlines: timers.map(|(_, due)| *due).collect(),
            };
            standings.insert(id.clone(), standing);
            report.add(Invariant::I4, orders::path(&id, events.len() as u64, &events));
            let money = as_verified(&self.world, *order, &events);
            report.add(Invariant::I2, (!money.is_empty()).then(|| Breach::of(&id, money)));
            rest.extend(
                leftovers(&self.world, *order)
                    .into_iter()
                    .map(|what| format!("{id}: {what}")),
            );
        }
        let placed = self.people.requests.iter().flat_map(|request| &request.answers);
        let acknowledged: BTreeSet<String> = placed
            .filter(|answer| answer.status == 201)
            .map(|answer| answer.stream.clone())
            .collect();
        let i1 = orders::ended_or_waiting(&acknowledged, &standings, &self.moment());
        report.add(Invariant::I1, i1);
        let timers = self.world.timers.iter().map(|((stream, kind), due)| Timer {
            master: Master::of(stream).name(),
            stream: stream.clone(),
            kind: kind.clone(),
            due: *due,
        });
        let timers: Vec<Timer> = timers.collect();
        report.add(Invariant::I8, lateness::overdue(&timers, &self.moment()));
    }

    fn check_documents(&self, report: &mut Report) {
        for (nth, reader) in all_readers().iter().enumerate() {
            let Keeps::Documents(kind) = reader.keeps else { continue };
            let view = self.redis.views.get(&nth);
            let is_filled = view.is_some_and(|view| view.is_filled);
            let never = (!is_filled).then(|| Breach::of(reader.name(), "was never filled again"));
            report.add(Invariant::I5, never);
            for (stream, shown) in view.iter().flat_map(|view| &view.documents) {
                let (head, shown_to) = (&self.streams[stream], shown.len());
                // The same events make the same document; one that is only behind is I10's affair.
                if head.get(..shown_to) == Some(shown) {
                    continue;
                }
                let events: Vec<_> = shown.iter().map(|event| &*self.world.log[*event]).collect();
                let document = documents::expected(kind, stream, &events).ok().flatten();
                let stored = Stored {
                    version: shown_to as u64,
                    document: document.map_or(String::new(), |document| document.to_string()),
                    quarantine: None,
                };
                let events = of_stream(&self.world, stream);
                let breach = documents::folded(reader.service, kind, stream, Some(&stored), &events);
                report.add(Invariant::I5, breach);
            }
        }
    }

    fn check_readers(&self, report: &mut Report) {
        let mut heads: BTreeMap<Context, Versions> = BTreeMap::new();
        for (stream, events) in &self.streams {
            let context = Master::of(stream).context();
            heads
                .entry(context)
                .or_default()
                .insert(stream.clone(), events.len() as u64);
        }
        let (mut reached, mut behind) = (Vec::new(), Vec::new());
        for (nth, reader) in all_readers().iter().enumerate() {
            let owed = reader.owed(&heads);
            let at = |stream: &str| match reader.keeps {
                Keeps::Inbox => self.mark(Master::called(reader.service), stream),
                Keeps::Documents(_) => {
                    let view = self.redis.views.get(&nth);
                    view.and_then(|view| view.documents.get(stream)).map_or(0, Vec::len) as u64
                }
            };
            let versions: Versions = owed.map(|(stream, _)| (stream.to_owned(), at(stream))).collect();
            reached.push((*reader, versions));
            let bus = &self.buses[Master::of_context(reader.context) as usize];
            let messages = bus.pending(nth, usize::MAX).len() as u64;
            behind.extend((messages > 0).then(|| Behind {
                consumer: reader.name(),
                stream: reader.context.as_str().to_owned(),
                messages,
            }));
        }
        report.add(Invariant::I10, readers::at_the_head(&heads, &reached, &behind));
    }

    fn check_keys(&self, report: &mut Report) {
        let mut kept = Vec::new();
        for master in Master::ALL {
            for (key, answer) in &self.databases[master as usize].answers {
                let head = self.streams.get(&answer.stream).map_or(0, Vec::len) as u64;
                kept.push(Kept {
                    master: master.name(),
                    command: *key,
                    status: answer.status,
                    body: json!({"id": answer.stream, "version": answer.version}),
                    stream: answer.stream.clone(),
                    version: answer.version,
                    head,
                    read: head,
                });
            }
        }
        let sent = self.people.requests.iter().map(|request| {
            let answers = request.answers.iter();
            let answers = answers.map(|answer| {
                let body = json!({"id": answer.stream, "version": answer.version});
                (answer.status, body)
            });
            let sent = Sent {
                what: format!("{:?}", request.wish),
                command: Some(request.key),
                answers: answers.collect(),
                // A refusal is not stored, and may be none the next time.
                refusals: 0,
                unknown: request.unknown,
                first_at: Timestamp::UNIX_EPOCH,
            };
            (request.key.to_string(), sent)
        });
        let sent: BTreeMap<String, Sent> = sent.collect();
        let i9 = keys::once(&kept, &self.effects, &sent, Timestamp::UNIX_EPOCH);
        report.add(Invariant::I9, i9);
    }
}
