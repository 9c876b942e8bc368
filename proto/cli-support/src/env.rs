//! Every environment variable that the programs read, in one table.

/// Beginning of the variables that set configuration keys: `K8S_AUTO_FIX_RULES__DEFAULT_TAG` sets
/// `rules.default_tag`.
pub const PREFIX: &str = "K8S_AUTO_FIX_";

/// File with the token that proves the role of a worker or client to its coordinator; the token itself is in no
/// variable.
pub const TOKEN_FILE: &str = "COORDINATOR_TOKEN_FILE";

/// Switches colours off when it is set to anything.
pub const NO_COLOR: &str = "NO_COLOR";

/// Which log records are shown, in the filter syntax of `tracing-subscriber`.
pub const RUST_LOG: &str = "RUST_LOG";

/// The kind of terminal; `dumb` has no colours.
pub const TERM: &str = "TERM";

/// A variable and what it does, for help texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// Every variable that the programs read; `<…>` in a name is a placeholder.
pub const VARIABLES: &[Variable] = &[
    Variable {
        name: "K8S_AUTO_FIX_<KEY>",
        meaning: "sets a configuration key: upper case, `__` for `.`; beats the file, is beaten by --set",
    },
    Variable {
        name: "<API_KEY_ENV>",
        meaning: "the variable that `api_key_env` names: the API key of a provider, for its own host",
    },
    Variable { name: TOKEN_FILE, meaning: "the file of --token-file" },
    Variable { name: NO_COLOR, meaning: "no colours, with any value" },
    Variable { name: RUST_LOG, meaning: "log filter, e.g. `info,coordinator=debug`; beats -v and -q" },
    Variable { name: TERM, meaning: "`dumb`: no colours" },
];

/// The configuration key that a variable sets; `None` when its name does not begin with [`PREFIX`], or ends there.
///
/// Keys have no capitals, so the upper-case name of a variable determines its key.
pub fn key_of(name: &str) -> Option<String> {
    let key = name.strip_prefix(PREFIX)?;
    (!key.is_empty()).then(|| key.to_ascii_lowercase().replace("__", "."))
}

/// The variable that sets a configuration key.
pub fn name_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// A variable of this process; `None` when it is not set or not UTF-8.
pub fn process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The variables of this process that set configuration keys. A value that is not UTF-8 is read with replacement
/// characters rather than dropped in silence, so that an error can name its key.
pub fn settings() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        name.starts_with(PREFIX).then(|| (name, value.to_string_lossy().into_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_variables_name_each_other() {
        for key in ["seed", "rules.default_tag", "verifier.disabled_gates"] {
            assert_eq!(key_of(&name_of(key)).as_deref(), Some(key));
        }
        assert_eq!(name_of("rules.default_tag"), "K8S_AUTO_FIX_RULES__DEFAULT_TAG");
        assert_eq!((key_of("HOME"), key_of("K8S_AUTO_FIX_")), (None, None));
    }
}
