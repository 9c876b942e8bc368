//! Writes the files of a packet into its folder.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::json;

use super::{Packet, Plan, forms, overview};

/// Files of a packet: names are numbers, whatever the manifests say.
const PAGES: &str = "repairs";

/// Writes the packet and says how many files it has. The folder is made if there is none; it must be empty or hold a packet,
/// whose files are replaced. Links are not followed.
pub(crate) fn write(packet: &Packet, plan: &Plan, dir: &Path) -> io::Result<usize> {
    let pages = dir.join(PAGES);
    check(dir)?;
    fs::create_dir_all(&pages).map_err(|error| at(&pages, &error))?;
    if fs::symlink_metadata(&pages)?.is_symlink() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is a link", pages.display())));
    }
    for old in fs::read_dir(&pages)? {
        let old = old?;
        let is_page = old.path().extension().is_some_and(|extension| extension == "md");
        if is_page && old.file_type()?.is_file() {
            fs::remove_file(old.path()).map_err(|error| at(&old.path(), &error))?;
        }
    }
    for unit in &packet.units {
        put(&pages, &format!("{:04}.md", unit.number), &forms::page(unit, packet))?;
    }
    put(dir, "plan.txt", &plan.text(packet))?;
    let value = json!({"analysis": env!("CARGO_PKG_VERSION"), "packet": packet, "plan": plan});
    put(dir, "packet.json", &cli_support::output::json(&value))?;
    // Last: where it is, the packet is whole.
    put(dir, "packet.md", &overview(packet, plan))?;
    Ok(packet.units.len() + 3)
}

/// Whether a packet may be written here.
fn check(dir: &Path) -> io::Result<()> {
    let known = ["packet.md", "packet.json", "plan.txt", PAGES];
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(dir, &error)),
    };
    for entry in entries {
        let name = entry?.file_name();
        if !known.iter().any(|known| name == *known) {
            let problem =
                format!("{} holds {}, which does not belong to a packet", dir.display(), name.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, problem));
        }
    }
    Ok(())
}

/// Replaces a file atomically; a link of its name is replaced, and not followed.
fn put(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let path = dir.join(name);
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(|error| at(&path, &error))
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
