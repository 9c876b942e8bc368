//! `analysis multi-seed`.

use analysis::files;
use analysis::multi_seed::multi_seed;
use anyhow::bail;
use console::Exit;
use serde_json::Value;

use super::print::show;
use crate::cli;

pub(super) fn run(args: &cli::MultiSeed) -> anyhow::Result<Exit> {
    let Value::Object(corpora) = files::json(&args.file)? else {
        bail!("{} is no JSON object", args.file.display());
    };
    show(&multi_seed(&corpora), &args.print)
}
