//! Which food points to ask, in which order, and why the others are not asked.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

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
pub fn work(lines: &[QuoteLine], products: &BTreeMap<ProductId, Arc<Product>>) -> Option<Work> {
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

/// The nearest points, each with the reason it is passed over, and all that may be asked. What is known here may be
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
    let points: Vec<(FoodPointId, &FoodPoint)> = points
        .into_iter()
        .filter(|(food_point, _)| pinned.is_none_or(|pinned| pinned == *food_point))
        .collect();
    let distance_m = |point: &FoodPoint| {
        destination.map_or(0, |destination| {
            point.settings.place.at.distance_m(destination.place.at)
        })
    };
    // A heap, since of a whole country a handful is looked at.
    let mut by_distance: BinaryHeap<_> = points
        .iter()
        .enumerate()
        .map(|(nth, (food_point, point))| Reverse((distance_m(point), *food_point, nth)))
        .collect();
    let mut candidates = Vec::with_capacity(RECORDED_MAX);
    let mut asked = 0;
    while (asked < asked_max || candidates.len() < RECORDED_MAX)
        && let Some(Reverse((distance_m, food_point, nth))) = by_distance.pop()
    {
        let (_, point) = points[nth];
        let is_too_far = kind == Kind::Delivery && distance_m > point.settings.radius_m;
        let passed_over = match is_too_far {
            true => Some(PassedOver::TooFar),
            false => point.passes(kind, &work.needs, now).map(passed_over),
        };
        let passed_over = passed_over.or((asked == asked_max).then_some(PassedOver::BeyondLimit));
        asked += usize::from(passed_over.is_none());
        if passed_over.is_some() && candidates.len() >= RECORDED_MAX {
            continue;
        }
        candidates.push(Candidate {
            food_point,
            at: point.settings.place.at,
            distance_m,
            auto_accept: point.settings.auto_accept,
            // When it is collected at the latest; nobody waits at the counter for a courier.
            closes_at: match kind {
                Kind::PickUp => point.settings.closes_after(now),
                Kind::Delivery => None,
            },
            passed_over,
        });
    }
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
