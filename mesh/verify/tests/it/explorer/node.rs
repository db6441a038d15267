//! A state of everything: the masters' worlds, the marks of their inboxes, and what is on its way between them.
//!
//! The broker may show any event that was ever published, to anyone, in any order and as often as it likes. What is
//! lost there is shown after the relay has healed, so losing is no more than delaying, and nothing of it is kept here:
//! the inbox alone decides what an event that is shown does.

use std::sync::Arc;

use basket_master::domain::payment::{Answer, Command as Pay, Step as Due, due_at, next_step};
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::view::payment::{Call, Payment};

use super::broken::{self, Flaw};
use super::search::{Knowledge, Scenario};
use super::step::{CHANNELS, Step, TIMERS};
use crate::silence::actors::ORDER;
use crate::silence::streams::hash_of;
use crate::silence::world::World;

/// How late a deadline may pass at most (I8); until then time goes on beside it.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);

#[derive(Clone)]
pub struct Node {
    pub world: World,
    /// How far each inbox has heard each stream, by channel. Like the real one it moves with the effect: events that
    /// mean nothing are marked later or, after a crash, shown again, so for them it is no matter.
    marks: [u64; CHANNELS.len()],
    /// Of the call that the provider has carried out last.
    answer: Option<(u32, Answer)>,
    /// Names what the provider has done.
    pub provider: u64,
    /// How often each act may still be tried.
    left: Vec<u8>,
    /// Acts that were tried, and whether they were granted; kept where the outcome depends on it.
    pub said: Vec<(u8, bool)>,
    losses_left: u8,
    waits_left: u8,
}

impl Node {
    /// Everything that was ever said has been heard, unless it is `unheard`.
    pub fn root(scenario: &Scenario) -> Self {
        let world = scenario.root.clone();
        let heads = CHANNELS.map(|(_, source)| {
            let stream = source.stream();
            let heard = world.log.iter().take(world.log.len() - scenario.unheard);
            heard.filter(|event| event.stream == stream).count() as u64
        });
        let mut node = Self {
            world,
            marks: heads,
            answer: None,
            provider: 0,
            left: scenario.acts.iter().map(|(_, times)| *times).collect(),
            said: Vec::new(),
            losses_left: scenario.losses,
            waits_left: scenario.waits,
        };
        node.forget_what_moves_nothing();
        node
    }

    /// Notices move no order, what products need is not asked here, and the steps of a payment are steps of their own.
    fn forget_what_moves_nothing(&mut self) {
        let is_kept = |kind: &str| kind_of(kind).is_some();
        if self.world.timers.keys().any(|(_, kind)| !is_kept(kind)) {
            self.world.timers.retain(|(_, kind), _| is_kept(kind));
        }
    }

    /// Every step from here, also those that will change nothing.
    pub fn steps(&self, scenario: &Scenario, knowledge: &mut Knowledge) -> Vec<Step> {
        let mut steps = Vec::new();
        for event in &self.world.log[scenario.base()..] {
            let version = u16::try_from(event.version).expect("short streams");
            for channel in &knowledge.meaning(event).channels {
                let channel = *channel;
                steps.push(Step::Hear { channel, version });
            }
        }
        for ((stream, kind), due) in self.world.timers.iter() {
            let source = knowledge.source(stream);
            if let (true, Some(source), Some(kind)) = (*due <= self.world.now, source, kind_of(kind)) {
                steps.push(Step::Fire(source, kind));
            }
        }
        self.steps_of_payment(&mut steps);
        for (nth, left) in (0..).zip(&self.left) {
            if *left > 0 {
                steps.push(Step::Act(nth));
            }
        }
        if self.may_wait(scenario, knowledge) {
            steps.push(Step::Wait);
        }
        steps
    }

    fn payment(&self) -> Option<&Payment> {
        self.world.payments.get(ORDER.payment())
    }

    fn call(&self) -> Option<&Call> {
        self.payment()?.call.as_ref()
    }

    fn steps_of_payment(&self, steps: &mut Vec<Step>) {
        let Some(payment) = self.payment() else { return };
        if self.answer.is_some() {
            steps.extend([Step::Answer, Step::Crash]);
        }
        match next_step(payment) {
            None => {}
            Some(Due::Ask(call)) => {
                let is_on_its_way = self
                    .answer
                    .as_ref()
                    .is_some_and(|(attempt, _)| *attempt == call.attempt);
                if self.answer.is_none() {
                    steps.push(Step::Call);
                }
                if self.losses_left > 0 {
                    steps.push(if is_on_its_way {
                        Step::LoseAnswer
                    } else {
                        Step::LoseCall
                    });
                }
                if self.world.provider.outcome(&call.key).is_some() {
                    steps.push(Step::Webhook);
                }
            }
            Some(Due::Intend { .. } | Due::Book(_)) => {
                let is_due = due_at(payment, self.world.now).is_some_and(|due| due <= self.world.now);
                steps.extend(is_due.then_some(Step::Drive));
            }
        }
    }

    /// A scenario that is played to its end waits only when there is nothing else to do.
    fn may_wait(&self, scenario: &Scenario, knowledge: &mut Knowledge) -> bool {
        let Some(next) = self.next_due() else { return false };
        if scenario.to_the_end {
            let is_idle = self.left.iter().all(|left| *left == 0);
            return is_idle && self.is_at_rest(scenario, knowledge);
        }
        let overdue = self.world.timers.values().min();
        self.waits_left > 0 && overdue.is_none_or(|due| *due + PATIENCE >= next)
    }

    /// The next deadline that has not come yet.
    fn next_due(&self) -> Option<Timestamp> {
        let now = self.world.now;
        let payment = self.payment().and_then(|payment| match next_step(payment)? {
            Due::Ask(_) => None,
            Due::Intend { .. } | Due::Book(_) => due_at(payment, now),
        });
        let timers = self.world.timers.values().copied();
        timers.chain(payment).filter(|due| *due > now).min()
    }

    /// Everything has been heard, answered and done that is due.
    pub fn is_at_rest(&self, scenario: &Scenario, knowledge: &mut Knowledge) -> bool {
        let mut steps = Vec::new();
        self.steps_of_payment(&mut steps);
        let is_due = self.world.timers.values().any(|due| *due <= self.world.now);
        steps.is_empty() && !is_due && self.unheard(scenario, knowledge) == [0; CHANNELS.len()]
    }

    /// Names what each channel has not heard yet; 0 where it has heard everything.
    fn unheard(&self, scenario: &Scenario, knowledge: &mut Knowledge) -> [u64; CHANNELS.len()] {
        let mut names = [0; CHANNELS.len()];
        for event in &self.world.log[scenario.base()..] {
            let meaning = knowledge.meaning(event);
            for channel in meaning.channels.iter().map(|channel| usize::from(*channel)) {
                if event.version > self.marks[channel] {
                    names[channel] = hash_of(&(names[channel], meaning.says));
                    if event.event_type == "point.closed" {
                        names[channel] = hash_of(&(names[channel], self.held_at(event)));
                    }
                }
            }
        }
        names
    }

    /// Whether the point held anything when it closed: who is told of it depends on that.
    fn held_at(&self, closed: &Envelope) -> Option<&str> {
        let before = |event: &&Arc<Envelope>| event.stream == closed.stream && event.version < closed.version;
        let mut held = self.world.log.iter().rev().filter(before);
        let last = held.find(|event| event.event_type.starts_with("hold."));
        last.map(|event| event.event_type.as_str())
    }

    /// Names the state: two with the same name go on alike, whatever they did before. So versions are not in it, nor
    /// when something was last changed, nor events that all who care have heard.
    pub fn name(&self, scenario: &Scenario, knowledge: &mut Knowledge) -> u64 {
        let world = &self.world;
        let timers: Vec<_> = world.timers.iter().collect();
        let answer = self.answer.as_ref().map(|(attempt, _)| *attempt);
        let budget = (&self.left, &self.said, self.losses_left, self.waits_left);
        hash_of(&(
            world.now,
            knowledge.states(world),
            timers,
            self.unheard(scenario, knowledge),
            (answer, self.provider),
            budget,
        ))
    }

    /// The state after a step; `None` if it changes nothing.
    pub fn after(&self, step: Step, scenario: &Scenario, knowledge: &mut Knowledge) -> Option<Self> {
        let mut node = self.clone();
        let has_changed = match step {
            Step::Hear { channel, version } => return self.heard(channel, version.into(), scenario, knowledge),
            Step::Act(nth) => node.act(nth, scenario),
            Step::Fire(source, kind) => {
                let stream = source.stream();
                let keys = node.world.timers.keys();
                let kind = keys
                    .filter(|(of, _)| *of == stream)
                    .find(|(_, of)| kind_of(of) == Some(kind));
                let (stream, kind) = kind.cloned().expect("it was due");
                node.world.fire(&stream, &kind);
                true
            }
            Step::Wait => {
                node.world.now = node.next_due().expect("something is due later");
                node.waits_left = node.waits_left.saturating_sub(1);
                true
            }
            Step::Drive => {
                node.world.on_payment(ORDER.payment(), &Pay::Drive);
                true
            }
            Step::Call => node.ask(scenario.flaw == Flaw::NewKeys),
            Step::Answer => {
                let (attempt, answer) = node.answer.take().expect("it is on its way");
                node.answered(attempt, answer)
            }
            Step::LoseCall | Step::LoseAnswer => {
                node.losses_left -= 1;
                let attempt = node.call().expect("it is under way").attempt;
                if step == Step::LoseAnswer {
                    node.answer = None;
                }
                node.answered(attempt, Answer::Lost)
            }
            Step::Webhook => {
                let call = node.call().cloned().expect("it is under way");
                let answer = node.world.provider.outcome(&call.key).cloned();
                node.answered(call.attempt, answer.expect("it was carried out"))
            }
            Step::Crash => {
                node.answer = None;
                true
            }
        };
        has_changed.then(|| {
            broken::spoil(scenario.flaw, &mut node.world);
            node.forget_what_moves_nothing();
            node
        })
    }

    fn act(&mut self, nth: u8, scenario: &Scenario) -> bool {
        let index = usize::from(nth);
        let (act, _) = scenario.acts[index];
        let before = self.world.log.len();
        let granted = broken::act(scenario.flaw, act, &mut self.world);
        self.left[index] -= 1;
        if scenario.to_the_end {
            self.said.push((nth, granted));
            self.said.sort_unstable();
            return true;
        }
        granted && self.world.log.len() > before
    }

    fn ask(&mut self, with_new_key: bool) -> bool {
        let mut call = self.call().cloned().expect("it is under way");
        if with_new_key {
            call.key = format!("{}-{}", call.key, call.lost);
        }
        let answer = self.world.provider.ask(ORDER, &call);
        self.answer = Some((call.attempt, answer));
        self.provider = hash_of(&format!("{:?}", self.world.provider.done()));
        true
    }

    fn answered(&mut self, attempt: u32, answer: Answer) -> bool {
        self.world
            .on_payment(ORDER.payment(), &Pay::Answered { attempt, answer });
        true
    }

    /// As the real inbox does it: what is marked was heard, and a gap is filled from the owner's feed first. Each
    /// event's effect commits with its mark, so a crash in between is the same as hearing less.
    fn heard(&self, channel: u8, version: u64, scenario: &Scenario, knowledge: &mut Knowledge) -> Option<Self> {
        let channel = usize::from(channel);
        let mark = self.marks[channel];
        let versions = match scenario.flaw {
            Flaw::HearsRepeats if version <= mark => version..=version,
            Flaw::HearsOverGaps if version > mark => version..=version,
            _ if version <= mark => return None,
            _ => mark + 1..=version,
        };
        let mut node = self.clone();
        let (master, source) = CHANNELS[channel];
        let feed = self.world.log[scenario.base()..].iter();
        for event in feed.filter(|event| versions.contains(&event.version)) {
            if knowledge.source(&event.stream) == Some(source)
                && let Some(told) = knowledge.told(master, event)
                && !(scenario.flaw == Flaw::MarksBeforeTheEffect && event.event_type == "settlement.due")
            {
                node.world.tell(told);
            }
        }
        node.marks[channel] = mark.max(version);
        broken::spoil(scenario.flaw, &mut node.world);
        node.forget_what_moves_nothing();
        Some(node)
    }
}

fn kind_of(timer: &str) -> Option<&'static str> {
    let is_of = |kind: &&str| timer == *kind || (kind.ends_with(':') && timer.starts_with(*kind));
    TIMERS.into_iter().find(is_of)
}
