//! Resolves a name to the file that declares it, through re-exports.

use std::fmt;
use std::path::PathBuf;

use super::modules::{Crate, Module};
use super::parse::Import;

/// How many re-exports are followed: one that leads to itself ends here.
const DEEPEST: usize = 16;

/// An import of one file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: PathBuf,
    pub(super) line: usize,
    pub(super) to: PathBuf,
    /// The path as the importing file writes it.
    pub(super) path: String,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Edge { from, line, to, path } = self;
        write!(f, "{}:{line} → {path} ({})", from.display(), to.display())
    }
}

/// What a path leads to.
enum Target {
    Module(usize),
    /// An item, in the module that declares it.
    Item(usize),
    /// Something of another crate.
    Foreign,
}

impl Crate {
    /// Every import of a file from another one, in the order of the files' modules and lines.
    pub(super) fn edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (at, module) in self.modules.iter().enumerate() {
            let mut found = Vec::new();
            for import in &module.imports {
                if import.name == "*" {
                    self.glob(at, module, import, &mut found);
                } else if !import.public || module.names.contains(&import.name) {
                    found.push((import.line, &import.path, self.resolve(at, &import.path, 0)));
                }
            }
            for mention in &module.paths {
                found.push((mention.line, &mention.path, self.resolve(at, &mention.path, 0)));
            }
            found.sort_by_key(|(line, ..)| *line);
            for (line, path, target) in found {
                let Target::Item(target) = target else { continue };
                let Some(to) = self.modules.get(target) else { continue };
                if to.file != module.file {
                    let (from, to) = (module.file.clone(), to.file.clone());
                    edges.push(Edge { from, line, to, path: path.join("::") });
                }
            }
        }
        edges
    }

    /// What a module uses of what it imports with `*`.
    fn glob<'a>(
        &'a self,
        at: usize,
        module: &'a Module,
        import: &'a Import,
        found: &mut Vec<(usize, &'a Vec<String>, Target)>,
    ) {
        let Target::Module(from) = self.resolve(at, &import.path, 0) else {
            // The variants of an enum.
            found.push((import.line, &import.path, self.resolve(at, &import.path, 0)));
            return;
        };
        for name in &module.names {
            let declared =
                module.items.contains(name) || module.imports.iter().any(|import| import.name == *name);
            if !declared && let Some(target) = self.member(from, name, true, 0) {
                found.push((import.line, &import.path, target));
            }
        }
    }

    /// Where a path leads that stands in the module `from`.
    fn resolve(&self, from: usize, path: &[String], depth: usize) -> Target {
        let mut at = from;
        let mut rest = path;
        let mut is_ours = false;
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" => at = 0,
                "self" => {}
                "super" => at = self.modules.get(at).map_or(0, |module| module.parent),
                _ => break,
            }
            is_ours = true;
            rest = after;
        }
        while let Some((name, after)) = rest.split_first() {
            match self.member(at, name, after.is_empty(), depth) {
                Some(Target::Module(next)) => at = next,
                Some(found) => return found,
                // What a macro declares.
                None if is_ours => return Target::Item(self.macros.get(name).copied().unwrap_or(at)),
                None => return Target::Foreign,
            }
            is_ours = true;
            rest = after;
        }
        Target::Module(at)
    }

    /// What a name stands for in a module; where a module and an item share it, the last name of a path is the item.
    fn member(&self, at: usize, name: &str, is_last: bool, depth: usize) -> Option<Target> {
        let module = self.modules.get(at).filter(|_| depth < DEEPEST)?;
        let child = module.children.get(name).map(|child| Target::Module(*child));
        if !is_last && child.is_some() {
            return child;
        }
        if module.items.contains(name) {
            return Some(Target::Item(at));
        }
        if let Some(import) = module.imports.iter().find(|import| import.name == name) {
            return Some(self.resolve(at, &import.path, depth + 1));
        }
        child.or_else(|| {
            let globs = module.imports.iter().filter(|import| import.name == "*");
            globs.map(|glob| self.resolve(at, &glob.path, depth + 1)).find_map(|target| match target {
                Target::Module(from) => self.member(from, name, is_last, depth + 1),
                Target::Item(_) | Target::Foreign => None,
            })
        })
    }
}
