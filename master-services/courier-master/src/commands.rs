//! From a command to events on one or two streams, stored together.

use std::time::Duration;

use mesh_contracts::id::{CourierId, DeliveryId};
use mesh_contracts::view::courier::Courier;
use mesh_contracts::view::delivery::Delivery;
use mesh_eventstore::{Aggregate, AlsoAppend, BoxError, Decided, Outcome, Request, Streams, SubmitError};

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
            // Nearly always this process moved them last, and what it remembers will do.
            let known = if tries == 1 { Known::Recent } else { Known::Fresh };
            let outcome = self.try_on_delivery(id, request.clone(), command.clone(), known).await;
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
        known: Known,
    ) -> Submitted {
        let delivery = known.of(&self.deliveries, id).await?.map(|(delivery, _)| delivery);
        let party = command.party(delivery.as_ref());
        let courier = match party {
            Some(party) => known.of(&self.couriers, party).await?,
            None => None,
        };
        let policy = self.policy;
        let decide = move |delivery: Option<&Delivery>, now| {
            if command.party(delivery) != party {
                return Err(Rejection::Changed);
            }
            let state = courier.as_ref().map(|(courier, _)| courier);
            let decision = delivery::decide(delivery, state, command.clone(), now, &policy)?;
            let decided = Decided::from(decision.delivery);
            Ok(match party.zip(courier.clone()) {
                Some((party, (courier, version))) if !decision.courier.is_empty() => {
                    decided.and(also(party, courier, version, decision.courier, now))
                }
                _ => decided,
            })
        };
        self.deliveries.submit(id, request, decide).await
    }
}

/// Which state a decision starts from; the append tells whether it was the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Recent,
    Fresh,
}

impl Known {
    async fn of<A: Aggregate>(
        self,
        streams: &Streams<A>,
        id: impl ToString,
    ) -> Result<Option<(A::State, u64)>, SubmitError<Rejection>> {
        let known = match self {
            Self::Recent => streams.recent(id).await,
            Self::Fresh => streams.load(id).await,
        };
        known.map_err(unavailable)
    }
}

fn also(
    id: CourierId,
    courier: Courier,
    version: u64,
    events: Vec<mesh_contracts::courier::Event>,
    now: jiff::Timestamp,
) -> AlsoAppend {
    AlsoAppend::at::<Couriers>(id, Some(courier), version, events, now)
}

fn unavailable(err: BoxError) -> SubmitError<Rejection> {
    SubmitError::Unavailable(err.to_string())
}
