//! One certificate and its key, out of PEM files; and the few fields of it that the platform itself needs: how long it is valid
//! (RFC 5280, 4.1.2.5) and for which names.

use super::{Error, Files};
use rustls::{
    crypto::ring::sign,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A chain or a key takes a few KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The server's own certificate and what leads to a root.
const CHAIN_MAX: usize = 16;

/// From when until when, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validity {
    pub from_s: i64,
    pub until_s: i64,
}

#[derive(Debug)]
pub(super) struct Pair {
    pub path: PathBuf,
    pub key: Arc<CertifiedKey>,
    pub names: Vec<String>,
    pub validity: Validity,
}

impl Pair {
    /// `seen` is given what each file holds.
    pub fn read(files: &Files, mut seen: impl FnMut(&[u8])) -> Result<Self, Error> {
        let (cert, key) = (whole(&files.cert), whole(&files.key));
        for bytes in [&cert, &key].into_iter().flatten() {
            seen(bytes);
        }
        let (cert, key) = (cert?, key?);
        let path = || files.cert.clone();
        let unfit = |why: String| Error::Certificate { path: path(), why };
        let pem =
            |what, path: &Path, e: rustls::pki_types::pem::Error| Error::Pem { path: path.into(), what, why: e.to_string() };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&cert)
            .take(CHAIN_MAX + 1)
            .collect::<Result<_, _>>()
            .map_err(|e| pem("certificate", &files.cert, e))?;
        if chain.len() > CHAIN_MAX {
            return Err(unfit(format!("its chain is longer than {CHAIN_MAX} certificates")));
        }
        let Some(own) = chain.first() else {
            return Err(Error::Pem { path: path(), what: "certificate", why: "no section of it is one".into() });
        };
        let validity = validity(own).ok_or_else(|| unfit("it does not say how long it is valid".into()))?;
        let end = rustls::server::ParsedCertificate::try_from(own).map_err(|e| unfit(e.to_string()))?;
        let names = names(own);
        drop(end);
        let secret = PrivateKeyDer::from_pem_slice(&key).map_err(|e| pem("private key", &files.key, e))?;
        let signer = sign::any_supported_type(&secret).map_err(|e| Error::Pem {
            path: files.key.clone(),
            what: "private key that is supported",
            why: e.to_string(),
        })?;
        let key = CertifiedKey::new(chain, signer);
        match key.keys_match() {
            Ok(()) => Ok(Self { path: path(), key: Arc::new(key), names, validity }),
            Err(_) => Err(Error::Mismatch { cert: path(), key: files.key.clone() }),
        }
    }

    /// Whether it is for this host name: the name itself, or one label in the place of a star (RFC 6125, 6.4.3).
    pub fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(rest) => host.split_once('.').is_some_and(|(_, parent)| parent.eq_ignore_ascii_case(rest)),
            None => name.eq_ignore_ascii_case(host),
        })
    }
}

fn whole(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |why: String| Error::Read { path: path.into(), why };
    let read = || {
        // Never waits for the other end of a FIFO.
        use std::os::unix::fs::OpenOptionsExt;
        let file = File::options().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("it is no file"));
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|e: std::io::Error| failed(e.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const BOOLEAN: u8 = 0x01;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, the version, and `[3]`, the extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// subjectAltName, 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
/// A dNSName and an iPAddress in it.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// The value with this tag that the bytes begin with, and what follows it (DER, X.690, 8.1).
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, value, rest) = any(bytes)?;
    (found == tag).then_some((value, rest))
}

fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 3 || rest.len() < count {
            return None;
        }
        (rest[..count].iter().fold(0, |n, b| n << 8 | usize::from(*b)), &rest[count..])
    };
    (rest.len() >= length).then(|| (tag, &rest[..length], &rest[length..]))
}

/// What follows the issuer: validity, subject, key, extensions.
fn after_issuer(der: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = take(der, SEQUENCE)?;
    let (signed, _) = take(certificate, SEQUENCE)?;
    let rest = take(signed, VERSION).map_or(signed, |(_, rest)| rest);
    let (_, rest) = take(rest, INTEGER)?;
    let (_, rest) = take(rest, SEQUENCE)?;
    let (_, rest) = take(rest, SEQUENCE)?;
    Some(rest)
}

fn validity(der: &[u8]) -> Option<Validity> {
    let (both, _) = take(after_issuer(der)?, SEQUENCE)?;
    let (kind, from, rest) = any(both)?;
    let (other, until, _) = any(rest)?;
    Some(Validity { from_s: time(kind, from)?, until_s: time(other, until)? })
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time(kind: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match kind {
        UTC_TIME => {
            let short: i64 = text.get(..2)?.parse().ok()?;
            (if short < 50 { 2000 + short } else { 1900 + short }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let part = |at: usize| rest[at..at + 2].parse::<i64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(days(year, month, day) * 86_400 + part(4)? * 3600 + part(6)? * 60 + part(8)?)
}

/// Days since 1970 of a date of the Gregorian calendar; years begin in March here, so that the leap day is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// `2031-02-28`, of seconds since 1970.
pub(super) fn day(seconds: i64) -> String {
    let day = seconds.div_euclid(86_400) + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let years = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    format!("{:04}-{month:02}-{day:02}", era * 400 + years + i64::from(month <= 2))
}

/// The host names and addresses of a certificate's alternative names; none where it has none.
fn names(der: &[u8]) -> Vec<String> {
    alternative(der).unwrap_or_default()
}

fn alternative(der: &[u8]) -> Option<Vec<String>> {
    let (_, rest) = take(after_issuer(der)?, SEQUENCE)?;
    let (_, rest) = take(rest, SEQUENCE)?;
    let (_, mut rest) = take(rest, SEQUENCE)?;
    // Unique identifiers, which nobody uses, may stand before the extensions.
    let wrapped = loop {
        let (tag, value, after) = any(rest)?;
        if tag == EXTENSIONS {
            break value;
        }
        rest = after;
    };
    let (mut list, _) = take(wrapped, SEQUENCE)?;
    while let Some((extension, after)) = take(list, SEQUENCE) {
        list = after;
        let (id, rest) = take(extension, OID)?;
        if id != ALTERNATIVE_NAMES {
            continue;
        }
        let rest = take(rest, BOOLEAN).map_or(rest, |(_, rest)| rest);
        let (value, _) = take(rest, OCTET_STRING)?;
        let (mut all, _) = take(value, SEQUENCE)?;
        let mut names = Vec::new();
        while let Some((tag, value, after)) = any(all) {
            all = after;
            match tag {
                DNS_NAME => names.push(String::from_utf8_lossy(value).into_owned()),
                IP_ADDRESS => names.extend(address(value)),
                _ => {}
            }
        }
        return Some(names);
    }
    None
}

fn address(value: &[u8]) -> Option<String> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(|b| std::net::Ipv4Addr::from(b).to_string()),
        16 => <[u8; 16]>::try_from(value).ok().map(|b| std::net::Ipv6Addr::from(b).to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (text, seconds, shown) in [
            ("700101000000Z", 0, "1970-01-01"),
            ("000229235959Z", 951_868_799, "2000-02-29"),
            ("491231235959Z", 2_524_607_999, "2049-12-31"),
            ("500101000000Z", -631_152_000, "1950-01-01"),
        ] {
            assert_eq!(time(UTC_TIME, text.as_bytes()), Some(seconds), "{text}");
            assert_eq!(day(seconds), shown);
        }
        assert_eq!(time(GENERALIZED_TIME, b"20500101000000Z"), Some(2_524_608_000));
        for bad in ["", "Z", "700101000000", "7001010000Z", "701301000000Z", "70010100é00Z", "-70101000000Z"] {
            assert_eq!(time(UTC_TIME, bad.as_bytes()), None, "{bad}");
        }
    }

    // H37: certificates come from files that somebody else may have written.
    #[test]
    fn no_bytes_make_the_reader_panic() {
        let key = rcgen::generate_simple_self_signed(["a.example".into(), "*.b.example".into(), "127.0.0.1".into()]).unwrap();
        let whole = key.cert.der().to_vec();
        assert_eq!(names(&whole), ["a.example", "*.b.example", "127.0.0.1"]);
        assert!(validity(&whole).is_some());
        for cut in 0..whole.len() {
            let _ = (validity(&whole[..cut]), names(&whole[..cut]));
            for bit in [0x01, 0x80, 0xff] {
                let mut bent = whole.clone();
                bent[cut] ^= bit;
                let _ = (validity(&bent), names(&bent));
            }
        }
    }
}
