//! The network below the listeners: ports that others have, a machine without IPv4, interfaces that come and go, small packets. Each
//! platform has a network of its own here, which its test changes as an administrator would.

use myna_tests::{Context, Options, Platform, Result, Test, Value, bail, ensure, json, skip, tests};
use std::process::{Command, Output};

pub const ALL: &[Test] = tests![
    a_port_in_use_is_named_and_refused,
    a_machine_without_ipv4_is_served,
    an_interface_that_vanishes_and_returns_is_served_again,
];

/// In an empty network, after these words of a shell; the platform is the process that ran them.
fn networked(words: &str) -> Result<Vec<String>> {
    if !std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0) {
        return Err(skip("only root can make a network"));
    }
    let script = format!("set -e; ip link set lo up; {words}; exec \"$@\"");
    Ok(["unshare", "--net", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec())
}

/// A program in the platform's network.
fn inside(myna: &Platform, words: &[&str]) -> Result<Output> {
    let pid = myna.pid().to_string();
    Command::new("nsenter").args(["--net", "--target", &pid, "--"]).args(words).output().context("nsenter")
}

fn curl(myna: &Platform, words: &[&str]) -> Result<String> {
    let done = inside(myna, &[&["curl", "-sS", "-g", "--noproxy", "*", "--max-time", "20"], words].concat())?;
    if !done.status.success() {
        bail!("curl {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(String::from_utf8(done.stdout)?)
}

/// Makes a function over the admin socket, and calls it with a body by its address in the platform's network.
fn called(myna: &Platform, name: &str, body: &str) -> Result<String> {
    let code = myna.home().join(name);
    std::fs::create_dir_all(&code)?;
    std::fs::write(
        code.join("lambda_function.py"),
        "def lambda_handler(event, context):\n    return {'statusCode': 200, 'body': event['body']}\n",
    )?;
    let deployed = myna.cli(&["deploy", &code.display().to_string(), "--name", name])?;
    ensure!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
    let made: Value = myna.verb(&["url", name, "--open"])?;
    let host = made["FunctionUrl"].as_str().with_context(|| format!("no address: {made}"))?;
    let id = host.split("//").nth(1).and_then(|h| h.split('.').next()).context("an id")?;
    let at = format!("{}/_url/{id}/", myna.ready().aws);
    let file = myna.home().join("body");
    std::fs::write(&file, body)?;
    curl(myna, &["-H", "content-type: text/plain", "--data-binary", &format!("@{}", file.display()), &at])
}

// F49
fn a_port_in_use_is_named_and_refused() -> Result<()> {
    let myna = Platform::start()?;
    let taken = myna.ready().aws.trim_start_matches("http://").to_owned();
    let port = taken.rsplit_once(':').context("a port")?.1;
    let args = vec!["--listen".into(), taken.clone()];
    let mut second = Platform::prepare(Options { args, ..Options::default() })?;
    let status = second.refused()?;
    let said = second.log();
    ensure!(!status.success(), "{status}");
    for part in [&format!("port {port} of 127.0.0.1 is taken by"), &myna.pid().to_string(), "door aws", "--listen"] {
        ensure!(said.contains(part), "it doesn't say {part:?}: {said}");
    }
    // The one that was there is not disturbed.
    myna.python("f", "def handler(event, context): return event")?.call(json!(1))?;
    Ok(())
}

// F49
fn a_machine_without_ipv4_is_served() -> Result<()> {
    // Packets as small as IPv6 may have them.
    let through = networked("ip addr del 127.0.0.1/8 dev lo; ip link set lo mtu 1280")?;
    let args = ["--listen", "[::1]:0", "--console", "[::1]:0"].map(str::to_owned).to_vec();
    let myna = Platform::start_with(Options { args, through, ..Options::default() })?;
    ensure!(myna.ready().aws.starts_with("http://[::1]:"), "{}", myna.ready().aws);
    ensure!(curl(&myna, &[&format!("{}/livez", myna.ready().aws)])? == "ok\n");
    let body = "large ".repeat(100_000);
    ensure!(called(&myna, "echo", &body)? == body, "a body of many small packets is not what was sent");
    Ok(())
}

// F49
fn an_interface_that_vanishes_and_returns_is_served_again() -> Result<()> {
    const UP: &str =
        "ip link add v0 type veth peer name v1; ip addr add 10.98.7.1/24 dev v0; ip link set v1 up; ip link set v0 mtu 576 up";
    let through = networked(UP)?;
    let mut myna = Platform::prepare(Options::default())?;
    let tls = myna.home().join("tls");
    let out = tls.display().to_string();
    let made = Command::new(myna_tests::binary()?).args(["tls", "self-signed", "--out", &out, "--name", "10.98.7.1"]).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let config = myna.home().join("net.toml");
    std::fs::write(&config, format!("[tls]\ncert = \"{out}/cert.pem\"\nkey = \"{out}/key.pem\"\nca = \"{out}/ca.pem\"\n"))?;
    let config = config.display().to_string();
    myna.set_through(&through);
    myna.set_args(&["--listen", "10.98.7.1:0", "--config", &config]);
    myna.start_again()?;
    let (at, ca) = (format!("{}/livez", myna.ready().aws), format!("{out}/ca.pem"));
    ensure!(at.starts_with("https://10.98.7.1:"), "{at}");
    let alive = || curl(&myna, &["--cacert", &ca, &at]);
    ensure!(alive()? == "ok\n");
    for round in 0..3 {
        ensure!(inside(&myna, &["ip", "link", "del", "v0"])?.status.success());
        ensure!(
            inside(&myna, &["curl", "-sS", "--max-time", "2", "--cacert", &ca, &at])?.status.code() != Some(0),
            "round {round}: the interface is still there"
        );
        let listed = myna.verb(&["list"])?;
        ensure!(listed.is_array(), "the admin socket needs no interface: {listed}");
        ensure!(inside(&myna, &["sh", "-ec", UP])?.status.success());
        ensure!(alive()? == "ok\n", "round {round}");
    }
    Ok(())
}
