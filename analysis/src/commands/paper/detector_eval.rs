//! `analysis detector-eval`.

use anyhow::bail;
use cli_support::Exit;
use serde_json::Value;

use crate::cli;
use crate::commands::print::show;
use crate::load::files;
use crate::paper::detector_eval::detector_eval;

pub(crate) fn run(args: &cli::DetectorEval) -> anyhow::Result<Exit> {
    let detections = files::objects(&args.detections)?;
    let Value::Object(labels) = files::json(&args.labels)? else {
        bail!("{} is not a JSON object", args.labels.display());
    };
    show(&detector_eval(&detections, &labels), &args.print)
}
