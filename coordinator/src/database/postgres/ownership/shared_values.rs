//! Values that all coordinators at a server share: the first one that needs a value makes it.

use std::time::Duration;

use tokio::time::Instant;

use crate::database::postgres::{Engine, EngineResult, trouble};

/// How long a server that is not available is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// The value of this name; `new` is stored where there is none.
///
/// # Errors
/// As any use of the server.
pub(crate) async fn shared_value(engine: &Engine, name: &str, new: &[u8]) -> EngineResult<Vec<u8>> {
    let session = engine.open(Instant::now() + PATIENCE).await?;
    let stored = async {
        let client = &session.client;
        client
            .execute("INSERT INTO shared_values VALUES ($1, $2) ON CONFLICT DO NOTHING", &[&name, &new])
            .await?;
        let row = client.query_one("SELECT value FROM shared_values WHERE name = $1", &[&name]).await?;
        row.try_get(0)
    };
    stored.await.map_err(|error: tokio_postgres::Error| trouble(&error))
}
