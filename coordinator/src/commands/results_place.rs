//! Opens the place of results that the command line names.

use cli_support::failure::WithHint as _;
use cli_support::output;
use results::store::{Conditions, Store, StoreError};

/// Opens a folder, or a bucket by its URL. A bucket is written to first: so wrong credentials or a missing bucket are said
/// before a corpus is read.
pub(super) async fn open_results(location: &str) -> anyhow::Result<Store> {
    let store = Store::open(location)?;
    let found = store.probe().await;
    let found = match found {
        Err(error @ StoreError::Failed { .. }) => {
            let refused: anyhow::Result<Conditions> = Err(error.into());
            refused.hint(
                "the bucket must be there, and its credentials be in the environment, as the programs of its cloud take them \
                 (AWS_*, GOOGLE_*, AZURE_*), or be the identity of this machine",
            )?
        }
        found => found?,
    };
    if found == Conditions::Ignored {
        output::say(&format!(
            "{}: this server ignores conditions of writes; nothing depends on them here",
            store.location()
        ));
    }
    Ok(store)
}
