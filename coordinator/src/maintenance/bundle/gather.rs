//! What a bundle of a run holds.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use domain::config::Limits;
use domain::ids::DocumentHash;
use domain::record::SourceDocument;
use results::corpus_copy::CorpusReader;
use results::layout::{CORPUS_FILE, RUN_FILE};
use results::run_file::RunFile;
use results::schema::FORMAT_VERSION;

use super::archive::Member;
use super::manifest::{Asked, CorpusNote, FORMAT, Manifest, Versions, names};
use crate::client::Reader;
use crate::embedded::holds_secrets;
use crate::llm_gateway::response_cache::Used;

/// Records that are read at a time.
const STRIDE: u64 = 1000;

/// A bundle before it is written.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The run, without the paths of the machine that made it.
    pub(crate) run: RunFile,
    /// The folder of its results.
    pub(crate) folder: PathBuf,
    /// Fingerprint of its outcomes.
    pub(crate) fingerprint: String,
    /// Its documents.
    pub(crate) corpus: CorpusNote,
    /// Where its model was asked.
    pub(crate) asked: Option<Asked>,
    /// The licence of the documents, where it is known.
    pub(crate) licence: Option<String>,
}

impl Draft {
    /// Every file of the archive in its order, the manifest first.
    pub(crate) fn members(&self, used: &Used) -> anyhow::Result<Vec<Member>> {
        let mut described = serde_json::to_vec_pretty(&self.run)?;
        described.push(b'\n');
        let mut members = vec![
            Member::bytes(names::README, self.readme()),
            Member::bytes(names::NOTICE, self.notice()),
            Member::bytes(RUN_FILE, described),
        ];
        let (answers, verdicts) = used.counts();
        if answers > 0 {
            let mut lines = Vec::new();
            used.export_answers(&mut lines)?;
            members.push(Member::bytes(names::ANSWERS, lines));
        }
        if verdicts > 0 {
            let mut lines = Vec::new();
            used.export_verdicts(&mut lines)?;
            members.push(Member::bytes(names::VERDICTS, lines));
        }
        for part in &self.run.parts {
            members.push(Member::file(&part.name, self.folder.join(&part.name)));
        }
        if self.corpus.included {
            members.push(Member::file(CORPUS_FILE, self.folder.join(CORPUS_FILE)));
        }
        let listed = members
            .iter()
            .map(|member| member.listed().with_context(|| format!("cannot read {} of the run", member.name)));
        let manifest = Manifest {
            format: FORMAT,
            run_id: self.run.run_id.clone(),
            records: self.run.records,
            fingerprint: self.fingerprint.clone(),
            versions: versions(&self.run),
            corpus: self.corpus.clone(),
            asked: self.asked.clone(),
            files: listed.collect::<anyhow::Result<_>>()?,
        };
        let mut text = serde_json::to_vec_pretty(&manifest)?;
        text.push(b'\n');
        members.insert(0, Member::bytes(names::MANIFEST, text));
        Ok(members)
    }

    fn readme(&self) -> String {
        let Self { run, fingerprint, .. } = self;
        let corpus = if self.corpus.included { "" } else { " --corpus PATH" };
        format!(
            "Run {} of k8s-auto-fix {}: {} records, fingerprint {fingerprint}.\n\
             Repeat it, without network: coordinator replay FILE{corpus} (exit code 0: same fingerprint; 1: it differs, and \
             where; 2: it cannot be replayed).\n\
             manifest.json lists every file with its hash, NOTICE says what may be done with them; outcomes are Parquet, \
             answers and verdicts a JSON object a line.\n",
            run.run_id, run.version, run.records
        )
    }

    fn notice(&self) -> String {
        let corpus = &self.corpus;
        let documents = match (corpus.included, corpus.with_secrets) {
            (false, _) => "The documents of the run are not in this bundle.".to_owned(),
            (true, 0) => {
                "corpus.parquet holds the documents of the run, whole. None was found to hold a secret."
                    .to_owned()
            }
            (true, count) => format!(
                "corpus.parquet holds the documents of the run, whole. {count} OF THEM HOLD WHAT COUNTS AS A SECRET: keep \
                 this bundle as you keep those."
            ),
        };
        let outcomes = if self.run.config.store_secrets {
            "Outcomes hold the secrets of the documents (store_secrets)."
        } else {
            "In outcomes, answers and verdicts secrets are masked."
        };
        let licence = match &self.licence {
            Some(licence) => format!("Licence of the documents: {licence}"),
            None => "Documents, and what outcomes and answers repeat of them, stay under the licences of their authors; this \
                     bundle grants none."
                .to_owned(),
        };
        let source =
            corpus.source.as_ref().map(|source| format!("Where to get them: {source}\n")).unwrap_or_default();
        format!(
            "{documents}\n{outcomes}\nDocuments: {}, hash {}.\n{source}{licence}\nThe program that made and replays the run: \
             {}.\n",
            corpus.name,
            corpus.hash,
            env!("CARGO_PKG_LICENSE"),
        )
    }
}

/// Versions of what decided the outcomes of a run.
fn versions(run: &RunFile) -> Versions {
    let server = run.judged_by.as_ref().map(|server| format!("{} {}", server.version(), server.flags()));
    Versions {
        program: run.version.clone(),
        bundled_by: env!("CARGO_PKG_VERSION").to_owned(),
        results_format: FORMAT_VERSION,
        kubernetes: run.config.verifier.kubernetes.to_string(),
        server: server.map(|server| server.trim().to_owned()).unwrap_or_default(),
        tools: run
            .rescanned_by
            .iter()
            .map(|(tool, version)| (tool.as_str().to_owned(), version.to_owned()))
            .collect(),
    }
}

/// How many documents of the run's copy of its corpus hold what counts as a secret, and how many there are. Blocks.
pub(crate) fn secret_documents(corpus: &Path, limits: &Limits) -> anyhow::Result<(u64, u64)> {
    let (mut seen, mut with_secrets) = (HashSet::new(), 0);
    each_slice(corpus, |_, documents| {
        for (hash, document) in documents {
            if seen.insert(hash) {
                with_secrets += u64::from(holds_secrets(&document.text, limits));
            }
        }
        Ok(())
    })?;
    Ok((with_secrets, seen.len() as u64))
}

/// Reads the run's copy of its corpus as a corpus; gives the number of its records.
pub(crate) fn corpus_reader(corpus: PathBuf) -> Reader<u64> {
    Box::new(move |each| {
        let mut count = 0;
        each_slice(&corpus, |records, documents| {
            for record in records {
                let document = documents.get(&record.document).cloned();
                let document = document.with_context(|| format!("record {} has no document", record.id))?;
                each(record, document)?;
                count += 1;
            }
            Ok(())
        })?;
        Ok(count)
    })
}

fn each_slice(
    corpus: &Path,
    mut each: impl FnMut(Vec<domain::record::Record>, HashMap<DocumentHash, SourceDocument>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let corpus = CorpusReader::open(corpus)?;
    let mut next = 0;
    while next < corpus.records() {
        let slice = corpus.slice(next, STRIDE)?;
        anyhow::ensure!(!slice.records.is_empty(), "the corpus ends before its last record");
        next += slice.records.len() as u64;
        let documents = slice.documents.into_iter().map(|document| (document.hash, document)).collect();
        each(slice.records, documents)?;
    }
    Ok(())
}
