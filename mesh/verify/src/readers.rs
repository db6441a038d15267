//! I10: every consumer's inbox or document stands at its source's head, and the bus has nothing left for it.

use std::collections::BTreeMap;

use mesh_contracts::subject::Context;

use crate::findings::Breach;

/// Where streams stand, by their ids.
pub type Versions = BTreeMap<String, u64>;

/// Who reads what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    /// The service.
    pub service: &'static str,
    /// Whose events.
    pub context: Context,
    /// Only streams with this prefix; empty for all of the context.
    pub prefix: &'static str,
    /// Where it notes how far it has come.
    pub keeps: Keeps,
}

/// Where a reader notes how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// In its inbox in Postgres.
    Inbox,
    /// In documents of this kind in Redis.
    Documents(&'static str),
}

const fn inbox(service: &'static str, context: Context) -> Reader {
    Reader {
        service,
        context,
        prefix: "",
        keeps: Keeps::Inbox,
    }
}

const fn documents(service: &'static str, context: Context, prefix: &'static str, kind: &'static str) -> Reader {
    Reader {
        service,
        context,
        prefix,
        keeps: Keeps::Documents(kind),
    }
}

/// Everyone who reads others' events.
pub const READERS: [Reader; 23] = [
    inbox("order-master", Context::Point),
    inbox("order-master", Context::Menu),
    inbox("order-master", Context::Basket),
    inbox("order-master", Context::Courier),
    inbox("order-master", Context::Notify),
    inbox("point-master", Context::Order),
    inbox("point-master", Context::Menu),
    inbox("courier-master", Context::Order),
    inbox("courier-master", Context::User),
    inbox("basket-master", Context::Order),
    inbox("basket-master", Context::Menu),
    documents("order-info", Context::Order, "ord_", "order"),
    documents("order-info", Context::Courier, "dlv_", "delivery"),
    documents("order-info", Context::Point, "pnt_", "kitchen"),
    documents("order-info", Context::Courier, "cou_", "courier"),
    documents("basket-info", Context::Basket, "bas_", "basket"),
    documents("basket-info", Context::Basket, "pay_", "payment"),
    documents("menu-info", Context::Menu, "prd_", "product"),
    documents("menu-info", Context::Menu, "prm_", "promotion"),
    documents("menu-info", Context::Point, "pnt_", "point"),
    documents("user-info", Context::User, "usr_", "person"),
    documents("user-info", Context::Courier, "cou_", "courier"),
    documents("user-info", Context::Courier, "dlv_", "delivery"),
];

impl Reader {
    /// What it must have reached: the heads of the streams that it reads.
    pub fn owed<'a>(&self, heads: &'a BTreeMap<Context, Versions>) -> impl Iterator<Item = (&'a str, u64)> {
        let prefix = self.prefix;
        heads
            .get(&self.context)
            .into_iter()
            .flatten()
            .filter(move |(stream, _)| stream.starts_with(prefix))
            .map(|(stream, head)| (stream.as_str(), *head))
    }

    /// How it is called in a finding.
    pub fn name(&self) -> String {
        match self.keeps {
            Keeps::Inbox => format!("{} (inbox of {})", self.service, self.context.as_str()),
            Keeps::Documents(kind) => format!("{} ({kind} documents)", self.service),
        }
    }
}

/// A durable consumer on the bus that has not come to the message that was the newest when heads were noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// Its name.
    pub consumer: String,
    /// Of which stream.
    pub stream: String,
    /// How many messages it has still to acknowledge.
    pub messages: u64,
}

/// The streams at which a reader is not at the head.
pub fn lags(reader: &Reader, heads: &BTreeMap<Context, Versions>, reached: &Versions) -> Versions {
    reader
        .owed(heads)
        .filter(|(stream, head)| reached.get(*stream).copied().unwrap_or_default() < *head)
        .map(|(stream, head)| (stream.to_owned(), head))
        .collect()
}

/// I10. `reached` has an entry for every reader.
pub fn at_the_head(
    heads: &BTreeMap<Context, Versions>,
    reached: &[(Reader, Versions)],
    behind: &[Behind],
) -> Vec<Breach> {
    let by_reader = reached.iter().flat_map(|(reader, reached)| {
        lags(reader, heads, reached).into_iter().map(|(stream, head)| {
            let at = reached.get(&stream).copied().unwrap_or_default();
            Breach::of(stream, format!("{} stands at {at} of {head}", reader.name()))
        })
    });
    let by_consumer = behind.iter().map(|behind| {
        let what = format!("{} messages of {} not acknowledged", behind.messages, behind.stream);
        Breach::of(&behind.consumer, what)
    });
    by_reader.chain(by_consumer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(of: &[(&str, u64)]) -> Versions {
        of.iter()
            .map(|(stream, version)| ((*stream).to_owned(), *version))
            .collect()
    }

    fn heads() -> BTreeMap<Context, Versions> {
        [
            (Context::Order, versions(&[("ord_a", 3), ("ord_b", 5)])),
            (Context::Basket, versions(&[("bas_a", 2), ("pay_a", 4)])),
        ]
        .into()
    }

    const POINT: Reader = inbox("point-master", Context::Order);
    const PAYMENTS: Reader = documents("basket-info", Context::Basket, "pay_", "payment");

    #[test]
    fn readers_at_the_head_or_beyond_are_fine() {
        let reached = [
            (POINT, versions(&[("ord_a", 3), ("ord_b", 6)])),
            (PAYMENTS, versions(&[("pay_a", 4)])),
        ];
        assert_eq!(at_the_head(&heads(), &reached, &[]), []);
    }

    #[test]
    fn a_dropped_mark_and_an_old_document_are_counted_one_by_one() {
        let reached = [
            (POINT, versions(&[("ord_b", 5)])),
            (PAYMENTS, versions(&[("pay_a", 3)])),
        ];
        let found = at_the_head(&heads(), &reached, &[]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].id, "ord_a");
        assert!(found[0].what.contains("stands at 0 of 3"));
        assert!(found[1].what.contains("basket-info"), "{found:?}");
    }

    #[test]
    fn a_consumer_with_messages_left_is_counted() {
        let behind = Behind {
            consumer: "courier-master-dispatch".into(),
            stream: "COURIER".into(),
            messages: 7,
        };
        assert_eq!(at_the_head(&BTreeMap::new(), &[], &[behind]).len(), 1);
    }

    #[test]
    fn every_context_is_read_by_somebody() {
        for context in Context::ALL {
            assert!(READERS.iter().any(|reader| reader.context == context), "{context:?}");
        }
    }
}
