//! The HTTP endpoints of `coordinator serve`: one listener for the whole process, served by the owner and by a standby in turn.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use cli_support::output;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::args::Args;
use crate::run::Coordinator;
use crate::server::access::AccessControl;
use crate::server::http::{self, PageAccess};
use crate::server::roles::Role;
use crate::server::tokens;

/// Where the endpoints listen.
pub(super) struct Page {
    listener: std::net::TcpListener,
    access: Arc<PageAccess>,
}

/// The endpoints as one of the two serves them.
pub(super) struct Served {
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    pub(super) async fn end(self) {
        drop(self.stop);
        // Its task does nothing that could fail but serve.
        let _ = self.task.await;
    }
}

impl Page {
    /// Listens where the arguments ask for it.
    pub(super) async fn listen(args: &Args, access: Arc<AccessControl>) -> anyhow::Result<Option<Self>> {
        let Some(address) = args.http else { return Ok(None) };
        let listener = cli_support::http::listen(address, args.insecure).await?.into_std()?;
        let access = Arc::new(PageAccess::new(access, args.http_host.clone())?);
        Ok(Some(Self { listener, access }))
    }

    /// Serves the runs of the coordinator.
    pub(super) fn of_owner(&self, args: &Args, coordinator: &Arc<Coordinator>) -> anyhow::Result<Served> {
        announce(self.listener.local_addr()?, &self.access, &args.state)?;
        self.serve(http::router(coordinator, Arc::clone(&self.access)))
    }

    /// Serves the health of a standby: it works, and is not ready.
    pub(super) fn of_standby(&self) -> anyhow::Result<Served> {
        let standby = (StatusCode::SERVICE_UNAVAILABLE, "standby: another coordinator is the owner\n");
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .fallback(move || async move { standby });
        self.serve(router)
    }

    fn serve(&self, router: Router) -> anyhow::Result<Served> {
        let listener = TcpListener::from_std(self.listener.try_clone()?)?;
        let (stop, mut stopped) = watch::channel(());
        let task = tokio::spawn(cli_support::http::serve(listener, router, async move {
            // Nothing is sent on it: it ends when the sender is dropped.
            let _ = stopped.changed().await;
        }));
        Ok(Served { stop, task })
    }
}

/// Says where the page is. The link that makes a browser a viewer is printed on a terminal alone: it must not be kept in
/// a log.
fn announce(address: SocketAddr, page: &PageAccess, state: &std::path::Path) -> anyhow::Result<()> {
    output::say(&format!("status page on http://{address}"));
    if std::io::stderr().is_terminal() {
        output::say(&format!("open it once by http://{address}{}", page.one_time_link()?));
    } else {
        let token = tokens::path(state, Role::Viewer);
        output::say(&format!("it needs the token in {}", token.display()));
    }
    Ok(())
}
