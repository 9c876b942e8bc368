//! `worker policies`: lists the policies. `worker explain POLICY`: says what one checks, why, and how it is repaired.

use clap::ValueEnum;
use cli_support::{Exit, output};
use domain::policy::PolicyId;
use domain::policy::references::References;
use engine::policies::{Policy, Severity, explanation, policy as implementation};
use serde_json::{Value, json};

use super::catalogue::CatalogueArgs;
use super::detect::policy;

/// Output format of policies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    #[default]
    Text,
    /// One JSON value
    Json,
}

/// Arguments of `worker policies`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    wanted: CatalogueArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Form,
}

/// Arguments of `worker explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// Its id, or the id that a scanner gives it
    #[arg(value_name = "POLICY", value_parser = policy)]
    policy: PolicyId,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Form,
}

/// Lists every policy, or those of a catalogue or profile.
pub fn list(args: &ListArgs) -> anyhow::Result<Exit> {
    let ids = args.wanted.policies().unwrap_or(PolicyId::ALL);
    if args.output == Form::Json {
        output::print(&output::json(&ids.iter().map(|id| summary(*id)).collect()))?;
        return Ok(Exit::Fine);
    }
    let longest = ids.iter().map(|id| id.as_str().len()).max().unwrap_or(0);
    for id in ids {
        let policy = implementation(*id);
        let (severity, repair) = (severity(policy), if is_repaired(policy) { "repaired" } else { "review" });
        output::print(&format!("{:longest$}  {severity:7}  {repair:8}  {}\n", id.as_str(), id.title()))?;
    }
    output::say("`worker explain POLICY` says more of one");
    Ok(Exit::Fine)
}

/// Explains one policy.
pub fn explain(args: &ExplainArgs) -> anyhow::Result<Exit> {
    let id = args.policy;
    let policy = implementation(id);
    if args.output == Form::Json {
        output::print(&output::json(&explained(id)))?;
        return Ok(Exit::Fine);
    }
    output::print(&format!("{id}: {}\n\n", explanation(id).replace("### ", "")))?;
    let checks: Vec<&str> = policy.checks().iter().map(|check| check.id).collect();
    let References { kube_linter, pod_security, cis, nsa } = id.references();
    for (name, ids) in [
        ("Checks", checks.as_slice()),
        ("Also called", id.aliases()),
        ("kube-linter", kube_linter),
        ("Pod Security Standards", pod_security),
        ("CIS Kubernetes Benchmark 1.9", cis),
        ("NSA and CISA hardening guide 1.2", nsa),
    ] {
        if !ids.is_empty() {
            output::print(&format!("{name}: {}\n", ids.join(", ")))?;
        }
    }
    Ok(Exit::Fine)
}

/// The explanation of a policy as JSON.
pub(super) fn explained(id: PolicyId) -> Value {
    let policy = implementation(id);
    let mut value = summary(id);
    value["may_change"] = policy
        .scope()
        .may
        .iter()
        .map(|may| json!({"place": may.at, "to": may.to.iter().map(ToString::to_string).collect::<Vec<_>>()}))
        .collect();
    value["companion"] = json!(policy.scope().companion.map(|companion| companion.words));
    value["explanation"] = json!(explanation(id));
    value
}

fn is_repaired(policy: &dyn Policy) -> bool {
    !policy.scope().may.is_empty() || policy.scope().companion.is_some()
}

/// The most serious of its checks.
fn severity(policy: &dyn Policy) -> &'static str {
    let is_error = policy.checks().iter().any(|check| check.severity == Severity::Error);
    if is_error { "error" } else { "warning" }
}

fn summary(id: PolicyId) -> Value {
    let policy = implementation(id);
    let References { kube_linter, pod_security, cis, nsa } = id.references();
    let catalogue = if PolicyId::PAPER.contains(&id) { "paper" } else { "full" };
    let checks: Vec<Value> =
        policy.checks().iter().map(|check| json!({"id": check.id, "remedy": check.remedy})).collect();
    json!({
        "id": id.as_str(),
        "title": id.title(),
        "severity": severity(policy),
        "catalogue": catalogue,
        "is_repaired": is_repaired(policy),
        "aliases": id.aliases(),
        "checks": checks,
        "references": {"kube_linter": kube_linter, "pod_security": pod_security, "cis": cis, "nsa": nsa},
    })
}
