//! Lists every command of a program from its help texts, so that tests pin each help text.

use std::path::Path;

/// The words that call each command of a program; first none, which call the program itself. `help` gives the help text
/// for such words.
///
/// # Panics
/// Where the help text names no commands.
pub fn commands(help: impl Fn(&[String]) -> String) -> Vec<Vec<String>> {
    let mut waiting = vec![Vec::new()];
    let mut found = Vec::new();
    while let Some(words) = waiting.pop() {
        let text = help(&words);
        for name in subcommands(&text) {
            waiting.push([&words[..], &[name.to_owned()]].concat());
        }
        found.push(words);
    }
    assert!(found.len() > 1, "no commands are listed in:\n{}", help(&[]));
    found
}

/// The name under which the help text of a command is kept.
pub fn name_of_help(words: &[String]) -> String {
    [&["help".to_owned()][..], words].concat().join("-")
}

/// The names under which help texts are kept in `folder`, the snapshots of `tests/it/help.rs`; sorted.
///
/// # Panics
/// Where the folder cannot be read.
pub fn kept_helps(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|file| Some(file.strip_prefix("it__help__")?.strip_suffix(".snap")?.to_owned()))
        .collect();
    names.sort();
    names
}

fn subcommands(help: &str) -> impl Iterator<Item = &str> {
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // The rest of a long description stands further in.
    let named = listed.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    named.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_at_every_level() {
        let help = |words: &[String]| match words.join(" ").as_str() {
            "" => {
                "What it does.\n\nCommands:\n  run   Runs\n        and runs\n  keep  Keeps\n  help  Prints\n\nOptions:\n  -h\n"
            }
            "keep" => "Keeps.\n\nCommands:\n  list  Lists\n\nOptions:\n  -h\n",
            _ => "Does it.\n\nOptions:\n  -h\n",
        };
        let mut found = commands(|words| help(words).to_owned());
        found.sort();
        let names: Vec<String> = found.iter().map(|words| name_of_help(words)).collect();
        assert_eq!(names, ["help", "help-keep", "help-keep-list", "help-run"]);
    }
}
