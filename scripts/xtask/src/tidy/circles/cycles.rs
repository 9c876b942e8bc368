//! Strongly connected components of the graph of files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::resolve::Edge;

/// Files that import each other, directly or through others of the circle.
#[derive(Debug)]
pub(super) struct Circle {
    pub(super) files: Vec<PathBuf>,
    /// One example for each pair of its files.
    pub(super) edges: Vec<Edge>,
}

impl Circle {
    /// The circle and an example of each of its imports.
    pub(super) fn describe(&self, krate: &str) -> String {
        let mut text = format!("{krate}: {} files import each other in a circle", self.files.len());
        for edge in &self.edges {
            let _ = write!(text, "\n    {edge}");
        }
        text
    }
}

/// The circles in a graph, in the order of their first files.
pub(super) fn find(edges: &[Edge]) -> Vec<Circle> {
    let mut out: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for edge in edges {
        out.entry(&edge.from).or_default().insert(&edge.to);
    }
    let reach: BTreeMap<&Path, BTreeSet<&Path>> =
        out.keys().map(|from| (*from, reachable(&out, from))).collect();
    let mutual = |a: &Path, b: &Path| {
        reach.get(a).is_some_and(|to| to.contains(b)) && reach.get(b).is_some_and(|to| to.contains(a))
    };
    let mut circles = Vec::new();
    let mut done: BTreeSet<&Path> = BTreeSet::new();
    for file in reach.keys() {
        if done.contains(file) || !mutual(file, file) {
            continue;
        }
        let files: BTreeSet<&Path> = reach.keys().copied().filter(|other| mutual(file, other)).collect();
        done.extend(&files);
        let mut pairs = BTreeSet::new();
        let inside = edges.iter().filter(|edge| {
            let (from, to) = (edge.from.as_path(), edge.to.as_path());
            files.contains(from) && files.contains(to) && pairs.insert((from, to))
        });
        let edges = inside.cloned().collect();
        circles.push(Circle { files: files.into_iter().map(Path::to_path_buf).collect(), edges });
    }
    circles
}

fn reachable<'a>(out: &BTreeMap<&'a Path, BTreeSet<&'a Path>>, from: &Path) -> BTreeSet<&'a Path> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&Path> = out.get(from).into_iter().flatten().copied().collect();
    while let Some(file) = open.pop() {
        if let Some((file, next)) = out.get_key_value(file)
            && seen.insert(*file)
        {
            open.extend(next);
        }
    }
    seen
}
