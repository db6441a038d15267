//! What one portion costs as the customer wants it.

use mesh_contracts::geo::Country;
use mesh_contracts::menu::{Chosen, OptionGroup, Pick, Slug};
use mesh_contracts::money::Money;
use mesh_contracts::view::product::Product;

use crate::domain::Rejection;

/// A portion with its choices, in the menu's order, whatever order they were picked in.
pub(super) struct Priced {
    pub(super) unit_price: Money,
    pub(super) options: Vec<Chosen>,
    pub(super) tax_bp: u32,
}

/// By today's menu, or why it cannot be had like that.
pub(super) fn priced(menu: &Product, country: Country, picks: &[Pick]) -> Result<Priced, Rejection> {
    let price = menu.price_in(country).ok_or(Rejection::NotSoldHere)?;
    for (at, pick) in picks.iter().enumerate() {
        if menu.product.choice(&pick.group, &pick.choice).is_none() {
            return Err(Rejection::UnknownOption { at });
        }
        if picks[..at].contains(pick) {
            return Err(Rejection::OptionTwice { at });
        }
    }
    let mut options = Vec::with_capacity(picks.len());
    for group in &menu.product.options {
        let before = options.len();
        options.extend(chosen_of(group, picks, country, price));
        let count = options.len() - before;
        if !(usize::from(group.min)..=usize::from(group.max)).contains(&count) {
            return Err(Rejection::OptionCount {
                group: group.id.clone(),
                min: group.min,
                max: group.max,
            });
        }
    }
    let unit_price = options
        .iter()
        .try_fold(price, |sum, chosen| sum.plus(chosen.price))
        .map_err(|_| Rejection::TotalOutOfRange)?;
    Ok(Priced {
        unit_price,
        options,
        tax_bp: menu.tax_bp_in(country),
    })
}

fn chosen_of(group: &OptionGroup, picks: &[Pick], country: Country, price: Money) -> impl Iterator<Item = Chosen> {
    let is_picked = |choice: &Slug| {
        picks
            .iter()
            .any(|pick| pick.group == group.id && pick.choice == *choice)
    };
    let picked = group.choices.iter().filter(move |choice| is_picked(&choice.id));
    picked.map(move |choice| Chosen {
        group: group.id.clone(),
        choice: choice.id.clone(),
        price: choice
            .prices
            .get(&country)
            .copied()
            .unwrap_or(Money::zero(price.currency)),
    })
}
