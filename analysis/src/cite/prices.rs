//! The prices of the model that a run asked, and when they were read.

use domain::budget::Price;
use domain::config::{ModelConfig, ProposerMode, RunConfig};
use serde::{Deserialize, Serialize};

/// The list of prices that the programs of this release know.
const LIST: &str = include_str!("../../../configs/prices.yaml");

/// Prices of a model as its run has them, in US dollars per million tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Priced {
    pub(crate) model: String,
    pub(crate) price: Price,
    /// The day on which these prices were read, where they are those of this program's list. A run itself records prices
    /// without a day.
    pub(crate) read: Option<String>,
    /// Where the provider publishes them, of the same list.
    pub(crate) page: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    model: String,
    input: Option<f64>,
    cached_input: Option<f64>,
    output: Option<f64>,
    read: String,
    page: String,
}

/// The prices of the model that a run with this configuration asks; `None`: it has no price.
pub(super) fn of(config: &RunConfig) -> Option<Priced> {
    let ModelConfig { model, price } = match config.proposer.mode {
        ProposerMode::Grok => &config.grok,
        ProposerMode::Vendor => &config.vendor,
        ProposerMode::Vllm => &config.vllm,
        ProposerMode::Rules | ProposerMode::Command => return None,
    };
    if !price.is_known() {
        return None;
    }
    let listed: Vec<Listed> = serde_saphyr::from_str(LIST).unwrap_or_default();
    let same = |of: &Listed| {
        of.model == *model
            && (of.input, of.cached_input, of.output) == (price.input, price.cached_input, price.output)
    };
    let (read, page) = listed.into_iter().find(same).map(|of| (of.read, of.page)).unzip();
    Some(Priced { model: model.clone(), price: *price, read, page })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_prices_of_the_list_have_its_day() {
        let listed: Vec<Listed> = serde_saphyr::from_str(LIST).unwrap();
        let first = listed.iter().find(|of| of.input.is_some() && of.output.is_some()).unwrap();
        let mut config = RunConfig::default();
        assert_eq!(of(&config), None, "the rules have no price");
        config.proposer.mode = ProposerMode::Grok;
        config.grok.model.clone_from(&first.model);
        config.grok.price = Price {
            input: first.input,
            cached_input: first.cached_input,
            output: first.output,
            ..Price::default()
        };
        assert_eq!(of(&config).unwrap().read.as_ref(), Some(&first.read));
        config.grok.price.output = first.output.map(|price| price + 1.0);
        let other = of(&config).unwrap();
        assert_eq!((other.read, other.page), (None, None));
        config.grok.price = Price::default();
        assert_eq!(of(&config), None);
    }
}
