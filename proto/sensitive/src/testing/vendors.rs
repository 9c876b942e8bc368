//! Tokens of vendors and random texts under names that say nothing, written here as the vendors' documentation shows them.

use serde_json::json;

use super::{DIGITS, Dice, HEX, LOWER, MIXED, Shape, UPPER, annotated, config_map, container, pod, uuid};

fn tokens(dice: &mut Dice) -> Vec<(&'static str, String)> {
    let lower = format!("{LOWER}{DIGITS}");
    let upper = format!("{UPPER}{DIGITS}");
    let url_safe = format!("{MIXED}_-");
    let mut text = |alphabet: &str, length: usize| dice.text(alphabet, length);
    vec![
        ("ghp_", format!("ghp_{}", text(MIXED, 36))),
        ("github_pat_", format!("github_pat_{}_{}", text(MIXED, 22), text(MIXED, 59))),
        ("glpat-", format!("glpat-{}", text(&url_safe, 19) + "9")),
        ("xoxb-", format!("xoxb-{}-{}-{}", text(DIGITS, 12), text(DIGITS, 12), text(MIXED, 24))),
        ("AKIA", format!("AKIA{}", text(&upper, 16))),
        ("AWS secret", text(MIXED, 19) + "/" + &text(MIXED, 20)),
        ("AIza", format!("AIza{}", text(MIXED, 35))),
        ("ya29.", format!("ya29.{}", text(MIXED, 60))),
        ("GOCSPX-", format!("GOCSPX-{}", text(MIXED, 28))),
        ("Azure client secret", format!("{}8Q~{}", text(MIXED, 3), text(MIXED, 34))),
        ("sk_live_", format!("sk_live_{}", text(MIXED, 24))),
        ("rk_live_", format!("rk_live_{}", text(MIXED, 24))),
        ("whsec_", format!("whsec_{}", text(MIXED, 32))),
        ("sk-", format!("sk-{}", text(MIXED, 48))),
        ("sk-ant-", format!("sk-ant-api03-{}", text(MIXED, 60))),
        ("SG.", format!("SG.{}.{}", text(MIXED, 22), text(MIXED, 43))),
        ("dop_v1_", format!("dop_v1_{}", text(HEX, 64))),
        ("dapi", format!("dapi{}", text(HEX, 32))),
        ("hvs.", format!("hvs.{}", text(MIXED, 90))),
        ("shpat_", format!("shpat_{}", text(HEX, 32))),
        ("AGE-SECRET-KEY-1", format!("AGE-SECRET-KEY-1{}", text("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58))),
        ("kubeadm", format!("{}.{}", text(&lower, 5) + "7", text(&lower, 13) + "4k9")),
        ("Telegram", format!("{}:AA{}", text("123456789", 10), text(MIXED, 33))),
        ("npm_", format!("npm_{}", text(MIXED, 36))),
        ("pypi-", format!("pypi-AgEIcHlwaS5vcmc{}", text(MIXED, 60))),
        ("hf_", format!("hf_{}", text(MIXED, 34))),
        ("dckr_pat_", format!("dckr_pat_{}", text(MIXED, 27))),
        ("glsa_", format!("glsa_{}_{}", text(MIXED, 32), text(HEX, 8))),
        ("JWT", format!("eyJhbGciOiJIUzI1NiJ9.eyJ{}.{}", text(MIXED, 30), text(MIXED, 43))),
        (
            "Slack webhook",
            format!(
                "https://hooks.slack.com/services/T{}/B{}/{}",
                text(&upper, 8),
                text(&upper, 8),
                text(MIXED, 24)
            ),
        ),
        (
            "Discord webhook",
            format!("https://discord.com/api/webhooks/{}/{}", text("123456789", 18), text(MIXED, 68)),
        ),
        ("hexadecimal 32", text(HEX, 31) + "a"),
        ("hexadecimal 24", format!("{}7c", text(HEX, 22))),
        ("hexadecimal 64", text(HEX, 62) + "4e"),
        ("UUID", uuid(dice)),
        ("random 40", dice.text(MIXED, 40)),
        ("random 24", format!("{}a7K", dice.text(MIXED, 21))),
        (
            "private key",
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", dice.text(MIXED, 64)),
        ),
        ("user of a URL", format!("https://{}@git.example.org/x", dice.text(MIXED, 18) + "7")),
    ]
}

pub(super) fn add(dice: &mut Dice, shapes: &mut Vec<Shape>) {
    for (label, token) in tokens(dice) {
        let token = token.as_str();
        // What is public of a URL or of a block of PEM may be shown.
        let secret = match label {
            "user of a URL" => token.get(8..27).unwrap_or(token),
            "Slack webhook" | "Discord webhook" => token.rsplit('/').next().unwrap_or(token),
            "private key" => token.lines().nth(1).unwrap_or(token),
            _ => token,
        };
        let places = [
            ("env", pod("UPSTREAM", token)),
            ("argument", container(json!({"args": ["serve", token]}))),
            ("annotation", annotated("example.org/note", &format!("uses \"{token}\" for now"))),
            ("text", config_map("notes.txt", format!("first line\nsee {token}\nlast line\n"))),
        ];
        for (place, document) in places {
            let label = format!("{label} in {place} ({secret})");
            shapes.push(Shape { label, document, secrets: vec![secret.to_owned()], structured: false });
        }
    }
}
