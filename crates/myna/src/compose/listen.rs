//! Where a listener is, as the operator wrote it: an address, or a host name that is one of this machine's.

use gateway::tls::{Certificates, Status};
use serde::Deserialize;
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    str::FromStr,
};

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Listen {
    pub at: SocketAddr,
    /// The host name, where one was written; clients then use it too.
    pub name: Option<String>,
}

impl Listen {
    pub fn loopback(port: u16) -> Self {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port).into()
    }

    pub fn is_loopback(&self) -> bool {
        gateway::is_loopback(self.at.ip())
    }

    /// `HOST:PORT` for clients. Nobody can call the address that means all of them: then it is the first name that the
    /// certificate is for.
    pub fn authority(&self, certificates: Option<&Certificates>) -> String {
        let port = self.at.port();
        if let Some(name) = &self.name {
            return format!("{name}:{port}");
        }
        if !self.at.ip().is_unspecified() {
            return self.at.to_string();
        }
        let named = certificates.and_then(|c| names(&c.status()).into_iter().next());
        let host = named.unwrap_or_else(|| match self.at.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.to_string(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.to_string(),
        });
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The hosts, besides those of loopback, that requests to a listener with these certificates may name.
    pub fn hosts(&self, certificates: Option<&Certificates>) -> Vec<String> {
        let mut hosts = certificates.map(|c| names(&c.status())).unwrap_or_default();
        if !self.is_loopback() && !self.at.ip().is_unspecified() {
            hosts.push(self.at.ip().to_string());
        }
        hosts.extend(self.name.clone());
        hosts
    }
}

/// What certificates are for, but for stars.
fn names(status: &[Status]) -> Vec<String> {
    status.iter().flat_map(|s| &s.names).filter(|n| !n.starts_with('*')).cloned().collect()
}

impl From<SocketAddr> for Listen {
    fn from(at: SocketAddr) -> Self {
        Self { at, name: None }
    }
}

impl FromStr for Listen {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse::<SocketAddr>() {
            return Ok(at.into());
        }
        let wrong = |why: &str| {
            format!("{text:?} is no address to listen on: {why}; it is like 127.0.0.1:9000, [::1]:9000 or localhost:9000")
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("it has no port"))?;
        let port: u16 = port.parse().map_err(|_| wrong("its port is no number up to 65535"))?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        if host.is_empty() || host.len() > 253 || !host.bytes().all(plain) {
            return Err(wrong("its host is neither an IP address nor a name"));
        }
        let found = (host, port).to_socket_addrs().map_err(|e| wrong(&e.to_string()))?.next();
        Ok(Self { at: found.ok_or_else(|| wrong("its name has no address"))?, name: Some(host.to_ascii_lowercase()) })
    }
}

impl TryFrom<String> for Listen {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}:{}", self.at.port()),
            None => self.at.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_a_name_is_listened_on_and_anything_else_is_refused_with_the_reason() {
        let good = |text: &str| text.parse::<Listen>().unwrap();
        assert_eq!(good("127.0.0.1:1"), Listen::loopback(1));
        let named = good("localhost:2");
        assert!(named.is_loopback() && named.at.port() == 2);
        assert_eq!((named.authority(None), named.to_string()), ("localhost:2".into(), "localhost:2".into()));
        assert_eq!(good("0.0.0.0:3").authority(None), "127.0.0.1:3");
        assert_eq!(good("[::]:3").authority(None), "[::1]:3");
        assert!(!good("0.0.0.0:3").is_loopback() && !good("[::]:3").is_loopback());
        for (bad, why) in [("127.0.0.1", "no port"), ("localhost:70000", "no number"), (":1", "neither"), ("a b:1", "neither")] {
            let said = bad.parse::<Listen>().unwrap_err();
            assert!(said.contains(why) && said.contains(bad), "{said}");
        }
    }
}
