//! `analysis tokens`.

use analysis::tokens::{Prices, tokens};
use console::Exit;

use super::input::cases;
use super::print::show;
use crate::cli;

pub(super) fn run(args: &cli::Tokens) -> anyhow::Result<Exit> {
    let prices = args.price_prompt.zip(args.price_completion);
    let prices = prices.map(|(prompt, completion)| Prices { prompt, completion });
    show(&tokens(&cases(&args.runs.input.paths)?, prices).figures(), &args.runs.print)
}
