//! The live page over HTTP: its events, who may read and who may do something, its bounds.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{PATIENCE, Process, worker_binary};
use crate::support::{coordinator, detections};

/// A serving coordinator with its page.
struct Page {
    _process: Process,
    /// Address of the coordinator.
    url: String,
    /// Address of the page.
    http: String,
    viewer: String,
    operator: String,
}

impl Page {
    fn serve(state: &Path) -> Self {
        let arguments =
            ["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state", state.to_str().unwrap()];
        let mut process = Process::coordinator(&arguments);
        let line = process.wait_for("serving http://");
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
        let url = url.trim_end_matches(',').to_owned();
        let line = process.wait_for("status page on http://");
        let http = line.rsplit_once("http://").unwrap().1.to_owned();
        let token = |role: &str| {
            let line = std::fs::read_to_string(state.join(format!("access/{role}.token"))).unwrap();
            format!("Authorization: Bearer {}\r\n", line.split_whitespace().nth(1).unwrap())
        };
        Self { url, http, viewer: token("viewer"), operator: token("operator"), _process: process }
    }

    fn submit(&self, folder: &Path, run: &str) {
        let corpus = folder.join("detections.json");
        detections(&corpus, 40);
        let corpus = corpus.to_str().unwrap();
        let arguments =
            ["submit", "--to", &self.url, "--corpus", corpus, "--run-id", run, "--shard-size", "10"];
        let output = coordinator(&arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Head and body of the answer to a request with these header lines.
    fn ask(&self, method: &str, path: &str, headers: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        let host = &self.http;
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    fn get(&self, path: &str) -> (String, String) {
        self.ask("GET", path, &self.viewer)
    }

    /// Status of a POST request.
    fn post(&self, path: &str, headers: &str) -> u16 {
        let (head, _) = self.ask("POST", path, &format!("{headers}Content-Length: 0\r\n"));
        head.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn watch(&self, path: &str) -> Watch {
        let stream = TcpStream::connect(&self.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(&stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n{}\r\n", self.http, self.viewer).unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
        }
        Watch { lines, head }
    }
}

/// A stream of events.
struct Watch {
    lines: BufReader<TcpStream>,
    head: String,
}

impl Watch {
    /// The next event.
    fn next(&mut self) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "the stream ended");
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }

    /// The first event whose part `section` contains `text`.
    fn until(&mut self, section: &str, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let event = self.next();
            let html = event["sections"][section].as_str().unwrap_or_default();
            if html.contains(text) {
                return html.to_owned();
            }
            assert!(Instant::now() < until, "no {text:?} in {event}");
        }
    }
}

#[test]
fn the_page_changes_as_runs_do_and_loads_only_what_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let page = Page::serve(&folder.path().join("state"));
    let (head, html) = page.get("/");
    assert!(head.contains("200 OK") && html.contains("No runs yet"), "{head}\n{html}");
    let policy = head.lines().find(|line| line.starts_with("content-security-policy: ")).unwrap();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(
        head.contains("x-content-type-options: nosniff") && head.contains("referrer-policy: no-referrer"),
        "{head}"
    );
    for (path, kind) in [("/live.js", "text/javascript"), ("/live.css", "text/css")] {
        assert!(html.contains(path));
        let (head, _) = page.get(path);
        assert!(head.contains("200 OK") && head.contains(kind), "{head}");
    }

    let mut watch = page.watch("/events");
    assert!(watch.head.contains("200 OK") && watch.head.contains("text/event-stream"), "{}", watch.head);
    assert!(watch.next()["sections"]["workers"].as_str().unwrap().contains("No worker is connected"));
    page.submit(folder.path(), "night");
    let runs = watch.until("runs", "/runs/night");
    assert!(runs.contains("0 of 40 records") && runs.contains("running"), "{runs}");
    let (head, html) = page.get("/runs/night");
    assert!(head.contains("200 OK") && html.contains("<h1>Run night</h1>"), "{head}\n{html}");
    let mut of_run = page.watch("/runs/night/events");
    assert!(of_run.next()["sections"]["facts"].as_str().unwrap().contains("0 of 4 committed"));
    for path in ["/runs/none", "/runs/..%2f", "/runs/a%20b"] {
        assert!(page.get(path).0.contains("404"), "{path}");
    }
    assert!(page.watch("/runs/none/events").next()["trouble"].as_str().unwrap().contains("not known"));

    let Some(worker) = worker_binary() else { return };
    let mut worker =
        Process::start(&worker, &["serve", "--coordinator", &page.url, "--name", "w", "--slots", "1"]);
    let facts = of_run.until("facts", "finished");
    assert!(facts.contains("committed, 0 leased") && facts.contains("fingerprint"), "{facts}");
    let (_, html) = page.get("/runs/night");
    assert!(html.contains("accepted <strong>"), "{html}");
    watch.until("workers", "idle");
    worker.assert_alive();
    assert_eq!(page.post("/workers/w/drain", &page.viewer), 403);
    assert_eq!(page.post("/workers/w/drain", &page.operator), 200);
    assert_eq!(worker.end().status.code(), Some(0), "it was drained");
    assert_eq!(page.post("/workers/w/drain", &page.operator), 404);
}

#[test]
fn only_operators_cancel_and_no_other_site_does() {
    let folder = tempfile::tempdir().unwrap();
    let page = Page::serve(&folder.path().join("state"));
    page.submit(folder.path(), "r");
    let mut watch = page.watch("/events");
    let post = |headers: &str| page.post("/runs/r/cancel", headers);
    assert_eq!(post(""), 401);
    assert_eq!(post(&page.viewer), 403);
    assert_eq!(post("Authorization: Bearer 0123456789abcdef\r\n"), 401);
    assert_eq!(post(&format!("{}Origin: http://evil.example.org\r\n", page.operator)), 403);
    assert_eq!(post(&format!("{}Sec-Fetch-Site: cross-site\r\n", page.operator)), 403);
    assert_eq!(page.ask("GET", "/runs/r/cancel", &page.operator).0.split_whitespace().nth(1), Some("405"));
    assert!(watch.next()["sections"]["runs"].as_str().unwrap().contains("running"), "nothing was done");
    assert_eq!(post(&format!("{}Origin: http://{}\r\n", page.operator, page.http)), 200);
    watch.until("runs", "cancelled");
    assert_eq!(page.post("/runs/none/cancel", &page.operator), 404);
}

#[test]
fn streams_are_bounded_and_a_place_is_free_again() {
    let folder = tempfile::tempdir().unwrap();
    let page = Page::serve(&folder.path().join("state"));
    let mut watches: Vec<Watch> = (0..56).map(|_| page.watch("/events")).collect();
    for watch in &mut watches {
        watch.next();
    }
    let refused = page.watch("/events");
    assert!(refused.head.contains("503") && refused.head.contains("retry-after"), "{}", refused.head);
    drop(refused);
    assert!(page.get("/metrics").0.contains("200 OK"), "others are served beside them");
    page.submit(folder.path(), "r");
    for watch in &mut watches {
        watch.until("runs", "/runs/r");
    }
    drop(watches);
    let until = Instant::now() + PATIENCE;
    while !page.watch("/events").head.contains("200 OK") {
        assert!(Instant::now() < until, "no place becomes free");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn events_need_a_viewer() {
    let folder = tempfile::tempdir().unwrap();
    let page = Page::serve(&folder.path().join("state"));
    for path in ["/events", "/runs/r/events", "/runs/r", "/live.js"] {
        assert!(page.ask("GET", path, "").0.contains("401"), "{path}");
    }
}
