//! Which repairs are made: those that change nothing of how a workload runs, and others where they are allowed.

use std::collections::BTreeMap;

use domain::outcome::Caution;

use crate::commands::detect::counted;

/// Arguments that allow repairs.
#[derive(Debug, Clone, Default, clap::Args)]
pub(in crate::commands) struct Allowed {
    /// Make repairs too that may change how a workload runs (unverified tags, guessed users and resources, read-only root
    /// file systems, removed privileges). Without it they are counted and not made
    #[arg(long)]
    r#unsafe: bool,
    /// Make such repairs too if they have no other cautions than these (may be repeated, or several with commas)
    #[arg(long, value_name = "CAUTION", value_delimiter = ',', value_parser = caution, conflicts_with = "unsafe")]
    allow: Vec<Caution>,
}

impl Allowed {
    /// Every repair.
    pub(super) fn all() -> Self {
        Self { r#unsafe: true, allow: Vec::new() }
    }

    /// These, named otherwise than by arguments. `Err`: a name that is not the name of a caution.
    pub(in crate::commands) fn new(r#unsafe: bool, allow: &[String]) -> Result<Self, String> {
        let allow = allow.iter().map(|name| caution(name)).collect::<Result<_, _>>()?;
        Ok(Self { r#unsafe, allow })
    }

    /// These, or the others where none of these is named.
    pub(in crate::commands) fn or(&self, r#unsafe: bool, allow: Vec<Caution>) -> Self {
        if self.r#unsafe || !self.allow.is_empty() { self.clone() } else { Self { r#unsafe, allow } }
    }

    /// The cautions of a repair for which it is not made; empty: it is.
    pub(super) fn held_back(&self, cautions: &[Caution]) -> Vec<Caution> {
        let refused = |caution: &&Caution| {
            caution.changes_behaviour() && !self.r#unsafe && !self.allow.contains(caution)
        };
        cautions.iter().filter(refused).copied().collect()
    }
}

/// The repairs that were not made, by caution.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    repairs: u64,
    by_caution: BTreeMap<&'static str, u64>,
}

impl HeldBack {
    /// Adds the repairs of a file: the cautions of each.
    pub(super) fn add(&mut self, repairs: &[Vec<Caution>]) {
        self.repairs += repairs.len() as u64;
        for caution in repairs.iter().flatten() {
            *self.by_caution.entry(caution.as_str()).or_default() += 1;
        }
    }

    /// How many repairs.
    pub(super) fn count(&self) -> u64 {
        self.repairs
    }

    /// One line about them, with the flags that make them; `None`: there are none.
    pub(super) fn line(&self) -> Option<String> {
        if self.repairs == 0 {
            return None;
        }
        let mut by_caution: Vec<_> = self.by_caution.iter().collect();
        by_caution.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), **name));
        let named: Vec<String> = by_caution.iter().map(|(name, count)| format!("{name} {count}")).collect();
        Some(format!(
            "{} held back, which may change how a workload runs: --unsafe makes them, --allow some of them ({})",
            counted(self.repairs, "repair"),
            named.join(", ")
        ))
    }
}

/// The caution of a name.
pub(in crate::commands) fn caution(text: &str) -> Result<Caution, String> {
    Caution::parse(text).ok_or_else(|| {
        let all: Vec<&str> = Caution::ALL
            .iter()
            .filter(|caution| caution.changes_behaviour())
            .map(|caution| caution.as_str())
            .collect();
        format!("the cautions are {}", all.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_nothing_is_made_and_the_rest_where_every_caution_is_allowed() {
        let [tag, user, companion] = [Caution::TagUnverified, Caution::UserGuessed, Caution::NeedsCompanion];
        let by_default = Allowed::default();
        assert!(by_default.held_back(&[]).is_empty() && by_default.held_back(&[companion]).is_empty());
        assert_eq!(by_default.held_back(&[tag, companion, user]), [tag, user]);
        let some = Allowed { allow: vec![tag], ..Allowed::default() };
        assert!(some.held_back(&[tag, companion]).is_empty());
        assert_eq!(some.held_back(&[tag, user]), [user], "the other one is not allowed");
        assert!(Allowed { r#unsafe: true, ..Allowed::default() }.held_back(&[tag, user]).is_empty());
    }

    #[test]
    fn the_line_counts_repairs_and_names_the_flags() {
        let mut held_back = HeldBack::default();
        assert_eq!(held_back.line(), None);
        held_back.add(&[vec![Caution::UserGuessed], vec![Caution::TagUnverified, Caution::UserGuessed]]);
        let line = held_back.line().unwrap();
        assert!(line.starts_with("2 repairs held back"), "{line}");
        assert!(line.contains("--unsafe") && line.ends_with("(user_guessed 2, tag_unverified 1)"), "{line}");
    }
}
