//! Doors with TLS, by a client of the same library and by hand.

use super::{Echo, Server, hasty, hear, start_tls};
use crate::{
    Bind, Door, Limits, open,
    tls::{Certificates, Error, Files},
};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use std::{fs, path::Path, sync::Arc, sync::atomic::Ordering, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// 2026; the certificates below are valid from 2020 to 2040.
const NOW_S: i64 = 1_790_000_000;

struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// Writes NAME.pem and NAME.key, for these host names until that year.
    fn issue(&self, folder: &Path, name: &str, hosts: &[&str], until: i32) -> Files {
        let mut params = CertificateParams::new(hosts.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        let files = Files { cert: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
        fs::write(&files.cert, made.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    fn connector(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

const BOTH: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

async fn dial(server: &Server, authority: &Authority, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    authority.connector(BOTH).connect(name, server.connect().await).await
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).ends_with("GET /a 0") {
        let mut piece = [0; 1024];
        let n = stream.read(&mut piece).await.unwrap();
        assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&piece[..n]);
    }
    String::from_utf8(heard).unwrap()
}

/// The certificate that the server showed.
fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn der(files: &Files) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_file(&files.cert).unwrap().to_vec()
}

#[tokio::test]
async fn both_versions_speak_http_1_and_each_name_gets_its_certificate() {
    let (home, ca) = (TempDir::new().unwrap(), Authority::new());
    let files =
        vec![ca.issue(home.path(), "a", &["a.example", "127.0.0.1"], 2040), ca.issue(home.path(), "b", &["*.b.example"], 2040)];
    let certificates = Certificates::load(files.clone(), NOW_S).unwrap();
    let server = start_tls(Limits::default(), Echo::default(), Some(certificates.clone()));
    for (name, files) in [("a.example", &files[0]), ("x.b.example", &files[1]), ("127.0.0.1", &files[0])] {
        let mut stream = dial(&server, &ca, name).await.unwrap();
        assert_eq!(shown(&stream), der(files), "{name}");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200"));
        assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200"), "the connection stays open");
    }
    for version in BOTH {
        let name = ServerName::try_from("a.example").unwrap();
        let stream = ca.connector(&[version]).connect(name, server.connect().await).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
    }
    let status = certificates.status();
    assert_eq!(status[1].names, ["*.b.example"]);
    assert_eq!(status[0].validity.until_s, 2_208_988_800);
    assert!(status.iter().all(|s| s.refused.is_none()));
}

// H37
#[tokio::test]
async fn what_is_not_tls_gets_a_short_answer_and_what_is_slow_or_garbage_is_closed() {
    let (home, ca) = (TempDir::new().unwrap(), Authority::new());
    let certificates = Certificates::load(vec![ca.issue(home.path(), "a", &["a.example"], 2040)], NOW_S).unwrap();
    let server = start_tls(hasty(), Echo::default(), Some(certificates));
    let told = server.say(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(told.starts_with("HTTP/1.1 400") && told.ends_with("use https:// instead of it"), "{told}");
    // Silence, the beginning of a handshake, and what only looks like one: all end, within the time that a head may take.
    for beginning in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00", b"\x16\xff\xff\xff\xff\xff\xff\xff\xff"] {
        let mut socket = server.connect().await;
        socket.write_all(beginning).await.unwrap();
        let heard = hear(&mut socket).await;
        assert!(!heard.contains("HTTP"), "{heard}");
    }
    // A client that finds the certificate wrong goes away; the door serves the next.
    assert!(dial(&server, &Authority::new(), "a.example").await.is_err());
    ask(&mut dial(&server, &ca, "a.example").await.unwrap()).await;
    assert!(server.counters.handshakes_failed.load(Ordering::Relaxed) >= 5);
    server.stop.drain.cancel();
    server.done.await.unwrap();
    assert_eq!(server.counters.open.load(Ordering::Relaxed), 0);
}

// F12: a connection in the middle of its handshake is one of the door's, and doesn't hold up its end.
#[tokio::test]
async fn handshakes_count_among_the_connections_and_a_stop_ends_them() {
    let (home, ca) = (TempDir::new().unwrap(), Authority::new());
    let certificates = Certificates::load(vec![ca.issue(home.path(), "a", &["a.example"], 2040)], NOW_S).unwrap();
    let limits = Limits { connections_max: 2, header_timeout: Duration::from_secs(600), ..Limits::default() };
    let server = start_tls(limits, Echo::default(), Some(certificates));
    let (_one, two) = (server.connect().await, server.connect().await);
    while server.counters.open.load(Ordering::Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The third waits in the kernel until one goes.
    let mut third = Box::pin(dial(&server, &ca, "a.example"));
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut third).await.is_err());
    drop(two);
    let mut third_stream = third.await.unwrap();
    ask(&mut third_stream).await;
    server.stop.drain.cancel();
    server.done.await.unwrap();
}

#[tokio::test]
async fn new_files_are_used_from_the_next_handshake_on_and_broken_ones_never() {
    let (home, ca) = (TempDir::new().unwrap(), Authority::new());
    let files = ca.issue(home.path(), "a", &["a.example"], 2040);
    let certificates = Certificates::load(vec![files.clone()], NOW_S).unwrap();
    let server = start_tls(Limits::default(), Echo::default(), Some(certificates.clone()));
    let mut kept = dial(&server, &ca, "a.example").await.unwrap();
    let first = shown(&kept);
    assert!(!certificates.reload(NOW_S), "nothing changed");

    let whole = (fs::read(&files.cert).unwrap(), fs::read(&files.key).unwrap());
    let other = ca.issue(home.path(), "b", &["a.example"], 2040);
    let late = ca.issue(home.path(), "c", &["a.example"], 2025);
    let breaks: [(&str, Vec<u8>, Vec<u8>); 5] = [
        ("half", whole.0[..whole.0.len() / 2].to_vec(), whole.1.clone()),
        ("no certificate", b"garbage\n".to_vec(), whole.1.clone()),
        ("does not belong", whole.0.clone(), fs::read(&other.key).unwrap()),
        ("expired on 2025-01-01", fs::read(&late.cert).unwrap(), fs::read(&late.key).unwrap()),
        ("can't read", Vec::new(), Vec::new()),
    ];
    for (why, cert, key) in breaks {
        fs::write(&files.cert, cert).unwrap();
        fs::write(&files.key, key).unwrap();
        if why == "can't read" {
            fs::remove_file(&files.key).unwrap();
        }
        assert!(!certificates.reload(NOW_S), "{why}");
        let refused = certificates.status()[0].refused.clone().unwrap_or_default();
        assert!(why == "half" || refused.contains(why), "{why}: {refused}");
        assert_eq!(shown(&dial(&server, &ca, "a.example").await.unwrap()), first, "{why}");
    }
    fs::copy(&other.cert, &files.cert).unwrap();
    fs::copy(&other.key, &files.key).unwrap();
    assert!(certificates.reload(NOW_S));
    assert_eq!(certificates.status()[0].refused, None);
    assert_eq!(shown(&dial(&server, &ca, "a.example").await.unwrap()), der(&other));
    ask(&mut kept).await;
}

#[test]
fn what_can_not_be_used_is_refused_at_the_start_with_the_reason() {
    let (home, ca) = (TempDir::new().unwrap(), Authority::new());
    let (good, other) = (ca.issue(home.path(), "a", &["a.example"], 2040), ca.issue(home.path(), "b", &["a.example"], 2040));
    let late = ca.issue(home.path(), "c", &["a.example"], 2025);
    let said = |cert: &Path, key: &Path| {
        Certificates::load(vec![Files { cert: cert.into(), key: key.into() }], NOW_S).unwrap_err().to_string()
    };
    assert!(said(&late.cert, &late.key).ends_with("c.pem expired on 2025-01-01"));
    assert!(said(&good.cert, &other.key).contains("b.key does not belong to the certificate"));
    assert!(said(&good.key, &good.cert).contains("a.key holds no certificate in PEM form"));
    assert!(said(&good.cert, &good.cert).contains("a.pem holds no private key"));
    assert!(said(home.path(), &good.key).contains("can't read") && said(home.path(), &good.key).contains("it is no file"));
    assert!(said(&home.path().join("none"), &good.key).contains("none: No such file"));
    fs::write(home.path().join("big"), vec![b'x'; (1 << 20) + 1]).unwrap();
    assert!(said(&home.path().join("big"), &good.key).contains("larger than 1048576 bytes"));
    assert!(matches!(Certificates::load(Vec::new(), NOW_S), Err(Error::Count { found: 0 })));
    assert!(matches!(Certificates::load(vec![good; 65], NOW_S), Err(Error::Count { found: 65 })));
}

#[tokio::test]
async fn beyond_loopback_a_door_opens_only_with_tls() {
    let (home, ca) = (TempDir::new().unwrap(), Authority::new());
    let certificates = Certificates::load(vec![ca.issue(home.path(), "a", &["a.example"], 2040)], NOW_S).unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "[::ffff:0.0.0.0]:0"] {
        let door = |tls| Door { name: "aws", bind: Bind::Tcp(address.parse().unwrap()), handler: Arc::new(Echo::default()), tls };
        let refused = open(vec![door(None)]).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused.contains("is not a loopback address, and without TLS"), "{address}: {refused}");
    }
    let door = Door {
        name: "aws",
        bind: Bind::Tcp("0.0.0.0:0".parse().unwrap()),
        handler: Arc::new(Echo::default()),
        tls: Some(certificates),
    };
    assert!(open(vec![door]).is_ok());
    assert!(crate::is_loopback("::ffff:127.0.0.1".parse().unwrap()) && !crate::is_loopback("::ffff:10.0.0.1".parse().unwrap()));
}
