//! Documents that each hold one secret, for tests: names × containers × formats × vendors, drawn from a seed.

mod formats;
mod vendors;

use base64::Engine as _;
use serde_json::{Value, json};

/// A document with a secret.
#[derive(Debug, Clone)]
pub struct Shape {
    /// What it is, for a message.
    pub label: String,
    /// The document.
    pub document: Value,
    /// What must not be shown: the secret as it is, and as the document writes it.
    pub secrets: Vec<String>,
    /// Whether its place, its name or the language around it tells that it is a secret; else only its own shape does.
    pub structured: bool,
}

impl Shape {
    /// Whether a text shows the secret.
    pub fn is_shown(&self, text: &str) -> bool {
        self.secrets.iter().any(|secret| text.contains(secret.as_str()))
    }
}

/// `SplitMix64`: equal seeds give equal documents on every machine.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Numbers of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[expect(clippy::cast_possible_truncation, reason = "it is less than `most`")]
    fn below(&mut self, most: usize) -> usize {
        (self.next() % most as u64) as usize
    }

    /// A text of `length` characters of `alphabet`, which must not be empty.
    pub fn text(&mut self, alphabet: &str, length: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..length).filter_map(|_| letters.get(self.below(letters.len()))).collect()
    }
}

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &str = "0123456789";
const HEX: &str = "0123456789abcdef";
const MIXED: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Values as people and generators choose them.
fn values(dice: &mut Dice) -> Vec<(&'static str, String)> {
    vec![
        ("word and number", format!("{}{}", dice.text(LOWER, 6), dice.text(DIGITS, 2))),
        ("letters", dice.text(LOWER, 9)),
        ("digits", format!("8{}", dice.text(DIGITS, 7))),
        ("mixed", format!("a7{}", dice.text(MIXED, 12))),
        ("signs", format!("{}!{}#{}", dice.text(UPPER, 2), dice.text(LOWER, 4), dice.text(DIGITS, 3))),
        ("uuid", uuid(dice)),
    ]
}

fn uuid(dice: &mut Dice) -> String {
    [8, 4, 4, 4, 12].map(|length| dice.text(HEX, length)).join("-")
}

/// Names that say that the value is a secret.
const NAMES: [&str; 56] = [
    "DB_PASSWORD",
    "dbPassword",
    "db-password",
    "db.password",
    "PASSWORD",
    "MYSQL_ROOT_PASSWORD",
    "ADMIN_PW",
    "ADMIN_PASS",
    "USER_PWD",
    "API_TOKEN",
    "AUTHORIZATION_TOKEN",
    "X_AUTHORIZED_KEY",
    "MASTER_KEY",
    "AES_KEY",
    "SSH_KEY",
    "STRIPE_KEY",
    "APP_KEY",
    "SESSION_KEY",
    "SERVICE_CREDS",
    "CARD_PIN",
    "PASSWORD_SALT",
    "ERLANG_COOKIE",
    "WALLET_MNEMONIC",
    "Passwort",
    "contraseña",
    "пароль",
    "DB_PASSWORD_PROFILE",
    "PASSWORD_PREF",
    "CLIENT_SECRET",
    "clientSecret",
    "spring.datasource.password",
    "AWS_SECRET_ACCESS_KEY",
    "ENCRYPTION_KEY",
    "signingKey",
    "JWT_SECRET",
    "apiKey",
    "dbpassword",
    "rootpass",
    "authtoken",
    "VAULT_TOKEN",
    "PGPASSWORD",
    "REDIS_PASSWORD_PROD",
    "storageAccountKey",
    "azurestorageaccountkey",
    "webhook-secret",
    "licenseKey",
    "SMTP_PASSPHRASE",
    "BEARER",
    "tokenSecret",
    "secret-key-base",
    "SECRET_KEY_BASE",
    "DJANGO_SECRET_KEY",
    "OAUTH2_CLIENT_SECRET",
    "HMAC_KEY",
    "mdp",
    "senha",
];

/// A pod with one environment variable.
fn pod(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [
        {"name": "app", "image": "nginx:1.25", "env": [{"name": "MODE", "value": "production"}, {"name": name, "value": value}]}]}})
}

fn config_map(key: &str, value: impl Into<Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"mode": "production", key: value.into()}})
}

fn container(more: Value) -> Value {
    let mut pod = pod("LOG_LEVEL", "info");
    if let (Some(container), Value::Object(more)) =
        (pod.pointer_mut("/spec/containers/0").and_then(Value::as_object_mut), more)
    {
        container.extend(more);
    }
    pod
}

fn annotated(key: &str, value: &str) -> Value {
    let mut pod = pod("LOG_LEVEL", "info");
    if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("annotations".to_owned(), json!({key: value}));
    }
    pod
}

/// `text` in base64.
pub(crate) fn encoded(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn structured(label: String, document: Value, secret: &str) -> Shape {
    Shape { label, document, secrets: vec![secret.to_owned()], structured: true }
}

/// More than 400 documents, the same for every call with `seed`.
pub fn shapes(seed: u64) -> Vec<Shape> {
    let dice = &mut Dice::new(seed);
    let mut shapes = Vec::new();
    by_name(dice, &mut shapes);
    by_container(dice, &mut shapes);
    formats::add(dice, &mut shapes);
    vendors::add(dice, &mut shapes);
    shapes
}

fn by_name(dice: &mut Dice, shapes: &mut Vec<Shape>) {
    for (at, name) in NAMES.iter().enumerate() {
        let values = values(dice);
        for (kind, value) in values.iter().cycle().skip(at).take(3) {
            // A word fits a name that describes words.
            if *kind == "letters" && (name.ends_with("PROFILE") || name.ends_with("PREF")) {
                continue;
            }
            // Which key is meant by an unknown word before `key` only a value that is not a word tells.
            shapes.push(structured(format!("env {name}: {kind}"), pod(name, value), value));
        }
    }
}

#[expect(clippy::too_many_lines, reason = "a line for each container")]
fn by_container(dice: &mut Dice, shapes: &mut Vec<Shape>) {
    for round in 0..4 {
        let values = values(dice);
        let value = values
            .iter()
            .cycle()
            .nth(round + usize::from(round > 0))
            .map(|(_, value)| value.clone())
            .unwrap_or_default();
        let v = value.as_str();
        let number: u64 = 10_000_000 + dice.next() % 80_000_000;
        let mut add = |label: &str, document: Value, secret: &str| {
            shapes.push(structured(format!("{label} ({secret})"), document, secret));
        };
        add("number under a password's name", config_map("DB_PASSWORD", number), &number.to_string());
        add(
            "member of a custom resource",
            json!({"kind": "Database", "spec": {"auth": {"password": v, "rootPassword": "$(X)"}}}),
            v,
        );
        add(
            "number in a custom resource",
            json!({"kind": "Database", "spec": {"adminPassword": number}}),
            &number.to_string(),
        );
        add(
            "key and value",
            json!({"kind": "App", "spec": {"settings": [{"key": "db_password", "value": v}]}}),
            v,
        );
        add(
            "name and default",
            json!({"kind": "Task", "spec": {"params": [{"name": "api-token", "default": v}]}}),
            v,
        );
        add(
            "header",
            container(
                json!({"livenessProbe": {"httpGet": {"port": 80, "httpHeaders": [{"name": "Authorization", "value": format!("Bearer {v}")}]}}}),
            ),
            v,
        );
        add(
            "basic header",
            container(
                json!({"livenessProbe": {"httpGet": {"port": 80, "httpHeaders": [{"name": "Authorization", "value": format!("Basic {}", encoded(&format!("admin:{v}")))}]}}}),
            ),
            &encoded(&format!("admin:{v}")),
        );
        add(
            "volume attributes",
            json!({"kind": "PersistentVolume", "spec": {"csi": {"volumeAttributes": {"storageAccountKey": v, "shareName": "s"}}}}),
            v,
        );
        add(
            "flag and value in one",
            container(json!({"args": [format!("--db-password={v}"), "--verbose"]})),
            v,
        );
        add("flag and value in two", container(json!({"args": ["--api-token", v, "--verbose"]})), v);
        add("go flag", container(json!({"args": ["-password", v]})), v);
        add("mysql -p", container(json!({"command": ["mysql", "-uroot", format!("-p{v}")]})), v);
        add("redis-cli -a", container(json!({"command": ["redis-cli"], "args": ["-a", v, "ping"]})), v);
        add("redis-server", container(json!({"command": ["redis-server", "--requirepass", v]})), v);
        add(
            "curl -u",
            container(json!({"command": ["curl", "-u", format!("admin:{v}"), "http://db:80"]})),
            v,
        );
        add(
            "probe command",
            container(
                json!({"livenessProbe": {"exec": {"command": ["sh", "-c", format!("mysqladmin ping -uroot -p{v}")]}}}),
            ),
            v,
        );
        add("annotation", annotated("example.org/api-token", v), v);
        add(
            "applied by kubectl",
            annotated("kubectl.kubernetes.io/last-applied-configuration", &pod("MODE", v).to_string()),
            v,
        );
        add("applied by kapp", annotated("kapp.k14s.io/original", &pod("MODE", v).to_string()), v);
        add(
            "applied by rancher",
            annotated(
                "objectset.rio.cattle.io/applied",
                &format!("H4sI{}", encoded(&pod("MODE", v).to_string())),
            ),
            &encoded(&pod("MODE", v).to_string()),
        );
        add("member of a Secret", json!({"kind": "Secret", "stringData": {"mode": v}}), v);
        add(
            "Secret in a list",
            json!({"kind": "List", "items": [{"kind": "Secret", "data": {"mode": encoded(v)}}]}),
            &encoded(v),
        );
        add(
            "Secret in a template",
            json!({"kind": "Template", "objects": [{"kind": "Secret", "stringData": {"mode": v}}]}),
            v,
        );
        add(
            "image with a password",
            container(json!({"image": format!("user:{v}x@registry.example.org/app:1")})),
            &format!("{v}x"),
        );
        add(
            "literals of kustomize",
            json!({"kind": "Kustomization", "secretGenerator": [{"name": "s", "literals": [format!("mode={v}")]}]}),
            v,
        );
    }
    repeats(dice, shapes);
}

/// A secret that is repeated where nothing else gives it away.
fn repeats(dice: &mut Dice, shapes: &mut Vec<Shape>) {
    for length in [4, 5, 6, 8, 12] {
        let value = format!("{}{}", dice.text(LOWER, length - 2), dice.text("23456789", 2));
        let v = value.as_str();
        let mut add = |label: &str, more: Value| {
            let mut document = container(more);
            if let Some(env) = document.pointer_mut("/spec/containers/0/env").and_then(Value::as_array_mut) {
                env.push(json!({"name": "DB_PASSWORD", "value": v}));
            }
            shapes.push(structured(format!("{label} repeats {length} letters ({v})"), document, v));
        };
        add("argument", json!({"args": ["connect", v]}));
        add("sentence", json!({"args": [format!("log in with {v}, please")]}));
        add("path", json!({"workingDir": format!("/srv/{v}/x")}));
        add("key", json!({"labels": {format!("x-{v}"): "y"}}));
        add("number of another form", json!({"ports": [{"name": format!("p-{v}")}]}));
    }
}
