use std::sync::{Arc, Mutex};

use mesh_bus::feed::{FeedError, Feeds};
use mesh_contracts::subject::Context;

use crate::events::{event, stream};

#[tokio::test]
async fn a_stream_is_read_from_its_owner_page_by_page() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let events = [event(&stream(1), 1), event(&stream(1), 2), event(&stream(1), 3)];
    let kept = events.clone();
    let feeds = Feeds::new(move |owner, path| {
        log.lock().unwrap().push(format!("{owner} {path}"));
        // A server that gives two at most.
        let after: usize = path.split(['=', '&']).nth(1).unwrap().parse().unwrap();
        let page: Vec<_> = kept.iter().skip(after).take(2).cloned().collect();
        async move { Ok(serde_json::to_vec(&page)?.into()) }
    });
    assert_eq!(feeds.whole(&stream(1)).await.unwrap(), events);
    let id = stream(1);
    let expected: Vec<_> = [0, 2, 3]
        .map(|after| format!("order-master /feed/streams/{id}?after={after}&limit=500"))
        .into();
    assert_eq!(*asked.lock().unwrap(), expected);
}

#[tokio::test]
async fn heads_are_pairs() {
    let feeds = Feeds::new(|_, path| async move {
        assert_eq!(path, "/feed/heads?after=ord_0&limit=2");
        Ok(r#"[["ord_1", 4], ["ord_2", 7]]"#.into())
    });
    let heads = feeds.heads(Context::Order, "ord_0", 2).await.unwrap();
    assert_eq!(heads, [("ord_1".to_owned(), 4), ("ord_2".to_owned(), 7)]);
}

#[tokio::test]
async fn what_is_no_id_never_reaches_a_path() {
    let feeds = Feeds::new(|_, _| async { panic!("asked") });
    for id in ["", "nobody_1", "ord_1/../../x", "ord_1?after=0", "ord_ 1"] {
        assert!(matches!(feeds.whole(id).await, Err(FeedError::NoOwner(_))), "{id}");
    }
}

#[tokio::test]
async fn an_owner_that_is_away_is_named() {
    let feeds = Feeds::new(|_, _| async { Err("refused".into()) });
    match feeds.page(Context::Point, "", 0, 10).await {
        Err(FeedError::Unavailable { owner, .. }) => assert_eq!(owner, "point-master"),
        other => panic!("{other:?}"),
    }
    let feeds = Feeds::new(|_, _| async { Ok("<html>".into()) });
    let answer = feeds.page(Context::Point, "", 0, 10).await;
    assert!(matches!(answer, Err(FeedError::Unreadable { .. })));
}
