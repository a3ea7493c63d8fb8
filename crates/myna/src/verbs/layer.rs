//! `myna layer`: archives that functions have at /opt besides their own code.

use crate::{
    cli::{
        Ctx,
        problem::{Done, Problem},
        units,
    },
    platform::{
        Api,
        http::{request, segment},
        lambda,
    },
    project::{detect::Contents, pack::Packer, send},
};
use base64::Engine;
use http::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna layer list
  myna layer publish tools ./tools --runtime python3.12      ./tools/python/… is at /opt/python/…
  myna layer publish tools tools.zip
  myna layer map arn:aws:lambda:us-east-1:123456789012:layer:Monitor:3 monitor.zip

A function is given layers by their ARNs:
  myna deploy . --layer ARN
  aws lambda update-function-configuration --function-name NAME --layers ARN ARN")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Every layer with its newest version, and what stands for layers of other accounts.
    List,
    /// Publish a version of a layer.
    Publish {
        /// The layer's name; a new one is made.
        name: String,
        /// A folder, or a ZIP archive: what will be below /opt.
        #[arg(value_name = "DIR|ZIP")]
        path: PathBuf,
        /// A runtime that it is meant for; may be given again.
        #[arg(long = "runtime", value_name = "RUNTIME")]
        runtimes: Vec<String>,
        #[arg(long, help = "A sentence about it")]
        description: Option<String>,
    },
    /// Say what stands here for a layer version of another account.
    Map {
        /// The layer version, as functions name it.
        arn: String,
        /// A folder, or a ZIP archive: what will be below /opt.
        #[arg(value_name = "DIR|ZIP")]
        path: PathBuf,
    },
}

const LAYERS: &str = "/2018-10-31/layers";
const MAPPED: &str = "/admin/v1/layers";

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    let api = super::platform(ctx)?;
    match &args.what {
        What::List => list(ctx, &api).await,
        What::Publish { name, path, runtimes, description } => {
            let mut body = json!({
                "Content": { "ZipFile": base64::engine::general_purpose::STANDARD.encode(archive(&api, path)?) },
                "CompatibleRuntimes": runtimes,
            });
            if let Some(text) = description {
                body["Description"] = json!(text);
            }
            let made = api.json(Method::POST, &format!("{LAYERS}/{}/versions", segment(name)), Some(&body)).await?;
            show(ctx, &made, text(&made, "LayerVersionArn"));
            Ok(())
        }
        What::Map { arn, path } => {
            let ask = request(Method::PUT, &format!("{MAPPED}/{}", segment(arn)), None);
            let bytes = archive(&api, path)?;
            let answer = api.send(ask.map(|_| bytes.into())).await?;
            let mapped: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            show(ctx, &mapped, format!("{arn} is {} here", path.display()));
            Ok(())
        }
    }
}

/// The archive as it lies there, or one of the folder's files.
fn archive(api: &Api, path: &Path) -> Result<Vec<u8>, Problem> {
    let source = send::open(api, path, &crate::project::options::Options::default())?;
    Ok(source.pack(&Contents::All, &mut Packer::default())?.0)
}

async fn list(ctx: &Ctx, api: &Api) -> Done {
    let (own, mapped) = (lambda::list(api, LAYERS, "Layers").await?, api.get(MAPPED).await?);
    if ctx.out.json {
        ctx.out.json(&json!({ "layers": own, "mapped": mapped }));
        return Ok(());
    }
    let mut rows: Vec<Vec<String>> = own.iter().map(|l| own_row(&l["LatestMatchingVersion"])).collect();
    let mapped = mapped.as_array().cloned().unwrap_or_default();
    rows.extend(mapped.iter().map(|m| {
        let size = units::bytes(m["bytes"].as_u64().unwrap_or(0));
        vec![text(m, "arn"), "-".into(), format!("another account's; {size} here stand for it")]
    }));
    if rows.is_empty() {
        ctx.out.note("no layers yet; the first: myna layer publish NAME DIR");
    } else {
        ctx.out.table(&["newest version", "runtimes", "description"], &rows);
    }
    Ok(())
}

fn own_row(version: &Value) -> Vec<String> {
    let runtimes: Vec<&str> = version["CompatibleRuntimes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let runtimes = if runtimes.is_empty() { "any".to_string() } else { runtimes.join(", ") };
    vec![text(version, "LayerVersionArn"), runtimes, text(version, "Description")]
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_string()
}

fn show(ctx: &Ctx, whole: &Value, line: String) {
    if ctx.out.json {
        ctx.out.json(whole);
    } else {
        ctx.out.line(line);
    }
}
