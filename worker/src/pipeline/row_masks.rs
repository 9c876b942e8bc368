//! Masks the secrets of a record's document in what its row holds of it.

use std::sync::OnceLock;

use domain::api_server::{ServerAnswer, ServerCause};
use domain::config::{ProposerMode, RunConfig};
use domain::outcome::{GateResult, Gates, Proposal};
use domain::patch::Patch;
use engine::document::{Document, Identity};
use sensitive::Masks;
use serde_json::Value;

/// The masks of a document, computed when a row first needs them.
#[derive(Debug, Default)]
pub(super) struct DocumentMasks(OnceLock<Masks>);

impl DocumentMasks {
    fn of(&self, document: &Document) -> &Masks {
        self.0.get_or_init(|| Masks::of(&document.value, usize::MAX).0)
    }

    /// The identity of the document for a row.
    pub(super) fn identity(&self, document: &Document, config: &RunConfig) -> Identity {
        let identity = document.identity.clone();
        if config.store_secrets {
            return identity;
        }
        let masks = self.of(document);
        if masks.is_empty() {
            return identity;
        }
        let (namespace, name) = (masks.scrub_name(&identity.namespace), masks.scrub_name(&identity.name));
        Identity { namespace, name, ..identity }
    }
}

/// Masks the parts of one row, in the order in which they are handed in.
pub(super) struct RowMasks<'d> {
    document: &'d Document,
    /// `None`: the row is kept as it is.
    masks: Option<Masks>,
}

impl<'d> RowMasks<'d> {
    /// For a proposal of `source`. The rules add nothing of their own that could be a secret, so a row of theirs has
    /// none where the document has none; a companion is looked at all the same.
    pub(super) fn new(
        document: &'d Document,
        known: &DocumentMasks,
        config: &RunConfig,
        source: ProposerMode,
        companions: bool,
    ) -> Self {
        if config.store_secrets {
            return Self { document, masks: None };
        }
        let known = known.of(document);
        let by_rules = source == ProposerMode::Rules && !companions;
        Self { document, masks: (!known.is_empty() || !by_rules).then(|| known.clone()) }
    }

    /// A version of the document.
    pub(super) fn value(&mut self, mut value: Value) -> Value {
        if let Some(masks) = &mut self.masks {
            masks.mask(&mut value);
        }
        value
    }

    pub(super) fn proposal(&mut self, mut proposal: Proposal) -> Proposal {
        let Some(masks) = &mut self.masks else { return proposal };
        for companion in &mut proposal.companions {
            masks.mask(companion);
        }
        // A patch is JSON by its own type: both ways cannot fail.
        let mut patch = serde_json::to_value(&proposal.patch).unwrap_or_default();
        masks.mask_patch(&mut patch, &self.document.value);
        proposal.patch = serde_json::from_value::<Patch>(patch).unwrap_or_default();
        proposal
    }

    pub(super) fn texts(&self, texts: Vec<String>) -> Vec<String> {
        match &self.masks {
            Some(masks) => texts.iter().map(|text| masks.scrub(text)).collect(),
            None => texts,
        }
    }

    /// An answer of an API server, which repeats values.
    pub(super) fn answer(&self, answer: ServerAnswer) -> ServerAnswer {
        let Some(masks) = &self.masks else { return answer };
        let cause = |cause: ServerCause| ServerCause {
            field: masks.scrub(&cause.field),
            message: masks.scrub(&cause.message),
            ..cause
        };
        ServerAnswer { causes: answer.causes.into_iter().map(cause).collect(), ..answer }
    }

    pub(super) fn gates(&self, gates: Gates) -> Gates {
        let gate = |gate: GateResult| GateResult { errors: self.texts(gate.errors), ..gate };
        Gates {
            apply: gate(gates.apply),
            policy: gate(gates.policy),
            safety: gate(gates.safety),
            schema_before: gate(gates.schema_before),
            schema: gate(gates.schema),
            rescan: gate(gates.rescan),
        }
    }
}
