//! A new edition beside the one that readers see, and the way back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use mesh_contracts::envelope::Envelope;
use mesh_projection::control::{self, Standing};
use mesh_projection::{BoxError, Placement, Projection, View};
use mesh_runtime::Shutdown;
use mesh_testkit::eventually;
use redis::AsyncCommands as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::notebook::{Notebook, Notebooks, given, id, noted, poison, shown};
use crate::sse::Client;
use crate::world::World;

const NOTEBOOKS: usize = 40;

async fn ask(projection: &Projection, request: Request<Body>) -> (StatusCode, Value) {
    let routes: axum::Router = control::routes(projection.clone());
    let response = routes.oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn post(projection: &Projection, view: &str, body: &str) -> (StatusCode, Value) {
    let request = Request::post(format!("/projections/{view}/rebuild"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()));
    ask(projection, request.unwrap()).await
}

async fn standing(projection: &Projection) -> Standing {
    let (status, body) = ask(projection, Request::get("/projections").body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    let mut standings: Vec<Standing> = serde_json::from_value(body).unwrap();
    standings.remove(0)
}

/// Starts one, and waits until another edition than the current one is seen.
pub async fn rebuilt(projection: &Projection, body: &str) -> Standing {
    let before = standing(projection).await;
    let (status, answer) = post(projection, "notebook", body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    becomes(projection, |standing| standing.current != before.current).await
}

async fn becomes(projection: &Projection, fits: impl Fn(&Standing) -> bool) -> Standing {
    eventually("the edition is the current one", async || {
        Some(standing(projection).await).filter(|standing| standing.building.is_none() && fits(standing))
    })
    .await
}

/// The editions that have keys.
async fn kept(world: &World) -> Vec<String> {
    let mut raw = world.raw().await;
    let (mut cursor, mut editions) = (0, Vec::new());
    loop {
        let pattern = world.key("notebook.*");
        let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(pattern)
            .query_async(&mut raw)
            .await
            .unwrap();
        let own = keys.iter().map(|key| &key[world.redis.prefix.len()..]);
        editions.extend(own.map(|key| key.split(':').next().unwrap().to_owned()));
        cursor = next;
        if cursor == 0 {
            editions.sort();
            editions.dedup();
            return editions;
        }
    }
}

async fn with_history() -> World {
    let world = World::new().await;
    let events: Vec<Envelope> = (1..=NOTEBOOKS)
        .flat_map(|number| [given(number, 1, "ann"), noted(number, 2), noted(number, 3)])
        .collect();
    world.happen(&events).await;
    for number in 1..=NOTEBOOKS {
        world.reaches(number, 3).await;
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_the_old_edition_until_the_new_one_is_equal() {
    let world = Arc::new(with_history().await);
    let topic = format!("order:{}", id(1));
    let live = world.projection.live(topic).showing::<Notebooks>(shown);
    let mut client = Client::of(live.open(None, Shutdown::new()).await.unwrap());
    let before = client.next().await;

    let done = Arc::new(AtomicBool::new(false));
    let (writer, until) = (world.clone(), done.clone());
    let writing = tokio::spawn(async move {
        let mut version = 3;
        while !until.load(Ordering::SeqCst) {
            version += 1;
            let events: Vec<_> = (1..=NOTEBOOKS).map(|number| noted(number, version)).collect();
            writer.happen(&events).await;
        }
        version
    });
    let (reader, until) = (world.clone(), done.clone());
    let reading = tokio::spawn(async move {
        let (mut reads, mut seen) = (0_u64, vec![3; NOTEBOOKS + 1]);
        while !until.load(Ordering::SeqCst) {
            for (number, seen) in seen.iter_mut().enumerate().skip(1) {
                let read = reader.get(number).await.expect("no read fails or finds nothing");
                assert!(
                    read.version >= *seen,
                    "{number} went back from {seen} to {}",
                    read.version
                );
                *seen = read.version;
                reads += 1;
            }
            assert_eq!(reader.holders("ann").await.len(), NOTEBOOKS);
        }
        reads
    });
    let first = standing(&world.projection).await;
    let second = rebuilt(&world.projection, "{}").await;
    assert_eq!(second.previous, Some(first.current.clone()));
    let built = second.built.expect("it was built");
    assert_eq!(
        (built.edition.as_str(), built.compared),
        (&*second.current, NOTEBOOKS as u64)
    );
    let third = rebuilt(&world.projection, "{}").await;
    done.store(true, Ordering::SeqCst);
    let last = writing.await.unwrap();
    assert!(reading.await.unwrap() > 0);

    for number in 1..=NOTEBOOKS {
        assert_eq!(world.reaches(number, last).await.doc, world.folded(number));
    }
    // Two at most, and the oldest is gone.
    assert_eq!(kept(&world).await, [second.current, third.current]);

    // Every event of its order came once, between snapshots that begin a new generation.
    let (mut stamp, mut version) = (before.generation_and_sequence(), 3);
    while version < last {
        let event = client.next().await;
        let next = event.generation_and_sequence();
        assert!(next > stamp, "{next:?} after {stamp:?}");
        if event.name == "snapshot" {
            assert!(event.documents()[0].1 >= version);
            version = event.documents()[0].1;
        } else {
            assert_eq!((next.0, event.version()), (stamp.0, version + 1));
            version = event.version();
        }
        stamp = next;
    }
    world.stage.settled().await;
}

#[tokio::test]
async fn the_previous_edition_comes_back_with_what_happened_since() {
    let world = with_history().await;
    let first = standing(&world.projection).await;
    let second = rebuilt(&world.projection, "{}").await;
    world.happen(&[noted(1, 4), given(NOTEBOOKS + 1, 1, "bob")]).await;
    world.reaches(1, 4).await;
    world.reaches(NOTEBOOKS + 1, 1).await;
    let back = rebuilt(&world.projection, r#"{"rollback": true}"#).await;
    assert_eq!((back.current, back.previous), (first.current, Some(second.current)));
    for number in 1..=NOTEBOOKS + 1 {
        assert_eq!(world.get(number).await.unwrap().doc, world.folded(number));
    }
    assert_eq!(world.holders("bob").await, [id(NOTEBOOKS + 1)]);
    world.stage.settled().await;
}

#[tokio::test]
async fn what_cannot_be_built_is_refused_and_changes_nothing() {
    let world = with_history().await;
    let first = standing(&world.projection).await;
    assert_eq!(post(&world.projection, "diary", "{}").await.0, StatusCode::NOT_FOUND);
    let (status, _) = post(&world.projection, "notebook", r#"{"rolback": true}"#).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (status, problem) = post(&world.projection, "notebook", r#"{"rollback": true}"#).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["type"].as_str().unwrap().ends_with("no_previous_edition"));
    assert_eq!(standing(&world.projection).await, first);

    // One that cannot go on is not begun a second time, and readers do not notice.
    world.log.set_down(true);
    assert_eq!(post(&world.projection, "notebook", "{}").await.0, StatusCode::ACCEPTED);
    let (status, problem) = post(&world.projection, "notebook", "{}").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["type"].as_str().unwrap().ends_with("rebuild_running"));
    assert_eq!(world.get(1).await.unwrap().doc, world.folded(1));
    world.log.set_down(false);
    becomes(&world.projection, |standing| standing.current != first.current).await;
}

#[tokio::test]
async fn a_lost_redis_ends_a_rebuild_and_is_filled_again() {
    let world = with_history().await;
    world.log.set_down(true);
    assert_eq!(post(&world.projection, "notebook", "{}").await.0, StatusCode::ACCEPTED);
    world.flush().await;
    world.log.set_down(false);
    becomes(&world.projection, |standing| standing.is_filled).await;
    for number in 1..=NOTEBOOKS {
        assert_eq!(world.get(number).await.unwrap().doc, world.folded(number));
    }
}

#[tokio::test]
async fn a_quarantined_stream_does_not_keep_an_edition_from_taking_over() {
    let world = with_history().await;
    world.happen(&[poison(1, 4)]).await;
    world.stage.settled().await;
    rebuilt(&world.projection, "{}").await;
    assert!(world.projection.get::<Notebooks>(&id(1)).await.is_err());
    assert_eq!(world.get(2).await.unwrap().doc, world.folded(2));
}

/// The same notebooks, folded by a later build.
struct Renamed;

impl View for Renamed {
    type Doc = Notebook;
    const KIND: &'static str = Notebooks::KIND;
    const VERSION: u32 = 2;

    fn fold(doc: Option<Notebook>, event: &Envelope) -> Result<Option<Notebook>, BoxError> {
        let folded = Notebooks::fold(doc, event)?;
        Ok(folded.map(|doc| Notebook {
            holder: doc.holder.to_uppercase(),
            ..doc
        }))
    }

    fn place(doc: &Notebook) -> Placement {
        Notebooks::place(doc)
    }
}

#[tokio::test]
async fn a_build_with_another_version_brings_its_own_edition_and_is_undone_only_by_a_person() {
    let world = with_history().await;
    world.log.set_down(true);
    let later = world.another_build::<Renamed>("order-info-later").await;
    eventually("the later build wants another edition", async || {
        standing(&later).await.building
    })
    .await;
    // Until it is there, readers see the old one, whichever build answers.
    let read = later.get::<Renamed>(&id(1)).await.unwrap().expect("it is there");
    assert_eq!(read.doc, world.folded(1));
    world.log.set_down(false);
    let renewed = becomes(&later, |standing| standing.current_version == 2).await;
    let read = later.get::<Renamed>(&id(1)).await.unwrap().expect("it is there");
    assert_eq!(read.doc.holder, "ANN");
    // The earlier build, which is still there, leaves it to the later one.
    world.happen(&[given(1, 4, "bob")]).await;
    let read = eventually("the event is folded", async || {
        let read = later.get::<Renamed>(&id(1)).await.unwrap()?;
        (read.version == 4).then_some(read)
    })
    .await;
    assert_eq!(read.doc.holder, "BOB");
    world.stage.settled().await;

    let back = rebuilt(&later, r#"{"rollback": true}"#).await;
    assert_eq!(back.current_version, 1);
    assert_eq!(later.get::<Renamed>(&id(2)).await.unwrap().unwrap().doc.holder, "ann");
    // A watch period later still nobody has undone that.
    let watched: u64 = world
        .raw()
        .await
        .hget(world.key("sentinel"), "generation")
        .await
        .unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(2), async {
        loop {
            let standing = standing(&later).await;
            assert_eq!((standing.building, &standing.current), (None, &back.current));
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
    .expect_err("it is watched to the end");
    let generation: u64 = world
        .raw()
        .await
        .hget(world.key("sentinel"), "generation")
        .await
        .unwrap();
    assert_eq!(generation, watched);
    assert_eq!(back.previous, Some(renewed.current));
}
