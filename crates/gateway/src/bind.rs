//! Opening the listeners, and saying plainly why one can't be opened.

use crate::door::{Bind, Door, Peer};
use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

/// Connections that the kernel keeps waiting for us.
const BACKLOG: u32 = 1024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("door {door}: {address} is not a loopback address, and without TLS a door opens on loopback only")]
    NotLoopback { door: &'static str, address: SocketAddr },
    #[error("door {door}: port {} of {} is taken{}", .address.port(), .address.ip(), by(.holder.as_deref()))]
    Taken { door: &'static str, address: SocketAddr, holder: Option<String> },
    #[error("door {door}: socket {} is in use by another process", .path.display())]
    SocketTaken { door: &'static str, path: PathBuf },
    #[error("door {door}: {} is there and is not a socket", .path.display())]
    NotASocket { door: &'static str, path: PathBuf },
    #[error("door {door}: can't listen on {at}")]
    Io { door: &'static str, at: String, source: io::Error },
}

/// Also in the form of an IPv4 address that IPv6 carries.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn by(found: Option<&str>) -> String {
    found.map_or_else(String::new, |who| format!(" by {who}"))
}

pub enum Listener {
    Tcp(TcpListener),
    /// With the path to remove at the end.
    Unix(UnixListener, PathBuf),
}

/// An accepted connection.
pub enum Accepted {
    Tcp(TcpStream, Peer),
    Unix(UnixStream, Peer),
}

pub fn open(door: &Door) -> Result<Listener, Error> {
    match &door.bind {
        Bind::Tcp(address) => tcp(door.name, *address, door.tls.is_some()).map(Listener::Tcp),
        Bind::Unix(path) => unix(door.name, path).map(|l| Listener::Unix(l, path.clone())),
    }
}

fn tcp(door: &'static str, address: SocketAddr, tls: bool) -> Result<TcpListener, Error> {
    if !tls && !is_loopback(address.ip()) {
        return Err(Error::NotLoopback { door, address });
    }
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => Error::Taken { door, address, holder: crate::holder::of_port(address.port()) },
        _ => Error::Io { door, at: address.to_string(), source },
    })
}

fn unix(door: &'static str, path: &Path) -> Result<UnixListener, Error> {
    let failed = |source| Error::Io { door, at: path.display().to_string(), source };
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e)),
        Ok(meta) if !meta.file_type().is_socket() => return Err(Error::NotASocket { door, path: path.to_owned() }),
        // A socket that nobody listens on any more is what a killed platform leaves behind.
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Ok(_) => return Err(Error::SocketTaken { door, path: path.to_owned() }),
            Err(e) => return Err(failed(e)),
        },
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

impl Listener {
    /// The address that it really has: port 0 asks the kernel for one.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(l) => l.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }

    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Listener::Tcp(l) => {
                let (stream, from) = l.accept().await?;
                // Answers are written whole: waiting for more only delays them.
                let _ = stream.set_nodelay(true);
                Ok(Accepted::Tcp(stream, Peer::Tcp(from)))
            }
            Listener::Unix(l, _) => {
                let (stream, _) = l.accept().await?;
                let from = stream.peer_cred()?;
                Ok(Accepted::Unix(stream, Peer::Unix { uid: from.uid(), pid: from.pid() }))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            let _ = fs::remove_file(path);
        }
    }
}

/// Our own user, and root.
pub fn may_enter(peer: &Peer) -> bool {
    match peer {
        Peer::Tcp(_) => true,
        Peer::Unix { uid, .. } => *uid == 0 || *uid == rustix::process::geteuid().as_raw(),
    }
}
