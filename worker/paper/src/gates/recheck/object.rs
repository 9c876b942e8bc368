//! Re-checks of policies on pod specs and on whole objects.

use serde_json::{Map, Value};

use crate::gates::walk::{self, map, maps};

type Fields = Map<String, Value>;

/// Host paths that the paper's policy gate tolerates.
const ALLOWED_PATHS: [&str; 3] =
    ["/var/run/secrets/kubernetes.io/serviceaccount", "/var/lib/kubelet/pods", "/etc/ssl/certs"];

fn each_pod(document: &Value, check: impl Fn(&Fields) -> Option<String>) -> Vec<String> {
    walk::pod_specs(document).into_iter().filter_map(check).collect()
}

fn spec(document: &Value) -> Option<&Fields> {
    document.get("spec").and_then(Value::as_object)
}

fn one(error: &str) -> Vec<String> {
    vec![error.to_owned()]
}

pub(super) fn host_path(document: &Value) -> Vec<String> {
    let specs = walk::specs(document, false);
    let volumes = specs.into_iter().flat_map(|spec| maps(spec, "volumes"));
    let error = |host: &Fields| match walk::text(host, "path") {
        None => Some("hostPath path missing or empty".to_owned()),
        Some(path) => (!ALLOWED_PATHS.contains(&path.trim_end_matches('/')))
            .then(|| format!("hostPath path '{path}' not in whitelist")),
    };
    volumes.filter_map(|volume| map(volume, "hostPath")).filter_map(error).collect()
}

pub(super) fn service(document: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    if !document.get("metadata").is_some_and(Value::is_object) {
        errors.push("service metadata missing after patch".to_owned());
    }
    if spec(document).is_none() {
        errors.push("service spec missing after patch".to_owned());
    }
    errors
}

pub(super) fn service_account(document: &Value) -> Vec<String> {
    if walk::pod_specs(document).is_empty() {
        return one("no pod specs located for service account check");
    }
    let name_of = |value: Option<&Value>| match value {
        Some(Value::Null) | None => None,
        Some(Value::String(text)) => (!text.is_empty()).then(|| text.clone()),
        Some(other) => Some(other.to_string()),
    };
    each_pod(document, |spec| {
        let account =
            name_of(spec.get("serviceAccountName")).or_else(|| name_of(spec.get("serviceAccount")))?;
        (account != "default").then(|| format!("serviceAccountName still references '{account}'"))
    })
}

pub(super) fn service_account_field(document: &Value) -> Vec<String> {
    each_pod(document, |spec| {
        spec.contains_key("serviceAccount").then(|| "serviceAccount field still present".to_owned())
    })
}

pub(super) fn sysctls(document: &Value) -> Vec<String> {
    each_pod(document, |spec| {
        let sysctls = map(spec, "securityContext")?.get("sysctls")?.as_array()?;
        (!sysctls.is_empty()).then(|| "securityContext.sysctls still present".to_owned())
    })
}

pub(super) fn disruption_budget(document: &Value) -> Vec<String> {
    match spec(document) {
        None => one("PDB spec missing after patch"),
        Some(spec) if walk::text(spec, "unhealthyPodEvictionPolicy").is_none() => {
            one("unhealthyPodEvictionPolicy not set")
        }
        Some(_) => Vec::new(),
    }
}

pub(super) fn job_ttl(document: &Value) -> Vec<String> {
    let ttl = spec(document).and_then(|spec| spec.get("ttlSecondsAfterFinished")).and_then(Value::as_i64);
    if ttl.is_some_and(|ttl| ttl > 0) {
        Vec::new()
    } else {
        one("ttlSecondsAfterFinished missing or non-positive")
    }
}

pub(super) fn anti_affinity(document: &Value) -> Vec<String> {
    each_pod(document, |spec| {
        let preferred = map(spec, "affinity")
            .and_then(|affinity| map(affinity, "podAntiAffinity"))
            .and_then(|rules| rules.get("preferredDuringSchedulingIgnoredDuringExecution"))
            .and_then(Value::as_array);
        let holds = preferred.is_some_and(|list| !list.is_empty());
        (!holds).then(|| "podAntiAffinity preferred rules missing".to_owned())
    })
}
