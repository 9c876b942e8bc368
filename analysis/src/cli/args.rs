//! Arguments that several commands share.

use std::str::FromStr;

use clap::Args;

use crate::render::Form;

#[derive(Debug, Args)]
pub(crate) struct Input {
    /// Run folders, Parquet files, globs or file:// URLs
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

/// Runs, and the form of the output.
#[derive(Debug, Args)]
pub(crate) struct Runs {
    #[command(flatten)]
    pub(crate) input: Input,
    #[command(flatten)]
    pub(crate) print: Print,
}

/// The form of the output.
#[derive(Debug, Args)]
pub(crate) struct Print {
    /// Form of the output
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: Form,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 1337, value_name = "N")]
    pub(crate) seed: u64,
}

/// `NAME=PLACE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) place: String,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, place)) if !name.is_empty() && !place.is_empty() => {
                Ok(Self { name: name.to_owned(), place: place.to_owned() })
            }
            _ => Err("not of the form NAME=PLACE".to_owned()),
        }
    }
}
