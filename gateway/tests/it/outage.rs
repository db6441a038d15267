//! The issuer is away for an hour, and nobody with a valid token notices.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mesh_contracts::id::UserId;
use mesh_contracts::user::Role;
use mesh_identity::jwt::{Issuer, LIFETIME_MAX, Refused, SigningKey};
use tokio::time::Instant;

use crate::site::{AUDIENCE, ISSUER, Site};

const HOUR: Duration = Duration::from_secs(3600);
/// The issuer is asked once in this time at most.
const FETCH_SPACING: Duration = Duration::from_secs(10);

/// What lies between a gateway and its issuer: passes connections on, until it takes them and says nothing any more.
///
/// On threads of its own, since the test's clock stands still.
#[derive(Clone, Default)]
struct Line {
    is_silent: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
    passing: Arc<Mutex<Vec<TcpStream>>>,
}

impl Line {
    fn to(&self, target: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let line = self.clone();
        thread::spawn(move || {
            let mut held = None;
            for near in listener.incoming().map_while(Result::ok) {
                line.connections.fetch_add(1, Ordering::Relaxed);
                if line.is_silent.load(Ordering::Relaxed) {
                    // The one before has been given up.
                    drop(held.replace(near));
                } else {
                    let far = TcpStream::connect(target).unwrap();
                    line.pass(&near, &far);
                    line.pass(&far, &near);
                }
            }
        });
        address
    }

    fn pass(&self, from: &TcpStream, to: &TcpStream) {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        self.passing.lock().unwrap().push(from.try_clone().unwrap());
        thread::spawn(move || io::copy(&mut from, &mut to));
    }

    /// From now on, on connections that are open, too.
    fn fall_silent(&self) {
        self.is_silent.store(true, Ordering::Relaxed);
        for stream in self.passing.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[tokio::test]
async fn an_hour_without_the_issuer_refuses_no_valid_token_and_asks_it_every_ten_seconds_at_most() {
    let site = Site::start().await;
    let line = Line::default();
    let issuer = line.to(site.address("user-master"));
    let upstreams = format!("{},user-master={issuer}", site.upstreams());
    let (app, _, _) = site.app(&[("TIFFIN_UPSTREAMS", &upstreams)]);
    let verifier = app.verifier.clone();
    let shutdown = site.shutdown.clone();
    tokio::spawn({
        let verifier = verifier.clone();
        async move { verifier.run(shutdown).await }
    });
    verifier.verify(&site.token(Role::Customer)).await.unwrap();

    line.fall_silent();
    let asked_before = line.connections.load(Ordering::Relaxed);
    tokio::time::pause();
    let strangers = Issuer::new(vec![SigningKey::generate()], ISSUER, AUDIENCE);
    let away_since = Instant::now();
    while away_since.elapsed() < HOUR {
        // Never seen before, so it is the key that counts and not the cache.
        verifier.verify(&site.token(Role::Customer)).await.unwrap();
        let forged = strangers.access_token(&UserId::new_v7(), Role::Customer, &[], LIFETIME_MAX);
        assert_eq!(verifier.verify(&forged).await, Err(Refused::Invalid));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let away_for = away_since.elapsed();
    tokio::time::resume();

    let asked = line.connections.load(Ordering::Relaxed) - asked_before;
    let asked_max = away_for.as_secs() / FETCH_SPACING.as_secs() + 1;
    assert!(asked as u64 <= asked_max, "asked {asked} times in {away_for:?}");
    // Or nobody has tried, and it was not the issuer's silence that was tested.
    assert!(asked as u64 > asked_max / 2, "asked {asked} times in {away_for:?}");
}
