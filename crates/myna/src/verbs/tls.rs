//! `myna tls`: certificates to try TLS with. What a public authority signs comes from elsewhere.

use crate::cli::{
    Ctx,
    problem::{Doing, Done, Problem},
};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::json;
use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna tls self-signed                             for localhost, in ./tls
  myna tls self-signed --name myna.test --out /etc/myna/tls
  myna tls self-signed --days 7")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Make an authority of your own and a certificate signed by it; the authority's key is thrown away.
    SelfSigned {
        /// The folder for ca.pem, cert.pem and key.pem.
        #[arg(long, value_name = "DIR", default_value = "tls")]
        out: PathBuf,
        /// Another host name or address that it is for, besides those of this machine alone. Can be repeated.
        #[arg(long, value_name = "HOST")]
        name: Vec<String>,
        /// How long it is valid.
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=825))]
        days: u32,
    },
}

/// What needs no DNS: the console and function URLs have names below localhost.
const LOCAL: [&str; 5] = ["localhost", "*.localhost", "console.localhost", "127.0.0.1", "::1"];

pub fn run(ctx: &Ctx, args: &Args) -> Done {
    let What::SelfSigned { out, name, days } = &args.what;
    let files = [out.join("ca.pem"), out.join("cert.pem"), out.join("key.pem")];
    if let Some(there) = files.iter().find(|f| f.symlink_metadata().is_ok()) {
        return Err(
            Problem::failed(format!("{} is there already", there.display())).hint("remove it, or name another folder: --out DIR")
        );
    }
    let hosts: Vec<String> = name.iter().cloned().chain(LOCAL.map(str::to_owned)).collect();
    let made =
        make(&hosts, *days).map_err(|e| Problem::usage(format!("no certificate for {} can be made: {e}", name.join(", "))))?;
    fs::DirBuilder::new().recursive(true).mode(0o755).create(out).doing(format!("{} can't be made", out.display()))?;
    for (file, (text, mode)) in files.iter().zip([(&made.ca, 0o644), (&made.cert, 0o644), (&made.key, 0o600)]) {
        write(file, text, mode).doing(format!("{} can't be written", file.display()))?;
    }
    let [ca, cert, key] = files.map(|f| std::path::absolute(&f).unwrap_or(f).display().to_string());
    if ctx.out.json {
        ctx.out.json(&json!({ "ca": ca, "cert": cert, "key": key, "names": hosts, "days": days }));
    } else {
        ctx.out.line(format!("for the platform's configuration file:\n\n[tls]\ncert = {cert:?}\nkey = {key:?}\nca = {ca:?}"));
    }
    Ok(())
}

struct Made {
    ca: String,
    cert: String,
    key: String,
}

fn make(hosts: &[String], days: u32) -> Result<Made, rcgen::Error> {
    let now = jiff::Timestamp::now();
    let day = |days: i64| {
        let date = (now + jiff::SignedDuration::from_hours(days * 24)).to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    let (from, until) = (day(-1), day(i64::from(days) + 1));
    let mut ca = CertificateParams::new([])?;
    ca.distinguished_name.push(DnType::CommonName, "Myna development authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (ca.not_before, ca.not_after) = (from, until);
    let ca_key = KeyPair::generate()?;
    let signed = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);
    let mut own = CertificateParams::new(hosts.to_vec())?;
    own.distinguished_name.push(DnType::CommonName, "myna");
    own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    own.use_authority_key_identifier_extension = true;
    (own.not_before, own.not_after) = (from, until);
    let key = KeyPair::generate()?;
    let cert = own.signed_by(&key, &issuer)?;
    Ok(Made { ca: signed.pem(), cert: cert.pem(), key: key.serialize_pem() })
}

fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(text.as_bytes())
}
