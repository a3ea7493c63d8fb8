//! `myna explain`: no value of a function is a mystery.

use crate::{
    admin::wire::Explained,
    cli::{Ctx, problem::Done},
    platform::{http::segment, lambda},
};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna explain hello
  myna explain hello --json | jq -r '.[] | select(.name == \"timeout\").from'")]
pub struct Args {
    /// The function.
    name: String,
}

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    let api = super::platform(ctx)?;
    let path = format!("/admin/v1/functions/{}/explain", segment(&args.name));
    let rows: Vec<Explained> = api.read(&path).await.map_err(|p| lambda::absent(p, &args.name))?;
    if ctx.out.json {
        ctx.out.json(&rows);
    } else {
        ctx.out.table(&["what", "value", "from"], &rows.into_iter().map(|r| vec![r.name, r.value, r.from]).collect::<Vec<_>>());
    }
    Ok(())
}
