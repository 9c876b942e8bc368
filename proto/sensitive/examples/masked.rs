//! Prints what is masked in manifests: `cargo run -p sensitive --example masked -- FOLDER… [--sample N]`.
//!
//! A line for each masked scalar: the key, the value, the value with its masks; then how many scalars there are. For a
//! look at false masks.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

use std::path::{Path, PathBuf};

use sensitive::Masks;
use serde_json::Value;

fn main() {
    let mut paths: Vec<PathBuf> = Vec::new();
    let (mut sample, mut numbers) = (usize::MAX, false);
    for argument in std::env::args().skip(1) {
        match argument.parse() {
            Ok(number) if numbers => sample = number,
            _ if argument == "--sample" => {}
            _ => paths.push(argument.clone().into()),
        }
        numbers = argument == "--sample";
    }
    let mut files = Vec::new();
    for path in &paths {
        collect(path, &mut files);
    }
    files.sort();
    let (mut scalars, mut lines) = (0_usize, Vec::new());
    let mut time = std::time::Duration::ZERO;
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let Ok(values) = serde_saphyr::from_multiple::<Value>(&text) else { continue };
        for value in values {
            let start = std::time::Instant::now();
            let (_, masked) = Masks::of(&value, usize::MAX);
            time += start.elapsed();
            compare(&value, &masked, "", &mut scalars, &mut |key, was, is| {
                lines.push(format!("{}\t{key}\t{was}\t{is}", file.display()));
            });
        }
    }
    let every = (lines.len() / sample.max(1)).max(1);
    for line in lines.iter().step_by(every).take(sample) {
        println!("{line}");
    }
    eprintln!("{} of {scalars} scalars masked, {time:?}", lines.len());
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().for_each(|entry| collect(&entry.path(), files)),
        Err(_) => files.push(path.to_owned()),
    }
}

/// Calls `each` with every scalar that differs, and counts all.
fn compare(
    was: &Value,
    is: &Value,
    key: &str,
    scalars: &mut usize,
    each: &mut dyn FnMut(&str, &Value, &Value),
) {
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            for ((key, was), (_, is)) in was.iter().zip(is) {
                compare(was, is, key, scalars, each);
            }
        }
        (Value::Array(was), Value::Array(is)) => {
            was.iter().zip(is).for_each(|(was, is)| compare(was, is, key, scalars, each));
        }
        (was, is) => {
            *scalars += 1;
            if was != is {
                each(key, was, is);
            }
        }
    }
}
