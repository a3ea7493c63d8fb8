//! A disk that has no room left: what needs none goes on, what needs some is refused, and nobody has to mend anything afterwards.

use myna_tests::{Function, Platform, Result, Test, Value, ensure, json, on_small_disk, tests};
use std::{fs, io::Write, path::Path};

pub const ALL: &[Test] =
    tests![a_full_disk_refuses_deploys_serves_calls_and_recovers, out_of_inodes_it_refuses_deploys_serves_calls_and_recovers,];

const ECHO: &str = "def handler(event, context):\n    print('said', event)\n    return event\n";

// F13a
fn a_full_disk_refuses_deploys_serves_calls_and_recovers() -> Result<()> {
    let fill = |disk: &Path| -> Result<()> {
        let mut file = fs::File::create(disk.join("ballast"))?;
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![1; size]).and_then(|()| file.sync_data()).is_ok() {}
        }
        Ok(())
    };
    let free = |disk: &Path| fs::remove_file(disk.join("ballast"));
    on_small_disk(48, &[], |myna, disk| full(myna, &|| fill(disk), &|| Ok(free(disk)?)))
}

// F23b
fn out_of_inodes_it_refuses_deploys_serves_calls_and_recovers() -> Result<()> {
    let fill = |disk: &Path| -> Result<()> {
        fs::create_dir(disk.join("ballast"))?;
        let made = (0..100_000).take_while(|n| fs::File::create(disk.join(format!("ballast/{n}"))).is_ok()).count();
        ensure!(made < 100_000, "the disk has inodes without end");
        Ok(())
    };
    let free = |disk: &Path| fs::remove_dir_all(disk.join("ballast"));
    on_small_disk(48, &["-N", "512"], |myna, disk| full(myna, &|| fill(disk), &|| Ok(free(disk)?)))
}

fn full(myna: &mut Platform, fill: &dyn Fn() -> Result<()>, free: &dyn Fn() -> Result<()>) -> Result<()> {
    myna.start_again()?;
    let warm = myna.python("warm", ECHO)?;
    myna.python("cold", ECHO)?;
    myna.python("leaves", ECHO)?;
    warm.call(json!("before"))?;
    myna.until_logged("warm", "said before", 1)?;
    fill()?;
    let refused = myna.draft("late", &format!("{ECHO}# other code\n")).send()?;
    ensure!(refused.status == 503, "a deploy on a full disk is answered {}: {}", refused.status, refused.text());
    ensure!(
        refused.text().contains("disk") && refused.header("retry-after").is_some(),
        "{}: {:?}",
        refused.text(),
        refused.headers
    );
    // F13b
    let (status, words) = event(myna)?;
    ensure!(status == 503, "an event on a full disk is answered {status}: {words}");
    let update = warm.update(&format!("{ECHO}# newer code\n")).expect_err("there is no room for code");
    ensure!(update.to_string().contains("503"), "{update}");
    for n in 0..5 {
        ensure!(warm.call(json!(n))? == n, "a warm call on a full disk");
        ensure!(myna.function("cold").call(json!(n))? == n, "a cold one");
    }
    ensure!(myna.logged("warm", "said before")? == 1, "logs are read");
    ensure!(warm.api("GET", "/configuration", &Value::Null)?["FunctionName"] == "warm", "and settings");
    // By the room that was held back for it.
    myna.function("leaves").api("DELETE", "", &Value::Null)?;
    ensure!(
        exists(myna, "late")? == 404 && exists(myna, "leaves")? == 404,
        "what was refused is not there, what was deleted is gone"
    );

    free()?;
    let recovered = || myna.draft("late", &format!("{ECHO}# other code\n")).create().and_then(|f: Function<'_>| f.call(json!(1)));
    ensure!(
        myna_tests::soon(|| recovered().is_ok_and(|said| said == 1) || exists(myna, "late").is_ok_and(|s| s == 200)),
        "no recovery"
    );
    ensure!(myna.function("late").call(json!(2))? == 2);
    warm.call(json!("after"))?;
    myna.until_logged("warm", "said after", 1)?;
    ensure!(myna.stop()?.success(), "it ends well");
    myna.start_again()?;
    let (status, id) = event(myna)?;
    ensure!(status == 202, "an event with room for it is answered {status}");
    let ended = || myna.verb(&["events", "list", "warm", "--stage", "succeeded"]);
    let one = |all: Value| all.as_array().is_some_and(|all| all.len() == 1 && all[0]["id"] == id);
    ensure!(myna_tests::soon(|| ended().is_ok_and(one)), "what was refused is there, or what was accepted is not");
    for name in ["warm", "cold", "late"] {
        ensure!(myna.function(name).call(json!(name))? == name, "{name} after a restart");
    }
    ensure!(exists(myna, "leaves")? == 404);
    ensure!(!myna.log().contains("damaged"), "nothing is corrupt");
    Ok(())
}

/// Send an event; the status, and the reason of a refusal or the id.
fn event(myna: &Platform) -> Result<(u16, String)> {
    let answer = myna.function("warm").invoke_bytes("", b"\"later\"", &[("x-amz-invocation-type", "Event")])?;
    Ok((answer.status, if answer.status == 202 { answer.request_id.clone() } else { answer.text() }))
}

fn exists(myna: &Platform, name: &str) -> Result<u16> {
    Ok(myna.signed("lambda", "GET", &format!("/2015-03-31/functions/{name}"), &[], b"")?.status)
}
