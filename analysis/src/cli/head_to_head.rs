//! Arguments of the commands that compare proposers and detectors.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::args::{Input, Named, Print, Runs};

#[derive(Debug, Args)]
pub(crate) struct Escapes {
    #[command(flatten)]
    pub(crate) runs: Runs,
    /// Only records for which every run proposed a repair, so that all runs are compared on the same documents
    #[arg(long)]
    pub(crate) common: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Deceptive {
    #[command(flatten)]
    pub(crate) input: Input,
    /// Examples of each detector in JSON; 0 for all findings
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) top: usize,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct Power {
    /// Run folders, Parquet files, globs or file:// URLs: also print what these could have shown
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// The difference of two acceptance rates, in percentage points
    #[arg(long, default_value = "1pp", value_name = "Xpp")]
    pub(crate) difference: Points,
    /// Acceptance rates to start from (0 to 1)
    #[arg(long, value_delimiter = ',', default_values_t = [0.5, 0.8, 0.9, 0.95, 0.99], value_name = "X,…")]
    pub(crate) acceptance: Vec<f64>,
    /// Probability of a difference where there is none, two-sided
    #[arg(long, default_value_t = 0.05, value_name = "X")]
    pub(crate) alpha: f64,
    /// Probability of seeing a difference that is there
    #[arg(long = "power", default_value_t = 0.8, value_name = "X")]
    pub(crate) sensitivity: f64,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct Agreement {
    /// Runs whose rows are the detections: run folders, Parquet files, globs or file:// URLs
    #[arg(value_name = "PATH", required_unless_present = "detections")]
    pub(crate) paths: Vec<String>,
    /// Detections instead of runs (JSON list, as `worker detect` writes)
    #[arg(long, value_name = "FILE", conflicts_with = "paths")]
    pub(crate) detections: Vec<PathBuf>,
    /// Findings of another scanner: JSON lines with manifest, kind, name, check or policy, and message
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) findings: Vec<Named>,
    /// Manifests that this scanner evaluated (JSON list); others are not compared. Without it there is no kappa
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) evaluated: Vec<Named>,
    /// Labels (JSON object: manifest path → policies)
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
    /// Which findings count where the file tells them apart: those with the neighbours in the folder, or of each document
    /// alone
    #[arg(long, value_enum, default_value_t = Context::Folder, value_name = "CONTEXT")]
    pub(crate) context: Context,
    /// Rows of the table of disagreements; 0 for all
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) top: usize,
    #[command(flatten)]
    pub(crate) print: Print,
}

/// What a scanner saw of a document's neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Context {
    /// The other documents of its folder
    Folder,
    /// Nothing
    Alone,
}

/// Percentage points, as `1pp`; as a share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Points(pub(crate) f64);

impl FromStr for Points {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix("pp").or_else(|| text.strip_suffix('%')).map(str::trim);
        match number.and_then(|number| number.parse::<f64>().ok()) {
            Some(points) if points > 0.0 && points < 100.0 => Ok(Self(points / 100.0)),
            _ => Err("not percentage points between 0 and 100, as in 1pp or 0.5pp".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_have_a_unit() {
        assert_eq!("1pp".parse(), Ok(Points(0.01)));
        assert_eq!("0.5 %".parse(), Ok(Points(0.005)));
        for wrong in ["1", "0pp", "-1pp", "100pp", "pp", "NaNpp"] {
            assert!(wrong.parse::<Points>().is_err(), "{wrong}");
        }
    }
}
