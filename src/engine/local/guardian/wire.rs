//! Messages between Kiln and its guardian: frames of JSON on a stream socket, and file descriptors beside them. Does not
//! know what the messages mean.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    Shutdown, recvmsg, sendmsg, shutdown,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One end of a way to send messages on.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Waited on only for what comes in: to wait for room as well would be to wake with each message that the other end takes.
    stream: AsyncFd<OwnedFd>,
    inbox: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

/// So many descriptors go with one message at most.
const FDS: usize = 8;
/// The length of a frame stands before it, in so many bytes.
const HEAD: usize = 4;
/// Short messages, which most are, fit into so many bytes.
const ROOM: usize = 128;

impl Wire {
    /// Two ends: one to talk on, one to hand over.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (mine, other) = StdStream::pair()?;
        Ok((Self::new(mine.into())?, other.into()))
    }

    /// The end that is `fd`. Needs a runtime.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let stream = watched(fd, Interest::READABLE)?;
        Ok(Self { stream, inbox: Vec::new(), fds: VecDeque::new() })
    }

    /// Sends a message, and descriptors with it. One caller at a time, unless messages are short.
    pub(crate) async fn send<T: Serialize>(&self, message: &T, mut fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let frame = frame(message)?;
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            match send_some(self.stream.as_fd(), rest, fds) {
                Ok(sent) => {
                    rest = &rest[sent..];
                    fds = &[];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.room().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until there is room for what is sent.
    async fn room(&self) -> io::Result<()> {
        watched(self.stream.get_ref().try_clone()?, Interest::WRITABLE)?.writable().await.map(drop)
    }

    /// Sends a short message on a way that is new: there is room for it.
    pub(crate) fn send_short<T: Serialize>(&self, message: &T, fd: BorrowedFd<'_>) -> io::Result<()> {
        let frame = frame(message)?;
        match send_some(self.stream.as_fd(), &frame, &[fd])? {
            sent if sent == frame.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    /// The next message; none when the other end has gone. Whoever stops waiting loses nothing.
    pub(crate) async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(message) = self.take_frame()? {
                return Ok(Some(message));
            }
            let Self { stream, inbox, fds } = self;
            let mut ready = stream.readable().await?;
            match ready.try_io(|stream| receive_some(stream.as_fd(), inbox, fds)) {
                Ok(Ok(0)) => return Ok(None),
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Ok(Err(error)) => return Err(error),
                // There was nothing after all.
                Ok(Ok(_)) | Err(_) => {}
            }
        }
    }

    /// The descriptor that came with the message.
    pub(crate) fn take_fd(&mut self) -> io::Result<OwnedFd> {
        self.fds.pop_front().ok_or_else(|| io::Error::other("a descriptor is missing"))
    }

    /// Tells the other end that no more will be sent.
    pub(crate) fn close(&self) -> io::Result<()> {
        Ok(shutdown(self.stream.get_ref(), Shutdown::Write)?)
    }

    fn take_frame<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some((head, rest)) = self.inbox.split_first_chunk::<HEAD>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = serde_json::from_slice(body)?;
        self.inbox.drain(..HEAD + length);
        Ok(Some(message))
    }
}

#[expect(deprecated, reason = "what is unsound with what lies about its descriptor is not with one that is owned")]
fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

fn frame<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut frame = Vec::with_capacity(ROOM);
    frame.extend_from_slice(&[0; HEAD]);
    serde_json::to_writer(&mut frame, message)?;
    let length = u32::try_from(frame.len() - HEAD).map_err(io::Error::other)?;
    frame[..HEAD].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

fn send_some(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut beside, SendFlags::NOSIGNAL)?)
}

fn receive_some(socket: BorrowedFd<'_>, inbox: &mut Vec<u8>, fds: &mut VecDeque<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 16 << 10];
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut beside, flags())?;
    inbox.extend_from_slice(&bytes[..received.bytes]);
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    Ok(received.bytes)
}

/// Descriptors are not handed on to what is started.
#[cfg(target_os = "linux")]
fn flags() -> RecvFlags {
    RecvFlags::CMSG_CLOEXEC
}

#[cfg(not(target_os = "linux"))]
fn flags() -> RecvFlags {
    RecvFlags::empty()
}
