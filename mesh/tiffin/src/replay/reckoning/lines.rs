//! Sums over orders that ended alike.
//!
//! In every line, what was ordered is what the customers paid, owe, what others bear, and what nobody has to pay since
//! the sale was called off.

use std::collections::BTreeMap;
use std::fmt;

use mesh_contracts::money::{Money, MoneyError};
use mesh_contracts::order::{EndedBy, Liable, Reason, Status};
use serde::Serialize;

use super::Account;

/// Above the lines of text.
pub(super) const HEADER: &str = "ended                                          orders   ordered   charged  refunded      owed     point   courier  platform called off";

/// What a group of orders came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    /// Nothing for a total.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<EndedBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    orders: usize,
    ordered: Money,
    charged: Money,
    refunded: Money,
    owed: Money,
    borne_by_point: Money,
    borne_by_courier: Money,
    borne_by_platform: Money,
    called_off: Money,
}

/// One line for each way to end, in each currency.
pub(super) fn by_end(accounts: &[Account]) -> Result<Vec<Line>, MoneyError> {
    lines(accounts, |account| (Some(account.status), account.by, account.reason))
}

/// One line for each currency.
pub(super) fn totals(accounts: &[Account]) -> Result<Vec<Line>, MoneyError> {
    lines(accounts, |_| (None, None, None))
}

type End = (Option<Status>, Option<EndedBy>, Option<Reason>);

fn lines(accounts: &[Account], end: impl Fn(&Account) -> End) -> Result<Vec<Line>, MoneyError> {
    let mut lines: BTreeMap<_, Line> = BTreeMap::new();
    for account in accounts {
        let (status, by, reason) = end(account);
        let currency = account.ordered.currency;
        let key = (status, by.map(name), reason.map(name), currency);
        let line = lines
            .entry(key)
            .or_insert_with(|| Line::empty((status, by, reason), Money::zero(currency)));
        line.add(account)?;
    }
    Ok(lines.into_values().collect())
}

impl Line {
    fn empty((status, by, reason): End, nothing: Money) -> Self {
        Self {
            status,
            by,
            reason,
            orders: 0,
            ordered: nothing,
            charged: nothing,
            refunded: nothing,
            owed: nothing,
            borne_by_point: nothing,
            borne_by_courier: nothing,
            borne_by_platform: nothing,
            called_off: nothing,
        }
    }

    fn add(&mut self, account: &Account) -> Result<(), MoneyError> {
        let nothing = Money::zero(account.ordered.currency);
        let borne_by = |party| match account.liable {
            Some(liable) if liable == party => account.borne,
            Some(_) | None => nothing,
        };
        let paid = account.charged.minus(account.refunded)?.plus(account.owed)?;
        self.orders += 1;
        self.ordered = self.ordered.plus(account.ordered)?;
        self.charged = self.charged.plus(account.charged)?;
        self.refunded = self.refunded.plus(account.refunded)?;
        self.owed = self.owed.plus(account.owed)?;
        self.borne_by_point = self.borne_by_point.plus(borne_by(Liable::Point))?;
        self.borne_by_courier = self.borne_by_courier.plus(borne_by(Liable::Courier))?;
        self.borne_by_platform = self.borne_by_platform.plus(borne_by(Liable::Platform))?;
        let called_off = account.ordered.minus(paid)?.minus(account.borne)?;
        self.called_off = self.called_off.plus(called_off)?;
        Ok(())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut end = match self.status {
            Some(status) => status.as_str().to_owned(),
            None => format!("all, {}", self.ordered.currency),
        };
        if let Some(by) = self.by {
            end += &format!(" by {}", name(by));
        }
        if let Some(reason) = self.reason {
            end += &format!(", {}", name(reason));
        }
        write!(out, "{end:<47}{:>6}", self.orders)?;
        let amounts = [
            self.ordered,
            self.charged,
            self.refunded,
            self.owed,
            self.borne_by_point,
            self.borne_by_courier,
            self.borne_by_platform,
            self.called_off,
        ];
        for money in amounts {
            write!(out, "{:>10}", money.amount)?;
        }
        Ok(())
    }
}

/// As on the wire.
fn name(code: impl Serialize) -> String {
    match serde_json::to_value(code) {
        Ok(serde_json::Value::String(name)) => name,
        other => unreachable!("a code is a string, not {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use mesh_contracts::id::OrderId;
    use mesh_contracts::money::Currency;
    use uuid::Uuid;

    use super::*;

    fn euro(cents: i64) -> Money {
        Money::new(cents, Currency::EUR)
    }

    fn account(status: Status, charged: i64, refunded: i64, borne: Option<(Liable, i64)>) -> Account {
        Account {
            order: OrderId(Uuid::from_u128(1)),
            name: "o1".to_owned(),
            status,
            by: None,
            reason: None,
            mischief: None,
            liable: borne.map(|(liable, _)| liable),
            ordered: euro(1000),
            charged: euro(charged),
            refunded: euro(refunded),
            owed: euro(0),
            borne: euro(borne.map_or(0, |(_, cents)| cents)),
            is_settled: true,
        }
    }

    #[test]
    fn orders_that_end_alike_are_one_line_and_everything_adds_up() {
        let day = [
            account(Status::Completed, 1000, 0, None),
            account(Status::Completed, 1000, 0, None),
            account(Status::Cancelled, 1000, 500, None),
            account(Status::Undelivered, 1000, 1000, Some((Liable::Courier, 1000))),
        ];
        let ends = by_end(&day).expect("one currency");
        let counts: Vec<_> = ends.iter().map(|line| (line.status, line.orders)).collect();
        let expected = [(Status::Completed, 2), (Status::Cancelled, 1), (Status::Undelivered, 1)];
        assert_eq!(counts, expected.map(|(status, count)| (Some(status), count)));
        assert_eq!(ends[1].called_off, euro(500), "half of what was on the stove");
        let all = totals(&day).expect("one currency");
        assert_eq!(all.len(), 1);
        let all = &all[0];
        assert_eq!(
            (all.orders, all.ordered, all.borne_by_courier),
            (4, euro(4000), euro(1000))
        );
        let paid = all.charged.amount - all.refunded.amount + all.owed.amount;
        let borne = all.borne_by_point.amount + all.borne_by_courier.amount + all.borne_by_platform.amount;
        assert_eq!(all.ordered.amount, paid + borne + all.called_off.amount);
    }
}
