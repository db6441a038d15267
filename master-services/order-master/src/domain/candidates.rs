//! Which food points to ask, in which order, and why the others are not asked.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mesh_contracts::id::{FoodPointId, IngredientId, ProductId};
use mesh_contracts::menu::{Choice, RecipeLine};
use mesh_contracts::order::{Candidate, Destination, Kind, Need, PassedOver, QuoteLine};
use mesh_contracts::point::HoldRefusal;
use mesh_contracts::view::point::FoodPoint;
use mesh_contracts::view::product::Product;

/// How many of the nearest points are recorded with the decision, besides those that may be asked: enough to explain
/// it, and few, since every event of the order is folded into a document that repeats them.
const RECORDED_MAX: usize = 8;

/// What an order asks of a kitchen.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// Ingredients, summed over all lines.
    pub needs: Vec<Need>,
    /// The longest preparation time of the lines, in minutes.
    pub prep_minutes: u16,
}

/// What the lines take: their recipes, less what the chosen options leave out, and what those add. A product retired
/// since checkout is still cooked; `None` for an unknown one, and for options that it does not have any more, since
/// nobody knows what they would take.
pub fn work(lines: &[QuoteLine], products: &BTreeMap<ProductId, Product>) -> Option<Work> {
    let mut needs: BTreeMap<IngredientId, u64> = BTreeMap::new();
    let mut prep_minutes = 0;
    for line in lines {
        let product = &products.get(&line.product)?.product;
        prep_minutes = prep_minutes.max(product.prep_minutes);
        let chosen = line.options.iter();
        let chosen: Option<Vec<&Choice>> = chosen
            .map(|asked| product.choice(&asked.group, &asked.choice))
            .collect();
        let chosen = chosen?;
        let is_left_out = |part: &RecipeLine| chosen.iter().any(|choice| choice.removes.contains(&part.ingredient));
        let own = product.recipe.iter().filter(|part| !is_left_out(part));
        for part in own.chain(chosen.iter().flat_map(|choice| &choice.adds)) {
            *needs.entry(part.ingredient).or_default() += u64::from(part.quantity) * u64::from(line.quantity);
        }
    }
    let needs = needs
        .into_iter()
        .map(|(ingredient, quantity)| Need { ingredient, quantity })
        .collect();
    Some(Work { needs, prep_minutes })
}

/// Every point of the country, nearest first, each with the reason it is passed over. What is known here may be
/// stale: the hold at point-master decides.
pub fn candidates<'a>(
    points: impl IntoIterator<Item = (FoodPointId, &'a FoodPoint)>,
    work: &Work,
    kind: Kind,
    destination: Option<&Destination>,
    pinned: Option<FoodPointId>,
    now: Timestamp,
    asked_max: usize,
) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = points
        .into_iter()
        .filter(|(food_point, _)| pinned.is_none_or(|pinned| pinned == *food_point))
        .map(|(food_point, point)| {
            let at = point.settings.place.at;
            let distance_m = destination.map_or(0, |destination| at.distance_m(destination.place.at));
            let passed_over = if kind == Kind::Delivery && distance_m > point.settings.radius_m {
                Some(PassedOver::TooFar)
            } else {
                point.passes(kind, &work.needs, now).map(passed_over)
            };
            Candidate {
                food_point,
                at,
                distance_m,
                auto_accept: point.settings.auto_accept,
                // When it is collected at the latest; nobody waits at the counter for a courier.
                closes_at: match kind {
                    Kind::PickUp => point.settings.closes_after(now),
                    Kind::Delivery => None,
                },
                passed_over,
            }
        })
        .collect();
    candidates.sort_by_key(|candidate| (candidate.distance_m, candidate.food_point));
    for surplus in candidates
        .iter_mut()
        .filter(|candidate| candidate.passed_over.is_none())
        .skip(asked_max)
    {
        surplus.passed_over = Some(PassedOver::BeyondLimit);
    }
    let mut rank = 0;
    candidates.retain(|candidate| {
        rank += 1;
        rank <= RECORDED_MAX || candidate.passed_over.is_none()
    });
    candidates
}

fn passed_over(refusal: HoldRefusal) -> PassedOver {
    match refusal {
        HoldRefusal::Closed | HoldRefusal::Unknown | HoldRefusal::Ended => PassedOver::Closed,
        HoldRefusal::Kind => PassedOver::Kind,
        HoldRefusal::Full => PassedOver::Full,
        HoldRefusal::Stock => PassedOver::Stock,
    }
}

#[cfg(test)]
mod tests;
