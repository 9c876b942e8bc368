//! How the server reaches webhooks, of admission and of conversion.

use std::collections::BTreeSet;

use super::errors::Errors;
use super::node::Node;
use super::text;

/// `clientConfig`: a URL or a service.
pub(crate) fn client(errors: &mut Errors, config: &Node<'_, '_>) {
    let (url, service) = (config.get("url"), config.get("service"));
    if url.is_set() == service.is_set() {
        errors.required(config, "exactly one of url or service is required");
    } else if url.is_set() {
        check_url(errors, &url);
    } else {
        check_service(errors, &service);
    }
}

fn check_url(errors: &mut Errors, url: &Node<'_, '_>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let text = url.str();
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once(':').map_or(("", rest), |(scheme, after)| {
        if scheme.contains('/') { ("", rest) } else { (scheme, after) }
    });
    let authority = rest.strip_prefix("//").map_or("", |rest| rest.split('/').next().unwrap_or_default());
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if text.bytes().any(|byte| byte.is_ascii_control()) || host.contains(' ') {
        return errors.required(url, &format!("url must be a valid URL: parse error{FORM}"));
    }
    if !scheme.eq_ignore_ascii_case("https") {
        errors.invalid_text(url, scheme, &format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if host.is_empty() {
        errors.invalid_text(url, "", &format!("host must be specified{FORM}"));
    }
    for (part, problem) in [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ] {
        if !part.is_empty() {
            errors.invalid_text(url, part, problem);
        }
    }
}

fn check_service(errors: &mut Errors, service: &Node<'_, '_>) {
    // The server passes both the other way round.
    errors.needs(&service.get_as("namespace", "name"));
    errors.needs(&service.get_as("name", "namespace"));
    let port = service.get("port");
    if port.is_set() && !(1..=65_535).contains(&port.number()) {
        errors.invalid(&port, "port is not valid: must be between 1 and 65535, inclusive");
    }
    let path = service.get("path");
    let text = path.str();
    match text {
        "" | "/" => return,
        "//" => return errors.invalid(&path, "segment[0] may not be empty"),
        _ => {}
    }
    if !text.starts_with('/') {
        errors.invalid(&path, "must start with a '/'");
    }
    let mut chars = text.chars();
    chars.next();
    let steps = chars.as_str();
    let steps = steps.strip_suffix('/').unwrap_or(steps);
    for (index, step) in steps.split('/').enumerate() {
        if step.is_empty() {
            errors.invalid(&path, &format!("segment[{index}] may not be empty"));
            continue;
        }
        for message in text::subdomain(step) {
            errors.invalid(&path, &format!("segment[{index}]: {message}"));
        }
    }
}

/// Versions of reviews, one of which the server must know.
pub(crate) fn versions(errors: &mut Errors, versions: &Node<'_, '_>, known: &[&str], shown: &str) {
    let mut seen = BTreeSet::new();
    for version in versions.entries() {
        if seen.insert(version.str()) {
            errors.check(&version, text::label_1035);
        } else {
            errors.invalid(&version, "duplicate version");
        }
    }
    if !known.iter().any(|known| seen.contains(known)) {
        errors.invalid(versions, &format!("must include at least one of {shown}"));
    }
}
