use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::AddressId;
use mesh_contracts::menu::{self, Chosen, Names, OptionGroup, Slug};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::point::{Event, Settings};
use mesh_contracts::view;
use uuid::Uuid;

use super::*;

const CLUB: ProductId = ProductId(Uuid::from_u128(1));
const TOAST: IngredientId = IngredientId(Uuid::from_u128(11));
const BACON: IngredientId = IngredientId(Uuid::from_u128(12));
const RYE: IngredientId = IngredientId(Uuid::from_u128(13));
const PRICE: Money = Money::new(890, Currency::EUR);

fn slug(text: &str) -> Slug {
    Slug::parse(text).expect("a slug")
}

fn part(ingredient: IngredientId, quantity: u32) -> RecipeLine {
    RecipeLine {
        ingredient,
        name: "something".into(),
        quantity,
    }
}

fn choice(id: &str, adds: Vec<RecipeLine>, removes: Vec<IngredientId>) -> Choice {
    Choice {
        id: slug(id),
        names: Names::default(),
        prices: BTreeMap::new(),
        adds,
        removes,
        allergens: Vec::new(),
    }
}

/// Three slices of toast and bacon; on rye, without bacon, or with more of it.
fn menu() -> BTreeMap<ProductId, Arc<Product>> {
    let choices = vec![
        choice("rye", vec![part(RYE, 2)], vec![TOAST]),
        choice("no-bacon", vec![], vec![BACON]),
        choice("more-bacon", vec![part(BACON, 20)], vec![]),
    ];
    let product = menu::Product {
        recipe: vec![part(TOAST, 3), part(BACON, 40)],
        prep_minutes: 8,
        options: vec![OptionGroup {
            id: slug("changes"),
            names: Names::default(),
            min: 0,
            max: 3,
            choices,
        }],
        ..menu::Product::default()
    };
    let club = Product {
        product,
        retired: true,
        version: 2,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    };
    BTreeMap::from([(CLUB, Arc::new(club))])
}

fn line(quantity: u32, choices: &[&str]) -> QuoteLine {
    let chosen = choices.iter().map(|choice| Chosen {
        group: slug("changes"),
        choice: slug(choice),
        price: Money::zero(Currency::EUR),
    });
    QuoteLine {
        options: chosen.collect(),
        ..QuoteLine::plain(CLUB, quantity, PRICE)
    }
}

fn needs(lines: &[QuoteLine]) -> Option<Vec<(IngredientId, u64)>> {
    let work = work(lines, &menu())?;
    Some(work.needs.iter().map(|need| (need.ingredient, need.quantity)).collect())
}

#[test]
fn an_order_takes_its_recipes_though_a_product_was_retired() {
    assert_eq!(needs(&[line(2, &[])]), Some(vec![(TOAST, 6), (BACON, 80)]));
}

#[test]
fn options_leave_out_and_add_for_every_portion() {
    assert_eq!(needs(&[line(2, &["rye"])]), Some(vec![(BACON, 80), (RYE, 4)]));
    assert_eq!(needs(&[line(1, &["rye", "no-bacon"])]), Some(vec![(RYE, 2)]));
    assert_eq!(needs(&[line(2, &["more-bacon"])]), Some(vec![(TOAST, 6), (BACON, 120)]));
    // Left out of the recipe and put on top: only what is put on top.
    let instead = needs(&[line(1, &["no-bacon", "more-bacon"])]);
    assert_eq!(instead, Some(vec![(TOAST, 3), (BACON, 20)]));
    let both = needs(&[line(1, &[]), line(1, &["rye"])]);
    assert_eq!(both, Some(vec![(TOAST, 3), (BACON, 80), (RYE, 2)]));
}

#[test]
fn nobody_knows_what_an_unknown_option_takes() {
    assert_eq!(needs(&[line(1, &["spelt"])]), None);
    let unknown = QuoteLine::plain(ProductId(Uuid::from_u128(9)), 1, PRICE);
    assert_eq!(needs(&[unknown]), None);
}

/// Open at all hours, so far to the north of the customer, and delivering three kilometres.
fn point(distance_e6: i32, pool: u16) -> FoodPoint {
    let settings = Settings {
        name: "on the way north".into(),
        place: place(distance_e6),
        kinds: vec![Kind::Delivery],
        radius_m: 3_000,
        pool,
        auto_accept: false,
        hours: Vec::new(),
        utc_offset_minutes: 0,
    };
    let registered = view::point::fold(None, &Event::Registered { settings }, Timestamp::UNIX_EPOCH);
    registered.expect("a new point")
}

fn place(lat_e6: i32) -> Place {
    Place {
        country: Country::parse("DE").expect("a country"),
        at: Coordinates { lat_e6, lon_e6: 0 },
    }
}

#[test]
fn the_nearest_are_asked_and_whoever_else_was_near_is_named_with_the_reason() {
    // Some 110 m from one to the next; the fourth has no slot, and from the 27th on it is too far.
    let points: Vec<FoodPoint> = (1..=40).map(|nth| point(nth * 1_000, u16::from(nth != 4))).collect();
    let ids = (1..).map(|nth| FoodPointId(Uuid::from_u128(nth)));
    let far_first: Vec<_> = ids.zip(&points).collect::<Vec<_>>().into_iter().rev().collect();
    let work = Work {
        needs: Vec::new(),
        prep_minutes: 10,
    };
    let destination = Destination {
        address: AddressId(Uuid::from_u128(1)),
        place: place(0),
    };
    let choose = |pinned, asked_max| {
        let points = far_first.iter().copied();
        let chosen = candidates(
            points,
            &work,
            Kind::Delivery,
            Some(&destination),
            pinned,
            Timestamp::UNIX_EPOCH,
            asked_max,
        );
        let named = chosen
            .iter()
            .map(|candidate| (candidate.food_point.0.as_u128(), candidate.passed_over));
        named.collect::<Vec<_>>()
    };
    let (free, full, beyond) = (None, Some(PassedOver::Full), Some(PassedOver::BeyondLimit));
    assert_eq!(
        choose(None, 3),
        [
            (1, free),
            (2, free),
            (3, free),
            (4, full),
            (5, beyond),
            (6, beyond),
            (7, beyond),
            (8, beyond)
        ]
    );
    // All that may be asked are named, and of the others only those among the nearest.
    let many = choose(None, 30);
    assert_eq!(many.len(), 26);
    assert_eq!(
        many.iter()
            .filter(|(_, passed_over)| passed_over.is_some())
            .collect::<Vec<_>>(),
        [&(4, full)]
    );
    assert_eq!(
        choose(Some(FoodPointId(Uuid::from_u128(30))), 3),
        [(30, Some(PassedOver::TooFar))]
    );
}
