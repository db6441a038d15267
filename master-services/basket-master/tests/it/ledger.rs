//! The ledger: booked behind the events, each once, each balancing; kept through crashes; never changed.

use mesh_contracts::id::OrderId;
use mesh_contracts::order::Method;
use mesh_testkit::eventually;
use sqlx::{Connection as _, PgConnection};

use crate::world::{PRICE, World, an_order, customer, run};

const VISA: &str = "pm_card_visa";

/// Waits until everything is booked and the account has this balance.
async fn balance(world: &World, account: &str, cents: i64) {
    let behind = "select count(*) from streams s left join ledger_heads l on l.stream_id = s.stream_id
                  where s.category = $1 and s.version > coalesce(l.version, 0)";
    let balance = "select coalesce(sum(amount), 0)::bigint from ledger_entries where account = $1";
    eventually(account, || async {
        let is_booked = world.count(behind, "pay").await == 0;
        (is_booked && world.count(balance, account).await == cents).then_some(())
    })
    .await;
}

async fn sum(world: &World, order: OrderId) -> i64 {
    let sum = "select coalesce(sum(amount), 0)::bigint from ledger_entries where stream_id = $1";
    world.count(sum, &order.payment().to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_booked_as_it_moves_and_sums_to_nothing() {
    run(World::new, async |world| {
        let order = world.paying(&customer(), VISA).await;
        world.until(order, "payment.authorized").await;
        balance(world, "revenue", 0).await;
        world.due(order, PRICE, false, 1).await;
        world.until(order, "payment.captured").await;
        balance(world, "provider_clearing", PRICE).await;
        balance(world, "revenue", -PRICE).await;
        world.due(order, 290, true, 2).await;
        world.until(order, "payment.refunded").await;
        balance(world, "provider_clearing", 290).await;
        balance(world, "refunds", PRICE - 290).await;
        balance(world, "customer_receivable", 0).await;
        let cash = an_order();
        world.ask_for(&customer(), cash, Method::Cash).await;
        world.until(cash, "payment.cash_agreed").await;
        world.due(cash, PRICE, true, 1).await;
        world.until(cash, "payment.cash_collected").await;
        balance(world, "cash_on_hand", PRICE).await;
        assert_eq!((sum(world, order).await, sum(world, cash).await), (0, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_booked_before_a_crash_is_booked_once_after_it() {
    run(World::new, async |world| {
        let order = world.paying(&customer(), VISA).await;
        world.until(order, "payment.authorized").await;
        world.due(order, PRICE, true, 1).await;
        world.until(order, "payment.captured").await;
        world.service.kill().await;
        world.service.start().await;
        balance(world, "provider_clearing", PRICE).await;
        // Two lines for what is due, two for what was taken.
        let lines = "select count(*) from ledger_entries where stream_id = $1";
        assert_eq!(world.count(lines, &order.payment().to_string()).await, 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_what_does_not_balance_and_changes_nothing() {
    run(World::without_provider, async |world| {
        let mut connection = PgConnection::connect(&world.database.url).await.expect("it answers");
        let entry = "insert into ledger_entries (stream_id, version, line, account, currency, amount, at)
                     values ('pay_1', 1, 0, 'revenue', 'EUR', 1, now())";
        let refused = sqlx::query(entry)
            .execute(&mut connection)
            .await
            .expect_err("one side only");
        assert!(refused.to_string().contains("does not balance"), "{refused}");
        for change in ["update ledger_entries set amount = 1", "delete from ledger_entries"] {
            let refused = sqlx::query(change)
                .execute(&mut connection)
                .await
                .expect_err("append only");
            assert!(refused.to_string().contains("permission denied"), "{refused}");
        }
    })
    .await;
}
