//! basket-master's settler: intent, call, answer, with calls and answers that get lost or come late.

use basket_master::domain::payment::{Answer, Command as Pay, Step, due_at, next_step};
use mesh_contracts::id::PaymentId;
use mesh_contracts::view::payment::Call;

use super::broken::Flaw;
use super::{Storm, note};
use crate::silence::told::Master;

const BASKET: usize = Master::Basket as usize;

impl Storm {
    /// One step of a payment that is being driven; whether there was one.
    pub fn drive(&mut self) -> bool {
        if !self.processes[BASKET].is_up {
            return false;
        }
        let Some(id) = self.processes[BASKET].in_hand.pop_first() else {
            return false;
        };
        let Some(payment) = self.world.payments.get(id).cloned() else {
            return true;
        };
        match next_step(&payment) {
            None => {}
            Some(Step::Ask(call)) => self.ask(id, call),
            Some(Step::Intend { .. } | Step::Book(_)) => {
                if due_at(&payment, self.world.now).is_some_and(|due| due > self.world.now) {
                    return true;
                }
                self.world.on_payment(id, &Pay::Drive);
                self.committed(Master::Basket);
                self.processes[BASKET].in_hand.insert(id);
            }
        }
        true
    }

    fn ask(&mut self, id: PaymentId, mut call: Call) {
        let attempt = call.attempt;
        if self.flaw == Flaw::NewKeys {
            call.key = format!("{}-{}", call.key, call.lost);
        }
        let operation = format!("{:?}", call.operation);
        let fate = self.fate(10);
        if fate == Some(0) {
            note!(self, "basket-master: {operation} never reaches the provider");
            return self.answered(id, attempt, Answer::Lost);
        }
        let answer = self.world.provider.ask(id.order(), &call);
        note!(self, "basket-master: asks the provider to {operation}: {answer:?}");
        match fate {
            Some(1) => self.answered(id, attempt, Answer::Lost),
            Some(2) => self.processes[BASKET].answers.push((id, attempt, answer)),
            _ => self.answered(id, attempt, answer),
        }
    }

    fn answered(&mut self, id: PaymentId, attempt: u32, answer: Answer) {
        let is_lost = answer == Answer::Lost;
        self.world.on_payment(id, &Pay::Answered { attempt, answer });
        self.committed(Master::Basket);
        if !is_lost {
            self.processes[BASKET].in_hand.insert(id);
        }
    }

    /// An answer that took long.
    pub fn answer_late(&mut self) -> bool {
        if !self.processes[BASKET].is_up {
            return false;
        }
        let nth = self.dice.below(self.processes[BASKET].answers.len());
        let is_any = !self.processes[BASKET].answers.is_empty();
        if is_any {
            let (id, attempt, answer) = self.processes[BASKET].answers.swap_remove(nth);
            self.answered(id, attempt, answer);
        }
        is_any
    }

    /// The provider tells by itself what came of a call.
    pub fn webhook(&mut self) {
        let Some(id) = self.dice.pick(&self.people.orders).map(|order| order.payment()) else {
            return;
        };
        let call = self.world.payments.get(id).and_then(|payment| payment.call.clone());
        let Some(call) = call.filter(|_| self.processes[BASKET].is_up) else {
            return;
        };
        if let Some(answer) = self.world.provider.outcome(&call.key).cloned() {
            note!(self, "basket-master: the provider tells of {:?}", call.operation);
            self.answered(id, call.attempt, answer);
        }
    }
}
