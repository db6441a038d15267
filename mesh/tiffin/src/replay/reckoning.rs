//! How every order ended, and what that cost whom: read from the pages that operators have, once the money is at rest.
//!
//! Decides nothing: what is due and who bears it is what the platform says.

mod lines;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use mesh_contracts::id::OrderId;
use mesh_contracts::money::Money;
use mesh_contracts::order::{Borne, EndedBy, Liable, Reason, Status};
use mesh_contracts::view::order::Settlement;
use mesh_contracts::view::payment::Status as Payment;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::chaos::Chaos;
use super::day::Stage;
use super::deeds::Count;
use crate::client::{Failure, Person};
use lines::Line;

/// An order that ended has no open promise after this (I2).
const SETTLES_WITHIN: Duration = Duration::from_secs(60);
/// How often a page is looked at until then.
const LOOKS_EVERY: Duration = Duration::from_millis(500);
/// Pages read at once.
const AT_ONCE: usize = 8;

/// What a day of mischief came to.
#[derive(Debug, Serialize)]
pub(super) struct Reckoning {
    seed: u64,
    /// How many times the mischief of an ordinary day.
    times: u32,
    mischief: Vec<Count>,
    /// Orders that no kitchen could be asked for: it was out of something, or closed.
    turned_away: usize,
    /// Orders whose money was not at rest in time.
    unsettled: usize,
    /// By how they ended.
    ends: Vec<Line>,
    /// All of them, by currency.
    totals: Vec<Line>,
    orders: Vec<Account>,
}

/// One order.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Account {
    order: OrderId,
    /// Its name in the instance.
    name: String,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<EndedBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mischief: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    liable: Option<Liable>,
    /// What it was to cost.
    ordered: Money,
    /// What was taken from the customer.
    charged: Money,
    /// What of it went back.
    refunded: Money,
    /// What the customer owes.
    owed: Money,
    /// What the liable party bears.
    borne: Money,
    is_settled: bool,
}

/// What of an order matters here.
#[derive(Deserialize)]
struct OrderPage {
    status: Status,
    ended_by: Option<EndedBy>,
    reason: Option<Reason>,
    #[serde(default)]
    liable: Option<Liable>,
    #[serde(default)]
    borne: Option<Borne>,
    total: Money,
    payment_requested: bool,
    settlement: Option<Settlement>,
}

/// And of its payment.
#[derive(Deserialize)]
struct PaymentPage {
    status: Payment,
    captured: Money,
    refunded: Money,
    #[serde(default)]
    debt: Option<Money>,
}

/// Adds up what became of every order that was taken.
pub(super) async fn of_day(stage: &Stage, chaos: Chaos) -> Result<Reckoning> {
    let until = Instant::now() + SETTLES_WITHIN;
    let mut orders: Vec<(usize, Account)> = stream::iter(stage.book.all())
        .map(async |(id, index)| {
            let mut account = account(&stage.operator, id, until).await?;
            account.name.clone_from(&stage.instance.orders[index].name);
            account.mischief = stage
                .deeds
                .outcome(index)
                .filter(|(_, came)| *came)
                .map(|(sort, _)| sort);
            anyhow::Ok((index, account))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
        .context("an order or its payment cannot be read")?;
    orders.sort_by_key(|(index, _)| *index);
    let orders: Vec<Account> = orders.into_iter().map(|(_, account)| account).collect();
    Ok(Reckoning {
        seed: chaos.seed,
        times: chaos.times,
        mischief: stage.deeds.counts(),
        turned_away: 0,
        unsettled: orders.iter().filter(|account| !account.is_settled).count(),
        ends: lines::by_end(&orders)?,
        totals: lines::totals(&orders)?,
        orders,
    })
}

/// An order's page and that of its payment, once they agree; as they stand, if they never do.
async fn account(operator: &Person, id: OrderId, until: Instant) -> Result<Account> {
    let mut looks = tokio::time::interval(LOOKS_EVERY);
    loop {
        looks.tick().await;
        let order: OrderPage = page(operator.order(id).await)?.context("an order without a page")?;
        let payment: Option<PaymentPage> = page(operator.payment(id).await)?;
        let is_settled = is_at_rest(&order, payment.as_ref());
        if is_settled || until <= Instant::now() {
            return Ok(Account::of(id, &order, payment.as_ref(), is_settled));
        }
    }
}

/// Nothing where there is no such page.
fn page<T: DeserializeOwned>(answer: Result<Value, Failure>) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(serde_json::from_value(value)?)),
        Err(failure) if failure.status() == Some(http::StatusCode::NOT_FOUND) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// Whether the order has ended, and what is due is taken or owed.
fn is_at_rest(order: &OrderPage, payment: Option<&PaymentPage>) -> bool {
    if !order.status.is_terminal() {
        return false;
    }
    let Some(payment) = payment else {
        return !order.payment_requested;
    };
    let nothing = Money::zero(order.total.currency);
    let due = order.settlement.map_or(nothing, |settlement| settlement.amount);
    let kept = payment.captured.minus(payment.refunded);
    let paid_or_owed = kept.and_then(|kept| kept.plus(payment.debt.unwrap_or(nothing)));
    let is_resting = match payment.status {
        Payment::Captured | Payment::PartiallyRefunded | Payment::Refunded | Payment::Voided => true,
        Payment::None | Payment::Authorizing | Payment::Authorized | Payment::Declined | Payment::Unknown => false,
        Payment::Capturing | Payment::Voiding | Payment::Refunding => false,
    };
    is_resting && paid_or_owed == Ok(due)
}

impl Account {
    fn of(id: OrderId, order: &OrderPage, payment: Option<&PaymentPage>, is_settled: bool) -> Self {
        let nothing = Money::zero(order.total.currency);
        Self {
            order: id,
            name: String::new(),
            status: order.status,
            by: order.ended_by,
            reason: order.reason,
            mischief: None,
            liable: order.liable.filter(|_| order.borne.is_some()),
            ordered: order.total,
            charged: payment.map_or(nothing, |payment| payment.captured),
            refunded: payment.map_or(nothing, |payment| payment.refunded),
            owed: payment.and_then(|payment| payment.debt).unwrap_or(nothing),
            borne: order.borne.map_or(nothing, |borne| borne.amount),
            is_settled,
        }
    }
}

impl Reckoning {
    /// So many orders never were.
    pub(super) fn turned_away(&mut self, count: usize) {
        self.turned_away = count;
    }

    /// All money is where it belongs.
    pub(super) fn is_settled(&self) -> bool {
        self.unsettled == 0
    }
}

impl std::fmt::Display for Reckoning {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let planned: usize = self.mischief.iter().map(|count| count.parts().1).sum();
        let applied: usize = self.mischief.iter().map(|count| count.parts().2).sum();
        write!(
            out,
            "mischief         seed {}, {} times an ordinary day: {planned} planned, {applied} applied; {} turned away, {} unsettled",
            self.seed, self.times, self.turned_away, self.unsettled
        )?;
        for (sort, planned, applied) in self.mischief.iter().map(Count::parts) {
            write!(out, "\n  {sort:<23}{planned:>4} planned {applied:>4} applied")?;
        }
        write!(out, "\nwho paid         in minor units\n  {}", lines::HEADER)?;
        for line in self.ends.iter().chain(&self.totals) {
            write!(out, "\n  {line}")?;
        }
        Ok(())
    }
}
