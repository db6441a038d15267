//! Products and promotions: what the chain sells, at which price where, made of what, and when for less.
//!
//! Knows no food point, no stock and no order.

pub mod domain;
pub mod error;
pub mod store;

pub mod http;

pub mod config;

use std::sync::Arc;

use mesh_contracts::api::Receipt;
use mesh_contracts::id::{ProductId, PromotionId};
use mesh_contracts::menu::Event;
use mesh_contracts::promotion;
use mesh_contracts::view::product::{Product, fold};
use mesh_contracts::view::promotion::Promotion;
use mesh_eventstore::{Aggregate, Recorded, Store, Streams};
use mesh_runtime::consistency::Signer;
use tokio::sync::Mutex;

/// The name of the service, everywhere.
pub const NAME: &str = "menu-master";

/// The aggregate that this service owns.
#[derive(Debug)]
pub struct Products;

impl Aggregate for Products {
    type Event = Event;
    type State = Product;
    const CATEGORY: &'static str = ProductId::PREFIX;

    fn evolve(product: Option<Product>, event: &Event, recorded: Recorded) -> Option<Product> {
        // Events that only a newer build knows have moved the stream's version and not the state's.
        let product = product.map(|product| Product {
            version: recorded.version - 1,
            ..product
        });
        fold(product, event, recorded.at)
    }

    fn status_version(product: &Product) -> u64 {
        product.version
    }

    fn answer(id: &str, product: &Product, _version: u64) -> serde_json::Value {
        receipt(id, if product.retired { "retired" } else { "active" })
    }
}

/// What is taken off prices, and when.
#[derive(Debug)]
pub struct Promotions;

impl Aggregate for Promotions {
    type Event = promotion::Event;
    type State = Promotion;
    const CATEGORY: &'static str = PromotionId::PREFIX;

    fn evolve(promotion: Option<Promotion>, event: &promotion::Event, recorded: Recorded) -> Option<Promotion> {
        // As with products.
        let promotion = promotion.map(|promotion| Promotion {
            version: recorded.version - 1,
            ..promotion
        });
        mesh_contracts::view::promotion::fold(promotion, event, recorded.at)
    }

    fn status_version(promotion: &Promotion) -> u64 {
        promotion.version
    }

    fn answer(id: &str, promotion: &Promotion, _version: u64) -> serde_json::Value {
        receipt(id, if promotion.ended { "ended" } else { "active" })
    }
}

fn receipt(id: &str, status: &str) -> serde_json::Value {
    let receipt = Receipt {
        id: id.to_owned(),
        status: status.to_owned(),
        number: None,
    };
    serde_json::to_value(receipt).expect("a receipt is plain data")
}

/// What handlers share.
pub struct App {
    pub products: Streams<Products>,
    pub promotions: Streams<Promotions>,
    pub signer: Signer,
    /// Held while a product is described: that takes two connections at a time, and operators who each hold one and
    /// wait for another would wait for each other.
    describing: Arc<Mutex<()>>,
}

impl App {
    pub fn new(store: Store, signer: Signer) -> Self {
        Self {
            products: Streams::new(store.clone()),
            promotions: Streams::new(store),
            signer,
            describing: Arc::default(),
        }
    }
}
