//! A row of results as cells of the table.

use results::schema;

use crate::load::rows::{Gates, Present, Texts, rows};

rows! {
    pub(super) struct Row<'a> {
        run: &'a str = [schema::RUN_ID],
        record: &'a str = [schema::RECORD_ID],
        position: u64 = [schema::POSITION],
        document: Option<&'a str> = [schema::DOCUMENT_HASH],
        accepted: bool = [schema::ACCEPTED],
        status: &'a str = [schema::STATUS],
        policy: &'a str = [schema::POLICY_ID],
        kind: &'a str = [schema::KIND],
        namespace: &'a str = [schema::NAMESPACE],
        name: &'a str = [schema::NAME],
        gates: Gates = Gates::COLUMNS,
        fault: &'a str = [schema::FAULT],
        errors: Texts<'a> = [schema::ERRORS],
        manifest: &'a str = [schema::MANIFEST_PATH],
        patch: Present = [schema::PATCH],
        patch_ops: u32 = [schema::PATCH_OPS],
        total_ms: Option<f64> = [schema::TOTAL_MS],
        total_tokens: Option<u64> = [schema::TOTAL_TOKENS],
    }
}

impl Row<'_> {
    /// Cells of [`super::WORDS`] and [`super::NUMBERS`].
    pub(super) fn cells(&self) -> ([String; 10], [Option<f64>; 3]) {
        let words = [
            self.run,
            self.record,
            self.status,
            self.policy,
            self.kind,
            &self.object(),
            self.gates.first_failed(),
            self.fault,
            self.errors.first().unwrap_or_default(),
            self.manifest,
        ];
        (words.map(str::to_owned), self.numbers())
    }

    pub(super) fn object(&self) -> String {
        if self.namespace.is_empty() {
            self.name.to_owned()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }

    /// Operations, time and tokens.
    pub(super) fn numbers(&self) -> [Option<f64>; 3] {
        let operations = self.patch.0.then(|| f64::from(self.patch_ops));
        let tokens = self.total_tokens.map(|tokens| tokens as f64);
        [operations, self.total_ms, tokens]
    }
}
