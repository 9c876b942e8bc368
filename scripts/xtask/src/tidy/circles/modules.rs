//! The modules of a crate: files, what each declares, imports and names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use proc_macro2::TokenStream;

use super::parse::{self, Import, Mention};

/// The modules of one target; the first is its root.
#[derive(Debug, Default)]
pub(super) struct Crate {
    pub(super) modules: Vec<Module>,
    /// Macros by name: their scope is not that of the module tree.
    pub(super) macros: BTreeMap<String, usize>,
}

/// A module, in a file of its own or inline.
#[derive(Debug)]
pub(super) struct Module {
    /// Relative to the workspace.
    pub(super) file: PathBuf,
    pub(super) parent: usize,
    pub(super) children: BTreeMap<String, usize>,
    pub(super) items: BTreeSet<String>,
    pub(super) imports: Vec<Import>,
    /// Paths of two names and more, outside imports.
    pub(super) paths: Vec<Mention>,
    /// Every name outside imports.
    pub(super) names: BTreeSet<String>,
}

impl Crate {
    /// Reads a target from its root file; names of files are relative to `workspace`.
    pub(super) fn read(workspace: &Path, root: &Path) -> Result<Crate> {
        let mut krate = Crate::default();
        let folder = root.parent().context("a root file lies in a folder")?;
        krate.read_file(workspace, root, folder, 0)?;
        Ok(krate)
    }

    /// Reads a file as a module; `folder` is where the files of its child modules lie.
    fn read_file(&mut self, workspace: &Path, file: &Path, folder: &Path, parent: usize) -> Result<usize> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let tokens: TokenStream = text.parse().map_err(|error| anyhow!("{}: {error}", file.display()))?;
        let module = self.add(file.strip_prefix(workspace).unwrap_or(file), parent);
        self.fill(workspace, module, folder, tokens)?;
        Ok(module)
    }

    fn add(&mut self, file: &Path, parent: usize) -> usize {
        self.modules.push(Module {
            file: file.to_path_buf(),
            parent,
            children: BTreeMap::new(),
            items: BTreeSet::new(),
            imports: Vec::new(),
            paths: Vec::new(),
            names: BTreeSet::new(),
        });
        self.modules.len() - 1
    }

    fn fill(&mut self, workspace: &Path, at: usize, folder: &Path, tokens: TokenStream) -> Result<()> {
        let content = parse::content(tokens);
        self.macros.extend(content.macros.into_iter().map(|name| (name, at)));
        let Some(module) = self.modules.get_mut(at) else { return Ok(()) };
        module.items = content.items;
        module.imports = content.imports;
        module.paths = content.paths;
        module.names = content.names;
        let file = module.file.clone();
        for (name, body) in content.modules {
            let inside = folder.join(&name);
            let child = if let Some(tokens) = body {
                let child = self.add(&file, at);
                self.fill(workspace, child, &inside, tokens)?;
                child
            } else {
                let nested = inside.join("mod.rs");
                let path = if nested.exists() { nested } else { folder.join(format!("{name}.rs")) };
                self.read_file(workspace, &path, &inside, at)?
            };
            if let Some(module) = self.modules.get_mut(at) {
                module.children.insert(name, child);
            }
        }
        Ok(())
    }
}
