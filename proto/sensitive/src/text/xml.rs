//! Secrets in XML: the text of an element, the value of an attribute, and pairs of a name and a value in either.

use std::ops::Range;

use crate::names;

/// Longest tag that is looked at.
const LONGEST: usize = 4096;

/// Adds the secrets of the elements of a text. Attributes that are named like secrets are found as pairs.
pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    // The name that an element `<name>…</name>` gave to the `<value>` behind it.
    let mut named: Option<&str> = None;
    let mut from = 0;
    while let Some(open) = text.get(from..).and_then(|rest| rest.find('<')).map(|at| from + at) {
        let rest = text.get(open + 1..).unwrap_or_default();
        from = open + 1;
        let Some(close) = rest.bytes().take(LONGEST).position(|byte| byte == b'>') else { continue };
        let tag = rest.get(..close).unwrap_or_default();
        if !tag.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            continue;
        }
        from = open + 1 + close + 1;
        let element = tag.split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or_default();
        let name_of = |range: &Range<usize>| tag.get(range.clone());
        let attributes = attributes(tag);
        let attribute = |wanted: &[&str]| {
            attributes
                .iter()
                .find(|(name, _)| wanted.iter().any(|one| name.eq_ignore_ascii_case(one)))
                .map(|(_, range)| range)
        };
        let key = attribute(&["name", "key", "id", "property"]).and_then(name_of);
        if let (Some(key), Some(value)) = (key, attribute(&["value", "val", "content"]))
            && name_of(value).is_some_and(|text| names::is_secret(key, text))
        {
            found.push(open + 1 + value.start..open + 1 + value.end);
        }
        if tag.ends_with('/') {
            continue;
        }
        let after = text.get(from..).unwrap_or_default();
        let content = inner(after);
        let (start, content) = (from + content.start, after.get(content).unwrap_or_default());
        let by_sibling = element.eq_ignore_ascii_case("value").then_some(named).flatten();
        if [Some(element), key, by_sibling].into_iter().flatten().any(|name| names::is_secret(name, content))
        {
            found.push(start..start + content.len());
        }
        from = start + content.len();
        match element {
            "name" | "key" | "Name" | "Key" => named = Some(content),
            "value" | "property" => named = if element == "value" { None } else { named },
            _ => {}
        }
    }
}

/// The text behind a tag up to the next one, without white space around it; that of a CDATA section.
fn inner(after: &str) -> Range<usize> {
    const CDATA: &str = "<![CDATA[";
    let lead = after.len() - after.trim_start().len();
    if after.get(lead..).is_some_and(|rest| rest.starts_with(CDATA)) {
        let start = lead + CDATA.len();
        let end = after.get(start..).and_then(|rest| rest.find("]]>")).map_or(after.len(), |end| start + end);
        return start..end;
    }
    let end = after.find('<').unwrap_or(0);
    let text = after.get(..end).unwrap_or_default().trim_end();
    lead.min(text.len())..text.len()
}

/// The attributes of a tag with the places of their values in it.
fn attributes(tag: &str) -> Vec<(&str, Range<usize>)> {
    let mut attributes = Vec::new();
    let mut at = 0;
    while let Some(equals) = tag.get(at..).and_then(|rest| rest.find('=')).map(|equals| at + equals) {
        let before = tag.get(at..equals).unwrap_or_default().trim_end();
        let name = before.rsplit(|c: char| c.is_whitespace() || "\"'".contains(c)).next().unwrap_or_default();
        let after = tag.get(equals + 1..).unwrap_or_default();
        let lead = after.len() - after.trim_start().len();
        let Some(quote) = after.trim_start().chars().next().filter(|c| "\"'".contains(*c)) else {
            at = equals + 1;
            continue;
        };
        let start = equals + 1 + lead + 1;
        let end = tag.get(start..).and_then(|rest| rest.find(quote)).map_or(tag.len(), |end| start + end);
        attributes.push((name, start..end));
        at = (end + 1).min(tag.len());
    }
    attributes
}
