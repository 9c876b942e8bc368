//! Verdicts of API servers and who judges a run, in SQL.

use domain::api_server::{ServerIdentity, ServerVerdict};
use domain::ids::DocumentHash;
use domain::scanner::ScannerVersions;
use tokio_postgres::{Client, Error};

use crate::llm_gateway::response_cache::JudgedRun;

/// The server that judges a run. What is not valid was not written by this program: it counts as missing, and is replaced.
pub(super) async fn judge_of(client: &Client, run: &JudgedRun) -> Result<Option<ServerIdentity>, Error> {
    let query = "SELECT version, flags FROM judged_runs JOIN servers USING (server) WHERE run = $1";
    let Some(row) = client.query_opt(query, &[&run.as_str()]).await? else { return Ok(None) };
    let (version, flags): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    Ok(ServerIdentity::new(version, flags).ok())
}

/// Records the server that judges a run, unless one is; returns the one that is recorded.
pub(super) async fn settle_judge(
    client: &Client,
    run: &JudgedRun,
    server: &ServerIdentity,
) -> Result<ServerIdentity, Error> {
    if let Some(recorded) = judge_of(client, run).await? {
        return Ok(recorded);
    }
    let number = number_of(client, server).await?;
    let insert =
        "INSERT INTO judged_runs VALUES ($1, $2) ON CONFLICT (run) DO UPDATE SET server = excluded.server";
    client.execute(insert, &[&run.as_str(), &number]).await?;
    Ok(server.clone())
}

/// The scanners that judge a run; invalid ones as above.
pub(super) async fn scanners_of(client: &Client, run: &JudgedRun) -> Result<Option<ScannerVersions>, Error> {
    let row = client.query_opt("SELECT scanners FROM scanned_runs WHERE run = $1", &[&run.as_str()]).await?;
    let json: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
    Ok(json.and_then(|json| serde_json::from_str(&json).ok()))
}

/// Records the scanners that judge a run, unless some are; returns those that are recorded.
pub(super) async fn settle_scanners(
    client: &Client,
    run: &JudgedRun,
    versions: &ScannerVersions,
) -> Result<ScannerVersions, Error> {
    if let Some(recorded) = scanners_of(client, run).await? {
        return Ok(recorded);
    }
    // Does not fail: they are a map of texts.
    let json = serde_json::to_string(versions).unwrap_or_default();
    let insert = "INSERT INTO scanned_runs VALUES ($1, $2) ON CONFLICT (run) DO UPDATE SET scanners = excluded.scanners";
    client.execute(insert, &[&run.as_str(), &json]).await?;
    Ok(versions.clone())
}

/// The verdicts of a server that are known among those about `texts`, in their order. A damaged one counts as missing.
pub(super) async fn of(
    client: &Client,
    server: &ServerIdentity,
    texts: &[DocumentHash],
) -> Result<Vec<(DocumentHash, ServerVerdict)>, Error> {
    let hashes: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes().as_slice()).collect();
    let query = "SELECT t.place, v.verdict FROM unnest($3::bytea[]) WITH ORDINALITY AS t (document, place) \
                 JOIN verdicts v USING (document) JOIN servers s USING (server) \
                 WHERE s.version = $1 AND s.flags = $2 ORDER BY t.place";
    let rows = client.query(query, &[&server.version(), &server.flags(), &hashes]).await?;
    let mut found = Vec::new();
    for row in &rows {
        let (place, verdict): (i64, &str) = (row.try_get(0)?, row.try_get(1)?);
        let text = usize::try_from(place).ok().and_then(|place| texts.get(place.checked_sub(1)?));
        found.extend(text.copied().zip(serde_json::from_str(verdict).ok()));
    }
    Ok(found)
}

/// Stores verdicts of a server. One that is stored stays as it is.
pub(super) async fn put(
    client: &Client,
    server: &ServerIdentity,
    verdicts: &[(DocumentHash, ServerVerdict)],
) -> Result<(), Error> {
    let number = number_of(client, server).await?;
    let hashes: Vec<&[u8]> = verdicts.iter().map(|(text, _)| text.as_bytes().as_slice()).collect();
    // Does not fail: a verdict has only texts and numbers.
    let json: Vec<String> =
        verdicts.iter().map(|(_, verdict)| serde_json::to_string(verdict).unwrap_or_default()).collect();
    let insert = "INSERT INTO verdicts SELECT $1::bigint, * FROM unnest($2::bytea[], $3::text[]) ON CONFLICT DO NOTHING";
    client.execute(insert, &[&number, &hashes, &json]).await?;
    Ok(())
}

/// The number of a server, which gets one where it has none.
async fn number_of(client: &Client, server: &ServerIdentity) -> Result<i64, Error> {
    let row = (server.version(), server.flags());
    let insert = "INSERT INTO servers (version, flags) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    client.execute(insert, &[&row.0, &row.1]).await?;
    let query = "SELECT server FROM servers WHERE version = $1 AND flags = $2";
    client.query_one(query, &[&row.0, &row.1]).await?.try_get(0)
}
