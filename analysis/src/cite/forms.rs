//! A citation as tables, as text and as an entry of a bibliography.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cli_support::output::{Align, Table};
use serde_json::json;

use super::{Citation, Cost, Judgement, Proposer, Tokens};
use crate::render::latex::escape;
use crate::render::{Figures, interval, number, percent, shown, thousands};
use crate::stats::Proportion;

/// What a run does not say of itself.
const NOT_RECORDED: &str = "not recorded";
const NOT_MEASURED: &str = "not measured";

type Facts = Vec<(&'static str, String)>;

impl Citation {
    /// The facts by section.
    fn sections(&self) -> [(&'static str, Facts); 6] {
        [
            ("Records", self.of_records()),
            ("Proposer", self.proposer.facts(self.records.imported_from.is_some())),
            ("Judges", self.judged.facts()),
            ("Cost and tokens", self.cost.facts(&self.tokens)),
            ("Dates, work and versions", self.of_work()),
            (
                "Hashes",
                vec![
                    ("corpus", self.hashes.corpus.clone()),
                    ("configuration", self.hashes.configuration.clone()),
                    ("fingerprint of the outcomes", self.hashes.fingerprint.clone()),
                ],
            ),
        ]
    }

    fn of_records(&self) -> Facts {
        let of = &self.records;
        let mut facts = vec![
            ("n", format!("{} records of {} documents", thousands(of.n), thousands(of.documents))),
            ("accepted, of all", share(&of.accepted_of_all)),
            ("accepted, of those whose document was valid", share(&of.accepted_of_valid)),
            ("accepted, by source", names(&of.accepted_by_source, "none")),
            ("corpus", of.corpus.clone()),
        ];
        if of.read != of.n {
            facts.insert(1, ("with a result", format!("{}: the run is {}", thousands(of.read), self.state)));
        }
        if let Some(from) = &of.imported_from {
            let files = [Some(&from.detections), from.patches.as_ref(), from.verified.as_ref()];
            let files: Vec<&str> = files.into_iter().flatten().map(String::as_str).collect();
            facts.push(("imported from", files.join(", ")));
        }
        facts
    }

    fn of_work(&self) -> Facts {
        let (work, versions) = (&self.work, &self.versions);
        let date = |at: &Option<String>| at.clone().unwrap_or_else(|| NOT_RECORDED.to_owned());
        vec![
            ("planned", date(&self.planned)),
            ("finished", date(&self.finished)),
            ("workers", work.workers.map_or_else(|| NOT_RECORDED.to_owned(), |n| thousands(n.into()))),
            ("wall time, s", measured(work.wall_s)),
            ("CPU time, s", measured(work.cpu_s)),
            ("peak memory, MB", measured(work.peak_rss_mb)),
            ("program", format!("k8s-auto-fix {}", versions.program)),
            ("analysis", versions.analysis.to_owned()),
            ("format of run.json", versions.run_format.to_string()),
            ("format of the results", versions.results_format.to_string()),
            (
                "protocol",
                versions.protocol.map_or_else(|| NOT_RECORDED.to_owned(), |version| version.to_string()),
            ),
        ]
    }

    /// The facts as one table, and the citation as JSON.
    pub(crate) fn figures(&self) -> Figures {
        let mut table = Table::new([("fact", Align::Left), ("value", Align::Left)]);
        for (_, facts) in self.sections() {
            for (name, value) in facts {
                table.push([name.to_owned(), value]);
            }
        }
        let title = format!("Run {} (n = {} records)", self.run_id, thousands(self.records.n));
        Figures::new(json!(self)).with(title, table)
    }

    /// The facts for a terminal: a line each, values whole.
    pub(crate) fn text(&self) -> String {
        let sections = self.sections();
        let widths = sections.iter().flat_map(|(_, facts)| facts).map(|(name, _)| name.chars().count());
        let width = widths.max().unwrap_or(0);
        let mut text = format!("Run {} ({})\n", shown(&self.run_id), self.state);
        for (title, facts) in sections {
            let _ = writeln!(text, "\n{title}");
            for (name, value) in facts {
                let _ = writeln!(text, "  {name:<width$}  {}", shown(&value));
            }
        }
        text
    }
}

impl Proposer {
    fn facts(&self, is_imported: bool) -> Facts {
        let set = |value: Option<String>| value.unwrap_or_else(|| NOT_RECORDED.to_owned());
        let mut facts = vec![
            ("mode (rows)", names(&self.modes, NOT_RECORDED)),
            ("guardrails (rows)", names(&self.guardrails, NOT_RECORDED)),
        ];
        facts.extend(self.program.clone().map(|program| ("program", program)));
        let is_asked = !self.model_requested.is_empty();
        facts.push(("model requested (records)", names(&self.model_requested, self.no_model(is_imported))));
        facts.push((
            "model served (records)",
            if is_asked { self.served() } else { self.no_model(is_imported).to_owned() },
        ));
        if !is_asked && !self.models.is_empty() {
            facts.push(("model of the rows", names(&self.models, "none")));
        }
        facts.push(("attempts, at most", set(self.max_attempts.map(|n| n.to_string()))));
        if let Some(samples) = self.samples {
            facts.push(("samples", samples.to_string()));
            let temperature = self.temperature.map(|temperature| temperature.to_string());
            facts.push(("temperature", temperature.unwrap_or_else(|| "the provider's default".to_owned())));
        }
        facts.push(("seed", set(self.seed.map(|seed| seed.to_string()))));
        facts
    }

    fn no_model(&self, is_imported: bool) -> &'static str {
        if is_imported || !self.models.is_empty() { NOT_RECORDED } else { "none asked" }
    }

    fn served(&self) -> String {
        let undisclosed = (self.model_not_disclosed > 0)
            .then(|| format!("not disclosed ({})", thousands(self.model_not_disclosed)));
        let named = (!self.model_served.is_empty()).then(|| names(&self.model_served, ""));
        let parts: Vec<String> = named.into_iter().chain(undisclosed).collect();
        if parts.is_empty() { "no answer".to_owned() } else { parts.join(", ") }
    }
}

impl Judgement {
    fn facts(&self) -> Facts {
        let set = |value: Option<String>| value.unwrap_or_else(|| NOT_RECORDED.to_owned());
        let policies = self.policies.as_ref().zip(self.number_of_policies);
        let server = self.server.as_ref().map(|server| {
            let flags = if server.flags.is_empty() { String::new() } else { format!(" ({})", server.flags) };
            format!("kube-apiserver {}{flags}", server.version)
        });
        let scanners = self.scanners.to_string();
        vec![
            ("policies", set(policies.map(|(name, n)| format!("{name} ({n} policies)")))),
            ("gates", set(self.gates.clone())),
            ("schema gate", set(self.schema_depth.map(str::to_owned))),
            ("Kubernetes release of the embedded rules", set(self.kubernetes.clone())),
            ("API server", server.unwrap_or_else(|| "none asked".to_owned())),
            ("judged by (rows of valid documents)", names(&self.judged_by, NOT_RECORDED)),
            (
                "scanners besides the built-in one",
                if scanners.is_empty() { "none asked".to_owned() } else { scanners },
            ),
        ]
    }
}

impl Cost {
    fn facts(&self, tokens: &Tokens) -> Facts {
        let sum = |tokens: Option<u64>| tokens.map_or_else(|| NOT_MEASURED.to_owned(), thousands);
        let mut facts = vec![(
            "cost of the answers of the records, USD",
            self.usd.map_or_else(|| NOT_MEASURED.to_owned(), |usd| format!("{usd:.4}")),
        )];
        if tokens.rows > 0 {
            facts.push(("cost known from (rows)", names(&self.sources, NOT_RECORDED)));
            facts.push(("rows with tokens and without a cost", thousands(self.rows_without)));
        }
        facts.push(("calls without an answer", format!("{NOT_RECORDED} in results")));
        facts.push((
            "prices, USD per million tokens",
            self.prices.as_ref().map_or_else(
                || "none configured, or no model asked".to_owned(),
                |priced| {
                    let price = |price: Option<f64>| {
                        price.map_or_else(|| "not known".to_owned(), |usd| usd.to_string())
                    };
                    let of = &priced.price;
                    format!(
                        "{} prompt, {} cached, {} answer",
                        price(of.input),
                        price(of.cached_input),
                        price(of.output)
                    )
                },
            ),
        ));
        if let Some(priced) = &self.prices {
            let read = priced.read.as_ref().zip(priced.page.as_ref());
            let date = read.map(|(day, page)| format!("{day}, as listed by this program from {page}"));
            facts.push(("prices read on", date.unwrap_or_else(|| NOT_RECORDED.to_owned())));
        }
        facts.extend([
            ("tokens of prompts", sum(tokens.prompt)),
            ("tokens of answers", sum(tokens.completion)),
            ("tokens of reasoning", sum(tokens.reasoning)),
            ("tokens, all", sum(tokens.total)),
        ]);
        facts.extend(tokens.estimated.map(|estimated| ("of them estimated", thousands(estimated))));
        facts
    }
}

/// `name (count)` for each, or `none`.
fn names(counts: &BTreeMap<String, u64>, none: &str) -> String {
    if counts.is_empty() {
        return none.to_owned();
    }
    let name = |name: &str| if name.is_empty() { "(empty)".to_owned() } else { name.to_owned() };
    let named = counts.iter().map(|(of, count)| format!("{} ({})", name(of), thousands(*count)));
    named.collect::<Vec<_>>().join(", ")
}

fn share(of: &Proportion) -> String {
    if of.of == 0 {
        return NOT_MEASURED.to_owned();
    }
    let (count, all) = (thousands(of.count), thousands(of.of));
    format!("{} ({count} of {all}; 95 % interval {})", percent(of.rate), interval(of))
}

fn measured(value: Option<f64>) -> String {
    value.map_or_else(|| NOT_MEASURED.to_owned(), |value| number(Some(value)))
}

/// An entry for a bibliography, and a sentence that cites it.
pub(crate) fn bibtex(of: &Citation) -> String {
    let key: String =
        of.run_id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    let date = of.finished.as_deref().or(of.planned.as_deref()).unwrap_or_default();
    let mut parts = date.split('-');
    let (year, month) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let model = if of.proposer.model_requested.is_empty() {
        String::new()
    } else {
        let asked: Vec<&str> = of.proposer.model_requested.keys().map(String::as_str).collect();
        format!("; model {}, served: {}", asked.join(", "), of.proposer.served())
    };
    let note = format!(
        "n = {} records; mode {}{model}; corpus {}; configuration {}; fingerprint {}",
        thousands(of.records.n),
        of.proposer.modes.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        of.hashes.corpus,
        of.hashes.configuration,
        of.hashes.fingerprint
    );
    let mut text = format!("@misc{{k8s-auto-fix-{key},\n  key          = {{k8s-auto-fix}},\n");
    let mut raw = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<12} = {{{value}}},");
    };
    // Braces keep a style from changing the letters of names.
    let title =
        format!("Evaluation run {{{}}} of automatic repair of {{Kubernetes}} manifests", escape(&of.run_id));
    raw("title", &title);
    let mut field = |name: &str, value: &str| raw(name, &escape(value));
    field("howpublished", &format!("k8s-auto-fix {}", of.versions.program));
    for (name, value) in [("year", year), ("month", month)] {
        if !value.is_empty() {
            field(name, value);
        }
    }
    field("note", &note);
    text.push_str("}\n");
    let accepted = &of.records.accepted_of_all;
    let _ = writeln!(
        text,
        "\n% Of {} records, {} were accepted ({}; 95 \\% interval {})~\\cite{{k8s-auto-fix-{key}}}.",
        thousands(accepted.of),
        thousands(accepted.count),
        escape(&percent(accepted.rate)),
        escape(&interval(accepted))
    );
    text
}
