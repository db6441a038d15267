//! What the services of Tiffin say to each other: ids, money, commands, events, subjects, views and their folds.
//!
//! Pure data and pure functions: no I/O, no clock, no randomness but the making of new ids.

pub mod api;
pub mod basket;
pub mod courier;
pub mod delivery;
pub mod envelope;
pub mod eta;
pub mod geo;
pub mod id;
pub mod ledger;
pub mod live;
pub mod menu;
pub mod money;
pub mod notification;
pub mod ops;
pub mod order;
pub mod payment;
pub mod point;
pub mod promotion;
pub mod subject;
pub mod table;
pub mod user;
pub mod view;
