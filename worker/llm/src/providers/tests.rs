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
    for (given, called) in [
        // A host alone has version 1.
        ("http://h:1", "http://h:1/v1/chat/completions"),
        ("http://h:1/", "http://h:1/v1/chat/completions"),
        (" http://h:1/v1\n", "http://h:1/v1/chat/completions"),
        ("http://h:1/v1/", "http://h:1/v1/chat/completions"),
        ("http://[::1]:8000", "http://[::1]:8000/v1/chat/completions"),
        ("https://api.x.ai", "https://api.x.ai/v1/chat/completions"),
        ("https://api.openai.com", "https://api.openai.com/v1/chat/completions"),
        ("https://api.mistral.ai/v1", "https://api.mistral.ai/v1/chat/completions"),
        ("https://api.deepseek.com", "https://api.deepseek.com/v1/chat/completions"),
        // An address of chat completions stays as it is.
        ("http://h:1/v1/chat/completions", "http://h:1/v1/chat/completions"),
        ("http://h:1/v1/chat/completions/", "http://h:1/v1/chat/completions"),
        ("http://h:1/chat/completions", "http://h:1/chat/completions"),
        ("http://h:1/v2/chat/completions", "http://h:1/v2/chat/completions"),
        ("http://h:1/v1beta/openai/chat/completions", "http://h:1/v1beta/openai/chat/completions"),
        ("https://api.perplexity.ai/chat/completions", "https://api.perplexity.ai/chat/completions"),
        ("https://api.z.ai/api/paas/v4/chat/completions", "https://api.z.ai/api/paas/v4/chat/completions"),
        // A base of any version gets it appended.
        ("http://h:1/v1beta/openai", "http://h:1/v1beta/openai/chat/completions"),
        ("http://h:1/api/paas/v4", "http://h:1/api/paas/v4/chat/completions"),
        ("http://h:1/compatible-mode/v1", "http://h:1/compatible-mode/v1/chat/completions"),
        ("http://h:1/openai/v1", "http://h:1/openai/v1/chat/completions"),
        ("http://h:1/gateway", "http://h:1/gateway/chat/completions"),
        // Providers by their host alone.
        (
            "https://generativelanguage.googleapis.com",
            "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
        ),
        (
            "https://generativelanguage.googleapis.com/v1beta/openai/",
            "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
        ),
        ("https://api.z.ai", "https://api.z.ai/api/paas/v4/chat/completions"),
        ("https://open.bigmodel.cn/", "https://open.bigmodel.cn/api/paas/v4/chat/completions"),
        ("https://API.Perplexity.ai", "https://API.Perplexity.ai/chat/completions"),
        ("https://openrouter.ai", "https://openrouter.ai/api/v1/chat/completions"),
        ("https://api.groq.com:443", "https://api.groq.com:443/openai/v1/chat/completions"),
        ("https://mine.openai.azure.com", "https://mine.openai.azure.com/openai/v1/chat/completions"),
        (
            "https://mine.openai.azure.com/openai/v1/",
            "https://mine.openai.azure.com/openai/v1/chat/completions",
        ),
        (
            "https://mine.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
            "https://mine.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
        ),
        (
            "https://mine.openai.azure.com/openai/deployments/d?api-version=2025-04-01-preview",
            "https://mine.openai.azure.com/openai/deployments/d/chat/completions?api-version=2025-04-01-preview",
        ),
        // A name that only looks like that of a provider.
        ("https://notapi.z.ai.example", "https://notapi.z.ai.example/v1/chat/completions"),
    ] {
        let providers = with(given, "");
        assert_eq!(providers.url(ProposerMode::Grok), called, "{given}");
        assert_eq!(providers.check(), Ok(()), "{given}");
        assert_eq!(with(called, "").url(ProposerMode::Grok), called, "completed once is completed");
    }
    assert_eq!(with("", "").url(ProposerMode::Grok), "");
    assert_eq!(Providers::default().url(ProposerMode::Rules), "");
}

#[test]
fn the_address_of_another_interface_is_refused() {
    for (endpoint, named) in [
        ("https://h/v1/completions", "not that of completions"),
        ("https://h/v1/responses/", "not that of responses"),
        ("https://h/v1/messages", "not that of messages"),
        ("https://h/v1/models", "not that of models"),
        ("https://h/v1/embeddings", "not that of embeddings"),
        ("https://h/v1/chat", "not that of chat"),
        ("https://h/v1beta/models/gemini-pro:generateContent", "not that of generateContent"),
        ("https://h/v1?key=hunter2", "no query but api-version"),
        ("https://h/v1?api-version=1&key=hunter2", "no query but api-version"),
        ("https://h/v1?api-version=", "no query but api-version"),
        ("https://h/v1#top", "no query but api-version"),
    ] {
        let error = with(endpoint, "").check().unwrap_err().to_string();
        assert!(error.contains(named) && error.contains("grok.endpoint"), "{endpoint}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

/// What a variable may hold, and what is said of it; `None`: it is a key.
#[test]
fn a_mistake_of_copying_is_named_and_the_key_is_not() {
    let variable = "MINE";
    for (held, said) in [
        ("hunter2", None),
        ("hunter2\n", None),
        ("hunter2\r\n", None),
        (" \thunter2 ", None),
        ("sk-hunter2_./+=~:", None),
        ("Bearerhunter2", None),
        ("\u{feff}hunter2", Some("byte order mark")),
        ("\u{feff} hunter2", Some("byte order mark")),
        ("\"hunter2\"", Some("quotes")),
        ("'hunter2'", Some("quotes")),
        ("hunter2\"", Some("quotes")),
        ("`hunter2`", Some("quotes")),
        ("\u{201c}hunter2\u{201d}", Some("quotes")),
        ("Bearer hunter2", Some("the word before the key")),
        ("bearer\thunter2", Some("the word before the key")),
        ("Token hunter2", Some("the word before the key")),
        ("Authorization: Bearer hunter2", Some("the word before the key")),
        ("MINE=hunter2", Some("its own name")),
        ("export MINE=hunter2", Some("its own name")),
        ("MINE: hunter2", Some("its own name")),
        ("sk-hunter2-xx", None),
        ("test", None),
        ("EMPTY", None),
        ("token-abc123", None),
        ("${MINE}", Some("a placeholder")),
        ("$MINE", Some("a placeholder")),
        ("$(cat key)", Some("a placeholder")),
        ("{{ .Values.key }}", Some("a placeholder")),
        ("<your-api-key>", Some("a placeholder")),
        ("<your api key>", Some("a placeholder")),
        ("[API key]", Some("a placeholder")),
        ("%MINE%", Some("a placeholder")),
        ("__API_KEY__", Some("a placeholder")),
        ("your-api-key", Some("a placeholder")),
        ("YOUR_API_KEY_HERE", Some("a placeholder")),
        ("sk-your-key-here", Some("a placeholder")),
        ("changeme", Some("a placeholder")),
        ("CHANGE_ME", Some("a placeholder")),
        ("replace-with-real-one", Some("a placeholder")),
        ("mine", Some("a placeholder")),
        ("xai-xxxxxxxxxxxx", Some("a placeholder")),
        ("sk-...", Some("a placeholder")),
        ("sk-\u{2026}", Some("a placeholder")),
        ("********", Some("a placeholder")),
        ("hun ter2", Some("a blank")),
        ("hun\u{a0}ter2", Some("a blank")),
        ("hunter2 # mine", Some("a blank")),
        ("hun\nter2", Some("a line break")),
        ("hunter2\r\nhunter3", Some("a line break")),
        ("h\u{fc}nter2", Some("characters that are not valid")),
        ("hunter2\u{200b}", Some("characters that are not valid")),
        ("hunter2\u{7f}", Some("characters that are not valid")),
        ("hunter\0", Some("characters that are not valid")),
    ] {
        let mut providers = with("http://127.0.0.1:1", variable);
        providers.grok.auth_scheme = if held.starts_with("Token") { "Token" } else { "Bearer" }.to_owned();
        let opened = providers.open(ProposerMode::Grok, |_| Some(held.to_owned()));
        match (opened, said) {
            (Ok(provider), None) => {
                let (_, value) = provider.auth.unwrap();
                let sent = format!("Bearer {}", held.trim());
                assert_eq!(value.expose().to_str().unwrap(), sent, "{held:?}");
            }
            (Err(error), Some(said)) => {
                let shown = format!("{error} {error:?}");
                for needed in [said, variable, "set it to the API key alone"] {
                    assert!(shown.contains(needed), "{held:?}: {shown}");
                }
                assert!(!shown.contains("unter"), "{shown}");
            }
            (opened, said) => panic!("{held:?}: {opened:?}, not {said:?}"),
        }
    }
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

#[test]
fn further_headers_are_of_the_machine_and_carry_no_key() {
    let with = |name: &str, value: &str| {
        let mut providers = Providers::default();
        providers.grok.extra_headers.insert(name.to_owned(), value.to_owned());
        providers.check().map_err(|error| error.to_string())
    };
    assert_eq!(with("OpenAI-Project", "proj-1"), Ok(()));
    for (name, value) in [
        ("Authorization", "Bearer x"),
        ("x-api-key", "k"),
        ("Host", "h"),
        ("x-grok-conv-id", "c"),
        ("bad name", "v"),
        ("a", "b\nc"),
    ] {
        let error = with(name, value).unwrap_err();
        assert!(error.starts_with("grok.extra_headers: "), "{error}");
    }
    let mut providers = Providers::default();
    providers.grok.extra_headers.insert("a".to_owned(), "b".to_owned());
    let destination = providers.destination(ProposerMode::Grok);
    assert_eq!(
        (destination.endpoint.as_str(), destination.headers.len()),
        ("https://api.x.ai/v1/chat/completions", 1)
    );
    assert_eq!(providers.destination(ProposerMode::Rules), Destination::default());
}
