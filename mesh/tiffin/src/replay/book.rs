//! Which order of the instance an order of the platform is, for everyone to look up.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mesh_contracts::id::OrderId;

#[derive(Default)]
pub(super) struct Book {
    entries: Mutex<HashMap<OrderId, Entry>>,
    entered: tokio::sync::Notify,
}

#[derive(Clone, Copy)]
struct Entry {
    index: usize,
    ended: bool,
}

impl Book {
    pub(super) fn enter(&self, id: OrderId, index: usize) {
        self.entries().insert(id, Entry { index, ended: false });
        self.entered.notify_waiters();
    }

    pub(super) fn ended(&self, id: OrderId) {
        if let Some(entry) = self.entries().get_mut(&id) {
            entry.ended = true;
        }
    }

    pub(super) fn open(&self) -> usize {
        self.entries().values().filter(|entry| !entry.ended).count()
    }

    pub(super) fn unended(&self) -> Vec<(OrderId, usize)> {
        let entries = self.entries();
        let unended = entries.iter().filter(|(_, entry)| !entry.ended);
        unended.map(|(id, entry)| (*id, entry.index)).collect()
    }

    /// Everything that was taken.
    pub(super) fn all(&self) -> Vec<(OrderId, usize)> {
        self.entries().iter().map(|(id, entry)| (*id, entry.index)).collect()
    }

    /// If it is known already.
    pub(super) fn find(&self, id: OrderId) -> Option<usize> {
        self.entries().get(&id).map(|entry| entry.index)
    }

    /// Waits for the entry: a ticket may reach its kitchen before the answer reaches the customer.
    pub(super) async fn index_of(&self, id: OrderId) -> usize {
        loop {
            let entered = self.entered.notified();
            tokio::pin!(entered);
            // Enabled before the look, so that no entry falls in between.
            entered.as_mut().enable();
            if let Some(index) = self.find(id) {
                return index;
            }
            entered.await;
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<OrderId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_kitchen_waits_for_an_order_whose_answer_is_still_under_way() {
        let book = Arc::new(Book::default());
        let id = OrderId(Uuid::from_u128(7));
        let waiting = tokio::spawn({
            let book = book.clone();
            async move { book.index_of(id).await }
        });
        tokio::task::yield_now().await;
        book.enter(OrderId(Uuid::from_u128(8)), 1);
        book.enter(id, 2);
        assert_eq!(waiting.await.expect("no panic"), 2);
        book.ended(id);
        assert_eq!(book.unended(), [(OrderId(Uuid::from_u128(8)), 1)]);
    }
}
