//! What the settings of a repository may say.

use std::path::PathBuf;

use clap::ValueEnum as _;
use cli_support::failure::WithHint as _;
use domain::outcome::Caution;
use domain::policy::PolicyId;
use domain::policy::catalogue::{Catalogue, Profile};
use glob::Pattern;
use serde::{Deserialize, Deserializer, de};
use serde_saphyr::Spanned;

use super::find::NAME;
use crate::commands::catalogue;
use crate::commands::detect::FailOn;
use crate::commands::fix::allowed::caution;

/// Most bytes of the file.
pub(super) const MOST_BYTES: u64 = 1 << 20;

/// What the file says. Each key is the flag of the same name, except `policies` and `suppressions`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Contents {
    pub(super) catalogue: Option<Word<Catalogue>>,
    pub(super) profile: Option<Word<Profile>>,
    /// Look for these policies only.
    pub(super) policies: Vec<Word<PolicyId>>,
    pub(super) exclude: Vec<Word<Pattern>>,
    pub(super) fail_on: Option<Word<FailOn>>,
    /// Below the folder of the settings.
    pub(super) baseline: Option<PathBuf>,
    #[serde(rename = "unsafe")]
    pub(super) is_unsafe: bool,
    pub(super) allow: Vec<Word<Caution>>,
    pub(super) suppressions: Vec<Spanned<Rule>>,
}

impl Contents {
    /// Whether it says more than which findings do not count.
    pub(super) fn changes_the_command(&self) -> bool {
        let Self { catalogue, profile, policies, exclude, fail_on, baseline, is_unsafe, allow, .. } = self;
        let is_narrowed = catalogue.is_some() || profile.is_some() || !policies.is_empty();
        let is_left_out = !exclude.is_empty() || fail_on.is_some() || baseline.is_some();
        is_narrowed || is_left_out || *is_unsafe || !allow.is_empty()
    }
}

/// Findings that do not count.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) policy: Word<PolicyId>,
    /// Without `/` the name of the file, with one its path below the folder of the settings.
    pub(super) path: Word<Pattern>,
    /// The object alone, as KIND/NAME.
    #[serde(default)]
    pub(super) object: Option<Word<ObjectName>>,
    pub(super) reason: Word<Reason>,
}

/// The kind and the name of an object.
#[derive(Debug)]
pub(super) struct ObjectName {
    pub(super) kind: String,
    pub(super) name: String,
}

/// Why findings do not count; not empty.
#[derive(Debug)]
pub(super) struct Reason(pub(super) String);

/// A value that is written as a word.
#[derive(Debug)]
pub(super) struct Word<T>(pub(super) T);

/// What can be written as a word.
trait FromWord: Sized {
    /// `Err`: what is wrong, with what there is.
    fn from_word(word: &str) -> Result<Self, String>;
}

impl<'de, T: FromWord> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        T::from_word(&word).map(Self).map_err(|why| de::Error::custom(format!("{word:?}: {why}")))
    }
}

impl FromWord for Catalogue {
    fn from_word(word: &str) -> Result<Self, String> {
        catalogue::catalogue(word)
    }
}

impl FromWord for Profile {
    fn from_word(word: &str) -> Result<Self, String> {
        catalogue::profile(word)
    }
}

impl FromWord for PolicyId {
    fn from_word(word: &str) -> Result<Self, String> {
        catalogue::policy(word)
    }
}

impl FromWord for Pattern {
    fn from_word(word: &str) -> Result<Self, String> {
        Self::new(word).map_err(|error| format!("not a pattern for paths: {error}"))
    }
}

impl FromWord for FailOn {
    fn from_word(word: &str) -> Result<Self, String> {
        Self::from_str(word, false).map_err(|_| "known are error, warning, never".to_owned())
    }
}

impl FromWord for Caution {
    fn from_word(word: &str) -> Result<Self, String> {
        caution(word)
    }
}

impl FromWord for ObjectName {
    fn from_word(word: &str) -> Result<Self, String> {
        match word.split_once('/') {
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() => {
                Ok(Self { kind: kind.to_owned(), name: name.to_owned() })
            }
            _ => Err("an object is named by KIND/NAME, such as Deployment/shop".to_owned()),
        }
    }
}

impl FromWord for Reason {
    fn from_word(word: &str) -> Result<Self, String> {
        match word.trim() {
            "" => Err("a reason has words".to_owned()),
            reason => Ok(Self(reason.to_owned())),
        }
    }
}

/// Reads the text of the file at `path`. `Err`: what is wrong, with the line and a remedy.
pub(super) fn parse(path: &str, text: &str) -> anyhow::Result<Contents> {
    let parsed = serde_saphyr::from_str::<Option<Contents>>(text);
    let contents = parsed.map(Option::unwrap_or_default).map_err(|error| {
        let line = error.location().map(|place| format!(":{}", place.line())).unwrap_or_default();
        let message = error.without_snippet().to_string();
        anyhow::anyhow!("{path}{line}: {message}")
    });
    let contents = contents.hint(format!(
        "{NAME} may have catalogue, profile, policies, exclude, fail_on, baseline, unsafe, allow and suppressions (policy, path, \
         object, reason); --no-repository-config does without it"
    ))?;
    anyhow::ensure!(
        contents.catalogue.is_none() || contents.profile.is_none(),
        "{path}: catalogue and profile both choose the policies; leave one out"
    );
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read() {
        let text = "profile: rbac\npolicies: [latest-tag]\nexclude: ['vendor/**']\nfail_on: error\nbaseline: known.sarif\nunsafe: true\nallow: [tag_unverified]\nsuppressions:\n- policy: no_host_network\n  path: agents/*\n  object: DaemonSet/agent\n  reason: reads the traffic\n";
        let contents = parse("x", text).unwrap();
        assert_eq!(contents.policies[0].0, PolicyId::NoLatestTag);
        assert_eq!(contents.fail_on.unwrap().0, FailOn::Error);
        let rule = &contents.suppressions[0];
        assert_eq!((rule.value.reason.0.0.as_str(), rule.referenced.line()), ("reads the traffic", 9));
        assert!(parse("x", "# nothing\n").unwrap().policies.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, expected) in [
            ("profile: rbac\nprogram: rm\n", ["x:2: ", "unknown field `program`"]),
            ("exclude: [a]\nunsafe: 'often'\n", ["x:2: ", "bool"]),
            ("policies:\n- no-such\n", ["x:2: ", "unknown policy; known are"]),
            ("fail_on: info\n", ["x:1: ", "known are error, warning, never"]),
            ("allow: [hope]\n", ["x:1: ", "the cautions are"]),
            ("exclude: ['a***']\n", ["x:1: ", "not a pattern"]),
            ("suppressions:\n- {policy: latest-tag, path: a}\n", ["x:2: ", "missing field `reason`"]),
            (
                "suppressions:\n- {policy: latest-tag, path: a, reason: ' '}\n",
                ["x:2: ", "a reason has words"],
            ),
            (
                "suppressions:\n- {policy: latest-tag, path: a, reason: b, object: c}\n",
                ["x:2: ", "KIND/NAME"],
            ),
            ("policies: [\n", ["x:", ""]),
            ("catalogue: full\nprofile: rbac\n", ["x: ", "leave one out"]),
        ] {
            let error = parse("x", text).unwrap_err();
            let error = format!("{error:#}");
            assert!(expected.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
    }
}
