//! `analysis fingerprint`.

use console::Exit;
use dataset::fingerprint::fingerprint;
use dataset::scan::Part;

use crate::cli;
use crate::commands::input::load;
use crate::commands::print::print;

pub(crate) fn run(args: &cli::Fingerprint) -> anyhow::Result<Exit> {
    let results = load(&args.input.paths)?;
    let parts = results.parts().iter().map(|path| Part::File(path.clone()));
    print(&format!("{}\n", fingerprint(parts)?))
}
