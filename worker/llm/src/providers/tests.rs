use super::*;

fn with(endpoint: &str, variable: &str) -> Providers {
    let grok = ProviderConfig {
        endpoint: endpoint.to_owned(),
        api_key_env: variable.to_owned(),
        ..ProviderConfig::default()
    };
    Providers { grok, ..Providers::default() }
}

fn open(endpoint: &str, variable: &str) -> Result<Provider, ProviderError> {
    with(endpoint, variable).open(ProposerMode::Grok, |_| Some("the-key".to_owned()))
}

#[test]
fn an_endpoint_may_be_short() {
    for short in ["http://h:1", "http://h:1/", " http://h:1/v1", "http://h:1/v1/chat/completions/"] {
        assert_eq!(with(short, "").url(ProposerMode::Grok), "http://h:1/v1/chat/completions", "{short}");
    }
    assert_eq!(with("", "").url(ProposerMode::Grok), "");
    assert_eq!(Providers::default().url(ProposerMode::Rules), "");
}

#[test]
fn the_shipped_providers_are_valid_and_their_keys_are_bound() {
    assert_eq!(Providers::default().check(), Ok(()));
    assert_eq!(Providers::bound_host("XAI_API_KEY").as_deref(), Some("api.x.ai"));
    assert_eq!(Providers::bound_host("OPENAI_API_KEY").as_deref(), Some("api.openai.com"));
    assert_eq!(Providers::bound_host("MINE"), None);
}

/// Where a key may go: (endpoint, variable, allowed).
const PLACES: &[(&str, &str, bool)] = &[
    // A key of one's own: anywhere over TLS, and to this machine.
    ("https://models.example/v1", "MINE", true),
    ("https://203.0.113.7", "MINE", true),
    ("http://localhost:8000", "MINE", true),
    ("http://LOCALHOST:8000", "MINE", true),
    ("http://127.0.0.1:8000", "MINE", true),
    ("http://127.9.9.9", "MINE", true),
    ("http://127.1", "MINE", true),
    ("http://0x7f000001", "MINE", true),
    ("http://[::1]:8000", "MINE", true),
    ("http://models.example", "MINE", false),
    ("http://203.0.113.7", "MINE", false),
    ("http://0.0.0.0:8000", "MINE", false),
    ("http://[::]:8000", "MINE", false),
    ("http://[::ffff:203.0.113.7]", "MINE", false),
    ("http://169.254.169.254", "MINE", false),
    ("http://10.0.0.1", "MINE", false),
    ("http://localhost.evil.example", "MINE", false),
    ("http://127.0.0.1.evil.example", "MINE", false),
    ("http://evil.example/127.0.0.1", "MINE", false),
    ("http://evil.example/localhost/v1", "MINE", false),
    ("http://evil.example:80\\@localhost", "MINE", false),
    ("http://evil.example\t.localhost", "MINE", false),
    ("http://localhost@evil.example", "MINE", false),
    ("http://user:pass@localhost", "MINE", false),
    ("HTTP://models.example", "MINE", false),
    // The key of a shipped provider: its own host alone, and this machine.
    ("https://api.x.ai", "XAI_API_KEY", true),
    ("https://API.X.AI./v1", "XAI_API_KEY", true),
    ("https://eu-west-1.api.x.ai/v1", "XAI_API_KEY", true),
    ("http://127.0.0.1:9", "XAI_API_KEY", true),
    ("http://api.x.ai", "XAI_API_KEY", false),
    ("https://api.openai.com", "XAI_API_KEY", false),
    ("https://models.example/api.x.ai", "XAI_API_KEY", false),
    ("https://evilapi.x.ai", "XAI_API_KEY", false),
    ("https://api.x.ai.evil.example", "XAI_API_KEY", false),
    ("https://api.x.ai@evil.example", "XAI_API_KEY", false),
    ("https://evil.example#api.x.ai", "XAI_API_KEY", false),
    ("https://evil.example?api.x.ai", "XAI_API_KEY", false),
    ("https://api.openai.com/v1", "OPENAI_API_KEY", true),
    ("https://openai.com/v1", "OPENAI_API_KEY", false),
    ("https://models.example/v1", "OPENAI_API_KEY", false),
    // Without a key there is nothing to keep.
    ("http://models.example", "", true),
    // What is no address.
    ("ftp://localhost", "MINE", false),
    ("file:///etc/passwd", "", false),
    ("localhost:8000", "", false),
    ("models.example/v1", "", false),
    ("https://", "", false),
    ("https://c/v1?key=1", "", false),
    ("https://localhost", "not a variable", false),
    ("https://localhost", "xai-abc", false),
];

#[test]
fn a_key_goes_to_its_own_host_over_tls_or_to_this_machine() {
    for (endpoint, variable, allowed) in PLACES {
        let checked = with(endpoint, variable).check();
        let opened = open(endpoint, variable);
        assert_eq!(opened.is_ok(), *allowed, "{endpoint} {variable}: {opened:?}");
        assert_eq!(checked.is_ok(), *allowed, "it is known before there is a key: {endpoint} {variable}");
    }
}

/// Whatever the text of an endpoint is: a key of which it is accepted that it is sent is sent over TLS or to this machine.
#[test]
fn no_text_of_an_endpoint_brings_a_key_elsewhere() {
    let pieces = [
        "http:",
        "https:",
        "//",
        "/",
        "\\",
        "@",
        ":",
        "?",
        "#",
        "%2f",
        "%40",
        ".",
        "..",
        "\t",
        "\n",
        " ",
        "user",
        "[::1]",
        "[::ffff:7f00:1]",
        "localhost",
        "127.0.0.1",
        "2130706433",
        "api.x.ai",
        "evil.example",
        "443",
        "80",
        "v1",
        "ⓛocalhost",
        "ａpi.x.ai",
        "\u{3002}",
        "\u{ad}",
    ];
    let mut random = fastrand::Rng::with_seed(7);
    let mut accepted = 0;
    for _ in 0..50_000 {
        let mut endpoint = ["http://", "https://", ""][random.usize(..3)].to_owned();
        for _ in 0..random.usize(1..8) {
            endpoint.push_str(pieces[random.usize(..pieces.len())]);
        }
        let variable = ["MINE", "XAI_API_KEY"][random.usize(..2)];
        let Ok(provider) = open(&endpoint, variable) else { continue };
        accepted += 1;
        // The URL as the client sends it, read again from its text.
        let url = Url::parse(provider.url.as_str()).unwrap();
        let host = url.host_str().unwrap();
        let here = ["localhost", "[::1]"].contains(&host)
            || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
        assert!(here || url.scheme() == "https", "{endpoint:?} → {url}");
        let own = format!(".{}", host.trim_end_matches('.')).ends_with(".api.x.ai");
        assert!(here || variable == "MINE" || own, "{endpoint:?} → {url}");
        assert!(url.username().is_empty() && url.password().is_none() && url.query().is_none(), "{url}");
    }
    assert!(accepted > 200, "only {accepted} were accepted: the test tests little");
}

#[test]
fn a_refusal_names_the_setting_and_the_remedy_and_no_password() {
    let text = |endpoint: &str, variable: &str| open(endpoint, variable).unwrap_err().to_string();
    let plain = text("http://models.example", "MINE");
    for needed in ["grok.endpoint", "MINE", "models.example", "https://", "grok.api_key_env"] {
        assert!(plain.contains(needed), "{plain}");
    }
    let bound = text("https://models.example", "XAI_API_KEY");
    for needed in ["grok.endpoint", "XAI_API_KEY", "api.x.ai", "models.example", "grok.api_key_env"] {
        assert!(bound.contains(needed), "{bound}");
    }
    assert!(!text("https://user:hunter2@models.example", "MINE").contains("hunter2"));
    assert!(!text("https://models.example?key=hunter2", "MINE").contains("hunter2"));
}

#[test]
fn without_its_key_or_its_endpoint_a_provider_is_not_called() {
    let providers = with("http://127.0.0.1:1", "MINE");
    let no_key = providers.open(ProposerMode::Grok, |_| None).unwrap_err();
    assert_eq!(no_key, ProviderError::NoKey { provider: "grok", variable: "MINE".to_owned() });
    assert!(providers.open(ProposerMode::Grok, |_| Some("  ".to_owned())).is_err());
    let broken = providers.open(ProposerMode::Grok, |_| Some("a\nb".to_owned())).unwrap_err();
    assert!(!broken.to_string().contains("a\nb"), "{broken}");
    let missing = with("", "MINE");
    assert_eq!(missing.check(), Ok(()), "a machine may lack a provider");
    let error = missing.open(ProposerMode::Grok, |_| Some("k".to_owned())).unwrap_err().to_string();
    assert!(error.contains("no provider grok") && error.contains("grok.endpoint"), "{error}");
    assert!(Providers::default().open(ProposerMode::Rules, |_| None).is_err());
    let open = with("http://127.0.0.1:1", "").open(ProposerMode::Grok, |_| None).unwrap();
    assert!(open.auth.is_none());
}

#[test]
fn a_provider_shows_no_key() {
    let provider = open("https://models.example", "MINE").unwrap();
    assert!(!format!("{provider:?}").contains("the-key"));
    assert!(!provider.sends_key_in_plain_text());
    assert!(open("http://localhost", "MINE").unwrap().sends_key_in_plain_text());
    assert!(!open("http://localhost", "").unwrap().sends_key_in_plain_text());
}
