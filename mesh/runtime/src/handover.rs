//! Listeners that whoever starts a process holds for it: its port is open before it is there, and stays open while a
//! successor takes over, so that no connection is refused or reset in between.
//!
//! They come through the socket that is the process's standard input then. A process that is started in another way,
//! as in a cluster, gets none and opens its own.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// A gateway has two doors, and no service has more ports that others connect to.
pub const LISTENERS_MAX: usize = 4;

/// Descriptors travel with at least one byte.
const BYTE: &[u8] = b"L";

/// Sends listeners into the other end of what becomes a process's standard input.
///
/// # Errors
/// When there are more than [`LISTENERS_MAX`], or the system refuses.
pub fn send(into: &UnixStream, listeners: &[TcpListener]) -> io::Result<()> {
    let descriptors: Vec<_> = listeners.iter().map(|listener| listener.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("more listeners than can be handed over"));
    }
    sendmsg(into, &[IoSlice::new(BYTE)], &mut control, SendFlags::empty())?;
    Ok(())
}

/// The listener at this address, if one was handed to this process; each is given once.
pub(crate) fn take(address: SocketAddr) -> Option<TcpListener> {
    static HELD: OnceLock<Mutex<Vec<TcpListener>>> = OnceLock::new();
    let held = HELD.get_or_init(|| Mutex::new(receive(io::stdin()).unwrap_or_default()));
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    let is_there = |listener: &TcpListener| listener.local_addr().is_ok_and(|there| there == address);
    let found = held.iter().position(is_there)?;
    Some(held.swap_remove(found))
}

/// Fails where nobody holds any: mostly, standard input is no socket.
fn receive(from: impl AsFd) -> io::Result<Vec<TcpListener>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    // Whoever holds some has sent them before we were started.
    recvmsg(
        from,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::DONTWAIT,
    )?;
    let mut listeners = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            listeners.extend(descriptors.map(TcpListener::from));
        }
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_connection_that_came_before_the_process_is_accepted_by_it() {
        let held = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = held.local_addr().expect("bound");
        let mut early = TcpStream::connect(address).expect("the port is open");
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        send(&ours, &[held]).expect("one fits");
        drop(ours);
        let received = receive(&theirs).expect("they were sent");
        assert_eq!(received[0].local_addr().expect("bound"), address);
        let (mut accepted, _) = received[0].accept().expect("somebody waits");
        accepted.write_all(b"!").expect("open");
        let mut answer = [0];
        early.read_exact(&mut answer).expect("answered");
        assert_eq!(&answer, b"!");
    }

    #[test]
    fn where_nothing_was_handed_over_there_is_nothing() {
        let (_ours, theirs) = UnixStream::pair().expect("a pair");
        assert!(receive(&theirs).is_err());
        let file = std::fs::File::open("/dev/null").expect("every system has it");
        assert!(receive(file).is_err());
    }
}
