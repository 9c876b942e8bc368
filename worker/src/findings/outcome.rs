//! What became of a finding.

use domain::outcome::Caution;

/// What became of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A repair clears it, with these cautions.
    Fixed(Vec<Caution>),
    /// The repair of another policy in the same object clears it.
    FixedWithOthers,
    /// There is a repair, which these cautions hold back.
    HeldBack(Vec<Caution>),
    /// There is no repair, or it cannot be written: the reason.
    Left(String),
}

impl Outcome {
    /// Whether a repair clears the finding.
    pub(crate) const fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_) | Self::FixedWithOthers)
    }

    /// One word for machines.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Fixed(_) | Self::FixedWithOthers => "fixed",
            Self::HeldBack(_) => "held_back",
            Self::Left(_) => "left",
        }
    }

    /// One sentence for people, without secrets. `written`: its repair is in the file.
    pub(crate) fn sentence(&self, written: bool) -> String {
        let fixed = if written { "fixed" } else { "can be fixed" };
        let sentences = |cautions: &[Caution]| {
            cautions.iter().map(|caution| caution.sentence()).collect::<Vec<_>>().join("; ")
        };
        match self {
            Self::Fixed(cautions) if cautions.is_empty() => fixed.to_owned(),
            Self::Fixed(cautions) => format!("{fixed}; {}", sentences(cautions)),
            Self::FixedWithOthers => format!("{fixed} by the repair of another policy"),
            Self::HeldBack(cautions) => {
                let names: Vec<&str> = cautions.iter().map(|caution| caution.as_str()).collect();
                format!("not fixed without --unsafe or --allow {}: {}", names.join(","), sentences(cautions))
            }
            Self::Left(reason) => format!("not fixed: {}", sensitive::mask_text(reason)),
        }
    }
}
