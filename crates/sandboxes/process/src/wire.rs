//! What platform, spawner and inits say to each other: small messages with descriptors, over sockets that keep boundaries. Both
//! ends are the same binary, so there is no version; a message that doesn't parse is a defect and ends the conversation.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Descriptors of one message; the kernel's own limit is 253.
pub const DESCRIPTORS_MAX: usize = 64;
/// Bytes of one message: arguments and environment of a process have to fit.
pub const MESSAGE_BYTES_MAX: usize = 192 * 1024;

/// Writes fields one after the other.
#[derive(Default)]
pub struct Out(pub Vec<u8>);

impl Out {
    pub fn kind(kind: u8) -> Out {
        Out(vec![kind])
    }
    pub fn u32(mut self, n: u32) -> Self {
        self.0.extend_from_slice(&n.to_le_bytes());
        self
    }
    pub fn u64(mut self, n: u64) -> Self {
        self.0.extend_from_slice(&n.to_le_bytes());
        self
    }
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self = self.u32(bytes.len() as u32);
        self.0.extend_from_slice(bytes);
        self
    }
    pub fn list<T>(mut self, items: &[T], each: impl Fn(Self, &T) -> Self) -> Self {
        self = self.u32(items.len() as u32);
        items.iter().fold(self, each)
    }
}

/// Reads them back in the same order.
pub struct In<'a>(pub &'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, n: usize) -> io::Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n).ok_or_else(|| io::Error::other("a message ended too early"))?;
        self.0 = tail;
        Ok(head)
    }
    pub fn u8(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?[0])
    }
    pub fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes were taken")))
    }
    pub fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes were taken")))
    }
    pub fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let n = self.u32()? as usize;
        self.take(n)
    }
    pub fn text(&mut self) -> io::Result<String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| io::Error::other("a name in a message is not UTF-8"))
    }
    pub fn list<T>(&mut self, each: impl Fn(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let n = self.u32()? as usize;
        (0..n).map(|_| each(self)).collect()
    }
}

/// A message as it arrived. Empty bytes: the other end is gone.
pub struct Message {
    pub bytes: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if bytes.len() > MESSAGE_BYTES_MAX || fds.len() > DESCRIPTORS_MAX {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    loop {
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Receives one message through `buffer`, which must have room for the longest that can come.
pub fn receive(socket: impl AsFd, buffer: &mut [u8], flags: RecvFlags) -> io::Result<Message> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, flags | RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    let fds = control.drain().filter_map(|m| if let RecvAncillaryMessage::ScmRights(fds) = m { Some(fds) } else { None });
    Ok(Message { fds: fds.flatten().collect(), bytes: buffer[..got.bytes].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_in_order_and_a_short_message_is_an_error() {
        let out = Out::kind(7).u32(3).u64(9).bytes(b"x").list(&["a", "bc"], |o, s| o.bytes(s.as_bytes()));
        let mut read = In(&out.0);
        assert_eq!((read.u8().unwrap(), read.u32().unwrap(), read.u64().unwrap()), (7, 3, 9));
        assert_eq!(read.bytes().unwrap(), b"x");
        assert_eq!(read.list(|r| r.text()).unwrap(), ["a", "bc"]);
        assert!(read.u8().is_err());
        assert!(In(&[9, 0, 0, 0, 1]).bytes().is_err());
    }

    #[test]
    fn a_message_carries_descriptors() {
        let (a, b) = crate::sys::channel().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        send(&a, b"hello", &[file.as_fd(), a.as_fd()]).unwrap();
        let got = receive(&b, &mut [0; 64], RecvFlags::empty()).unwrap();
        assert_eq!((got.bytes.as_slice(), got.fds.len()), (&b"hello"[..], 2));
        drop((a, got));
        assert!(receive(&b, &mut [0; 64], RecvFlags::empty()).unwrap().bytes.is_empty());
    }
}
