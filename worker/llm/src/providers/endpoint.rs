//! The address of a provider as it was pasted: that of chat completions, or a base.

use reqwest::Url;

/// What every address of chat completions ends with.
const CHAT: &str = "/chat/completions";

/// The bases of providers whose host alone is no base of version 1: the host, or with a dot what it ends with, and the path.
const BASES: [(&str, &str); 9] = [
    ("generativelanguage.googleapis.com", "/v1beta/openai"),
    ("api.z.ai", "/api/paas/v4"),
    ("open.bigmodel.cn", "/api/paas/v4"),
    ("api.perplexity.ai", ""),
    ("openrouter.ai", "/api/v1"),
    ("api.groq.com", "/openai/v1"),
    ("api.fireworks.ai", "/inference/v1"),
    ("dashscope.aliyuncs.com", "/compatible-mode/v1"),
    (".openai.azure.com", "/openai/v1"),
];

/// Ends of addresses of other interfaces, which would be taken for a base.
const OTHERS: [&str; 8] =
    ["completions", "responses", "messages", "models", "embeddings", "generate", "chat", "api-keys"];

/// The address of chat completions. One that ends with it stays as it is; a base gets it appended, and a host alone the base
/// of its provider as well.
pub(super) fn completed(endpoint: &str) -> String {
    let given = endpoint.trim();
    let (base, query) = match given.split_once('?') {
        Some((base, query)) => (base, format!("?{query}")),
        None => (given, String::new()),
    };
    let base = base.trim_end_matches('/');
    if base.is_empty() {
        return String::new();
    }
    if base.ends_with(CHAT) {
        return format!("{base}{query}");
    }
    let (_, rest) = base.split_once("://").unwrap_or(("", base));
    if rest.contains(['/', '\\']) {
        return format!("{base}{CHAT}{query}");
    }
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let known =
        BASES.iter().find(|(name, _)| host == *name || (name.starts_with('.') && host.ends_with(name)));
    format!("{base}{}{CHAT}{query}", known.map_or("/v1", |(_, path)| path))
}

/// Whether a query names a version of the interface, and nothing else.
pub(super) fn is_version(query: &str) -> bool {
    let version = query.strip_prefix("api-version=");
    version.is_some_and(|version| {
        (1..=40).contains(&version.len())
            && version.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
    })
}

/// The end of an address that is that of another interface; `None`: it may be that of chat completions, or a base.
pub(super) fn other_api(given: &Url) -> Option<String> {
    let path = given.path().trim_end_matches('/');
    if path.ends_with(CHAT) {
        return None;
    }
    let (_, last) = path.rsplit_once('/')?;
    let is_call = last.contains(":generateContent") || last.contains(":streamGenerateContent");
    OTHERS
        .into_iter()
        .find(|other| last == *other)
        .or(is_call.then_some("generateContent"))
        .map(str::to_owned)
}
