//! Where events travel: contexts, their streams on the bus, subjects and shards.

use serde::{Deserialize, Serialize};

/// Subjects per context, so that the broker does not keep one per aggregate.
pub const SHARDS: u8 = 16;

/// A bounded context: one owner of truth, one stream on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Context {
    /// Orders.
    Order,
    /// Baskets and payments.
    Basket,
    /// Products and promotions.
    Menu,
    /// Food points.
    Point,
    /// Couriers and deliveries.
    Courier,
    /// People.
    User,
    /// What became of notifications.
    Notify,
}

impl Context {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Order,
        Self::Basket,
        Self::Menu,
        Self::Point,
        Self::Courier,
        Self::User,
        Self::Notify,
    ];

    /// The name of its stream on the bus, without prefix.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Order => "ORDER",
            Self::Basket => "BASKET",
            Self::Menu => "MENU",
            Self::Point => "POINT",
            Self::Courier => "COURIER",
            Self::User => "USER",
            Self::Notify => "NOTIFY",
        }
    }

    /// The only service that writes it.
    pub fn owner(self) -> &'static str {
        match self {
            Self::Order => "order-master",
            Self::Basket => "basket-master",
            Self::Menu => "menu-master",
            Self::Point => "point-master",
            Self::Courier => "courier-master",
            Self::User => "user-master",
            Self::Notify => "notifier",
        }
    }

    /// Which context an aggregate belongs to, by its prefix.
    pub fn of_stream(stream: &str) -> Option<Self> {
        match stream.split_once('_')?.0 {
            "ord" => Some(Self::Order),
            "bas" | "pay" => Some(Self::Basket),
            "prd" | "prm" => Some(Self::Menu),
            "pnt" => Some(Self::Point),
            "cou" | "dlv" => Some(Self::Courier),
            "usr" => Some(Self::User),
            "ntf" => Some(Self::Notify),
            _ => None,
        }
    }
}

/// A work queue: one worker takes each job, and the broker forgets a job that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Queue {
    /// Payments to be driven on.
    Payment,
    /// Messages to customers.
    Notify,
}

impl Queue {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Payment, Self::Notify];

    /// The name of its stream on the bus, without prefix.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Payment => "JOBS_PAYMENT",
            Self::Notify => "JOBS_NOTIFY",
        }
    }

    /// Whose aggregates its jobs are about; the owner alone puts jobs there.
    pub fn context(self) -> Context {
        match self {
            Self::Payment => Context::Basket,
            Self::Notify => Context::Order,
        }
    }

    /// The only service that takes them.
    pub fn worker(self) -> &'static str {
        match self {
            Self::Payment => "basket-master",
            Self::Notify => "notifier",
        }
    }
}

/// The shard of an aggregate: FNV-1a over its id, so that every build agrees.
pub fn shard(stream: &str) -> u8 {
    let hash = stream.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash % u64::from(SHARDS)) as u8
}

/// `ev.<region>.<context>.<shard>`, after the prefix.
pub fn event(prefix: &str, region: &str, context: Context, shard: u8) -> String {
    format!("{prefix}ev.{region}.{}.{shard}", context.as_str())
}

/// `ev.<region>.<context>.batch`, after the prefix: messages with several events, of whatever shards.
pub fn batch(prefix: &str, region: &str, context: Context) -> String {
    format!("{prefix}ev.{region}.{}.batch", context.as_str())
}

/// Every subject of a context in a region.
pub fn events(prefix: &str, region: &str, context: Context) -> String {
    format!("{prefix}ev.{region}.{}.*", context.as_str())
}

/// `job.<region>.<queue>`, after the prefix.
pub fn job(prefix: &str, region: &str, queue: Queue) -> String {
    format!("{prefix}job.{region}.{}", queue.as_str())
}

/// `live.<region>.<kind>`, after the prefix: ephemeral news, stored by nobody.
pub fn live(prefix: &str, region: &str, kind: &str) -> String {
    format!("{prefix}live.{region}.{kind}")
}
