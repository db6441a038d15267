//! The invariants, over stores that are spoilt on purpose, and over the masters' real rules without servers.

mod explorer;
mod silence;
mod snapshots;
mod storm;
mod table;
mod verify;
