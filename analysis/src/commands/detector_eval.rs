//! `analysis detector-eval`.

use analysis::detector_eval::detector_eval;
use analysis::files;
use anyhow::bail;
use console::Exit;
use serde_json::Value;

use super::print::show;
use crate::cli;

pub(super) fn run(args: &cli::DetectorEval) -> anyhow::Result<Exit> {
    let detections = files::objects(&args.detections)?;
    let Value::Object(labels) = files::json(&args.labels)? else {
        bail!("{} is no JSON object", args.labels.display());
    };
    show(&detector_eval(&detections, &labels), &args.print)
}
