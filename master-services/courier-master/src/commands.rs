//! From a command to events on one or two streams, stored together.

use std::time::Duration;

use mesh_contracts::id::{CourierId, DeliveryId};
use mesh_contracts::view::courier::Courier;
use mesh_contracts::view::delivery::Delivery;
use mesh_eventstore::{AlsoAppend, BoxError, Decided, Outcome, Request, SubmitError};

use crate::App;
use crate::domain::{Rejection, courier, delivery};
use crate::streams::Couriers;

/// A courier has at most an offer and two jobs; more than two of them hardly ever move at the same time.
const TRIES_MAX: u32 = 5;
/// Longer than a commit takes, and doubled with each try.
const PAUSE: Duration = Duration::from_millis(5);

/// What came of a command.
pub type Submitted = Result<Outcome, SubmitError<Rejection>>;

impl App {
    /// Decides on the delivery and on the courier whom the command concerns; whatever moves either of them in between
    /// makes it decide again.
    pub async fn on_delivery(&self, id: DeliveryId, request: Request, command: delivery::Command) -> Submitted {
        let mut tries = 1;
        loop {
            // Nearly always the first word about it; where it is not, we are told to look.
            let opens = tries == 1 && matches!(command, delivery::Command::Open { .. });
            let outcome = self.try_on_delivery(id, request.clone(), command.clone(), opens).await;
            let moved = matches!(
                outcome,
                Err(SubmitError::Rejected(Rejection::Changed) | SubmitError::Conflict)
            );
            if !moved || tries == TRIES_MAX {
                return outcome;
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(tries)).await;
            tries += 1;
        }
    }

    /// Decides on a courier alone.
    pub async fn on_courier(&self, id: CourierId, request: Request, command: courier::Command) -> Submitted {
        self.couriers
            .submit(id, request, move |courier, _| courier::decide(courier, command))
            .await
    }

    async fn try_on_delivery(
        &self,
        id: DeliveryId,
        request: Request,
        command: delivery::Command,
        opens: bool,
    ) -> Submitted {
        let (request, delivery) = if opens {
            (request.starting(), None)
        } else {
            // Nearly always this process moved it last, and whether it is the current one is checked on submitting.
            (request, self.deliveries.recent(id).await.map_err(unavailable)?)
        };
        let delivery = delivery.map(|(delivery, _)| delivery);
        let party = command.party(delivery.as_ref());
        let former = command.former(delivery.as_ref());
        // Decided on without being written in places, and moved by deliveries behind this process's memory.
        let courier = self.courier(party).await?;
        let former_courier = self.courier(former).await?;
        let policy = self.policy;
        let decide = move |delivery: Option<&Delivery>, now| {
            if command.party(delivery) != party || command.former(delivery) != former {
                return Err(Rejection::Changed);
            }
            let state = courier.as_ref().map(|(courier, _)| courier);
            let decision = delivery::decide(delivery, state, command.clone(), now, &policy)?;
            let touched = [
                (party, &courier, decision.courier),
                (former, &former_courier, decision.former),
            ];
            let also = touched
                .into_iter()
                .filter_map(|(id, courier, events)| also(id?, courier.clone()?, events, now));
            Ok(also.fold(Decided::from(decision.delivery), Decided::and))
        };
        self.deliveries.submit(id, request, decide).await
    }

    async fn courier(&self, id: Option<CourierId>) -> Result<Option<(Courier, u64)>, SubmitError<Rejection>> {
        match id {
            Some(id) => self.couriers.load(id).await.map_err(unavailable),
            None => Ok(None),
        }
    }
}

/// Only what something happens to is written, and checked to be as it was.
fn also(
    id: CourierId,
    (courier, version): (Courier, u64),
    events: Vec<mesh_contracts::courier::Event>,
    now: jiff::Timestamp,
) -> Option<AlsoAppend> {
    (!events.is_empty()).then(|| AlsoAppend::at::<Couriers>(id, Some(courier), version, events, now))
}

fn unavailable(err: BoxError) -> SubmitError<Rejection> {
    SubmitError::Unavailable(err.to_string())
}
