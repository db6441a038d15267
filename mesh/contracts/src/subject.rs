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
}

impl Context {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Order,
        Self::Basket,
        Self::Menu,
        Self::Point,
        Self::Courier,
        Self::User,
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
            _ => None,
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

/// Every subject of a context in a region.
pub fn events(prefix: &str, region: &str, context: Context) -> String {
    format!("{prefix}ev.{region}.{}.*", context.as_str())
}
