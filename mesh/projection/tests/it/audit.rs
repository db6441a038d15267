//! What is missing behind everyone's back is found and brought.

use std::sync::OnceLock;
use std::time::Duration;

use mesh_runtime::Shutdown;
use mesh_testkit::eventually;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use redis::AsyncCommands as _;

use crate::notebook::{Notebooks, given, id, noted, shown};
use crate::sse::Client;
use crate::world::World;

/// Passes come this often here.
const PERIOD: Duration = Duration::from_millis(150);

fn repaired() -> u64 {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    let metrics = METRICS.get_or_init(|| PrometheusBuilder::new().install_recorder().expect("the first"));
    let text = metrics.render();
    let line = text.lines().find(|line| line.starts_with("audit_repaired_total"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_removed_aged_or_never_brought_are_mended_and_counted() {
    let before = repaired();
    let world = World::new().await;
    world.auditing("order-info-auditor", PERIOD).await;
    world
        .happen(&[given(1, 1, "ann"), noted(1, 2), given(2, 1, "bob"), noted(2, 2)])
        .await;
    world.reaches(1, 2).await;
    let old = world.folded(2);
    world.happen(&[noted(2, 3), given(2, 4, "cid")]).await;
    world.reaches(2, 4).await;
    world.stage.settled().await;
    let live = world
        .projection
        .live(format!("order:{}", id(2)))
        .showing::<Notebooks>(shown);
    let mut client = Client::of(live.open(None, Shutdown::new()).await.unwrap());
    let seen = client.next().await;
    assert_eq!(seen.documents(), [(id(2), 4)]);

    let (gone, aged) = (world.document_key(1).await, world.document_key(2).await);
    let mut raw = world.raw().await;
    let _: () = raw.del(&gone).await.unwrap();
    let doc = serde_json::to_string(&old).unwrap();
    let _: () = raw.hset_multiple(&aged, &[("v", "2"), ("doc", &doc)]).await.unwrap();
    for number in [1, 2] {
        let read = eventually("the document is back", async || {
            world.get(number).await.filter(|read| read.doc == world.folded(number))
        })
        .await;
        assert_eq!(read.version, world.log.of(number).len() as u64);
    }
    assert_eq!(world.holders("ann").await, [id(1)]);
    assert_eq!(world.holders("cid").await, [id(2)]);
    eventually("both are counted", async || (repaired() - before == 2).then_some(())).await;

    // Whoever listens cannot have missed anything: what is not announced makes its stream start over.
    world.happen(&[noted(2, 5)]).await;
    let fresh = client.next().await;
    assert_eq!(fresh.documents(), [(id(2), 5)]);
    assert!(fresh.generation_and_sequence() > seen.generation_and_sequence());

    // The same of what the bus never brought.
    world.log.append(&[noted(1, 3), given(3, 1, "dot")]);
    assert_eq!(world.reaches(1, 3).await.doc, world.folded(1));
    assert_eq!(world.reaches(3, 1).await.doc, world.folded(3));
    eventually("both are counted", async || (repaired() - before == 4).then_some(())).await;
    world.stage.settled().await;
}
