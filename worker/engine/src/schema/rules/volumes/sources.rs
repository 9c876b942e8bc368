//! What each source of a volume must say.

use super::super::errors::Errors;
use super::super::node::Node;
use super::super::text;
use crate::k8s::quantity::Quantity;

pub(super) const ISCSI_TOO_LONG: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
                                         iscsi.initiatorName is specified.";
const MORE_THAN_ONE: &str = "may not specify more than 1 volume type";

/// One field of a volume that holds a source.
pub(super) struct Source {
    field: &'static str,
    forbidden_as: &'static str,
    checked_as: &'static str,
    check: fn(&mut Errors, &Node<'_, '_>),
}

impl Source {
    pub(super) const fn new(field: &'static str, check: fn(&mut Errors, &Node<'_, '_>)) -> Self {
        Self { field, forbidden_as: field, checked_as: field, check }
    }

    pub(super) const fn forbidden_as(self, forbidden_as: &'static str) -> Self {
        Self { forbidden_as, ..self }
    }

    pub(super) const fn checked_as(self, checked_as: &'static str) -> Self {
        Self { checked_as, ..self }
    }

    pub(super) fn is_field(&self, field: &str) -> bool {
        self.field == field
    }

    /// Checks the source if it is there and the first; whether it is there.
    pub(super) fn check(&self, errors: &mut Errors, volume: &Node<'_, '_>, is_taken: bool) -> bool {
        let is_set = volume.get(self.field).is_set();
        if is_set && is_taken {
            errors.forbidden(&volume.get(self.forbidden_as), MORE_THAN_ONE);
        } else if is_set {
            (self.check)(errors, &volume.get_as(self.checked_as, self.field));
        }
        is_set
    }
}

fn needs_all(errors: &mut Errors, source: &Node<'_, '_>, fields: &[&str]) {
    for field in fields {
        errors.needs(&source.get(field));
    }
}

/// The permission bits of a file.
pub(super) fn file_mode(errors: &mut Errors, mode: &Node<'_, '_>) {
    if mode.int().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        errors.invalid(mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

pub(super) fn empty_dir(errors: &mut Errors, empty: &Node<'_, '_>) {
    let limit = empty.get("sizeLimit");
    if limit.value().and_then(Quantity::of).is_some_and(Quantity::is_negative) {
        errors.forbidden(&limit, "SizeLimit field must be a valid resource quantity");
    }
}

pub(super) fn host_path(errors: &mut Errors, source: &Node<'_, '_>) {
    if errors.needs(&source.get("path")) {
        errors.check(&source.get("path"), text::no_backsteps);
        errors.one_of(
            &source.get("type"),
            &[
                "",
                "BlockDevice",
                "CharDevice",
                "Directory",
                "DirectoryOrCreate",
                "File",
                "FileOrCreate",
                "Socket",
            ],
        );
    }
}

pub(super) fn git_repo(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs(&source.get("repository"));
    errors.check(&source.get("directory"), text::descending_path);
}

pub(super) fn gce_disk(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs(&source.get("pdName"));
    partition(errors, source);
}

pub(super) fn aws_disk(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs(&source.get("volumeID"));
    partition(errors, source);
}

fn partition(errors: &mut Errors, source: &Node<'_, '_>) {
    let partition = source.get("partition");
    if !(0..=255).contains(&partition.number()) {
        errors.invalid(&partition, "must be between 1 and 255, inclusive");
    }
}

pub(super) fn secret(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs(&source.get("secretName"));
    files(errors, source);
}

pub(super) fn config_map(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs(&source.get("name"));
    files(errors, source);
}

fn files(errors: &mut Errors, source: &Node<'_, '_>) {
    file_mode(errors, &source.get("defaultMode"));
    for item in source.get("items").entries() {
        key_to_path(errors, &item);
    }
}

/// A key and the file that holds its value.
pub(super) fn key_to_path(errors: &mut Errors, item: &Node<'_, '_>) {
    errors.needs(&item.get("key"));
    errors.needs(&item.get("path"));
    errors.check(&item.get("path"), text::unreserved_path);
    file_mode(errors, &item.get("mode"));
}

pub(super) fn claim(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs(&source.get("claimName"));
}

pub(super) fn nfs(errors: &mut Errors, source: &Node<'_, '_>) {
    needs_all(errors, source, &["server", "path"]);
    let path = source.get("path");
    if !path.str().starts_with('/') {
        errors.invalid_text(&path, path.str(), "must be an absolute path");
    }
}

pub(super) fn iscsi(errors: &mut Errors, source: &Node<'_, '_>) {
    needs_all(errors, source, &["targetPortal", "iqn"]);
    let iqn = source.get("iqn");
    if !iqn.is_empty() && !is_iscsi_name(iqn.str()) {
        errors.invalid(&iqn, "must be valid format");
    }
    errors.in_range(&source.get("lun"), 0, 255);
    let has_chap = source.get("chapAuthDiscovery").is_true() || source.get("chapAuthSession").is_true();
    if has_chap && !source.get("secretRef").is_set() {
        errors.required(&source.get("secretRef"), "");
    }
    let initiator = source.get_as("initiatorname", "initiatorName");
    if initiator.text().is_some_and(|name| !is_iscsi_name(name)) {
        errors.invalid(&initiator, "must be valid format");
    }
}

/// `iqn.YYYY-MM.domain:name`, `eui.` or `naa.` and that many letters or digits.
fn is_iscsi_name(text: &str) -> bool {
    let are_digits = |text: Option<&str>, count| {
        text.is_some_and(|text| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_rest = |rest: Option<&str>, count: usize| {
        rest.is_some_and(|rest| {
            rest.char_indices().nth(1).map(|(at, _)| &rest[at..]).is_some_and(|rest| {
                rest.len() == count && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
            })
        })
    };
    let is_iqn = |rest: &str| {
        let (date, rest) = (rest.get(..7), rest.get(7..).and_then(|rest| rest.strip_prefix('.')));
        let date = date.and_then(|date| date.split_once('-'));
        let Some((domain, name)) = rest.and_then(|rest| rest.split_once(':')) else { return false };
        date.is_some_and(|(year, month)| are_digits(Some(year), 4) && are_digits(Some(month), 2))
            && !domain.is_empty()
            && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
            && !name.is_empty()
            && !name.contains([',', ';', '*', '&', '$', '|'])
            && !name.contains(|c: char| c.is_ascii_whitespace())
    };
    if let Some(rest) = text.strip_prefix("iqn") {
        rest.strip_prefix('.').is_some_and(is_iqn)
    } else {
        is_rest(text.strip_prefix("eui"), 16) || is_rest(text.strip_prefix("naa"), 32)
    }
}

pub(super) fn glusterfs(errors: &mut Errors, source: &Node<'_, '_>) {
    needs_all(errors, source, &["endpoints", "path"]);
}

pub(super) fn flocker(errors: &mut Errors, source: &Node<'_, '_>) {
    let (name, uuid) = (source.get("datasetName"), source.get("datasetUUID"));
    if name.is_empty() && uuid.is_empty() {
        errors.required(source, "one of datasetName and datasetUUID is required");
    }
    if !name.is_empty() && !uuid.is_empty() {
        errors.invalid_text(
            source,
            "resource",
            "datasetName and datasetUUID can not be specified simultaneously",
        );
    }
    if name.str().contains('/') {
        errors.invalid(&name, "must not contain '/'");
    }
}

pub(super) fn rbd(errors: &mut Errors, source: &Node<'_, '_>) {
    needs_all(errors, source, &["monitors", "image"]);
}

pub(super) fn cinder(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs(&source.get("volumeID"));
    secret_name(errors, source);
}

fn secret_name(errors: &mut Errors, source: &Node<'_, '_>) {
    let secret = source.get("secretRef");
    if secret.is_set() {
        errors.needs(&secret.get("name"));
    }
}

pub(super) fn cephfs(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs(&source.get("monitors"));
}

pub(super) fn quobyte(errors: &mut Errors, source: &Node<'_, '_>) {
    const FORM: &str = "must be a host:port pair or multiple pairs separated by commas";
    let (registry, tenant) = (source.get("registry"), source.get("tenant"));
    if registry.is_empty() {
        errors.required(&registry, FORM);
    } else if tenant.str().len() >= 65 {
        errors.required(&tenant, "must be a UUID and may not exceed a length of 64 characters");
    } else {
        for pair in registry.str().split(',') {
            let is_pair = pair.rsplit_once(':').is_some_and(|(host, _)| {
                host.strip_prefix('[')
                    .map_or_else(|| !host.contains([':', '[', ']']), |host| host.ends_with(']'))
            });
            if !is_pair {
                errors.invalid(&registry, FORM);
            }
        }
    }
    errors.needs(&source.get("volume"));
}

pub(super) fn fibre_channel(errors: &mut Errors, source: &Node<'_, '_>) {
    let (names, ids, lun) = (source.get("targetWWNs"), source.get("wwids"), source.get("lun"));
    if names.is_empty() && ids.is_empty() {
        errors.required(&names, "must specify either targetWWNs or wwids, but not both");
    }
    if !names.is_empty() && !ids.is_empty() {
        errors.invalid(&names, "targetWWNs and wwids can not be specified simultaneously");
    }
    if !names.is_empty() {
        if lun.is_set() {
            errors.in_range(&lun, 0, 255);
        } else {
            errors.required(&lun, "lun is required if targetWWNs is specified");
        }
    }
}

pub(super) fn flex(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs(&source.get("driver"));
    for (key, option) in source.get("options").pairs() {
        let namespace = format!(".{}", key.split('/').next().unwrap_or_default().to_lowercase());
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            errors.invalid_text(&option, key, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

pub(super) fn azure_file(errors: &mut Errors, source: &Node<'_, '_>) {
    needs_all(errors, source, &["secretName", "shareName"]);
}

pub(super) fn azure_disk(errors: &mut Errors, source: &Node<'_, '_>) {
    let uri = source.get("diskURI");
    needs_all(errors, source, &["diskName", "diskURI"]);
    errors.one_of(&source.get("cachingMode"), &["None", "ReadOnly", "ReadWrite"]);
    errors.one_of(&source.get("kind"), &["Dedicated", "Managed", "Shared"]);
    match source.get("kind").str_or("Shared") {
        "Managed" if !uri.str().starts_with("/subscriptions/") => {
            errors.unsupported_text(
                &uri,
                uri.str(),
                &[
                    "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
                ],
            );
        }
        "Managed" => {}
        _ if !uri.str().starts_with("https://") => {
            errors.unsupported_text(
                &uri,
                uri.str(),
                &["https://{account-name}.blob.windows.net/{container-name}/{disk-name}.vhd"],
            );
        }
        _ => {}
    }
}

pub(super) fn vsphere(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs(&source.get("volumePath"));
}

pub(super) fn photon(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs(&source.get("pdID"));
}

pub(super) fn portworx(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs(&source.get("volumeID"));
}

pub(super) fn scale_io(errors: &mut Errors, source: &Node<'_, '_>) {
    needs_all(errors, source, &["gateway", "system", "volumeName"]);
}

pub(super) fn storage_os(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs_checked(&source.get("volumeName"), text::label);
    errors.check_if_any(&source.get("volumeNamespace"), text::label);
    secret_name(errors, source);
}

pub(super) fn csi(errors: &mut Errors, source: &Node<'_, '_>) {
    csi_driver(errors, &source.get("driver"));
    let secret = source.get("nodePublishSecretRef");
    let name = secret.get("name");
    if secret.is_set() && errors.needs(&name) {
        errors.check_text(&source.get("name"), name.str(), text::subdomain);
    }
}

/// The name of a CSI driver.
pub(super) fn csi_driver(errors: &mut Errors, driver: &Node<'_, '_>) {
    if errors.needs(driver) {
        errors.at_most_bytes(driver, 63);
        errors.check(driver, text::subdomain_any_case);
    }
}

pub(super) fn image(errors: &mut Errors, source: &Node<'_, '_>) {
    errors.needs(&source.get("reference"));
    errors.one_of_or_default(&source.get("pullPolicy"), &["Always", "IfNotPresent", "Never"]);
}
