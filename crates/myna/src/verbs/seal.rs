//! `myna seal`: what the directory is sealed with, new keys for it, and a copy of the key for a safe place.

use crate::{
    admin::wire::{KeyText, NewKey, Sealing},
    cli::{
        Ctx,
        problem::{Doing, Done, Problem},
    },
    platform::Api,
};
use http::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna seal status
  myna seal rotate                                new data keys; what there is is sealed again
  myna seal export-key --out /mnt/safe/myna.key   the master key, to be kept apart from any backup
  myna seal rewrap --key-file /etc/myna/new.key   another master key; name it at the next start, too")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Show what the directory is sealed with.
    Status,
    /// Make new data keys. What older ones sealed is sealed again, beside everything else; they go at the next start.
    Rotate,
    /// Wrap the data keys by another master key: that of a file, which is made when there is none.
    Rewrap {
        /// The new key's file, outside of the directory, as the platform sees it.
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
    },
    /// Write the master key to a new file of mode 0600. Without it no backup can be read.
    ExportKey {
        /// The file; it must not be there yet.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    let api = super::platform(ctx)?;
    match &args.what {
        What::Status if ctx.out.json => ctx.out.json(&api.get("/admin/v1/seal").await?),
        What::Status => show(ctx, &api.read("/admin/v1/seal").await?),
        What::Rotate => {
            let sealing: Sealing = ask(&api, "rotate", None).await?;
            if ctx.out.json {
                ctx.out.json(&sealing);
                return Ok(());
            }
            ctx.out.good(format!("generation {} seals what is written from now on", sealing.generation));
            ctx.out.note("what older keys sealed is sealed again from now on (myna seal status); they go at the next start");
        }
        What::Rewrap { key_file } => {
            let path = std::path::absolute(key_file).doing("the key file's path can't be resolved")?;
            let body = serde_json::to_value(NewKey { file: path.clone() }).doing("the request can't be made")?;
            let sealing: Sealing = ask(&api, "rewrap", Some(&body)).await?;
            if ctx.out.json {
                ctx.out.json(&sealing);
                return Ok(());
            }
            ctx.out.good(format!("the data keys are wrapped by {} (id {})", path.display(), sealing.key_id));
            ctx.out
                .note(format!("from the next start on: myna up --key-file {}, or seal.key in the configuration", path.display()));
        }
        What::ExportKey { out } => {
            let key: KeyText = ask(&api, "export", None).await?;
            let mut options = std::fs::File::options();
            let write = |mut file: std::fs::File| file.write_all(key.key.as_bytes()).and_then(|()| file.sync_all());
            let written = options.write(true).create_new(true).mode(0o600).open(out).and_then(write);
            written.doing(format!("the key can't be written to {}", out.display()))?;
            if ctx.out.json {
                ctx.out.json(&serde_json::json!({ "key_id": key.id, "out": out }));
                return Ok(());
            }
            ctx.out.good(format!("the key {} is in {}", key.id, out.display()));
            ctx.out.note("keep it apart from the backups of the directory: together they can be read");
        }
    }
    Ok(())
}

async fn ask<T: DeserializeOwned>(api: &Api, what: &str, body: Option<&Value>) -> Result<T, Problem> {
    let said = api.json(Method::POST, &format!("/admin/v1/seal/{what}"), body).await?;
    serde_json::from_value(said).doing("the platform's answer can't be read")
}

fn show(ctx: &Ctx, sealing: &Sealing) {
    if !sealing.on {
        ctx.out.warn("nothing in the directory is sealed (--no-seal, or seal.off in the configuration)");
        return;
    }
    let rest = match (sealing.pending, sealing.again, sealing.again_of) {
        (false, ..) => "everything is of the newest".to_owned(),
        (true, done, of) if done < of => format!("sealed again so far: {done} of {of} rows and archives"),
        (true, ..) => {
            "rows and archives are of the newest; queued events, and the older keys themselves, go at the next start".to_owned()
        }
    };
    ctx.out.pairs(&[
        ("sealed by", sealing.source.clone()),
        ("key id", sealing.key_id.clone()),
        ("generation", format!("{}; {rest}", sealing.generation)),
        ("data keys", format!("{}, of {} tenants", sealing.keys, sealing.tenants)),
    ]);
}
