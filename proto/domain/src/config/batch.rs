//! The keys of delivery by batches. They decide no outcome, but when and at which price the answers come.

use serde::{Deserialize, Serialize};

use super::error::InvalidConfig;

/// How the first question about each record goes to the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// In a call of its own, while the run goes on.
    #[default]
    Live,
    /// In the provider's batches, before the run begins.
    Batch,
}

impl Delivery {
    /// Whether it is the default, and so left out of a run's text.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
    pub(super) const fn is_live(&self) -> bool {
        matches!(self, Self::Live)
    }
}

/// What happens when the window of a batch is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterWindow {
    /// The provider ends it; what is missing goes into another batch.
    #[default]
    Wait,
    /// It is cancelled; what is missing is asked live.
    Live,
}

/// How batches are submitted and waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// How long the provider has for a batch, in hours (`completion_window`).
    pub window_hours: u32,
    /// Longest time between two looks at a batch, in seconds.
    pub poll_seconds: u32,
    /// What happens when the window is over.
    pub after_window: AfterWindow,
    /// Most questions in a file.
    pub file_lines: u32,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { window_hours: 24, poll_seconds: 60, after_window: AfterWindow::default(), file_lines: 50_000 }
    }
}

impl BatchConfig {
    /// Whether every key has its default, so that the section is left out of a run's text.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        let between = |key, value: u32, most: u32| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            Err(InvalidConfig { key, reason: format!("must be from 1 to {most}") })
        };
        between("batch.window_hours", self.window_hours, 720)?;
        between("batch.poll_seconds", self.poll_seconds, 3600)?;
        between("batch.file_lines", self.file_lines, 50_000)
    }
}
