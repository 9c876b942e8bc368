//! How the time for one document grows with its size: `cargo run --example growth [ROUNDS]`.
//!
//! For each shape of a document the phases of a repair are timed at a size and at its double, for every policy that has
//! something to repair. A ratio of 2 is linear, of 4 quadratic. Times are the least of some rounds.

#![expect(clippy::disallowed_types, reason = "it measures times")]

use std::time::Instant;

use domain::config::RunConfig;
use domain::policy::PolicyName;
use domain::record::Neighbours;
use engine::document::Document;
use engine::k8s::View;
use engine::policies;
use engine::propose::{Decision, rules};
use engine::rewrite::rewrite;
use engine::verify::{Candidate, examine, verify};

/// Size of the smaller document of a pair.
const SIZE: usize = 2000;

/// A ratio above this is shown with a mark.
const SUSPICIOUS: f64 = 3.0;

/// A phase that takes less is too short to compare, in ms.
const SHORT_MS: f64 = 2.0;

type Shape = (&'static str, fn(usize) -> String);

const SHAPES: [Shape; 7] = [
    ("secret literals", |size| {
        pod(&format!(
            "- name: c\n    image: a:1\n    env:\n{}",
            list(size, |n| format!("    - name: SECRET_{n}\n      value: v{n}\n"))
        ))
    }),
    ("one name, many secret values", |size| {
        pod(&list(size, |n| {
            format!("- name: c{n}\n    image: a:1\n    env:\n    - name: SECRET\n      value: v{n}\n  ")
        }))
    }),
    ("duplicate variables", |size| {
        pod(&format!(
            "- name: c\n    image: a:1\n    env:\n{}",
            list(size, |n| format!("    - name: V{}\n      value: $(X)v{n}\n", n % (size / 2)))
        ))
    }),
    ("containers", |size| pod(&list(size, |n| format!("- name: c{n}\n    image: a\n  ")))),
    ("ports", |size| {
        pod(&format!(
            "- name: c\n    image: a:1\n    livenessProbe:\n      tcpSocket:\n        port: 9\n    ports:\n{}",
            list(size, |n| format!("    - containerPort: 22\n      hostPort: {}\n", n % 60_000 + 1))
        ))
    }),
    ("host paths", |size| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n  - name: c\n    image: a:1\n    volumeMounts:\n{}  volumes:\n{}",
            list(size, |n| format!("    - name: v{n}\n      mountPath: /m{n}\n")),
            list(size, |n| format!("  - name: v{n}\n    hostPath:\n      path: /p{n}\n"))
        )
    }),
    ("capabilities", |size| {
        pod(&format!(
            "- name: c\n    image: a:1\n    securityContext:\n      capabilities:\n        add:\n{}",
            list(size, |n| format!("        - {}\n", if n % 2 == 0 { "SYS_ADMIN" } else { "NET_RAW" }))
        ))
    }),
];

fn list(size: usize, entry: impl Fn(usize) -> String) -> String {
    (0..size).map(entry).collect()
}

fn pod(containers: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n  {}\n",
        containers.trim_end()
    )
}

/// The names and times (ms) of the phases of all repairs of a document.
fn phases(yaml: &str, config: &RunConfig) -> Vec<(String, f64)> {
    let start = Instant::now();
    let clock = || start.elapsed().as_secs_f64() * 1e3;
    let mut times = Vec::new();
    let mut measure = |name: String, since: f64| times.push((name, clock() - since));
    let since = clock();
    let document = Document::parse(yaml, &config.limits).expect("the shapes are documents");
    measure("parse".to_owned(), since);
    let since = clock();
    let neighbours = Neighbours::Unknown;
    let before = examine(&document, &neighbours, config, &clock);
    measure("examine".to_owned(), since);
    for policy in policies::all() {
        let id = policy.id();
        let name = PolicyName::Known(id);
        let view = View::new(&document, &neighbours);
        let since = clock();
        let findings = policy.detect(&view);
        measure(format!("{id} detect"), since);
        if findings.is_empty() {
            continue;
        }
        let since = clock();
        let decision = rules::propose(&view, &name, &config.rules);
        measure(format!("{id} propose"), since);
        let Decision::Repair(proposal) = decision else { continue };
        let candidate = Candidate {
            document: &document,
            neighbours: &neighbours,
            before: &before,
            policy: &name,
            proposal: &proposal,
        };
        let since = clock();
        let _ = verify(candidate, config, &clock);
        measure(format!("{id} verify"), since);
        let since = clock();
        let _ = rewrite(yaml, &proposal.patch, &config.limits);
        measure(format!("{id} rewrite, {} operations", proposal.patch.len()), since);
    }
    times
}

#[expect(clippy::print_stdout, reason = "the result")]
fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2);
    let config = RunConfig::default();
    let least = |yaml: &str| {
        let mut best = phases(yaml, &config);
        for _ in 1..rounds {
            for ((_, best), (_, time)) in best.iter_mut().zip(phases(yaml, &config)) {
                *best = best.min(time);
            }
        }
        best
    };
    for (name, shape) in SHAPES {
        println!("{name}: {SIZE} and {}", 2 * SIZE);
        for ((phase, small), (_, large)) in least(&shape(SIZE)).into_iter().zip(least(&shape(2 * SIZE))) {
            let ratio = large / small.max(1e-3);
            if large >= SHORT_MS {
                let mark = if ratio > SUSPICIOUS { " <<<" } else { "" };
                println!("  {phase:<60} {small:9.1} ms {large:9.1} ms  x{ratio:.1}{mark}");
            }
        }
    }
}
