//! One platform for all tests of this binary: started by whoever needs it first, ended with the binary however that ends.
//!
//! Tests share its stores, so each opens a site of its own, far from the others'. A test that counts what is written
//! asks to be [`alone`]; all others say that they are [`among_others`]. Whoever waits for deadlines or kills services
//! does so on a second platform, the [`hurried`] one; whoever replaces keys and
//! certificates on a third, the [`rotating`] one.

mod door;
mod ledger;
mod site;
mod written;

use std::path::PathBuf;
use std::process::Child;
use std::sync::{OnceLock, mpsc};

use anyhow::{Context as _, Result, anyhow};
use mesh_local::REGION;
use mesh_local::exec::Launcher;
use mesh_local::platform::{Options, Platform};
use mesh_local::running::Running;
use tiffin::chain::Chain;
use tiffin::client::{Api, Person};
use tiffin::say::Steps;
use tiffin::up;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use door::{Answer, Door, Sent};
pub use ledger::{ledger_of, provider_says};
pub use site::{
    Customer, DEADLINE, PASSWORD, PORTION, Placed, Point, STOCK, Site, Staff, card, cash, heard, history, seen, visa,
};
pub use written::Books;

/// As fast as life: no deadline passes while a test that is slow on a busy machine gets round to its next step.
const CLOCK_RATE: f64 = 1.0;

/// Three minutes for a kitchen to answer are ten seconds, the shortest that a deadline gets, and the ten minutes to pay
/// are half of one.
const HURRIED_CLOCK_RATE: f64 = 20.0;

/// What the tests share.
pub struct Shared {
    platform: Platform,
    chain: Option<Chain>,
    _caretaker: Child,
}

impl Shared {
    /// The platform as other commands find it.
    pub fn running(&self) -> Running {
        self.platform.running().expect("it is up as long as we are")
    }

    /// The demonstration chain.
    ///
    /// # Panics
    /// On the other platforms, which have only what their tests open there.
    pub fn chain(&self) -> &Chain {
        self.chain.as_ref().expect("it is loaded where most tests are")
    }

    /// Its public API. A test has its own, since connections live on the test's runtime.
    pub fn api(&self) -> Api {
        Api::of(&self.running()).expect("it is up as long as we are")
    }

    /// The first operator.
    pub fn operator(&self, api: &Api) -> Person {
        let running = self.running();
        let (email, password) = running.operator().expect("the data directory knows");
        api.person(email, password)
    }
}

/// The platform with the demonstration chain in it; the first call starts it, which takes the better part of a minute.
///
/// # Panics
/// If it cannot be started; the message says why.
pub fn shared() -> &'static Shared {
    static SHARED: OnceLock<Result<Shared, String>> = OnceLock::new();
    started(&SHARED, CLOCK_RATE, true)
}

/// A platform whose deadlines a test can wait for, and whose services it may kill; as slow to start, and empty.
///
/// # Panics
/// If it cannot be started; the message says why.
pub fn hurried() -> &'static Shared {
    static HURRIED: OnceLock<Result<Shared, String>> = OnceLock::new();
    started(&HURRIED, HURRIED_CLOCK_RATE, false)
}

/// A platform whose keys and certificates a test may replace; empty, too.
///
/// # Panics
/// If it cannot be started; the message says why.
pub fn rotating() -> &'static Shared {
    static ROTATING: OnceLock<Result<Shared, String>> = OnceLock::new();
    started(&ROTATING, CLOCK_RATE, false)
}

fn started(once: &'static OnceLock<Result<Shared, String>>, clock_rate: f64, has_chain: bool) -> &'static Shared {
    let start = || start_on_own_thread(clock_rate, has_chain).map_err(|err| format!("{err:#}"));
    match once.get_or_init(start) {
        Ok(shared) => shared,
        Err(err) => panic!("the platform for the tests cannot be started: {err}"),
    }
}

/// The services' executables, which a whole build puts beside this one.
///
/// # Panics
/// If this binary is in no folder.
pub fn binaries_dir() -> PathBuf {
    let own = std::env::current_exe().expect("this binary has a path");
    // `target/debug/deps/it-…`
    own.ancestors().nth(2).expect("cargo put it into a folder").to_owned()
}

/// May be held by many tests at once.
pub async fn among_others() -> RwLockReadGuard<'static, ()> {
    STAGE.read().await
}

/// Nobody else writes anything while it is held.
pub async fn alone() -> RwLockWriteGuard<'static, ()> {
    STAGE.write().await
}

static STAGE: RwLock<()> = RwLock::const_new(());

/// On a runtime of its own, since every test's ends with the test.
fn start_on_own_thread(clock_rate: f64, has_chain: bool) -> Result<Shared> {
    let (sender, started) = mpsc::channel();
    std::thread::Builder::new().name("platform".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(async {
                let _ = sender.send(start(clock_rate, has_chain).await);
                // The supervisor's tasks live on this runtime until the binary ends.
                std::future::pending::<()>().await;
            }),
            Err(err) => drop(sender.send(Err(err.into()))),
        }
    })?;
    started.recv().map_err(|_| anyhow!("the thread that starts it ended"))?
}

async fn start(clock_rate: f64, has_chain: bool) -> Result<Shared> {
    mesh_identity::install_crypto_provider();
    let data_dir = mesh_testkit::fresh_folder();
    let caretaker = mesh_testkit::remove_at_end(&data_dir)?;
    let options = Options {
        data_dir,
        binaries_dir: binaries_dir(),
        clock_rate,
        fresh: false,
        region: REGION.to_owned(),
        public_port: None,
        launcher: Launcher::foreign(),
        log: "info".to_owned(),
        links: None,
        small_disks: false,
        progress: mesh_local::unwatched(),
    };
    let platform = Platform::start(options)
        .await
        .context("`cargo test` of the whole workspace builds the services; for this package alone, build them first")?;
    let chain = if has_chain {
        Some(up::load(&platform.running()?, &Steps::new()).await?.1)
    } else {
        None
    };
    Ok(Shared {
        platform,
        chain,
        _caretaker: caretaker,
    })
}
