//! A network between the parts of a platform that can be made bad: late, cut, silent, one-way, a trickle.
//!
//! Each service is given an address of ours for each part that it calls, and what arrives there is passed on. Knows
//! bytes, and nothing of what is said.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is passed on at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// A trickle comes in drops this far apart.
const DROP_EVERY: Duration = Duration::from_millis(100);

/// How a link behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Condition {
    /// As loopback does.
    #[default]
    Clear,
    /// Every chunk takes this long, and up to `jitter` more.
    Late {
        /// At least.
        by: Duration,
        /// At most so much more.
        jitter: Duration,
    },
    /// Connections break, and new ones are closed at once.
    Cut,
    /// Connections stand and new ones are taken, and nothing arrives before the link is clear again.
    Silent,
    /// What is asked arrives, and no answer does before the link is clear again.
    OneWay,
    /// So many bytes a second arrive each way, at least ten.
    Trickle {
        /// Of each connection.
        bytes_per_s: usize,
    },
}

/// Who calls, and whom.
pub type Ends = (String, String);

struct Link {
    address: SocketAddr,
    condition: watch::Sender<Condition>,
    listening: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// All links of a platform. They last as long as this does, so services never meet a closed port of ours.
#[derive(Default)]
pub struct Links {
    links: Mutex<BTreeMap<Ends, Link>>,
}

impl Links {
    /// The address at which `from` reaches `to`, which listens at `target`. Within a runtime.
    ///
    /// # Errors
    /// When there is no port left.
    pub fn between(&self, from: &str, to: &str, target: SocketAddr) -> Result<SocketAddr> {
        let ends = (from.to_owned(), to.to_owned());
        if let Some(known) = self.lock().get(&ends) {
            return Ok(known.address);
        }
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for a link")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let condition = watch::Sender::default();
        let watched = condition.subscribe();
        let listening = tokio::spawn(listen(TcpListener::from_std(listener)?, target, watched));
        let link = Link {
            address,
            condition,
            listening,
        };
        self.lock().insert(ends, link);
        Ok(address)
    }

    /// Every pair, in the order of names.
    pub fn ends(&self) -> Vec<Ends> {
        self.lock().keys().cloned().collect()
    }

    /// Makes a link behave like this from now on, if there is one.
    pub fn set(&self, ends: &Ends, condition: Condition) {
        if let Some(link) = self.lock().get(ends) {
            link.condition.send_replace(condition);
        }
    }

    /// Makes all of them clear.
    pub fn clear(&self) {
        for link in self.lock().values() {
            link.condition.send_replace(Condition::Clear);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Ends, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen(listener: TcpListener, target: SocketAddr, condition: watch::Receiver<Condition>) {
    loop {
        let Ok((caller, _)) = listener.accept().await else {
            // Out of files for a moment: they come back when connections end.
            tokio::time::sleep(DROP_EVERY).await;
            continue;
        };
        if *condition.borrow() != Condition::Cut {
            tokio::spawn(connect(caller, target, condition.clone()));
        }
    }
}

/// Ends with the first side that does; an end that is passed on is none yet.
async fn connect(caller: TcpStream, target: SocketAddr, condition: watch::Receiver<Condition>) -> io::Result<()> {
    let callee = TcpStream::connect(target).await?;
    for stream in [&caller, &callee] {
        stream.set_nodelay(true)?;
    }
    let (asks, is_answered) = caller.into_split();
    let (answers, is_asked) = callee.into_split();
    let mut broken = condition.clone();
    tokio::select! {
        done = async { tokio::try_join!(
            pass_on(asks, is_asked, condition.clone(), false),
            pass_on(answers, is_answered, condition, true),
        ) } => done.map(drop),
        _ = broken.wait_for(|condition| *condition == Condition::Cut) => Ok(()),
    }
}

async fn pass_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut condition: watch::Receiver<Condition>,
    is_answer: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        write(&buffer[..read], &mut to, &mut condition, is_answer).await?;
    }
}

async fn write(
    mut bytes: &[u8],
    to: &mut OwnedWriteHalf,
    condition: &mut watch::Receiver<Condition>,
    is_answer: bool,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let now = *condition.borrow_and_update();
        match now {
            Condition::Clear => return to.write_all(bytes).await,
            Condition::Late { by, jitter } => {
                tokio::time::sleep(by + jitter.mul_f64(rand::random_range(0.0..=1.0))).await;
                return to.write_all(bytes).await;
            }
            Condition::OneWay if !is_answer => return to.write_all(bytes).await,
            // A cut ends the connection from outside.
            Condition::Silent | Condition::OneWay | Condition::Cut => {
                let is_over = condition.changed().await.is_err();
                if is_over {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
            }
            Condition::Trickle { bytes_per_s } => {
                let (drop, rest) = bytes.split_at((bytes_per_s / 10).clamp(1, bytes.len()));
                to.write_all(drop).await?;
                bytes = rest;
                tokio::time::sleep(DROP_EVERY).await;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Long enough for loopback on a busy machine; nothing that should arrive takes as long.
    const SOON: Duration = Duration::from_secs(10);

    /// What should not arrive is not waited for longer.
    const A_WHILE: Duration = Duration::from_millis(300);

    struct Stage {
        links: Links,
        ends: Ends,
        address: SocketAddr,
    }

    /// Says back what it hears.
    async fn echo() -> Stage {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let target = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut hears, mut says) = stream.into_split();
                    let _ = tokio::io::copy(&mut hears, &mut says).await;
                });
            }
        });
        let links = Links::default();
        let address = links.between("a", "b", target).expect("a port");
        let ends = ("a".to_owned(), "b".to_owned());
        Stage { links, ends, address }
    }

    async fn ask(stream: &mut TcpStream, text: &[u8]) -> io::Result<()> {
        stream.write_all(text).await?;
        let mut heard = vec![0; text.len()];
        stream.read_exact(&mut heard).await?;
        assert_eq!(heard, text);
        Ok(())
    }

    async fn asked(stage: &Stage) -> TcpStream {
        let mut stream = TcpStream::connect(stage.address).await.expect("the link listens");
        ask(&mut stream, b"hello").await.expect("it is clear");
        stream
    }

    #[tokio::test]
    async fn a_clear_link_passes_everything_on_and_its_end_too() {
        let stage = echo().await;
        let mut stream = asked(&stage).await;
        ask(&mut stream, &[7; 100_000]).await.expect("it is clear");
        stream.shutdown().await.expect("it stands");
        assert_eq!(stream.read(&mut [0]).await.expect("an end"), 0);
    }

    #[tokio::test]
    async fn a_late_link_takes_its_time() {
        let stage = echo().await;
        let mut stream = asked(&stage).await;
        let by = Duration::from_millis(100);
        let jitter = Duration::ZERO;
        stage.links.set(&stage.ends, Condition::Late { by, jitter });
        let asked_at = Instant::now();
        ask(&mut stream, b"late").await.expect("it arrives");
        assert!(asked_at.elapsed() >= by * 2);
    }

    #[tokio::test]
    async fn a_cut_breaks_what_stands_and_refuses_what_comes_until_it_is_mended() {
        let stage = echo().await;
        let mut stream = asked(&stage).await;
        stage.links.set(&stage.ends, Condition::Cut);
        let broken = tokio::time::timeout(SOON, stream.read(&mut [0])).await.expect("soon");
        assert!(!matches!(broken, Ok(1..)));
        let mut refused = TcpStream::connect(stage.address).await.expect("the link listens");
        assert!(ask(&mut refused, b"hello").await.is_err());
        stage.links.clear();
        asked(&stage).await;
    }

    #[tokio::test]
    async fn a_silent_link_keeps_what_is_said_until_it_is_mended() {
        for condition in [Condition::Silent, Condition::OneWay] {
            let stage = echo().await;
            let mut stream = asked(&stage).await;
            stage.links.set(&stage.ends, condition);
            stream.write_all(b"x").await.expect("it stands");
            let heard = tokio::time::timeout(A_WHILE, stream.read_u8()).await;
            assert!(heard.is_err(), "{condition:?}");
            stage.links.clear();
            let heard = tokio::time::timeout(SOON, stream.read_u8()).await.expect("soon");
            assert_eq!(heard.expect("it stands"), b'x');
        }
    }

    #[tokio::test]
    async fn a_trickle_comes_in_drops() {
        let stage = echo().await;
        let mut stream = asked(&stage).await;
        stage.links.set(&stage.ends, Condition::Trickle { bytes_per_s: 100 });
        let asked_at = Instant::now();
        ask(&mut stream, &[1; 40]).await.expect("it arrives");
        assert!(asked_at.elapsed() >= DROP_EVERY * 3);
    }
}
