//! Config maps and secrets.

use serde_json::Value;

use super::errors::Errors;
use super::meta::{self, Naming};
use super::node::Node;
use super::text;

const MAX_BYTES: usize = 1 << 20;

/// A `ConfigMap`.
pub(crate) fn config_map(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN);
    let (data, binary) = (object.get("data"), object.get("binaryData"));
    let mut size = 0;
    for (key, value) in data.pairs() {
        errors.check_text(&value, key, text::config_key);
        if binary.fields().is_some_and(|fields| fields.contains_key(key)) {
            errors.invalid_text(&value, key, "duplicate of key present in binaryData");
        }
        size += value.str().len();
    }
    for (key, value) in binary.pairs() {
        errors.check_text(&value, key, text::config_key);
        size += decoded_length(value.str());
    }
    if size > MAX_BYTES {
        // The server names no field.
        errors.too_long(&object.key(""), MAX_BYTES);
    }
}

/// How many bytes base64 stands for.
fn decoded_length(text: &str) -> usize {
    text.bytes().filter(|byte| !b"=\r\n".contains(byte)).count() * 3 / 4
}

/// A value of a secret as it will be stored: text wins over base64.
fn stored(object: &Node<'_, '_>, key: &str) -> Option<Vec<u8>> {
    let (plain, encoded) = (object.get("stringData"), object.get("data"));
    if plain.fields().is_some_and(|fields| fields.contains_key(key)) {
        return Some(plain.key(key).str().as_bytes().to_vec());
    }
    let has_key = encoded.fields().is_some_and(|fields| fields.contains_key(key));
    has_key.then(|| decode(encoded.key(key).str()))
}

/// Decodes base64 that is known to be right.
fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = (bits << 6) | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(((bits >> count) & 0xff) as u8);
        }
    }
    bytes
}

/// A Secret.
pub(crate) fn secret(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN);
    let (data, plain) = (object.get("data"), object.get("stringData"));
    let mut size = 0;
    for (key, value) in plain.pairs() {
        errors.check_text(&data.key(key), key, text::config_key);
        size += value.str().len();
    }
    let is_plain = |key: &str| plain.fields().is_some_and(|fields| fields.contains_key(key));
    for (key, value) in data.pairs().filter(|(key, _)| !is_plain(key)) {
        errors.check_text(&value, key, text::config_key);
        size += decoded_length(value.str());
    }
    if size > MAX_BYTES {
        errors.too_long(&data, MAX_BYTES);
    }
    of_type(errors, object, &data);
}

fn of_type(errors: &mut Errors, object: &Node<'_, '_>, data: &Node<'_, '_>) {
    let lacks = |key: &str| stored(object, key).is_none();
    match object.get("type").str() {
        "kubernetes.io/service-account-token" => {
            let metadata = object.get("metadata");
            let annotations = metadata.get("annotations");
            errors.needs(&annotations.key("kubernetes.io/service-account.name"));
        }
        "kubernetes.io/dockercfg" => docker(errors, object, &data.key(".dockercfg"), ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => {
            docker(errors, object, &data.key(".dockerconfigjson"), ".dockerconfigjson");
        }
        "kubernetes.io/basic-auth" if lacks("username") && lacks("password") => {
            errors.required(&data.key("username"), "");
            errors.required(&data.key("password"), "");
        }
        "kubernetes.io/ssh-auth" if stored(object, "ssh-privatekey").is_none_or(|key| key.is_empty()) => {
            errors.required(&data.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if lacks(key) {
                    errors.required(&data.key(key), "");
                }
            }
        }
        _ => {}
    }
}

fn docker(errors: &mut Errors, object: &Node<'_, '_>, at: &Node<'_, '_>, key: &str) {
    match stored(object, key) {
        None => errors.required(at, ""),
        Some(bytes) => {
            let is_object = matches!(serde_json::from_slice(&bytes), Ok(Value::Object(_) | Value::Null));
            if !is_object {
                errors.invalid_text(at, "<secret contents redacted>", "is not a JSON object");
            }
        }
    }
}
