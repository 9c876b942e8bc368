//! HTML status page as a pure function of runs and workers. The page reloads itself every two seconds, and loads no
//! other resource.

use std::fmt::Write as _;

use cli_support::escape::visible;
use cli_support::progress::duration;
use proto::convert::{RunStatus, WorkerStatus};

use crate::view::llm_line;
use crate::view::status_table::{seconds_left, waiting};

/// Style sheet of the page.
const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2em;color:#222;background:#fff}\
    table{border-collapse:collapse;margin:0 0 2em}th,td{padding:.2em .9em;text-align:right;border-bottom:1px solid #ddd}\
    th:first-child,td:first-child,.t{text-align:left}.bad{color:#a00}progress{width:10em}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}th,td{border-color:#444}.bad{color:#f77}}";

/// Renders the page from `runs`, which are ordered from oldest to newest.
pub(super) fn render(runs: &[RunStatus], workers: &[WorkerStatus]) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"2\">\
         <title>k8s-auto-fix coordinator</title><style>{STYLE}</style></head><body><h1>Runs</h1>"
    );
    if runs.is_empty() {
        html.push_str("<p>No runs yet.</p>");
    } else {
        html.push_str(
            "<table><tr><th>run</th><th class=\"t\">state</th><th class=\"t\">done</th><th>records</th>\
             <th>accepted</th><th>rejected</th><th>to review</th><th>errors</th><th>shards done</th><th>leased</th>\
             <th>waiting</th><th>records/s</th><th>left</th></tr>",
        );
        // Newest first.
        for run in runs.iter().rev() {
            row_of_run(&mut html, run);
        }
        html.push_str("</table>");
    }
    html.push_str("<h1>Workers</h1>");
    if workers.is_empty() {
        html.push_str("<p>No worker is connected.</p>");
    } else {
        html.push_str(
            "<table><tr><th>worker</th><th>slots</th><th>leased</th><th>shards</th><th>records</th>\
             <th>records/s</th><th>last seen</th><th class=\"t\"></th></tr>",
        );
        for worker in workers {
            row_of_worker(&mut html, worker);
        }
        html.push_str("</table>");
    }
    html.push_str(
        "<p><a href=\"/metrics\">metrics</a> · <a href=\"/healthz\">health</a></p></body></html>\n",
    );
    html
}

fn row_of_run(html: &mut String, run: &RunStatus) {
    let tally = &run.tally;
    let _ = write!(
        html,
        "<tr><td>{}</td><td class=\"t\">{}</td><td class=\"t\"><progress max=\"{}\" value=\"{}\"></progress></td>\
         <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}/{}</td><td>{}</td><td>{}</td><td>{:.1}</td>\
         <td>{}</td></tr>",
        escaped(run.run_id.as_str()),
        run.state.as_str(),
        run.records.max(1),
        tally.records,
        run.records,
        tally.accepted,
        tally.rejected,
        tally.needs_review,
        tally.errors,
        run.committed,
        run.shards,
        run.leased,
        waiting(run),
        run.records_per_s,
        seconds_left(run).map_or_else(String::new, duration),
    );
    if let Some(line) = llm_line::line(run) {
        let _ = write!(html, "<tr><td colspan=\"13\" class=\"t\">{}</td></tr>", escaped(&line));
    }
    if let Some(trouble) = &run.trouble {
        let _ = write!(html, "<tr><td colspan=\"13\" class=\"t bad\">{}</td></tr>", escaped(trouble));
    }
}

fn row_of_worker(html: &mut String, worker: &WorkerStatus) {
    let _ = write!(
        html,
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.1}</td><td>{} ago</td><td class=\"t\">{}</td>\
         </tr>",
        escaped(worker.worker.as_str()),
        worker.slots,
        worker.leased,
        worker.shards,
        worker.records,
        worker.records_per_s,
        duration(worker.silent.as_secs_f64()),
        if worker.draining { "draining" } else { "" },
    );
}

/// Escapes text for HTML, and what acts on a reader.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use domain::run::RunState;

    use super::*;
    use crate::view::status_table::tests::{run, worker};

    /// Position of the first occurrence of each of `texts`.
    fn positions<const N: usize>(html: &str, texts: [&str; N]) -> [usize; N] {
        texts.map(|text| html.find(text).unwrap_or_else(|| panic!("no {text:?} in {html}")))
    }

    #[test]
    fn an_empty_page_has_a_text_for_each_table() {
        let html = render(&[], &[]);
        positions(&html, ["No runs yet", "No worker is connected"]);
        assert!(!html.contains("<table"), "{html}");
    }

    #[test]
    fn runs_and_workers_are_shown_the_newest_run_first() {
        let runs = [run("old", RunState::Finished, 13_656), run("night", RunState::Running, 4000)];
        let html = render(&runs, &[worker("alpha", false), worker("beta", true)]);
        assert!(!html.contains("No runs yet") && !html.contains("No worker is connected"), "{html}");
        assert_eq!(html.matches("<table").count(), 2);
        let order = [
            "<td>night</td>",
            "value=\"4000\"",
            "<td>3600</td>",
            "<td>16/55</td>",
            "<td>old</td>",
            "<td>54/55</td>",
        ];
        assert!(positions(&html, order).is_sorted(), "{html}");
        let order = ["<td>old</td>", "<td>alpha</td>", "4 s ago", "<td>beta</td>", "draining"];
        assert!(positions(&html, order).is_sorted(), "{html}");
        assert_eq!(html.matches("draining").count(), 1, "only beta is draining");
    }

    #[test]
    fn the_page_loads_no_resource_and_its_texts_are_escaped() {
        let mut hostile = run("r", RunState::Running, 0);
        hostile.trouble = Some("<script src=http://x>a && 'b' \"c\"</script>".to_owned());
        let html = render(&[hostile], &[worker("alpha", false)]);
        positions(&html, ["&lt;script src=http:", "a &amp;&amp; "]);
        // As escaped text this address loads nothing.
        let without = html.replacen("src=http://x", "", 1);
        for reference in ["http://", "https://", "<script", "src=", "@import", "url("] {
            assert!(!without.contains(reference), "{reference}");
        }
    }

    #[test]
    fn html_metacharacters_are_escaped() {
        assert_eq!(escaped("<b a='1'>&\""), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;");
    }
}
