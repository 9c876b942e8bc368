//! Default run ids.

use std::hash::{BuildHasher as _, RandomState};
use std::time::SystemTime;

use domain::ids::RunId;

/// A new run id: `run-`, the time in UTC, and four random digits to tell apart those of the same second.
pub(crate) fn fresh() -> anyhow::Result<RunId> {
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let time: String = time.chars().filter(char::is_ascii_alphanumeric).collect();
    let random = RandomState::new().hash_one(std::process::id()) & 0xffff;
    Ok(RunId::new(format!("run-{time}-{random:04x}"))?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn fresh_names_are_valid_and_sort_by_time() {
        let name = super::fresh().unwrap();
        assert!(name.as_str().starts_with("run-20") && name.as_str().len() == 25, "{name}");
    }
}
