//! The services of the platform, as one table.

use mesh_contracts::subject::{Context, Queue};

use crate::servers::Grant;

/// What kind of process a service is, and so what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Writes: a database of its own, and the bus.
    Master,
    /// Reads: Redis below its own name, and the bus.
    Info,
    /// The door: a public port, and Redis for shared counts.
    Gateway,
    /// A stand-in for somebody outside: a folder for what it keeps.
    Sandbox,
}

/// A service: folder, crate, binary and identity have its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// Its one name.
    pub name: &'static str,
    /// What it is given.
    pub kind: Kind,
}

/// How far what works behind the scenes steps back for what a customer's order waits for. At 10 it has
/// a ninth of the share of the others (the kernel's weights are 110 to 1024), so it is never starved.
pub const BEHIND: i32 = 10;

impl Service {
    /// Nothing at the way of an order from the app into the event store steps back, and the payment provider does not know
    /// how busy we are.
    pub fn niceness(&self) -> i32 {
        match self.name {
            "gateway" | "order-master" | "basket-master" | "user-master" | "sandbox-payments" => 0,
            _ => BEHIND,
        }
    }
}

/// All of them.
pub const SERVICES: [Service; 14] = [
    Service {
        name: "order-master",
        kind: Kind::Master,
    },
    Service {
        name: "basket-master",
        kind: Kind::Master,
    },
    Service {
        name: "menu-master",
        kind: Kind::Master,
    },
    Service {
        name: "point-master",
        kind: Kind::Master,
    },
    Service {
        name: "courier-master",
        kind: Kind::Master,
    },
    Service {
        name: "user-master",
        kind: Kind::Master,
    },
    Service {
        name: "notifier",
        kind: Kind::Master,
    },
    Service {
        name: "order-info",
        kind: Kind::Info,
    },
    Service {
        name: "basket-info",
        kind: Kind::Info,
    },
    Service {
        name: "menu-info",
        kind: Kind::Info,
    },
    Service {
        name: "user-info",
        kind: Kind::Info,
    },
    Service {
        name: "gateway",
        kind: Kind::Gateway,
    },
    Service {
        name: "sandbox-payments",
        kind: Kind::Sandbox,
    },
    Service {
        name: "sandbox-mail",
        kind: Kind::Sandbox,
    },
];

/// The identity of the command line, which asks services in its own name. Not a service: nothing of it listens.
pub const COMMAND_LINE: &str = "tiffin";

impl Service {
    /// The name of its database and serving role; SQL would have to quote the dash.
    pub fn database(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// All services of a kind.
pub fn of_kind(kind: Kind) -> impl Iterator<Item = &'static Service> {
    SERVICES.iter().filter(move |service| service.kind == kind)
}

/// Who may say what on the bus: masters the events of their contexts and jobs about them; everyone who consumes,
/// dead letters. Jobs are taken by their one worker alone.
pub fn bus_grants() -> Vec<Grant> {
    SERVICES
        .iter()
        .filter(|service| matches!(service.kind, Kind::Master | Kind::Info))
        .map(|service| {
            let mut publish: Vec<String> = Context::ALL
                .into_iter()
                .filter(|context| context.owner() == service.name)
                .map(|context| format!("ev.*.{}.*", context.as_str()))
                .collect();
            let queues = Queue::ALL.into_iter();
            let own = queues.filter(|queue| queue.context().owner() == service.name);
            publish.extend(own.map(|queue| format!("job.*.{}", queue.as_str())));
            publish.push("dead.*.*".to_owned());
            if service.kind == Kind::Master {
                publish.push("live.*.*".to_owned());
            }
            Grant {
                user: service.name.to_owned(),
                publish,
                subscribe: vec!["live.*.*".to_owned()],
                no_jobs_of: Queue::ALL
                    .into_iter()
                    .filter(|queue| queue.worker() != service.name)
                    .map(|queue| queue.as_str().to_owned())
                    .collect(),
            }
        })
        .collect()
}

/// Who may use Redis.
pub fn redis_users() -> Vec<String> {
    SERVICES
        .iter()
        .filter(|service| matches!(service.kind, Kind::Info | Kind::Gateway))
        .map(|service| service.name.to_owned())
        .collect()
}
