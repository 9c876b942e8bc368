//! `analysis packet`.

use anyhow::Context as _;
use cli_support::failure::WithHint as _;
use cli_support::{Exit, output};

use super::schedule::rollout_times;
use crate::cli;
use crate::commands::input::load;
use crate::commands::print::print;
use crate::load::files;
use crate::packet::{self, Options};
use crate::schedule::{Replicas, RiskEntries};

pub(crate) fn run(args: &cli::Packet) -> anyhow::Result<Exit> {
    let risk = match &args.risk {
        Some(file) => RiskEntries::parse(&files::json(file)?),
        None => RiskEntries::default(),
    };
    let results = load(std::slice::from_ref(&args.run))?;
    let (times, _) = rollout_times(args.rollout.as_deref(), &results)?;
    // How many pods a document makes is a part of its blast radius, whatever a rollout takes.
    let replicas = Replicas::read(&results)?;
    let options =
        Options { most: args.most, window: args.window.as_secs_f64() / 60.0, base: args.base.clone() };
    let packet = packet::read(&results, &args.run, (&risk, &times, &replicas), &options)?;
    let plan = packet::plan(&packet, &options);
    let files = packet::write(&packet, &plan, &args.out)
        .context("cannot write the packet")
        .hint("--out is a folder: a new one, or that of an earlier packet")?;
    output::say(&format!(
        "{files} files: {} documents in {} change windows",
        packet.units.len(),
        packet.windows.len()
    ));
    if packet.left_out > 0 {
        output::say(&format!("{} documents are left out: --most asks for more", packet.left_out));
    }
    print(&format!("{}\n", args.out.join("packet.md").display()))
}
