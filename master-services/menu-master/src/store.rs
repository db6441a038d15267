//! What menu-master keeps beside the engine's tables: the currency of each country.

use std::collections::BTreeMap;

use mesh_contracts::geo::Country;
use mesh_contracts::money::Money;
use sqlx::{Postgres, Transaction};

use crate::domain::Currencies;

/// Fixes the currency of countries that had none, and says which currency each of them has. Until the transaction
/// ends, others with the same new country wait; if it is rolled back, nothing is fixed.
pub async fn fix_currencies(
    tx: &mut Transaction<'_, Postgres>,
    prices: &BTreeMap<Country, Money>,
) -> sqlx::Result<Currencies> {
    let countries: Vec<&str> = prices.keys().map(Country::as_str).collect();
    let currencies: Vec<&str> = prices.values().map(|price| price.currency.as_str()).collect();
    // The map's order is the same for everyone, so two transactions never wait for each other in a circle.
    sqlx::query(
        "insert into country_currencies (country, currency) select * from unnest($1::text[], $2::text[])
         on conflict do nothing",
    )
    .bind(&countries)
    .bind(&currencies)
    .execute(&mut **tx)
    .await?;
    let rows: Vec<(String, String)> =
        sqlx::query_as("select country, currency from country_currencies where country = any($1)")
            .bind(&countries)
            .fetch_all(&mut **tx)
            .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(country, currency)| Some((Country::parse(&country)?, currency.parse().ok()?)))
        .collect())
}
