//! The messages themselves: what is asked of the spawner and of an instance's init, and what they answer.

use crate::wire::{In, Out};
use model::sandbox::{Endpoint, Mount};
use std::{io, os::unix::ffi::OsStrExt};

/// Paths of folders that lie over each other, the lowest first; mostly one.
pub type Stack = Vec<Vec<u8>>;

/// To the spawner: make an instance. Descriptors: the init's end of its channel, then the unified cgroup's directory (when
/// `into_cgroup`), then one open `cgroup.procs` per hierarchy to join.
#[derive(Debug, PartialEq)]
pub struct Birth {
    /// The init's user id and the function's, as the host sees them; `None` where only one id can be had.
    pub ids: Option<(u32, u32)>,
    pub tmp_bytes: u64,
    pub tmp_inodes: u64,
    /// Sources on the host, the lowest first, and the target inside.
    pub mounts: Vec<(Stack, String)>,
    pub listens: Vec<Endpoint>,
    pub into_cgroup: bool,
}

/// What the spawner is asked.
#[derive(Debug, PartialEq)]
pub enum Order {
    Birth(Birth),
    /// Open folders and files of the host as detached read-only mounts, and send them over the descriptor that comes with it.
    Trees(Vec<Stack>),
}

impl Order {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Order::Birth(b) => {
                let (init, user) = b.ids.unwrap_or((0, 0));
                Out::kind(1)
                    .u32(init)
                    .u32(user)
                    .u64(b.tmp_bytes)
                    .u64(b.tmp_inodes)
                    .list(&b.mounts, |o, (stack, target)| stack_out(o, stack).bytes(target.as_bytes()))
                    .list(&b.listens, endpoint_out)
                    .u32(b.into_cgroup.into())
                    .0
            }
            Order::Trees(sources) => Out::kind(2).list(sources, stack_out).0,
        }
    }
    pub fn decode(bytes: &[u8]) -> io::Result<Order> {
        let mut read = In(bytes);
        match read.u8()? {
            1 => {
                let ids = (read.u32()?, read.u32()?);
                Ok(Order::Birth(Birth {
                    ids: (ids != (0, 0)).then_some(ids),
                    tmp_bytes: read.u64()?,
                    tmp_inodes: read.u64()?,
                    mounts: read.list(|r| Ok((stack_in(r)?, r.text()?)))?,
                    listens: read.list(endpoint_in)?,
                    into_cgroup: read.u32()? != 0,
                }))
            }
            2 => Ok(Order::Trees(read.list(stack_in)?)),
            other => Err(unknown("order", other)),
        }
    }
}

/// A process to start, as its init needs it.
#[derive(Debug, PartialEq)]
pub struct Start {
    pub argv: Vec<Vec<u8>>,
    /// `NAME=value`.
    pub env: Vec<Vec<u8>>,
    pub cwd: Vec<u8>,
    pub descriptors: u64,
    pub pids: u64,
}

/// What an init is asked. Each carries a number that comes back with the answer.
#[derive(Debug, PartialEq)]
pub enum Ask {
    /// Descriptors: the output pipe, then perhaps the pipe for frames, which becomes number 3.
    Start(Start),
    /// Kill everything inside but the init, and answer when nothing is left.
    KillAll,
    /// Descriptors: detached mounts, one per target. The sizes are `/tmp`'s.
    Attach { targets: Vec<String>, tmp_bytes: u64, tmp_inodes: u64 },
    /// Signal the session of a process that was started.
    Signal { pid: u32, signal: i32 },
    /// Make a socket inside: unconnected for TCP, connected for a path.
    Dial(Endpoint),
}

impl Ask {
    pub fn encode(&self, number: u64) -> Vec<u8> {
        match self {
            Ask::Start(s) => {
                let each = |o: Out, b: &Vec<u8>| o.bytes(b);
                let out = Out::kind(1).u64(number).list(&s.argv, each).list(&s.env, each);
                out.bytes(&s.cwd).u64(s.descriptors).u64(s.pids).0
            }
            Ask::KillAll => Out::kind(2).u64(number).0,
            Ask::Attach { targets, tmp_bytes, tmp_inodes } => {
                let out = Out::kind(3).u64(number).list(targets, |o, t| o.bytes(t.as_bytes()));
                out.u64(*tmp_bytes).u64(*tmp_inodes).0
            }
            Ask::Dial(to) => endpoint_out(Out::kind(4).u64(number), to).0,
            Ask::Signal { pid, signal } => Out::kind(5).u64(number).u32(*pid).u32(*signal as u32).0,
        }
    }
    pub fn decode(bytes: &[u8]) -> io::Result<(u64, Ask)> {
        let mut read = In(bytes);
        let kind = read.u8()?;
        let number = read.u64()?;
        let ask = match kind {
            1 => Ask::Start(Start {
                argv: read.list(|r| Ok(r.bytes()?.to_vec()))?,
                env: read.list(|r| Ok(r.bytes()?.to_vec()))?,
                cwd: read.bytes()?.to_vec(),
                descriptors: read.u64()?,
                pids: read.u64()?,
            }),
            2 => Ask::KillAll,
            3 => Ask::Attach { targets: read.list(|r| r.text())?, tmp_bytes: read.u64()?, tmp_inodes: read.u64()? },
            4 => Ask::Dial(endpoint_in(&mut read)?),
            5 => Ask::Signal { pid: read.u32()?, signal: read.u32()? as i32 },
            other => return Err(unknown("question", other)),
        };
        Ok((number, ask))
    }
}

/// What comes back over an instance's channel: first from the spawner, then from the init.
#[derive(Debug, PartialEq)]
pub enum Tell {
    /// The init runs; its pidfd comes with this.
    Born,
    /// The sandbox stands. Descriptors: `/tmp`'s root, then the listeners in the order asked for.
    Ready,
    /// Done; what was made comes with it.
    Done { number: u64, pid: u32 },
    /// Not done, or (number 0) not born. `step` says what was tried on what.
    Failed { number: u64, errno: i32, step: String },
    /// A started process has ended: pid as inside, status as wait(2) gives it.
    Ended { pid: u32, status: i32 },
}

impl Tell {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Tell::Born => Out::kind(1).0,
            Tell::Ready => Out::kind(2).0,
            Tell::Done { number, pid } => Out::kind(3).u64(*number).u32(*pid).0,
            Tell::Failed { number, errno, step } => Out::kind(4).u64(*number).u32(*errno as u32).bytes(step.as_bytes()).0,
            Tell::Ended { pid, status } => Out::kind(5).u32(*pid).u32(*status as u32).0,
        }
    }
    pub fn decode(bytes: &[u8]) -> io::Result<Tell> {
        let mut read = In(bytes);
        Ok(match read.u8()? {
            1 => Tell::Born,
            2 => Tell::Ready,
            3 => Tell::Done { number: read.u64()?, pid: read.u32()? },
            4 => Tell::Failed { number: read.u64()?, errno: read.u32()? as i32, step: read.text()? },
            5 => Tell::Ended { pid: read.u32()?, status: read.u32()? as i32 },
            other => return Err(unknown("answer", other)),
        })
    }
}

fn unknown(what: &str, kind: u8) -> io::Error {
    io::Error::other(format!("unknown {what} {kind}"))
}

fn stack_out(out: Out, stack: &Stack) -> Out {
    out.list(stack, |o, path| o.bytes(path))
}

fn stack_in(read: &mut In<'_>) -> io::Result<Stack> {
    read.list(|r| Ok(r.bytes()?.to_vec()))
}

/// Mounts with one target become one stack, where the first of them stood.
pub fn stacked(mounts: &[Mount]) -> Vec<(Stack, String)> {
    let mut all: Vec<(Stack, String)> = Vec::with_capacity(mounts.len());
    for mount in mounts {
        let source = mount.source.as_os_str().as_bytes().to_vec();
        match all.iter_mut().find(|m| m.1 == mount.target) {
            Some((stack, _)) => stack.push(source),
            None => all.push((vec![source], mount.target.clone())),
        }
    }
    all
}

fn endpoint_out(out: Out, at: &Endpoint) -> Out {
    match at {
        Endpoint::Tcp(port) => out.u32(u32::from(*port)).bytes(b""),
        Endpoint::Unix(path) => out.u32(0).bytes(path.as_bytes()),
    }
}

fn endpoint_in(read: &mut In<'_>) -> io::Result<Endpoint> {
    let port = read.u32()?;
    let path = read.text()?;
    Ok(if path.is_empty() { Endpoint::Tcp(port as u16) } else { Endpoint::Unix(path) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_with_one_target_become_a_stack_in_their_order() {
        let mount = |source: &str, target: &str| Mount { source: source.into(), target: target.into() };
        let all = stacked(&[mount("/1", "/opt"), mount("/code", "/var/task"), mount("/2", "/opt")]);
        let of = |paths: &[&str]| paths.iter().map(|p| p.as_bytes().to_vec()).collect::<Stack>();
        assert_eq!(all, [(of(&["/1", "/2"]), "/opt".to_owned()), (of(&["/code"]), "/var/task".to_owned())]);
    }

    #[test]
    fn every_message_survives_its_encoding() {
        let birth = Birth {
            ids: Some((7, 8)),
            tmp_bytes: 1 << 40,
            tmp_inodes: 3,
            mounts: vec![(vec![b"/a".to_vec()], "/var/task".into()), (vec![b"/b".to_vec(), b"/c".to_vec()], "/opt".into())],
            listens: vec![Endpoint::Tcp(9001), Endpoint::Unix("/tmp/s".into())],
            into_cgroup: true,
        };
        for order in [Order::Birth(birth), Order::Trees(vec![vec![b"/x".to_vec()]])] {
            assert_eq!(Order::decode(&order.encode()).unwrap(), order);
        }
        let start = Start { argv: vec![b"a".to_vec()], env: vec![], cwd: b"/".to_vec(), descriptors: 9, pids: 4 };
        let attach = Ask::Attach { targets: vec!["/opt".into()], tmp_bytes: 1, tmp_inodes: 2 };
        for ask in [Ask::Start(start), Ask::KillAll, attach, Ask::Dial(Endpoint::Tcp(80)), Ask::Signal { pid: 5, signal: 15 }] {
            let (number, back) = Ask::decode(&ask.encode(11)).unwrap();
            assert_eq!((number, back), (11, ask));
        }
        let failed = Tell::Failed { number: 1, errno: 2, step: "open /x".into() };
        for tell in [Tell::Born, Tell::Ready, Tell::Done { number: 4, pid: 5 }, failed, Tell::Ended { pid: 2, status: 9 }] {
            assert_eq!(Tell::decode(&tell.encode()).unwrap(), tell);
        }
        assert!(Order::decode(&[77]).is_err() && Ask::decode(&[2]).is_err() && Tell::decode(&[]).is_err());
    }
}
