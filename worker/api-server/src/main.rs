//! `control-plane [VERSION]`: a throw-away control plane, until standard input ends. Prints the path of its kubeconfig when
//! it answers.

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use api_server::control_plane::{self, Options};
use api_server::{ApiServer, ConnectError, Limits, Source};

fn main() -> ExitCode {
    if let Some(code) = control_plane::supervise() {
        return code;
    }
    let version = std::env::args().nth(1);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(run(version)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

async fn run(version: Option<String>) -> Result<(), ConnectError> {
    let source = Source::ControlPlane(Options { version, supervisor: None });
    let server = ApiServer::connect(&source, Limits::default()).await?;
    let kubeconfig = server.kubeconfig().await.unwrap_or_default();
    let _ = writeln!(io::stdout(), "{}", kubeconfig.display());
    let _ = io::stdout().flush();
    let wait = || io::copy(&mut io::stdin().take(u64::MAX), &mut io::sink());
    let _ = tokio::task::spawn_blocking(wait).await;
    server.stop().await;
    Ok(())
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    let _ = writeln!(io::stderr(), "control-plane: {text}");
    ExitCode::from(2)
}
