//! `no_latest_tag`: every image carries a fixed tag.
//!
//! # What it checks
//! The `image` of every container (kube-linter `latest-tag`): neither `latest` for a tag nor no tag at all. An image
//! pinned by a digest is fixed, whatever tag stands before the digest.
//!
//! # Why
//! What `latest` or no tag names changes without notice: two pods of one Deployment may run different code, and a
//! rollback rolls nothing back (Kubernetes documentation, *Images*).
//!
//! # Repair
//! The image that the config maps it to (`rules.images`, first the image as written, then without its tag); otherwise
//! the config's default tag, with the caution `tag_unverified`. Where no `imagePullPolicy` is written, the API server sets
//! `Always` for `latest` and `IfNotPresent` for any other tag: the repair writes none, since a fixed tag is meant to stay
//! what it is, and says so with the caution `pull_policy_relaxed`. Where a kustomization names the image in its `images`, it
//! gives the tag, and a person sets it there. No image is ever invented: where there is none, or what
//! stands there is no image reference, a person must say which one to run.
//!
//! # Example
//! ```yaml
//! image: registry:5000/web:latest  # before
//! image: registry:5000/web:stable  # after
//! ```

use domain::config::RulesConfig;
use domain::image::ImageParts;
use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use domain::record::Neighbour;
use serde_json::{Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::{Scope, Site, To, may};
use super::security::checked;
use crate::edit::Editor;
use crate::k8s::{Container, View};

pub(super) struct NoLatestTag;

const CHECK: Check = Check {
    id: "latest-tag",
    severity: Severity::Warning,
    remedy: "Name the version of the image, or pin its digest.",
};

/// The image as written; empty when there is none.
fn image<'a>(container: &Container<'a>) -> &'a str {
    container.fields.get("image").and_then(Value::as_str).unwrap_or_default()
}

/// Whether the image matches kube-linter's block list: `.*:(latest)$`, `^[^:]*$` or `(.*/[^:]+)$`.
fn is_blocked(image: &str) -> bool {
    let tail = image.rsplit(':').next().unwrap_or_default();
    let after_slash = tail.split_once('/').is_some_and(|(_, rest)| !rest.is_empty());
    image.ends_with(":latest") || !image.contains(':') || after_slash
}

/// Whether the text can be an image without tag and digest: components of lower-case letters and digits, before them
/// perhaps a registry (the grammar of the distribution project's `reference` package). `ko://x` and `IMAGE` are none.
fn is_name(text: &str) -> bool {
    let mut components = text.split('/').peekable();
    let registry = components
        .next_if(|first| text.contains('/') && (first.contains(['.', ':']) || *first == "localhost"));
    let of_host = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    let legal = |component: &str| {
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        component.starts_with(edge)
            && component.ends_with(edge)
            && component.chars().all(|c| edge(c) || "._-".contains(c))
    };
    registry.is_none_or(|host| host.chars().all(of_host)) && components.all(legal)
}

/// Words that stand for an image which something else fills in.
const STAND_INS: [&str; 10] = [
    "changeme",
    "fixme",
    "imagename",
    "myimage",
    "placeholder",
    "replaceme",
    "tbd",
    "todo",
    "yourapp",
    "yourimage",
];

/// Whether a component of the name is a stand-in, however its words are joined.
fn is_stand_in(name: &str) -> bool {
    name.split('/').any(|component| {
        let joined: String = component.chars().filter(char::is_ascii_alphanumeric).collect();
        STAND_INS.contains(&joined.as_str()) || component.contains("placeholder")
    })
}

/// The image to run instead, and whether the config names it; or why a person must choose.
fn replacement(container: &Container<'_>, rules: &RulesConfig) -> Result<(String, bool), String> {
    let written = image(container);
    let trimmed = written.trim();
    let ImageParts { name, digest, .. } = ImageParts::of(trimmed);
    let who = quoted(container.name);
    if trimmed.is_empty() {
        return Err(format!("container {who} has no image: name the image that it must run"));
    }
    let mapped = [written, trimmed, name].into_iter().find_map(|key| rules.images.get(key));
    if mapped.is_none() && (!is_name(name) || digest.is_some() || is_stand_in(name)) {
        return Err(format!(
            "the image {} of container {who} is no image reference: render the template, or name the image",
            quoted(written)
        ));
    }
    let new = mapped.cloned().unwrap_or_else(|| format!("{name}:{}", rules.default_tag));
    if is_blocked(&new) {
        return Err(format!(
            "the configuration gives {} for the image {}: name one with a fixed tag",
            quoted(&new),
            quoted(written)
        ));
    }
    Ok((new, mapped.is_some()))
}

/// Why a person must set the tag elsewhere: a kustomization replaces a blocked image when it is built.
pub(crate) fn set_by_kustomization(view: &View<'_>) -> Option<String> {
    let blocked = view.containers.iter().filter(|container| is_blocked(image(container)));
    blocked.into_iter().find_map(|container| {
        view.neighbours.objects().iter().find_map(|neighbour| match neighbour {
            Neighbour::ImageOverride { kustomization, image: named } if is_named(image(container), named) => {
                Some(format!(
                    "the tag of the image {} of container {} is set by images of {}: set a fixed one there",
                    quoted(image(container)),
                    quoted(container.name),
                    quoted(kustomization)
                ))
            }
            _ => None,
        })
    })
}

/// The kustomization that replaces the image of the container with the node at `pointer`, when the manifests are built.
pub fn image_replaced_by<'v>(view: &View<'v>, pointer: &Pointer) -> Option<&'v str> {
    let is_of = |container: &&Container<'_>| pointer.as_str().starts_with(container.pointer.as_str());
    let container = view.containers.iter().filter(is_of).max_by_key(|of| of.pointer.as_str().len())?;
    view.neighbours.objects().iter().find_map(|neighbour| match neighbour {
        Neighbour::ImageOverride { kustomization, image: named } if is_named(image(container), named) => {
            Some(kustomization.as_str())
        }
        _ => None,
    })
}

/// Whether an entry of `images` means an image: by its name, or as it is written.
fn is_named(image: &str, named: &str) -> bool {
    let image = image.trim();
    !image.is_empty() && (named == image || named == ImageParts::of(image).name)
}

/// Whether nodes that have the image asked for a newer one so far, because of the tag alone, and do no longer. A digest names
/// one image for ever, so that nothing newer is missed.
fn relaxes_pull_policy(container: &Container<'_>, new: &str) -> bool {
    let policy = container.fields.get("imagePullPolicy").filter(|policy| !policy.is_null());
    let [old, new] = [image(container), new].map(ImageParts::of);
    policy.is_none_or(|policy| policy == "")
        && is_name(old.name)
        && old.is_always_pulled()
        && !new.is_always_pulled()
        && new.digest.is_none()
}

const SCOPE: Scope = Scope {
    containers: |_, container, _| is_blocked(image(container)),
    may: &[may(
        "{container}/image",
        &[To::If(
            "the same image with a fixed tag or a digest, or the image that the configuration names for it",
            is_fixed,
        )],
    )],
    companion: None,
};

fn is_fixed(site: &Site<'_, '_>) -> bool {
    let was = site.change.was.and_then(Value::as_str).unwrap_or_default().trim();
    let mapped = |is: &str| {
        [was, ImageParts::of(was).name]
            .iter()
            .any(|key| site.rules.images.get(*key).is_some_and(|image| image == is))
    };
    let same =
        |is: &str| !is_blocked(is) && ImageParts::of(was).repository() == ImageParts::of(is).repository();
    site.text().is_some_and(|is| same(is) || mapped(is))
}

impl Policy for NoLatestTag {
    fn id(&self) -> PolicyId {
        PolicyId::NoLatestTag
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let blocked = view.containers.iter().filter(|container| is_blocked(image(container)));
        blocked
            .map(|container| Finding {
                policy: self.id(),
                check: CHECK.id,
                message: format!(
                    "The container {} is using an invalid container image, {}. Please use images that are not blocked \
                     by the `BlockList` criteria : [\".*:(latest)$\" \"^[^:]*$\" \"(.*/[^:]+)$\"]",
                    quoted(container.name),
                    quoted(image(container))
                ),
                pointer: view.nearest(container.pointer.child("image")),
            })
            .collect()
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        if let Some(reason) = set_by_kustomization(view) {
            return Fix::NeedsReview { reason };
        }
        let mut editor = Editor::new(view.value);
        let mut cautions = Vec::new();
        for container in view.containers.iter().filter(|container| is_blocked(image(container))) {
            let (new, is_mapped) = match replacement(container, rules) {
                Ok(found) => found,
                Err(reason) => return Fix::NeedsReview { reason },
            };
            if !is_mapped {
                cautions.push(Caution::TagUnverified);
            }
            if relaxes_pull_policy(container, &new) {
                cautions.push(Caution::PullPolicyRelaxed);
            }
            editor.set(&container.pointer.child("image"), json!(new));
        }
        checked(self, view, rules, editor, cautions)
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages, review_of};

    fn pod(image: &str) -> crate::document::Document {
        document(&format!("kind: Pod\nspec: {{containers: [{{name: a, image: {image}}}]}}"))
    }

    fn fixed(image: &str) -> Value {
        fix_of(&NoLatestTag, &pod(image))
    }

    #[test]
    fn fixtures() {
        fixture_holds(&NoLatestTag);
    }

    #[test]
    fn a_pull_policy_that_follows_from_the_tag_is_said() {
        let mut rules = RulesConfig::default();
        rules.images.insert("pinned".into(), "pinned@sha256:0123".into());
        for (container, is_said) in [
            ("image: app", true),
            ("image: 'app:latest'", true),
            ("image: app, imagePullPolicy: null", true),
            ("image: app, imagePullPolicy: ''", true),
            ("image: app, imagePullPolicy: Always", false),
            ("image: 'app:latest', imagePullPolicy: IfNotPresent", false),
            ("image: app, imagePullPolicy: Never", false),
            ("image: pinned", false),
        ] {
            let document = document(&format!("kind: Pod\nspec: {{containers: [{{name: a, {container}}}]}}"));
            let view = View::new(&document, &Neighbours::Unknown);
            let Fix::Repair { patch, cautions, .. } = NoLatestTag.fix(&view, &rules) else { panic!() };
            assert_eq!(cautions.contains(&Caution::PullPolicyRelaxed), is_said, "{container}");
            assert_eq!(patch.len(), 1, "the image alone changes: {container}");
        }
    }

    #[test]
    fn the_block_list_is_kube_linters() {
        for image in
            ["", "x", "x:latest", "r/x", "r:5000/x", "r:5000/x:latest", "a/b/", ":latest", "x/y", "a:b/c"]
        {
            assert!(is_blocked(image), "{image}");
        }
        let digest = "x@sha256:0123";
        for image in ["x:1", "r:5000/x:1", "x:", "x:latest1", digest, "x:latest@sha256:0123", "r/x:1"] {
            assert!(!is_blocked(image), "{image}");
        }
    }

    #[test]
    fn the_message_is_kube_linters() {
        assert_eq!(
            messages(&NoLatestTag, &pod("nginx:latest")),
            [
                "The container \"a\" is using an invalid container image, \"nginx:latest\". Please use images that are \
                 not blocked by the `BlockList` criteria : [\".*:(latest)$\" \"^[^:]*$\" \"(.*/[^:]+)$\"]"
            ]
        );
    }

    #[test]
    fn the_tag_alone_changes() {
        for (image, new) in [
            ("reg:5000/x:latest", "reg:5000/x:stable"),
            ("reg:5000/y", "reg:5000/y:stable"),
            ("nginx", "nginx:stable"),
            ("' nginx:latest'", "nginx:stable"),
            ("a.b/c/d", "a.b/c/d:stable"),
            ("Registry.Example.com/c__d/e-f.g", "Registry.Example.com/c__d/e-f.g:stable"),
            ("localhost/app", "localhost/app:stable"),
            ("'[::1]:5000/app'", "[::1]:5000/app:stable"),
        ] {
            let expected = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": new}]);
            assert_eq!(fixed(image), expected, "{image}");
        }
    }

    #[test]
    fn every_kind_of_container_is_repaired() {
        let document = document(
            "kind: Pod\nspec: {containers: [{image: x}, {image: 'y:1'}], initContainers: [{image: x:latest}], ephemeralContainers: [{image: z}]}",
        );
        let paths: Vec<Value> =
            fix_of(&NoLatestTag, &document).as_array().unwrap().iter().map(|op| op["path"].clone()).collect();
        assert_eq!(
            paths,
            ["/spec/containers/0/image", "/spec/initContainers/0/image", "/spec/ephemeralContainers/0/image"]
        );
    }

    #[test]
    fn an_image_is_never_invented() {
        for image in [
            "null",
            "''",
            "'  '",
            "5",
            "$IMAGE",
            "'{{ .Values.image }}'",
            "FILLED BY THE OPERATOR",
            "':latest'",
            "x/",
            "ko://example.com/cmd/app",
            "IMAGE_PLACEHOLDER",
            "CHANGEME",
            "changeme",
            "change-me:latest",
            "REPLACE_ME/app",
            "replace-me/app:latest",
            "registry.example.com/your-image",
            "registry.example.com/App",
            "'%%IMAGE%%'",
            "<your-image>",
            "'@image@'",
            "registry.example.com//app",
            "app-",
        ] {
            let reason = review_of(&NoLatestTag, &pod(image), &Neighbours::Unknown);
            assert!(reason.contains("name the image"), "{image}: {reason}");
        }
        let found = messages(&NoLatestTag, &document("kind: Pod\nspec: {containers: [{name: a}]}"));
        assert!(found[0].contains(r#"container image, """#));
    }

    #[test]
    fn a_digest_is_a_fixed_image() {
        for image in ["x@sha256:00", "x:latest@sha256:00"] {
            let document = pod(image);
            let view = View::new(&document, &Neighbours::Unknown);
            let fix = NoLatestTag.fix(&view, &RulesConfig::default());
            assert!(matches!(fix, Fix::NotApplicable { .. }), "{image}");
        }
    }

    #[test]
    fn an_image_of_a_kustomization_is_set_there() {
        let named = |image: &str| {
            let kustomization = "manager/kustomization.yaml".to_owned();
            Neighbours::Known(vec![Neighbour::ImageOverride { kustomization, image: image.to_owned() }])
        };
        for (image, entry) in [
            ("controller:latest", "controller"),
            ("controller", "controller"),
            ("'r.example.com:5000/a/b:latest'", "r.example.com:5000/a/b"),
            ("IMAGE_PLACEHOLDER", "IMAGE_PLACEHOLDER"),
            ("controller:latest", "controller:latest"),
        ] {
            let reason = review_of(&NoLatestTag, &pod(image), &named(entry));
            assert!(reason.contains("images of \"manager/kustomization.yaml\": set"), "{image}: {reason}");
        }
        for entry in ["control", "x/controller", ""] {
            let document = pod("controller:latest");
            let neighbours = named(entry);
            let fix = NoLatestTag.fix(&View::new(&document, &neighbours), &RulesConfig::default());
            assert!(matches!(fix, Fix::Repair { .. }), "{entry}");
        }
    }

    #[test]
    fn the_config_decides() {
        let document = document(
            "kind: Pod\nspec: {containers: [{image: nginx:latest}, {image: 'r:5/app'}, {image: redis}]}",
        );
        let mut rules = RulesConfig::default();
        rules.images.insert("nginx".into(), "nginx:0".into());
        rules.images.insert("nginx:latest".into(), "nginx:1.29".into());
        rules.images.insert("r:5/app".into(), "r:5/app@sha256:0123".into());
        let view = View::new(&document, &Neighbours::Unknown);
        let Fix::Repair { patch, cautions, .. } = NoLatestTag.fix(&view, &rules) else { panic!() };
        let values: Vec<Value> = serde_json::to_value(&patch)
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .map(|op| op["value"].clone())
            .collect();
        assert_eq!(values, ["nginx:1.29", "r:5/app@sha256:0123", "redis:stable"]);
        assert_eq!(cautions, [Caution::TagUnverified, Caution::PullPolicyRelaxed]);

        rules.images.insert("redis".into(), "valkey:latest".into());
        let Fix::NeedsReview { reason } = NoLatestTag.fix(&view, &rules) else { panic!() };
        assert!(reason.contains("valkey:latest"), "{reason}");
    }

    #[test]
    fn a_mapped_image_needs_no_caution_and_may_replace_what_is_no_reference() {
        let document = pod("$IMAGE");
        let mut rules = RulesConfig::default();
        rules.images.insert("$IMAGE".into(), "app:1".into());
        let view = View::new(&document, &Neighbours::Unknown);
        let Fix::Repair { cautions, .. } = NoLatestTag.fix(&view, &rules) else { panic!() };
        assert!(cautions.is_empty());
    }
}
