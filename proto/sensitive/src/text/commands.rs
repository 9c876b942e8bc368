//! Secrets in commands: values of flags, arguments of programs that take a password, directives of configuration files.

use std::ops::Range;

use crate::forms;
use crate::names;

/// A word of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word<'t> {
    /// Without quotes.
    pub(crate) text: &'t str,
    /// Whether it stood in quotes.
    pub(crate) quoted: bool,
}

/// Length of the longest name in [`PROGRAMS`], with a slash before it.
const LONGEST_PROGRAM: usize = 20;

/// Programs with short flags for a secret: (program, flags whose value follows in the same word, or in the next one).
const PROGRAMS: [(&str, &str); 40] = [
    ("mysql", "-p="),
    ("mysqldump", "-p="),
    ("mysqladmin", "-p="),
    ("mysqlcheck", "-p="),
    ("mysqlimport", "-p="),
    ("mariadb", "-p="),
    ("mariadb-admin", "-p="),
    ("mariadb-dump", "-p="),
    ("redis-cli", "-a"),
    ("valkey-cli", "-a"),
    ("redis-benchmark", "-a"),
    ("sshpass", "-p"),
    ("curl", "-u: -U:"),
    ("wget", "--user:"),
    ("http", "-a:"),
    ("ldapsearch", "-w"),
    ("ldapadd", "-w"),
    ("ldapmodify", "-w"),
    ("ldapwhoami", "-w"),
    ("ldappasswd", "-w -s"),
    ("mongo", "-p"),
    ("mongosh", "-p"),
    ("mongodump", "-p"),
    ("mongorestore", "-p"),
    ("docker", "-p"),
    ("podman", "-p"),
    ("helm", "-p"),
    ("skopeo", "--creds:"),
    ("sqlcmd", "-P"),
    ("bcp", "-P"),
    ("smbclient", "-U%"),
    ("zip", "-P"),
    ("unzip", "-P"),
    ("rabbitmqadmin", "-p"),
    ("cqlsh", "-p"),
    ("influx", "-t"),
    ("az", "-p"),
    ("oc", "-p"),
    ("cypher-shell", "-p"),
    ("clickhouse-client", "--password"),
];

/// Words in front of a positional secret: how many words to skip, and the secret is the one behind.
const POSITIONAL: [(&[&str], usize); 11] = [
    (&["rabbitmqctl", "add_user"], 1),
    (&["rabbitmqctl", "change_password"], 1),
    (&["htpasswd", "-b"], 2),
    (&["htpasswd", "-bc"], 2),
    (&["htpasswd", "-cb"], 2),
    (&["htpasswd", "-nb"], 1),
    (&["htpasswd", "-nbB"], 1),
    (&["vault", "login"], 0),
    (&["identified", "by"], 0),
    (&["with", "password"], 0),
    (&["useradd", "-p"], 0),
];

/// Adds the secrets of a command of `words`: the number of the word and the place in it. `program`: what runs it, where that
/// is known from elsewhere.
pub(crate) fn find(words: &[Word<'_>], program: Option<&str>, found: &mut Vec<(usize, Range<usize>)>) {
    let mut flags = program.and_then(flags_of);
    for (at, word) in words.iter().enumerate() {
        if let Some(known) = flags_of(word.text) {
            flags = Some(known);
        }
        let next = words.get(at + 1);
        if let Some(flag) = word.text.strip_prefix('-') {
            by_flag(flag, at, word, next, flags, found);
        } else if let (Some(next), true) = (next, is_directive(words, at)) {
            // `requirepass x`, but no heading of two words.
            let letters = next.text.chars().all(|c| c.is_alphabetic() || c == '.');
            let whole = at == 0
                && words.len() == 2
                && (!letters || word.text.ends_with("pass") || word.text.ends_with("password"));
            let strong = next.quoted
                || whole
                || at > 0
                    && words.get(at - 1).is_some_and(|word| matches!(word.text, "set" | "--set" | "login"));
            if strong && names::is_secret(word.text, next.text) {
                found.push((at + 1, 0..next.text.len()));
            }
        }
        if let Some(rest) =
            word.text.strip_prefix("pass:").filter(|rest| !rest.is_empty() && !forms::is_reference(rest))
        {
            found.push((at, word.text.len() - rest.len()..word.text.len()));
        }
        positional(words, at, found);
    }
    standard_input(words, found);
}

fn flags_of(word: &str) -> Option<&'static str> {
    // No program has a longer name, and few words of a text are as short.
    let program = word.get(word.len().saturating_sub(LONGEST_PROGRAM)..).unwrap_or(word);
    let program =
        program.rsplit('/').next().filter(|program| program.starts_with(|c: char| c.is_ascii_lowercase()))?;
    PROGRAMS.iter().find(|(name, _)| *name == program).map(|(_, flags)| *flags)
}

/// A word that names a secret where it stands in a command, and no flag, path or sentence.
fn is_directive(words: &[Word<'_>], at: usize) -> bool {
    words.get(at).is_some_and(|word| {
        !word.quoted
            && word.text.len() <= 80
            && word.text.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c))
            && names::is_noun(word.text)
    })
}

fn by_flag(
    flag: &str,
    at: usize,
    word: &Word<'_>,
    next: Option<&Word<'_>>,
    flags: Option<&'static str>,
    found: &mut Vec<(usize, Range<usize>)>,
) {
    // `--from-literal=name=value`, `--set auth.password=value`, `-e NAME=value` are pairs and found as such.
    let name = flag.trim_start_matches('-');
    let value = next.filter(|next| next.quoted || !next.text.starts_with('-') || next.text.len() > 20);
    if let Some(value) = value
        && name.len() > 1
        && !name.contains('=')
        && names::is_secret(name, value.text)
    {
        found.push((at + 1, 0..value.text.len()));
        return;
    }
    for known in flags.unwrap_or_default().split(' ').filter(|known| !known.is_empty()) {
        let bare = known.trim_end_matches(['=', ':', '%']);
        let attached = word
            .text
            .strip_prefix(bare)
            .map(|rest| rest.trim_start_matches('='))
            .filter(|rest| !rest.is_empty());
        let (place, text) = match (attached, next) {
            (Some(text), _) if !bare.starts_with("--") || word.text.contains('=') => (at, text),
            // `mysql -p name`: the password is asked for, and the name is that of a database.
            (None, Some(next)) if word.text == bare && !known.ends_with('=') => (at + 1, next.text),
            _ => continue,
        };
        let whole = if place == at { word.text.len() } else { text.len() };
        let separator = if known.ends_with('%') { '%' } else { ':' };
        let from = match text.split_once(separator) {
            Some((user, _)) if known.ends_with([':', '%']) => user.len() + 1,
            None if known.ends_with([':', '%']) => continue,
            _ => 0,
        };
        let secret = text.get(from..).unwrap_or_default();
        let port = known == "-p" && (forms::is_number(secret) && secret.len() <= 5 || secret.contains(':'));
        if !secret.is_empty() && !forms::is_reference(secret) && !port {
            found.push((place, whole - secret.len()..whole));
            return;
        }
    }
}

fn positional(words: &[Word<'_>], at: usize, found: &mut Vec<(usize, Range<usize>)>) {
    let text = |at: usize| words.get(at).map(|word| word.text);
    let begins = text(at).is_some_and(|text| text.ends_with(['l', 'L', 'd', 'D', 't', 'T', 'h', 'H']));
    for (begin, skipped) in POSITIONAL.into_iter().filter(|_| begins) {
        let matches = begin.iter().enumerate().all(|(index, wanted)| {
            text(at + index).is_some_and(|text| {
                text.rsplit('/').next().is_some_and(|text| text.eq_ignore_ascii_case(wanted))
            })
        });
        let secret = at + begin.len() + skipped;
        if let Some(value) = text(secret).filter(|_| matches)
            && !value.is_empty()
            && !value.starts_with('-')
            && !forms::is_reference(value)
        {
            found.push((secret, 0..value.trim_end_matches(';').len()));
        }
    }
}

/// What is written to a program that reads a password: `echo user:pw | chpasswd`, `echo pw | docker login --password-stdin`.
fn standard_input(words: &[Word<'_>], found: &mut Vec<(usize, Range<usize>)>) {
    let reads = |text: &str| matches!(text, "chpasswd" | "--password-stdin" | "--stdin" | "--pass-stdin");
    let Some(reader) = words.iter().position(|word| reads(word.text)) else { return };
    let Some(writer) = words.iter().take(reader).position(|word| matches!(word.text, "echo" | "printf"))
    else {
        return;
    };
    for (at, word) in words.iter().enumerate().take(reader).skip(writer + 1) {
        if word.text == "|" {
            break;
        }
        if word.text.starts_with('-') || forms::is_reference(word.text) || word.text.starts_with('%') {
            continue;
        }
        let from = word.text.find(':').map_or(0, |colon| colon + 1);
        found.push((at, from..word.text.len()));
    }
}

/// Adds the secrets of the commands of a text, line by line.
pub(super) fn find_in_text(text: &str, found: &mut Vec<Range<usize>>) {
    let mut base = 0;
    let schemes: Vec<&str> = SCHEMES.into_iter().filter(|scheme| text.contains(scheme)).collect();
    for line in text.split_inclusive('\n') {
        if line.len() > 3 {
            let split = split(line);
            let words: Vec<Word<'_>> = split.iter().map(|(_, word)| *word).collect();
            let mut inner = Vec::new();
            find(&words, None, &mut inner);
            for (at, range) in inner {
                if let Some((start, _)) = split.get(at) {
                    found.push(base + start + range.start..base + start + range.end);
                }
            }
            credentials(line, base, &schemes, found);
        }
        base += line.len();
    }
}

/// How HTTP introduces credentials.
const SCHEMES: [&str; 6] = ["Bearer ", "Basic ", "bearer ", "basic ", "ApiKey ", "Token "];

/// `Bearer …` and `Basic …` wherever they stand.
fn credentials(line: &str, base: usize, schemes: &[&str], found: &mut Vec<Range<usize>>) {
    for scheme in schemes {
        for (at, _) in line.match_indices(scheme) {
            let start = at + scheme.len();
            let rest = line.get(start..).unwrap_or_default();
            let end = rest.find(|c: char| c.is_whitespace() || "\"'`,;)<".contains(c)).unwrap_or(rest.len());
            let value = rest.get(..end).unwrap_or_default().trim_end_matches(['\\', '}']);
            if value.len() >= 6 && !forms::is_reference(value) && !forms::is_word(value) {
                found.push(base + start..base + start + value.len());
            }
        }
    }
}

/// A word without what ends the command behind it.
fn closed(text: &str) -> &str {
    let text = text.trim_end_matches(';');
    if text.contains('(') { text } else { text.trim_end_matches(')') }
}

/// The words of a line and where they begin, without their quotes.
fn split(line: &str) -> Vec<(usize, Word<'_>)> {
    let mut words = Vec::new();
    let mut rest = line;
    let mut at = 0;
    loop {
        let lead =
            rest.len() - rest.trim_start_matches(|c: char| c.is_whitespace() || "(;".contains(c)).len();
        at += lead;
        rest = rest.get(lead..).unwrap_or_default();
        let Some(first) = rest.chars().next() else { return words };
        let (skip, length, after, quoted) = if "\"'".contains(first) {
            let inner = rest.get(1..).unwrap_or_default();
            let end = inner.find(first).unwrap_or_else(|| inner.trim_end().len());
            (1, end, 1 + end + usize::from(end < inner.len()), true)
        } else {
            let end = rest.find(|c: char| c.is_whitespace()).unwrap_or(rest.len());
            // `-p'secret'`: the quotes belong to the word.
            (0, end, end, false)
        };
        let text = rest.get(skip..skip + length).unwrap_or_default();
        words.push((at + skip, Word { text: if quoted { text } else { closed(text) }, quoted }));
        at += after;
        rest = rest.get(after..).unwrap_or_default();
    }
}
