//! An S3 server for the tests of several crates.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use domain::testing::skipped_optional;

/// A server with an empty bucket `results`; it ends with this value, or with this process.
#[derive(Debug)]
pub(crate) struct S3Server {
    url: String,
    held: Child,
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.held.stdin.take());
        let _ = self.held.wait();
    }
}

/// The secret key of the tests, which nothing may show.
pub(crate) const SECRET: &str = "hush-hush-hush";

fn script() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let above = own.ancestors().find(|folder| folder.join("scripts/s3").is_file());
    above.unwrap_or(own).join("scripts/s3")
}

impl S3Server {
    /// Starts a server with these options of `scripts/s3 hold`; `None`, and the test is skipped, where there is none.
    #[track_caller]
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        if !Command::new(script()).arg("path").output().is_ok_and(|found| found.status.success()) {
            skipped_optional("no S3 server (scripts/s3 install)");
            return None;
        }
        let mut command = Command::new(script());
        command.arg("hold").args(options).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut held = command.spawn().unwrap();
        let mut url = String::new();
        BufReader::new(held.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http://"), "the server did not start");
        Some(Self { url: url.trim().to_owned(), held })
    }

    /// Variables by which a program finds it.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let variables = [
            ("AWS_ENDPOINT_URL", self.url.as_str()),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", "us-east-1"),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }
}
