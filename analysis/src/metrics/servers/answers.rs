//! The answers of a server, row by row.

use domain::api_server::ServerClass;
use results::schema;

use crate::load::rows::{Later, Texts, rows};
use crate::load::{AnalysisError, Results};

/// The columns of an answer: class, and causes as JSON.
type Columns<'a> = (Option<&'a str>, Option<&'a str>);

/// A field, a reason and a message.
pub(crate) type Cause = [String; 3];

/// An answer about a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) class: String,
    pub(crate) causes: Vec<Cause>,
}

impl Answer {
    fn of((class, causes): Columns<'_>) -> Option<Self> {
        let causes = causes.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        Some(Self { class: class?.to_owned(), causes })
    }

    pub(crate) fn accepts(&self) -> bool {
        ServerClass::parse(&self.class).is_some_and(ServerClass::accepts)
    }
}

/// A record that a server was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) record: String,
    pub(crate) position: u64,
    pub(crate) policy: String,
    /// Hash of the document; empty without one.
    pub(crate) document: String,
    pub(crate) kind: String,
    pub(crate) version: String,
    /// Whether all gates accepted the repair.
    pub(crate) accepted: bool,
    pub(crate) before: Option<Answer>,
    pub(crate) after: Option<Answer>,
    pub(crate) warnings: Vec<String>,
    /// The operations of the repair, as JSON.
    pub(crate) patch: Option<String>,
    /// The repaired document; `None` unless accepted.
    pub(crate) patched: Option<String>,
}

rows! {
    struct Row<'a> {
        record: &'a str = [schema::RECORD_ID],
        position: u64 = [schema::POSITION],
        policy: &'a str = [schema::POLICY_ID],
        document: &'a str = [schema::DOCUMENT_HASH],
        kind: &'a str = [schema::KIND],
        accepted: bool = [schema::ACCEPTED],
        version: Later<Option<&'a str>> = [schema::SERVER_VERSION],
        class: Later<Option<&'a str>> = [schema::SERVER_CLASS],
        causes: Later<Option<&'a str>> = [schema::SERVER_CAUSES],
        warnings: Later<Option<Texts<'a>>> = [schema::SERVER_WARNINGS],
        before_class: Later<Option<&'a str>> = [schema::SERVER_BEFORE_CLASS],
        before_causes: Later<Option<&'a str>> = [schema::SERVER_BEFORE_CAUSES],
        patch: Option<&'a str> = [schema::PATCH],
        patched: Option<&'a str> = [schema::PATCHED_YAML],
    }
}

/// The rows of some results that a server was asked about, in the order of the corpus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// All rows.
    pub(crate) records: u64,
    pub(crate) asked: Vec<Asked>,
}

impl Judged {
    /// Fails if a record occurs twice. `texts`: whether the patches and repaired documents are wanted too.
    pub(crate) fn read(results: &Results, texts: bool) -> Result<Self, AnalysisError> {
        results.refuse_repeats()?;
        let mut judged = Self::default();
        results.each::<Row>(|row| {
            judged.records += 1;
            let Some(version) = row.version.0 else { return };
            let text = |text: Option<&str>| text.filter(|_| texts).map(str::to_owned);
            judged.asked.push(Asked {
                record: row.record.to_owned(),
                position: row.position,
                policy: row.policy.to_owned(),
                document: row.document.to_owned(),
                kind: row.kind.to_owned(),
                version: version.to_owned(),
                accepted: row.accepted,
                before: Answer::of((row.before_class.0, row.before_causes.0)),
                after: Answer::of((row.class.0, row.causes.0)),
                warnings: row.warnings.0.iter().flat_map(Texts::iter).map(str::to_owned).collect(),
                patch: text(row.patch),
                patched: text(row.patched),
            });
        })?;
        judged.asked.sort_by(|a, b| (a.position, &a.record).cmp(&(b.position, &b.record)));
        Ok(judged)
    }

    /// The versions of the servers that answered, in the order of their numbers.
    pub(crate) fn versions(&self) -> Vec<String> {
        let mut versions: Vec<String> = self.asked.iter().map(|asked| asked.version.clone()).collect();
        versions.sort_by(|a, b| (number(a), a).cmp(&(number(b), b)));
        versions.dedup();
        versions
    }
}

/// The numbers of a version, to sort by.
pub(super) fn number(version: &str) -> Vec<u64> {
    let digits = version.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    digits.map(|part| part.parse().unwrap_or(u64::MAX)).collect()
}
