use mesh_contracts::menu::{self, Chosen, Names, OptionGroup, Slug};
use mesh_contracts::money::{Currency, Money};
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
fn menu() -> BTreeMap<ProductId, Product> {
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
    BTreeMap::from([(CLUB, club)])
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
