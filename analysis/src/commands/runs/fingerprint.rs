//! `analysis fingerprint`.

use cli_support::Exit;
use results::fingerprint::fingerprint;
use results::scan::Part;

use crate::cli;
use crate::commands::input::load;
use crate::commands::print::print;

pub(crate) fn run(args: &cli::Fingerprint) -> anyhow::Result<Exit> {
    let results = load(&args.input.paths)?;
    let parts = results.parts().iter().map(|path| Part::File(path.clone()));
    print(&format!("{}\n", fingerprint(parts)?))
}
