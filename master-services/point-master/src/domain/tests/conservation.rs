//! Whatever is asked in whatever order: nothing appears, nothing vanishes, no pool overflows, every hold that can
//! expire has a timer.

use std::collections::BTreeMap;

use mesh_contracts::view::point::{HoldState, StockState};
use proptest::prelude::*;

use super::*;

/// What happens to the point: somebody asks for something, or its timers pass.
#[derive(Debug, Clone)]
enum Step {
    Ask(Command),
    Wait { minutes: i64 },
}

fn order() -> impl Strategy<Value = OrderId> {
    (0_u128..5).prop_map(|number| OrderId(Uuid::from_u128(100 + number)))
}

fn ingredient() -> impl Strategy<Value = IngredientId> {
    (0_u128..3).prop_map(|number| IngredientId(Uuid::from_u128(200 + number)))
}

fn amount() -> impl Strategy<Value = u32> {
    prop_oneof![0_u32..50, Just(10_000_000)]
}

fn needs() -> impl Strategy<Value = Vec<Need>> {
    let quantity = prop_oneof![9 => 0_u64..20, 1 => Just(u64::MAX)];
    let need = (ingredient(), quantity).prop_map(|(ingredient, quantity)| Need { ingredient, quantity });
    prop::collection::vec(need, 0..4)
}

fn cause() -> impl Strategy<Value = ReleaseCause> {
    prop_oneof![
        Just(ReleaseCause::Abandoned),
        Just(ReleaseCause::Rejected),
        Just(ReleaseCause::TimedOut),
    ]
}

fn hold_wanted() -> impl Strategy<Value = Command> {
    (order(), 1_u32..4, needs(), 0_i64..30).prop_map(|(order, attempt, needs, minutes)| {
        Command::Hold(Wanted {
            order,
            attempt,
            kind: Kind::Delivery,
            needs,
            expires_at: later(minutes),
        })
    })
}

fn command() -> impl Strategy<Value = Command> {
    let stock = || (ingredient(), amount());
    prop_oneof![
        2 => stock().prop_map(|(ingredient, quantity)| Command::Receive { ingredient, quantity }),
        1 => stock().prop_map(|(ingredient, quantity)| Command::Count { ingredient, quantity }),
        1 => stock().prop_map(|(ingredient, quantity)| Command::Waste {
            ingredient,
            quantity,
            reason: WasteReason::Damaged,
        }),
        1 => ingredient().prop_map(|ingredient| Command::Gone { ingredient }),
        1 => stock().prop_map(|(ingredient, quantity)| Command::Back { ingredient, quantity }),
        1 => (ingredient(), prop::option::of(0_u32..50)).prop_map(|(ingredient, low_at)| Command::ChangeStock {
            ingredient,
            low_at,
        }),
        1 => prop::collection::btree_map(ingredient(), any::<bool>(), 0..4).prop_map(|here| {
            let country = settings().place.country;
            Command::Align(Needs::from([(country, here)]))
        }),
        6 => hold_wanted(),
        2 => (order(), 1_u32..4).prop_map(|(order, attempt)| Command::Confirm { order, attempt }),
        1 => (order(), 1_u32..4).prop_map(|(order, attempt)| Command::Consume { order, attempt }),
        2 => (order(), 1_u32..4, cause()).prop_map(|(order, attempt, cause)| Command::Release { order, attempt, cause }),
        1 => (order(), any::<bool>()).prop_map(|(order, cooking_began)| Command::EndOrder { order, cooking_began }),
        1 => any::<bool>().prop_map(open),
        1 => (1_u16..4).prop_map(|pool| describe(Settings { pool, ..settings() })),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        9 => command().prop_map(Step::Ask),
        1 => (0_i64..10).prop_map(|minutes| Step::Wait { minutes }),
    ]
}

/// A point as its events and timers make it.
struct World {
    point: FoodPoint,
    timers: BTreeMap<String, Timestamp>,
    now: i64,
}

impl World {
    fn new() -> Self {
        Self {
            point: state(&[registered()]).expect("registered"),
            timers: BTreeMap::new(),
            now: 0,
        }
    }

    fn record(&mut self, events: Vec<Event>) {
        for event in events {
            let slots_before = self.point.free_slots();
            if let Event::HoldHeld { needs, .. } = &event {
                assert!(slots_before > 0, "held without a slot");
                assert!(self.point.is_available(needs), "held without stock");
            }
            let at = later(self.now);
            let before = self.point.clone();
            self.point = fold(Some(before.clone()), &event, at).expect("still a point");
            if let Event::StockClosed { ingredient } = &event {
                assert_eq!(before.stock[ingredient].held, 0, "closed while held");
            }
            if let Event::HoldFailed { .. } = &event {
                assert_eq!(self.point.stock, before.stock, "a refused hold takes no stock");
                assert_eq!(self.point.holds, before.holds, "and no slot");
            }
            for effect in react(&self.point, &event, at) {
                match effect {
                    Effect::SetTimer { kind, due } => self.timers.insert(kind.into_owned(), due),
                    Effect::ClearTimer { kind } => self.timers.remove(kind.as_ref()),
                };
            }
            self.holds();
        }
    }

    fn holds(&self) {
        assert!(self.point.balances(), "{:?}", self.point.stock);
        let mut promised: BTreeMap<IngredientId, u64> = BTreeMap::new();
        for need in self.point.holds.values().flat_map(|hold| &hold.needs) {
            *promised.entry(need.ingredient).or_default() += need.quantity;
        }
        for (ingredient, stock) in &self.point.stock {
            let quantity = promised.get(ingredient).copied().unwrap_or_default();
            assert_eq!(stock.held, quantity, "what is held is what holds say");
        }
        for (order, hold) in &self.point.holds {
            let timer = self.timers.get(&format!("hold:{order}"));
            let expected = match hold.state {
                HoldState::Held => Some(&hold.expires_at),
                HoldState::Confirmed => None,
            };
            assert_eq!(timer, expected);
        }
        let hold_timers = self.timers.keys().filter(|kind| kind.starts_with("hold:"));
        assert!(hold_timers.count() <= self.point.holds.len());
    }

    /// Between commands, nothing waits for a hold that has ended.
    fn nothing_waits_in_vain(&self) {
        for stock in self.point.stock.values() {
            assert!(stock.held > 0 || stock.state != StockState::Unneeded, "{stock:?}");
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask(command) => {
                let decided = decide(Some(&self.point), command.clone(), later(self.now));
                let Ok(events) = decided else { return };
                self.record(events);
                // Told again, it changes nothing more; goods that came or went twice are two deliveries or losses.
                match command {
                    Command::Receive { .. } | Command::Count { .. } | Command::Waste { .. } => {}
                    again @ Command::Back { .. } => {
                        let refused = decide(Some(&self.point), again, later(self.now));
                        assert_eq!(refused, Err(Rejection::NotGone));
                    }
                    again @ (Command::Hold(_) | Command::Confirm { .. }) => {
                        let events = decide(Some(&self.point), again, later(self.now))
                            .expect("others' events are never refused");
                        assert!(
                            events.iter().all(|event| matches!(event, Event::HoldFailed { .. })),
                            "{events:?}"
                        );
                    }
                    again @ (Command::Register(_)
                    | Command::Change { .. }
                    | Command::Gone { .. }
                    | Command::ChangeStock { .. }
                    | Command::Align(_)
                    | Command::Consume { .. }
                    | Command::Release { .. }
                    | Command::EndOrder { .. }) => {
                        assert_eq!(decide(Some(&self.point), again, later(self.now)), Ok(Vec::new()));
                    }
                }
            }
            Step::Wait { minutes } => {
                self.now += minutes;
                let due: Vec<String> = self
                    .timers
                    .iter()
                    .filter(|(_, due)| **due <= later(self.now))
                    .map(|(kind, _)| kind.clone())
                    .collect();
                for kind in due {
                    self.timers.remove(&kind);
                    self.record(fire(Some(&self.point), &kind, later(self.now)));
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn stock_and_slots_are_conserved(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.nothing_waits_in_vain();
        }
    }
}
