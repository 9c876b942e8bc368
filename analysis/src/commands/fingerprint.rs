//! `analysis fingerprint`.

use console::Exit;
use dataset::fingerprint::fingerprint;
use dataset::scan::Part;

use super::input::load;
use super::print::print;
use crate::cli;

pub(super) fn run(args: &cli::Fingerprint) -> anyhow::Result<Exit> {
    let results = load(&args.input.paths)?;
    let parts = results.parts().iter().map(|path| Part::File(path.clone()));
    print(&format!("{}\n", fingerprint(parts)?))
}
