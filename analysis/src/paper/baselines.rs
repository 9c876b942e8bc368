//! The paper's comparison of baselines: an outer join by policy of files about different slices.

use std::collections::BTreeMap;

use cli_support::output::{Align, Table};
use serde_json::{Map, Value, json};

use crate::load::files::{Csv, text, truth};
use crate::render::{latex, markdown};

/// Names of the columns in CSV, Markdown and LaTeX.
const COLUMNS: [(&str, &str, &str); 6] = [
    ("k8s", "k8s-auto-fix", "k8s-auto-fix"),
    ("kyverno", "Kyverno", "Kyverno"),
    ("polaris_cli", "Polaris CLI", "Polaris (CLI)"),
    ("polaris_webhook", "Polaris webhook", "Polaris (webhook)"),
    ("map", "MutatingAdmissionPolicy", "MAP"),
    ("llmsec", "LLMSecConfig slice", "LLMSecConfig"),
];

/// Counts of a policy, with the rate as given in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cell {
    accepted: u64,
    total: u64,
    rate: f64,
}

/// The joined table: one cell per policy and system.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Baselines {
    rows: BTreeMap<String, [Option<Cell>; 6]>,
}

/// The **second** map of policy ids in the paper's code, where `privilege-escalation-container` is `no_privileged`.
fn policy(raw: &str) -> String {
    match raw {
        "cap-sys-admin" => "drop_cap_sys_admin",
        "drop-net-raw-capability" => "drop_capabilities",
        "host-ports" => "no_host_ports",
        "hostpath-volume" => "no_host_path",
        "latest-tag" => "no_latest_tag",
        "no-read-only-root-fs" => "read_only_root_fs",
        "privilege-escalation-container" | "privileged-container" => "no_privileged",
        "run-as-non-root" => "run_as_non_root",
        "unset-cpu-requirements" | "unset-memory-requirements" => "set_requests_limits",
        other => return other.replace('-', "_"),
    }
    .to_owned()
}

impl Baselines {
    /// Adds the column of this system: all detections and accepted verdicts.
    pub(crate) fn add_ours(&mut self, detections: &[Value], verified: &[Value]) {
        let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for entry in detections {
            sums.entry(policy(text(entry, "policy_id").unwrap_or_default())).or_default().1 += 1;
        }
        for entry in verified.iter().filter(|entry| truth(entry, "accepted")) {
            sums.entry(policy(text(entry, "policy_id").unwrap_or_default())).or_default().0 += 1;
        }
        for (policy, (accepted, total)) in sums {
            let rate = if total == 0 { 0.0 } else { accepted as f64 / total as f64 };
            self.set(0, policy, Cell { accepted, total, rate });
        }
    }

    /// Adds the column of a baseline from CSV rows of policy, accepted, total, rate. The last row of a policy wins.
    /// `name` is one of `kyverno`, `polaris_cli`, `polaris_webhook`, `map`, `llmsec`.
    pub(crate) fn add(&mut self, name: &str, file: &Csv) -> Result<(), String> {
        let column = COLUMNS.iter().position(|(known, _, _)| *known == name).ok_or_else(|| {
            format!("unknown baseline {name:?}: kyverno, polaris_cli, polaris_webhook, map or llmsec")
        })?;
        for row in &file.rows {
            let [raw, accepted, total, rate, ..] = row.as_slice() else {
                return Err("a row has fewer than four columns".to_owned());
            };
            let count = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is not a count"));
            let rate = rate.parse().map_err(|_| format!("{rate:?} is not a rate"))?;
            self.set(column, policy(raw), Cell { accepted: count(accepted)?, total: count(total)?, rate });
        }
        Ok(())
    }

    fn set(&mut self, column: usize, policy: String, cell: Cell) {
        if let Some(slot) = self.rows.entry(policy).or_default().get_mut(column) {
            *slot = Some(cell);
        }
    }

    pub(crate) fn table(&self) -> Table {
        let columns = COLUMNS.iter().flat_map(|(name, _, _)| {
            ["accept", "total", "rate"].map(|figure| (format!("{name}_{figure}"), Align::Right))
        });
        let mut table = Table::new(std::iter::once(("policy_id".to_owned(), Align::Left)).chain(columns));
        for (policy, cells) in &self.rows {
            let cells = cells.iter().flat_map(|cell| match cell {
                Some(cell) => [cell.accepted.to_string(), cell.total.to_string(), format!("{:?}", cell.rate)],
                None => [const { String::new() }; 3],
            });
            table.push(std::iter::once(policy.clone()).chain(cells));
        }
        table
    }

    pub(crate) fn value(&self) -> Value {
        let cell = |cell: &Option<Cell>| {
            cell.map_or(
                Value::Null,
                |cell| json!({"accepted": cell.accepted, "total": cell.total, "rate": cell.rate}),
            )
        };
        let rows = self.rows.iter().map(|(policy, cells)| {
            let cells = COLUMNS.iter().zip(cells).map(|((name, _, _), of)| ((*name).to_owned(), cell(of)));
            (policy.clone(), Value::Object(cells.collect()))
        });
        Value::Object(rows.collect::<Map<_, _>>())
    }

    pub(crate) fn markdown(&self) -> String {
        let names: Vec<&str> = COLUMNS.iter().map(|(_, name, _)| *name).collect();
        let mut page = format!(
            "# Baseline Comparison (per-policy)\n\n| Policy | {} |\n\
             | ------ | ------------- | ------- | ----------- | --------------- | ---------------------- | ------------------ |\n",
            names.join(" | ")
        );
        for (policy, cells) in &self.rows {
            let cells = cells.iter().map(|cell| shown(cell.as_ref(), 2));
            markdown::row(&mut page, std::iter::once(policy.clone()).chain(cells));
        }
        page
    }

    pub(crate) fn latex(&self) -> String {
        let names: Vec<String> = COLUMNS.iter().map(|(_, _, name)| format!("\\textbf{{{name}}}")).collect();
        let mut page = format!(
            "\\begin{{tabularx}}{{\\textwidth}}{{@{{}}l *{{6}}{{>{{\\centering\\arraybackslash}}X}}@{{}}}}\n\\toprule\n\
             \\textbf{{Policy}} & {} \\\\\n\\midrule\n",
            names.join(" & ")
        );
        for (policy, cells) in &self.rows {
            let cells = cells.iter().map(|cell| shown(cell.as_ref(), 1));
            latex::row(
                &mut page,
                std::iter::once(policy.clone()).chain(cells).map(|cell| latex::escape(&cell)),
            );
        }
        page.push_str("\\bottomrule\n\\end{tabularx}\n");
        page
    }
}

fn shown(cell: Option<&Cell>, digits: usize) -> String {
    cell.map_or_else(
        || "n/a".to_owned(),
        |cell| format!("{}/{} ({:.digits$}%)", cell.accepted, cell.total, cell.rate * 100.0),
    )
}
