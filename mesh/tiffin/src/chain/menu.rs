//! What the demonstration chain sells.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use mesh_contracts::id::{IngredientId, ProductId};
use mesh_contracts::menu::Allergen::{self, *};
use mesh_contracts::menu::{Choice, Names, OptionGroup, Product, RecipeLine, Slug};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::promotion::{Discount, Promotion};
use uuid::Uuid;

use super::country;

/// Ingredients have no route of their own: whoever writes the recipes names them. Ours are named within this.
const PANTRY: Uuid = Uuid::from_u128(0x7469_6666_696e_4001_8000_7061_6e74_7279);

/// Ingredients, with what they may contain.
pub(super) const INGREDIENTS: [(&str, &[Allergen]); 40] = [
    ("Toast", &[Gluten, Milk]),
    ("Ciabatta", &[Gluten]),
    ("Rye bread", &[Gluten]),
    ("Baguette", &[Gluten]),
    ("Sesame bun", &[Gluten, Sesame]),
    ("Flatbread", &[Gluten]),
    ("Gluten-free bread", &[Eggs]),
    ("Butter", &[Milk]),
    ("Mayonnaise", &[Eggs, Mustard]),
    ("Vegan mayonnaise", &[Soybeans]),
    ("Dijon mustard", &[Mustard, Sulphites]),
    ("Pesto", &[Milk, Nuts]),
    ("Hummus", &[Sesame]),
    ("Ajvar", &[]),
    ("Peanut sauce", &[Peanuts, Soybeans]),
    ("Remoulade", &[Eggs, Mustard, Celery]),
    ("Chicken breast", &[]),
    ("Roast beef", &[]),
    ("Bacon", &[]),
    ("Cooked ham", &[]),
    ("Salami", &[Mustard]),
    ("Cevapi", &[]),
    ("Smoked salmon", &[Fish]),
    ("Tuna", &[Fish]),
    ("Prawns", &[Crustaceans]),
    ("Egg", &[Eggs]),
    ("Tofu", &[Soybeans]),
    ("Falafel", &[Sesame]),
    ("Cheddar", &[Milk]),
    ("Mozzarella", &[Milk]),
    ("Feta", &[Milk]),
    ("Cream cheese", &[Milk]),
    ("Kajmak", &[Milk]),
    ("Lettuce", &[]),
    ("Tomato", &[]),
    ("Cucumber", &[]),
    ("Red onion", &[]),
    ("Pickles", &[Mustard, Celery]),
    ("Rocket", &[]),
    ("Avocado", &[]),
];

/// A product with the ingredients of one portion, in grams or pieces.
pub(super) struct Dish {
    pub(super) en: &'static str,
    ru: &'static str,
    eur_cents: i64,
    rsd_para: i64,
    prep_minutes: u16,
    recipe: &'static [(&'static str, u32)],
}

impl Dish {
    pub(super) fn eur(&self) -> Money {
        Money::new(self.eur_cents, Currency::EUR)
    }

    pub(super) fn rsd(&self) -> Money {
        Money::new(self.rsd_para, Currency::RSD)
    }
}

const fn dish(
    en: &'static str,
    ru: &'static str,
    (eur_cents, rsd_para): (i64, i64),
    prep_minutes: u16,
    recipe: &'static [(&'static str, u32)],
) -> Dish {
    Dish {
        en,
        ru,
        eur_cents,
        rsd_para,
        prep_minutes,
        recipe,
    }
}

/// Tax on food that is taken away, in basis points: Germany's reduced rate and Serbia's general one.
const TAX_BP: [(&str, u32); 2] = [("DE", 700), ("RS", 2_000)];

/// One thing that may be put on top, left out, or taken instead.
struct Twist {
    id: &'static str,
    en: &'static str,
    ru: &'static str,
    eur_cents: i64,
    rsd_para: i64,
    adds: &'static [(&'static str, u32)],
    removes: &'static [&'static str],
}

/// For every dish that has what they leave out.
const TWISTS: [Twist; 4] = [
    Twist {
        id: "cheddar",
        en: "More cheddar",
        ru: "Больше чеддера",
        eur_cents: 120,
        rsd_para: 9_000,
        adds: &[("Cheddar", 30)],
        removes: &[],
    },
    Twist {
        id: "avocado",
        en: "With avocado",
        ru: "С авокадо",
        eur_cents: 180,
        rsd_para: 14_000,
        adds: &[("Avocado", 40)],
        removes: &[],
    },
    Twist {
        id: "no-onion",
        en: "Without onion",
        ru: "Без лука",
        eur_cents: 0,
        rsd_para: 0,
        adds: &[],
        removes: &["Red onion"],
    },
    Twist {
        id: "no-bacon",
        en: "Without bacon",
        ru: "Без бекона",
        eur_cents: -50,
        rsd_para: -4_000,
        adds: &[],
        removes: &["Bacon"],
    },
];

/// What the chain's one promotion is about, by its English name.
pub(super) const PROMOTED: &str = "Avocado rye";

/// A tenth off one dish in Germany. Its time does not depend on when the chain is loaded, so that a load that was
/// interrupted is finished with the very same words.
pub(super) fn promotion(product: ProductId) -> Promotion {
    let at = |text: &str| text.parse::<Timestamp>().expect("a timestamp");
    Promotion {
        names: Names {
            en: "Green month".to_owned(),
            ru: "Зелёный месяц".to_owned(),
        },
        country: country("DE"),
        food_point: None,
        products: vec![product],
        discount: Discount::BasisPoints(1_000),
        starts_at: at("2020-01-01T00:00:00Z"),
        ends_at: at("2120-01-01T00:00:00Z"),
    }
}

/// The menu.
pub(super) const PRODUCTS: [Dish; 14] = [
    dish(
        "Club sandwich",
        "Клаб-сэндвич",
        (890, 74_000),
        8,
        &[
            ("Toast", 3),
            ("Chicken breast", 80),
            ("Bacon", 40),
            ("Egg", 1),
            ("Lettuce", 20),
            ("Tomato", 40),
            ("Mayonnaise", 25),
        ],
    ),
    dish(
        "Caprese ciabatta",
        "Чиабатта капрезе",
        (690, 56_000),
        5,
        &[
            ("Ciabatta", 1),
            ("Mozzarella", 90),
            ("Tomato", 80),
            ("Pesto", 25),
            ("Rocket", 15),
        ],
    ),
    dish(
        "Roast beef on rye",
        "Ростбиф на ржаном хлебе",
        (950, 79_000),
        6,
        &[
            ("Rye bread", 2),
            ("Roast beef", 90),
            ("Remoulade", 30),
            ("Pickles", 30),
            ("Red onion", 15),
        ],
    ),
    dish(
        "Falafel wrap",
        "Рулет с фалафелем",
        (650, 52_000),
        7,
        &[
            ("Flatbread", 1),
            ("Falafel", 120),
            ("Hummus", 40),
            ("Lettuce", 30),
            ("Cucumber", 40),
            ("Tomato", 40),
        ],
    ),
    dish(
        "Tuna melt",
        "Горячий сэндвич с тунцом",
        (790, 65_000),
        9,
        &[
            ("Toast", 2),
            ("Tuna", 90),
            ("Cheddar", 50),
            ("Mayonnaise", 30),
            ("Red onion", 15),
        ],
    ),
    dish(
        "Salmon bagel roll",
        "Булочка с лососем",
        (990, 85_000),
        5,
        &[
            ("Sesame bun", 1),
            ("Smoked salmon", 70),
            ("Cream cheese", 40),
            ("Cucumber", 30),
            ("Red onion", 10),
        ],
    ),
    dish(
        "Cevapi in flatbread",
        "Чевапи в лепёшке",
        (850, 59_000),
        11,
        &[
            ("Flatbread", 1),
            ("Cevapi", 160),
            ("Kajmak", 40),
            ("Ajvar", 30),
            ("Red onion", 30),
        ],
    ),
    dish(
        "Ham and cheddar baguette",
        "Багет с ветчиной и чеддером",
        (620, 49_000),
        4,
        &[
            ("Baguette", 1),
            ("Cooked ham", 80),
            ("Cheddar", 50),
            ("Butter", 10),
            ("Dijon mustard", 10),
            ("Lettuce", 20),
        ],
    ),
    dish(
        "Satay tofu bun",
        "Булочка с тофу сатай",
        (720, 60_000),
        8,
        &[
            ("Sesame bun", 1),
            ("Tofu", 110),
            ("Peanut sauce", 40),
            ("Cucumber", 30),
            ("Vegan mayonnaise", 15),
        ],
    ),
    dish(
        "Prawn and avocado toast",
        "Тост с креветками и авокадо",
        (1_090, 92_000),
        7,
        &[
            ("Toast", 2),
            ("Prawns", 80),
            ("Avocado", 70),
            ("Mayonnaise", 20),
            ("Rocket", 10),
        ],
    ),
    dish(
        "Salami panino",
        "Панини с салями",
        (680, 55_000),
        6,
        &[
            ("Ciabatta", 1),
            ("Salami", 70),
            ("Mozzarella", 60),
            ("Rocket", 15),
            ("Pesto", 15),
        ],
    ),
    dish(
        "Greek salad sandwich",
        "Сэндвич с греческим салатом",
        (640, 51_000),
        5,
        &[
            ("Baguette", 1),
            ("Feta", 70),
            ("Tomato", 60),
            ("Cucumber", 50),
            ("Red onion", 15),
        ],
    ),
    dish(
        "Gluten-free egg salad",
        "Безглютеновый сэндвич с яйцом",
        (760, 63_000),
        6,
        &[
            ("Gluten-free bread", 2),
            ("Egg", 2),
            ("Mayonnaise", 30),
            ("Lettuce", 20),
        ],
    ),
    dish(
        "Avocado rye",
        "Ржаной тост с авокадо",
        (750, 62_000),
        4,
        &[("Rye bread", 2), ("Avocado", 100), ("Tomato", 40), ("Rocket", 15)],
    ),
];

/// The id of an ingredient.
pub(super) fn ingredient(name: &str) -> IngredientId {
    IngredientId(Uuid::new_v5(&PANTRY, name.as_bytes()))
}

/// A dish as an operator describes it: its allergens are those of what is in it.
pub(super) fn product(dish: &Dish) -> Product {
    Product {
        names: Names {
            en: dish.en.to_owned(),
            ru: dish.ru.to_owned(),
        },
        prices: BTreeMap::from([(country("DE"), dish.eur()), (country("RS"), dish.rsd())]),
        tax_bp: TAX_BP.iter().map(|(code, rate)| (country(code), *rate)).collect(),
        recipe: lines(dish.recipe),
        allergens: allergens(dish.recipe),
        prep_minutes: dish.prep_minutes,
        options: vec![twists(dish)],
    }
}

fn lines(recipe: &[(&str, u32)]) -> Vec<RecipeLine> {
    let line = |(name, quantity): &(&str, u32)| RecipeLine {
        ingredient: ingredient(name),
        name: (*name).to_owned(),
        quantity: *quantity,
    };
    recipe.iter().map(line).collect()
}

fn allergens(recipe: &[(&str, u32)]) -> Vec<Allergen> {
    let in_it = |name: &str| {
        INGREDIENTS
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(&[][..], |(_, may)| *may)
    };
    let all: BTreeSet<Allergen> = recipe.iter().flat_map(|(name, _)| in_it(name)).copied().collect();
    all.into_iter().collect()
}

fn twists(dish: &Dish) -> OptionGroup {
    let has = |name: &&str| dish.recipe.iter().any(|(known, _)| known == name);
    let fitting = TWISTS.iter().filter(|twist| twist.removes.iter().all(has));
    let choices: Vec<Choice> = fitting.map(choice).collect();
    OptionGroup {
        id: slug("as-you-like-it"),
        names: Names {
            en: "As you like it".to_owned(),
            ru: "Как вам нравится".to_owned(),
        },
        min: 0,
        max: u8::try_from(choices.len()).expect("a handful"),
        choices,
    }
}

fn choice(twist: &Twist) -> Choice {
    let eur = Money::new(twist.eur_cents, Currency::EUR);
    let rsd = Money::new(twist.rsd_para, Currency::RSD);
    Choice {
        id: slug(twist.id),
        names: Names {
            en: twist.en.to_owned(),
            ru: twist.ru.to_owned(),
        },
        prices: BTreeMap::from([(country("DE"), eur), (country("RS"), rsd)]),
        adds: lines(twist.adds),
        removes: twist.removes.iter().copied().map(ingredient).collect(),
        allergens: allergens(twist.adds),
    }
}

fn slug(text: &str) -> Slug {
    Slug::parse(text).expect("ours are slugs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_are_made_of_what_is_on_the_shelves() {
        for dish in &PRODUCTS {
            let twists = TWISTS.iter().flat_map(|twist| twist.adds);
            for (name, _) in dish.recipe.iter().chain(twists) {
                assert!(
                    INGREDIENTS.iter().any(|(known, _)| known == name),
                    "{} needs {name}",
                    dish.en
                );
            }
        }
    }

    #[test]
    fn the_chain_sells_enough_kinds_of_things() {
        let names: BTreeSet<&str> = INGREDIENTS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), 40);
        assert!(PRODUCTS.len() >= 12);
    }

    #[test]
    fn a_dish_contains_what_its_ingredients_contain() {
        let club = product(&PRODUCTS[0]);
        assert_eq!(club.allergens, [Gluten, Eggs, Milk, Mustard]);
    }

    #[test]
    fn a_dish_is_twisted_only_where_it_can_be() {
        let ids = |dish: &Dish| -> Vec<String> {
            let group = twists(dish);
            group.choices.iter().map(|choice| choice.id.to_string()).collect()
        };
        assert_eq!(ids(&PRODUCTS[0]), ["cheddar", "avocado", "no-bacon"]);
        let promoted = PRODUCTS.iter().find(|dish| dish.en == PROMOTED).expect("it is sold");
        assert_eq!(ids(promoted), ["cheddar", "avocado"]);
    }
}
