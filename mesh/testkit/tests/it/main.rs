//! The kit itself: what it starts answers, keeps tests apart, and is gone afterwards.

mod certificates;
mod servers;
