//! Ten kinds of secrets that a list of substrings, a single URL and a single `=` missed, and what must stay.

use serde_json::{Value, json};

fn env(name: &str, value: impl Into<Value>) -> Value {
    json!({"kind": "Pod", "spec": {"containers": [{"name": "a", "env": [{"name": name, "value": value.into()}]}]}})
}

fn args(args: &[&str]) -> Value {
    json!({"kind": "Pod", "spec": {"containers": [{"name": "a", "args": args}]}})
}

fn data(key: &str, text: &str) -> Value {
    json!({"kind": "ConfigMap", "data": {key: text}})
}

fn annotation(key: &str, text: &str) -> Value {
    json!({"kind": "Pod", "metadata": {"annotations": {key: text}}})
}

/// A kind, and documents with what they must not show.
pub(super) type Kind = (&'static str, Vec<(Value, &'static str)>);

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn kinds() -> Vec<Kind> {
    vec![
        (
            "1 words, not their parts",
            vec![
                (
                    json!({"httpHeaders": [{"name": "Authorization", "value": "Basic YWRtaW46aHVudGVyMg=="}]}),
                    "YWRtaW46aHVudGVyMg",
                ),
                (env("AUTHORIZATION", "hunter2-abc"), "hunter2-abc"),
                (env("AUTHORIZATION_TOKEN", "hunter2"), "hunter2"),
                (env("X_AUTHORIZED_KEY", "hunter2x9"), "hunter2x9"),
            ],
        ),
        (
            "2 endings are words",
            vec![
                (env("DB_PASSWORD_PROFILE", "hunter2"), "hunter2"),
                (env("PASSWORD_PREF", "hunter2"), "hunter2"),
                (env("SECRET_TYPE", "k7Jq2mZx"), "k7Jq2mZx"),
                (env("ADMIN_PASSWORD_POLICY", "hunter2!"), "hunter2!"),
                (env("DB_PASSWORD_FILE", "hunter2"), "hunter2"),
                (env("API_TOKEN_TTL", "q8Wx71LmZ0"), "q8Wx71LmZ0"),
            ],
        ),
        (
            "3 numbers",
            vec![
                (json!({"kind": "ConfigMap", "data": {"DB_PASSWORD": 83_620_174}}), "83620174"),
                (env("DB_PASSWORD", "83620174"), "83620174"),
                (env("ADMIN_PIN", 4711), "4711"),
                (json!({"kind": "Db", "spec": {"password": 12_345.5}}), "12345.5"),
            ],
        ),
        (
            "4 every pair of a text",
            vec![
                (args(&["-c", "run --password=hunter2 -v"]), "hunter2"),
                (args(&["-c", "export MODE=x && export DB_PASSWORD=hunter2 && run"]), "hunter2"),
                (data("run.sh", "#!/bin/sh\nMODE=x\nDB_PASSWORD=hunter2\nrun\n"), "hunter2"),
                (data(".env", "MODE=x\nDB_PASSWORD=hunter2 with blanks\n"), "with blanks"),
                (env("PG", "host=db user=app password=hunter2 dbname=x"), "hunter2"),
                (env("ADO", "Server=db;User Id=app;Password=hunter 2;Encrypt=true"), "hunter 2"),
                (env("HOOK", "https://example.org/x?mode=a&password=hunter2&b=c"), "hunter2"),
                (env("HOOK", "https://example.org/x?token=hunter2"), "hunter2"),
            ],
        ),
        (
            "5 every URL",
            vec![
                (env("URLS", "http://a:80/x http://app:hunter2@b:80/y"), "hunter2"),
                (env("URL", "amqp://app:hun/ter2@mq:5672/v"), "ter2"),
                (env("URL", "https://k3Jq9mZx71Lm@git.example.org/x"), "k3Jq9mZx71Lm"),
            ],
        ),
        (
            "6 languages in texts",
            vec![
                (env("CFG", "{\"db\": {\"password\": \"hunter2\"}}"), "hunter2"),
                (data("app.yaml", "db:\n  password: hunter2\n"), "hunter2"),
                (data("app.ini", "[db]\npassword = hunter2\n"), "hunter2"),
                (data("app.xml", "<db><password>hunter2</password></db>"), "hunter2"),
                (data("app.php", "<?php define('DB_PASSWORD', 'hunter2');"), "hunter2"),
                (
                    data("config.json", "{\"auths\":{\"r\":{\"auth\":\"YXBwOmh1bnRlcjI=\"}}}"),
                    "YXBwOmh1bnRlcjI",
                ),
                (data("users", "app:$apr1$abc$hunter2hunter2hunter2\n"), "hunter2hunter2"),
                (data("x", "cGFzc3dvcmQ9aHVudGVyMg=="), "cGFzc3dvcmQ9aHVudGVyMg"),
            ],
        ),
        (
            "7 objects in objects",
            vec![
                (
                    json!({"kind": "List", "items": [{"kind": "Secret", "stringData": {"mode": "hunter2"}}]}),
                    "hunter2",
                ),
                (data("s.yaml", "kind: Secret\nstringData:\n  mode: hunter2\n"), "hunter2"),
                (annotation("kapp.k14s.io/original", "{\"kind\":\"Pod\",\"x\":\"hunter2\"}"), "hunter2"),
                (annotation("objectset.rio.cattle.io/applied", "H4sIAAAAAAAA/hunter2x"), "hunter2x"),
                (json!({"kind": "App", "spec": [{"key": "db_password", "value": "hunter2"}]}), "hunter2"),
                (json!({"csi": {"volumeAttributes": {"storageAccountKey": "hunter2x"}}}), "hunter2x"),
            ],
        ),
        (
            "8 names",
            vec![
                (env("MASTER_KEY", "hunter2x"), "hunter2x"),
                (env("AES_KEY", "hunter2x"), "hunter2x"),
                (env("SSH_KEY", "hunter2x"), "hunter2x"),
                (env("STRIPE_KEY", "hunter2x"), "hunter2x"),
                (env("APP_KEY", "hunter2x"), "hunter2x"),
                (env("SESSION_KEY", "hunter2x"), "hunter2x"),
                (env("ADMIN_PW", "hunter2"), "hunter2"),
                (env("CREDS", "hunter2"), "hunter2"),
                (env("PIN", "hunter2"), "hunter2"),
                (env("SALT", "hunter2"), "hunter2"),
                (env("COOKIE", "hunter2"), "hunter2"),
                (env("WALLET_SEED", "hunter2x"), "hunter2x"),
                (env("Passwort", "hunter2"), "hunter2"),
                (env("contraseña", "hunter2"), "hunter2"),
                (env("пароль", "hunter2"), "hunter2"),
            ],
        ),
        (
            "9 shapes",
            vec![
                (env("A", "ya29.a0AfH6SMBx71LmZ0q8Wx"), "a0AfH6SMBx71LmZ0q8Wx"),
                (env("A", "rk_live_51H8xq2eZvKYlo2C"), "51H8xq2eZvKYlo2C"),
                (
                    env("A", "SG.ngeVfQFYQlKU0ufo8x5d1A.TwL2iGABf9DHoTf09kqeF8tAmbihYzrnopKc1s5cr"),
                    "TwL2iGABf9",
                ),
                (env("A", "dop_v1_3f8a2b1c9d7e6f5a4b3c2d1e0f9a8b7c"), "3f8a2b1c9d7e"),
                (env("A", "abc8Q~d3F6gH9jK2mN5pQ8sT1vX4zA7cE0gI3kM6"), "d3F6gH9jK2"),
                (env("A", "123456789:AAF3b2c1d0e9f8g7h6i5j4k3l2m1n0o9p8q"), "AAF3b2c1d0"),
                (env("A", "dapi3f8a2b1c9d7e6f5a4b3c2d1e0f9a8b7c"), "3f8a2b1c9d"),
                (env("A", "hvs.CAESIJ3b2c1d0e9f8g7h6i5j4k3l2m1n"), "CAESIJ3b2c1d"),
                (env("A", "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"), "3f8a2b1c9d"),
                (env("A", "AGE-SECRET-KEY-1QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8"), "QPZRY9X8GF"),
                (args(&["abcd12.0123456789abcdef"]), "0123456789abcdef"),
                (env("A", "7d9f8b6c-5d3e-4f1a-9b8c-7d6e5f4a3b2c"), "7d9f8b6c"),
                (env("A", "507f1f77bcf86cd799439011"), "507f1f77bcf86cd799439011"),
                (
                    env("A", "https://hooks.slack.com/services/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"),
                    "aB3dE6gH9jK2",
                ),
                (
                    env(
                        "A",
                        "https://discord.com/api/webhooks/123456789012345678/aB3dE6gH9jK2mN5pQ8sT1vX4aB3dE6gH9jK2mN5p",
                    ),
                    "aB3dE6gH9jK2",
                ),
            ],
        ),
        (
            "10 repeats, keys, images",
            vec![
                (
                    json!({"env": [{"name": "DB_PASSWORD", "value": "hunt3r"}], "args": ["connect hunt3r now"]}),
                    "hunt3r",
                ),
                (
                    json!({"env": [{"name": "DB_PASSWORD", "value": "hunt3r"}], "labels": {"x-hunt3r": "y"}}),
                    "hunt3r",
                ),
                (json!({"containers": [{"image": "user:hunter2@registry.example.org/a:1"}]}), "hunter2"),
                (
                    json!({"env": [{"name": "DB_PASSWORD", "value": "7k2"}], "args": ["connect", "7k2"]}),
                    "7k2",
                ),
            ],
        ),
    ]
}

/// Documents that hold no secret.
pub(super) fn plain() -> Vec<Value> {
    vec![
        env("AUTHOR", "jane doe 99"),
        env("AWS_PROFILE", "prod2"),
        env("PASSWORD_PROFILE", "strict"),
        env("SECRET_TYPE", "kubernetes.io/tls"),
        env("PASSWORD_POLICY", "at-least-one"),
        env("DB_PASSWORD_FILE", "/run/secrets/db-1"),
        env("TOKEN_TTL", "3600"),
        env("MAX_TOKENS", "4096"),
        env("SECRET_NAME", "db-credentials-2"),
        env("AUTH_ENABLED", "true"),
        env("ALLOW_EMPTY_PASSWORD", "yes"),
        env("AUTH_URL", "https://auth.example.org/realms/x"),
        env("DB_PASSWORD", "$(OTHER)"),
        env("KEYCLOAK_HOST", "keycloak.example.org:8080"),
        env("PARTITION_KEY", "tenant7"),
        env("PRIMARY_HOST", "db-0.db.svc.cluster.local:5432"),
        json!({"spec": {"topologyKey": "kubernetes.io/hostname", "secretName": "web-tls-2", "automountServiceAccountToken": false}}),
        json!({"env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db-secret-1", "key": "password2"}}}]}),
        json!({"image": "nginx@sha256:5f4dcc3b5aa765d61d8327deb882cf995f4dcc3b5aa765d61d8327deb882cf99"}),
        json!({"image": "registry.example.org:5000/team/app:v1.2.3"}),
        json!({"metadata": {"uid": "7d9f8b6c-5d3e-4f1a-9b8c-7d6e5f4a3b2c", "annotations": {"checksum/secret": "5f4dcc3b5aa765d61d8327deb882cf99"}}}),
        json!({"image": "oci.external-secrets.io/external-secrets/external-secrets:v0.20.2", "resourceNames": ["http:sealed-secrets:http"]}),
        env("CA_CERT", "/shared/crypto-config/org1.example.com/tls/server.crt"),
        args(&["--port=8080", "--log-level", "info", "-p", "8080:80"]),
        data("notes", "see https://example.org/a/b?c=d for the list of passwords\n"),
    ]
}
