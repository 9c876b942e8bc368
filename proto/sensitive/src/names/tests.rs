use super::*;

#[test]
fn names_of_every_style_have_the_same_words() {
    for name in ["dbPassword", "DB_PASSWORD", "db-password", "db.password", "DBPassword", "dbpassword"] {
        assert_eq!(words(name), ["db", "password"], "{name}");
    }
    assert_eq!(words("APIKey2"), ["api", "key", "2"]);
    assert_eq!(words("bypass"), ["bypass"]);
    assert_eq!(words("tokenizer"), ["tokenizer"]);
}

#[test]
fn a_word_decides_and_its_letters_do_not() {
    for (name, value) in [
        ("AUTHORIZATION", "abc1234"),
        ("DB_PASSWORD_PROFILE", "hunter2"),
        ("SECRET_ID", "5f2b"),
        ("MASTER_KEY", "hunter2"),
        ("TURBO_KEY", "h8nter2x"),
        ("userpass", "x"),
        ("DB_PASSWORD", "true"),
        ("CLIENT_SECRET", "my-client-secret"),
        ("contrasena", "x"),
    ] {
        assert!(is_secret(name, value), "{name}: {value}");
    }
    for (name, value) in [
        ("AUTHOR", "jane"),
        ("bypass", "hunter2"),
        ("SECRETARY_NAME", "jane"),
        ("TURBO_KEY", "some-name"),
        ("PUBLIC_KEY", "hunter2x"),
        ("key", "s3bucket"),
        ("GPIO_PIN", "17"),
        ("RANDOM_SEED", "42"),
        ("tlsSecret", "web-frontend"),
        ("existingSecret", "db-credentials"),
        ("cert-manager.io/inject-ca-from-secret", "default/webhook-ca"),
        ("checksum/secret", "5f4dcc3b5aa765d61d8327deb882cf99"),
    ] {
        assert!(!is_secret(name, value), "{name}: {value}");
    }
}
