//! The documents around the parts that change.

use domain::ids::RunId;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// A part of a page: its id, and its HTML.
type Section = (&'static str, String);

/// Headings of the parts by their ids.
const HEADINGS: [(&str, &str); 7] = [
    ("runs", "Runs"),
    ("limits", "Limits of providers"),
    ("workers", "Workers"),
    ("failures", "Calls without an answer"),
    ("facts", "State"),
    ("outcomes", "Outcomes so far"),
    ("course", "Over time"),
];

/// The first page.
pub(super) fn overview(sections: &[Section]) -> String {
    document("Coordinator", "/events", &html! { h1 { "Coordinator" } }, sections)
}

/// The page of a run.
pub(super) fn of_run(run_id: &RunId, sections: &[Section]) -> String {
    let name = run_id.as_str();
    let head = html! { p.back { a href="/" { "all runs" } } h1 { "Run " (name) } };
    document(&format!("Run {name}"), &format!("/runs/{name}/events"), &head, sections)
}

fn document(title: &str, events: &str, head: &Markup, sections: &[Section]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · k8s-auto-fix" }
                link rel="stylesheet" href="/live.css";
                script src="/live.js" defer {}
            }
            body data-events=(events) {
                a.skip href="#main" { "Skip to the content" }
                header {
                    (head)
                    p #link role="status" { "as of when the page was opened" }
                }
                main #main tabindex="-1" {
                    @for (id, html) in sections {
                        section aria-labelledby={ (id) "-head" } {
                            h2 id={ (id) "-head" } { (heading(id)) }
                            // Rendered here with every text escaped.
                            div id=(id) { (PreEscaped(html.as_str())) }
                        }
                    }
                    section aria-labelledby="operator-head" {
                        h2 #operator-head { "Operator" }
                        details {
                            summary { "Cancel runs and drain workers" }
                            form #operator {
                                label for="token" { "Token of an operator" }
                                input #token type="password" autocomplete="off" spellcheck="false";
                                button type="submit" { "Use" }
                                p { "It stays in this page until that is closed, and is sent with what you press alone." }
                            }
                        }
                        p #answer role="status" {}
                    }
                }
                footer { p { a href="/metrics" { "metrics" } " · " a href="/healthz" { "health" } } }
            }
        }
    };
    page.into_string()
}

fn heading(id: &str) -> &'static str {
    HEADINGS.iter().find(|(known, _)| *known == id).map_or("", |(_, heading)| heading)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_run_no_script_but_ours_and_every_part_has_a_heading() {
        let sections = [("runs", "<p>none</p>".to_owned()), ("limits", String::new())];
        let html = overview(&sections);
        assert_eq!(html.matches("<script").count(), 1, "{html}");
        assert!(html.contains("<script src=\"/live.js\" defer></script>"));
        assert!(html.contains("name=\"viewport\"") && html.contains("lang=\"en\""));
        assert!(html.contains("<div id=\"runs\"><p>none</p></div>") && html.contains("Limits of providers"));
        for forbidden in ["style=", "onclick", "http://", "https://", "http-equiv"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        let html = of_run(&RunId::new("night").unwrap(), &[("facts", String::new())]);
        assert!(html.contains("data-events=\"/runs/night/events\"") && html.contains("<h1>Run night</h1>"));
        assert!(HEADINGS.iter().all(|(id, head)| heading(id) == *head));
    }
}
