//! The images of a manifest, as found by the paper's code.

use serde_json::Value;

/// The images of `spec.containers`, and below `spec.template`, of the first document; none if it is not valid YAML. As
/// in the paper's code, init containers and `CronJob`s are ignored.
pub(crate) fn images(manifest: &str) -> Vec<String> {
    let first: Option<Value> = serde_saphyr::from_str(first_document(manifest)).ok();
    let mut found = vec![];
    let mut object = first.as_ref();
    while let Some(spec) = object.and_then(|object| object.get("spec")) {
        let containers = spec.get("containers").and_then(Value::as_array).into_iter().flatten();
        found.extend(containers.filter_map(|container| container.get("image")?.as_str().map(str::to_owned)));
        object = spec.get("template");
    }
    found
}

fn first_document(manifest: &str) -> &str {
    let body = manifest.strip_prefix("---\n").unwrap_or(manifest);
    body.split("\n---").next().unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_of_pods_and_templates() {
        assert_eq!(images("spec: {containers: [{image: a}, {image: b}, {}]}"), ["a", "b"]);
        assert_eq!(
            images("---\nspec:\n  template:\n    spec:\n      containers:\n      - image: c\n---\nx: 1\n"),
            ["c"]
        );
        assert!(images("spec: {initContainers: [{image: a}]}").is_empty());
        assert!(images(": : :").is_empty() && images("").is_empty());
    }
}
