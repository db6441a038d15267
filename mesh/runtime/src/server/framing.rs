//! Where one HTTP/1 message ends and the next begins, read more strictly than by the parser behind: that one takes a
//! bare line feed for the end of a line and forgets one of two lengths, and a proxy that reads the same bytes otherwise
//! would see other messages.
//!
//! Understands no more of HTTP than this. What it refuses it makes unreadable, so the parser answers 400 and closes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Of a line, so much is looked at: the names and values that matter are shorter.
const LINE_BYTES_KEPT: usize = 128;
/// No parser takes it, wherever a head or a chunk's size may be.
const UNREADABLE: u8 = 0;

/// A connection whose requests mean one thing only.
pub(super) struct Strict<I> {
    inner: I,
    framing: Framing,
    is_refused: bool,
}

impl<I> Strict<I> {
    pub(super) fn new(inner: I) -> Self {
        Self {
            inner,
            framing: Framing::default(),
            is_refused: false,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Strict<I> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_refused {
            // Nothing behind it has a meaning any more.
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        let fresh = &mut buffer.filled_mut()[before..];
        if let Some(at) = this.framing.offence(fresh) {
            fresh[at] = UNREADABLE;
            buffer.set_filled(before + at + 1);
            this.is_refused = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Strict<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// Where in a message the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    #[default]
    RequestLine,
    Header,
    /// So many bytes of a body are to come.
    Body(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
}

#[derive(Debug, Default)]
struct Framing {
    at: At,
    line: Vec<u8>,
    /// The last byte was a carriage return, which only a line feed may follow.
    is_returning: bool,
    length: Option<u64>,
    is_chunked: bool,
}

/// It has no meaning, or two.
struct Refused;

impl Framing {
    /// The place of the first byte that makes the bytes ambiguous.
    fn offence(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut next = 0;
        while next < bytes.len() {
            if let At::Body(left) | At::Chunk(left) = self.at {
                let here = left.min((bytes.len() - next) as u64);
                next += here as usize;
                self.pass(left - here);
            } else {
                if self.take(bytes[next]).is_err() {
                    return Some(next);
                }
                next += 1;
            }
        }
        None
    }

    /// Some of a body has gone by, and this much is left of it.
    fn pass(&mut self, left: u64) {
        self.at = match (self.at, left) {
            (At::Chunk(_), 0) => At::ChunkEnd,
            (At::Chunk(_), left) => At::Chunk(left),
            (_, 0) => At::RequestLine,
            (_, left) => At::Body(left),
        };
    }

    fn take(&mut self, byte: u8) -> Result<(), Refused> {
        match (byte, self.is_returning) {
            (b'\n', true) => {
                self.is_returning = false;
                let line = std::mem::take(&mut self.line);
                self.at = self.after(&line)?;
                self.line = line;
                self.line.clear();
                Ok(())
            }
            (b'\n', false) | (_, true) => Err(Refused),
            (b'\r', false) => {
                self.is_returning = true;
                Ok(())
            }
            (_, false) => self.keep(byte),
        }
    }

    fn keep(&mut self, byte: u8) -> Result<(), Refused> {
        let is_out_of_place = match self.at {
            At::ChunkEnd => true,
            At::ChunkSize => byte.is_ascii_control() && byte != b'\t',
            _ => false,
        };
        if is_out_of_place {
            return Err(Refused);
        }
        if self.line.len() < LINE_BYTES_KEPT {
            self.line.push(byte);
        }
        Ok(())
    }

    /// What comes after a line.
    fn after(&mut self, line: &[u8]) -> Result<At, Refused> {
        match self.at {
            // An empty line or two before a request is a habit of old clients.
            At::RequestLine if line.is_empty() => Ok(At::RequestLine),
            At::RequestLine => {
                (self.length, self.is_chunked) = (None, false);
                Ok(At::Header)
            }
            At::Header if line.is_empty() => Ok(self.body()),
            At::Header => self.hear(line).map(|()| At::Header),
            At::ChunkSize => match chunk_size(line)? {
                0 => Ok(At::Trailer),
                size => Ok(At::Chunk(size)),
            },
            At::ChunkEnd => Ok(At::ChunkSize),
            At::Trailer if line.is_empty() => Ok(At::RequestLine),
            At::Trailer => Ok(At::Trailer),
            At::Body(_) | At::Chunk(_) => unreachable!("bodies have no lines"),
        }
    }

    fn body(&self) -> At {
        match self.length {
            _ if self.is_chunked => At::ChunkSize,
            None | Some(0) => At::RequestLine,
            Some(length) => At::Body(length),
        }
    }

    /// One length, or one coding. What a coding is called is the parser's business, and the router's.
    fn hear(&mut self, line: &[u8]) -> Result<(), Refused> {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            // The parser refuses it.
            return Ok(());
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let is_second = self.length.replace(decimal(value)?).is_some();
            if is_second {
                return Err(Refused);
            }
        }
        if self.is_chunked && self.length.is_some() {
            return Err(Refused);
        }
        Ok(())
    }
}

fn decimal(digits: &[u8]) -> Result<u64, Refused> {
    number(digits, 10)
}

/// Without its extensions.
fn chunk_size(line: &[u8]) -> Result<u64, Refused> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    number(size.trim_ascii_end(), 16)
}

fn number(digits: &[u8], radix: u32) -> Result<u64, Refused> {
    let text = std::str::from_utf8(digits).map_err(|_| Refused)?;
    // `from_str_radix` would take a sign.
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Refused);
    }
    u64::from_str_radix(text, radix).map_err(|_| Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\n";

    /// Whether it is refused, the same however it is cut into pieces.
    fn is_refused(bytes: &str) -> bool {
        let whole = Framing::default().offence(bytes.as_bytes());
        let mut framing = Framing::default();
        let singly = bytes.bytes().position(|byte| framing.offence(&[byte]).is_some());
        assert_eq!(whole, singly, "{bytes:?}");
        whole.is_some()
    }

    #[test]
    fn what_has_one_meaning_passes() {
        for rest in [
            "\r\n",
            "Content-Length: 2\r\n\r\nab",
            "Content-Length: 3\r\n\r\na\nb",
            "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\n\n\n\r\n00\r\nX: y\r\n\r\n",
        ] {
            let twice = format!("\r\n{HEAD}{rest}{HEAD}\r\n");
            assert!(!is_refused(&twice), "{twice:?}");
        }
    }

    #[test]
    fn what_has_two_is_refused() {
        for rest in [
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 2\r\n",
            "Content-Length: 2\r\nContent-Length: 2\r\n",
            "Content-Length: 2, 2\r\n",
            "Content-Length: +2\r\n",
            "Content-Length:\r\n",
            "X: y\nTransfer-Encoding: chunked\r\n",
            "X: a\rb\r\n",
            "\n",
            "Transfer-Encoding: chunked\r\n\r\n2\n",
            "Transfer-Encoding: chunked\r\n\r\n2\r\nabc",
            "Transfer-Encoding: chunked\r\n\r\n2\r\nab\n",
            "Transfer-Encoding: chunked\r\n\r\n0x2\r\n",
            "Transfer-Encoding: chunked\r\n\r\n2;a\0\r\n",
            "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n",
        ] {
            assert!(is_refused(&format!("{HEAD}{rest}")), "{rest:?}");
        }
    }

    #[test]
    fn a_second_message_is_looked_at_where_it_begins() {
        let first = format!("{HEAD}Content-Length: 4\r\n\r\n\n\n\n\n");
        assert!(is_refused(&format!("{first}GET / HTTP/1.1\n")));
    }
}
