//! How it is proven: real servers shared by a test binary, a stage of its own for every test, and waiting with a name.
//!
//! For tests only. Knows no service; panics where a program would return an error.

mod browser;
mod eventually;
mod master;
mod process;
mod shared;
mod stage;

pub mod certificates;
pub mod gateway;
pub mod strangers;

pub use browser::Browser;
pub use eventually::{eventually, eventually_in};
pub use gateway::{Answer, Gateway};
pub use master::{Log, Master};
pub use process::{ServiceProcess, free_address};
pub use shared::{Shared, fresh_folder, remove_at_end, shared};
pub use stage::{RedisAccess, Stage, run};

pub use mesh_local::servers::{Database, Servers};

/// The servers of this test binary; the first call starts them, the end of the binary ends them.
pub fn servers() -> &'static Servers {
    shared().servers()
}

/// A fresh database with its two roles, of nobody else.
///
/// # Panics
/// If the servers cannot be started.
pub async fn database() -> Database {
    Stage::new().database().await
}
