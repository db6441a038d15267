//! What menu-master keeps beside the engine's tables: the currency of each country, and the known ingredients.

use std::collections::BTreeMap;

use mesh_contracts::geo::Country;
use mesh_contracts::menu::Product;
use mesh_contracts::money::{Currency, Money};
use sqlx::{PgPool, Postgres, Transaction};

use crate::domain::{Currencies, Ingredients, Known, is_name};

/// Records what a description makes known, and says what is known of what it names. If the transaction is rolled
/// back, nothing was recorded.
pub async fn make_known(tx: &mut Transaction<'_, Postgres>, product: &Product) -> sqlx::Result<Known> {
    Ok(Known {
        currencies: fix_currencies(tx, &product.prices).await?,
        ingredients: name_ingredients(tx, product).await?,
    })
}

/// The currency of the prices in a country, if anything was ever sold there.
pub async fn currency(pool: &PgPool, country: Country) -> sqlx::Result<Option<Currency>> {
    let currency: Option<String> = sqlx::query_scalar("select currency from country_currencies where country = $1")
        .bind(country.as_str())
        .fetch_optional(pool)
        .await?;
    Ok(currency.and_then(|currency| currency.parse().ok()))
}

/// The name that was given last counts. What cannot be a name is refused later, by the rules.
async fn name_ingredients(tx: &mut Transaction<'_, Postgres>, product: &Product) -> sqlx::Result<Ingredients> {
    let lines = product.recipe_lines();
    let mentioned: BTreeMap<String, String> = lines
        .map(|line| (line.ingredient.to_string(), line.name.trim().to_owned()))
        .collect();
    let named = mentioned.iter().filter(|(_, name)| is_name(name));
    let (ids, names): (Vec<&str>, Vec<&str>) = named.map(|(id, name)| (id.as_str(), name.as_str())).unzip();
    // In the map's order, as with currencies.
    sqlx::query(
        "insert into ingredients (ingredient, name) select * from unnest($1::text[], $2::text[])
         on conflict (ingredient) do update set name = excluded.name where ingredients.name <> excluded.name",
    )
    .bind(&ids)
    .bind(&names)
    .execute(&mut **tx)
    .await?;
    let ids: Vec<&str> = mentioned.keys().map(String::as_str).collect();
    let rows: Vec<(String, String)> =
        sqlx::query_as("select ingredient, name from ingredients where ingredient = any($1)")
            .bind(&ids)
            .fetch_all(&mut **tx)
            .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(id, name)| Some((id.parse().ok()?, name)))
        .collect())
}

/// Fixes the currency of countries that had none, and says which currency each of them has. Until the transaction
/// ends, others with the same new country wait; if it is rolled back, nothing is fixed.
async fn fix_currencies(
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
