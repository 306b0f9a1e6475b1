//! What tokens cost, for CLIs that do not say it. One data file; an estimate is marked as one.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use cloud_code_task_schema::{Usage, Usd};
use serde::Deserialize;

/// Dollars for a million tokens, by model.
const TABLE: &str = include_str!("../prices.yaml");
/// Tokens that a price is of.
const UNIT: f64 = 1e6;

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Price {
    input: f64,
    output: f64,
    /// Where the provider has no price of its own for it, as `input`.
    cache_read: Option<f64>,
    /// The same.
    cache_write: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Table {
    models: BTreeMap<String, Price>,
}

fn table() -> &'static BTreeMap<String, Price> {
    static READ: OnceLock<BTreeMap<String, Price>> = OnceLock::new();
    READ.get_or_init(|| match serde_yaml::from_str::<Table>(TABLE) {
        Ok(table) => table.models,
        Err(error) => {
            tracing::error!(error = %error, "the table of prices cannot be read; nothing is estimated");
            BTreeMap::new()
        }
    })
}

/// What so many tokens of a model cost; nothing when the model or the tokens are not known.
pub(crate) fn estimate(model: &str, usage: &Usage) -> Option<Usd> {
    let price = price(model)?;
    usage.input_tokens.or(usage.output_tokens)?;
    let cost = |tokens: Option<u64>, price: f64| {
        #[expect(clippy::cast_precision_loss, reason = "an estimate of money needs no 53 bits")]
        let tokens = tokens.unwrap_or_default() as f64;
        tokens / UNIT * price
    };
    let total = cost(usage.input_tokens, price.input)
        + cost(usage.output_tokens, price.output)
        + cost(usage.cache_read_tokens, price.cache_read.unwrap_or(price.input))
        + cost(usage.cache_write_tokens, price.cache_write.unwrap_or(price.input));
    Usd::new(total).ok()
}

/// A model's price, by its name without the provider before it and without the date behind it.
fn price(model: &str) -> Option<Price> {
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    let name = name.strip_suffix("-latest").unwrap_or(&name);
    table().get(name).or_else(|| table().get(undated(name))).copied()
}

/// Without `-2026-03-05`, `-20260305` or `@20260305` at its end.
fn undated(name: &str) -> &str {
    let is_date = |text: &str| {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        digits.len() == 8 && digits.starts_with("20") && digits.bytes().all(|b| b.is_ascii_digit())
    };
    let cuts = [10, 8].into_iter().filter_map(|length| name.len().checked_sub(length + 1));
    let dated = |at: usize| {
        let (stem, date) = name.split_at_checked(at)?;
        let date = date.strip_prefix('-').or_else(|| date.strip_prefix('@'))?;
        is_date(date).then_some(stem)
    };
    cuts.filter_map(dated).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_and_every_price_is_one() {
        let table = table();
        assert!(table.len() > 20, "{}", table.len());
        for (model, price) in table {
            let named = [Some(price.input), Some(price.output), price.cache_read, price.cache_write];
            assert!(named.into_iter().flatten().all(|price| (0.0..=1000.0).contains(&price)), "{model}");
            assert_eq!(*model, model.to_ascii_lowercase());
        }
    }

    #[test]
    fn tokens_are_priced_by_their_kind() {
        let price = price("claude-sonnet-4-5").unwrap();
        let usage = Usage {
            input_tokens: Some(1_000_000),
            output_tokens: Some(500_000),
            cache_read_tokens: Some(2_000_000),
            ..Usage::default()
        };
        let expected = price.input + price.output / 2.0 + price.cache_read.unwrap() * 2.0;
        assert_eq!(estimate("anthropic/claude-sonnet-4-5-20250929", &usage), Usd::new(expected).ok());
    }

    #[test]
    fn a_date_behind_the_name_does_not_matter() {
        for (name, stem) in [
            ("gpt-5.4-2026-03-05", "gpt-5.4"),
            ("claude-opus-4-6-20260205", "claude-opus-4-6"),
            ("claude-opus-4-6@20260205", "claude-opus-4-6"),
            ("gpt-5.4", "gpt-5.4"),
            ("o3", "o3"),
            ("x-12345678", "x-12345678"),
        ] {
            assert_eq!(undated(name), stem);
        }
    }

    #[test]
    fn what_is_not_known_has_no_price() {
        let usage = Usage { input_tokens: Some(5), ..Usage::default() };
        assert_eq!(estimate("a-model-of-my-own", &usage), None);
        assert_eq!(estimate("claude-sonnet-4-5", &Usage::default()), None);
    }
}
