//! Where deliveries go: exact for the courier of the day, rough for everyone else.

use futures::future::join_all;
use http::Method;
use serde_json::json;

use crate::world::{self, address, home};

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_kept_exactly_and_told_roughly() {
    world::run(async |world| {
        let anna = world.customer("anna@example.org").await;
        let set = world.set_address(&anna, address(1), home()).await;
        assert_eq!((set.status, set.json()["status"].as_str()), (200, Some("active")));
        let path = format!("/people/{}/addresses/{}", anna.subject, address(1));
        assert_eq!(world.get(&path).await.json(), home());
        let event = world.events(anna.subject).await.remove(1);
        let rough = json!({ "country": "DE", "at": { "lat_e6": 52_520_000, "lon_e6": 13_405_000 } });
        assert_eq!(event.data.value(), json!({ "address": address(1), "place": rough }));
        let mut moved = home();
        moved["text"] = json!("Hauptstr. 9");
        moved["instructions"] = json!(" ");
        assert_eq!(world.set_address(&anna, address(1), moved).await.status, 200);
        let profile = world.get(&format!("/people/{}", anna.subject)).await.json();
        let kept = &profile["addresses"][address(1).to_string()];
        assert_eq!(
            (kept["text"].as_str(), &kept["instructions"]),
            (Some("Hauptstr. 9"), &json!(null))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_are_looked_up_at_once_everybody_gets_the_own() {
    world::run(async |world| {
        let anna = world.customer("anna@example.org").await;
        let bela = world.customer("bela@example.org").await;
        let paths = |person| (1..=20).map(move |nth| format!("/people/{person}/addresses/{}", address(nth)));
        for (who, nth) in [(&anna, 1), (&anna, 2), (&bela, 1)] {
            let mut at = home();
            at["text"] = json!(format!("{} {nth}", who.subject));
            assert_eq!(world.set_address(who, address(nth), at).await.status, 200);
        }
        let all: Vec<String> = paths(anna.subject).chain(paths(bela.subject)).collect();
        let found = join_all(all.iter().map(|path| world.get(path))).await;
        for (path, found) in all.iter().zip(found) {
            let kept = [(&anna, 1), (&anna, 2), (&bela, 1)]
                .into_iter()
                .find(|(who, nth)| *path == format!("/people/{}/addresses/{}", who.subject, address(*nth)));
            match kept {
                Some((who, nth)) => assert_eq!(found.json()["text"], format!("{} {nth}", who.subject)),
                None => assert_eq!(found.status, 404, "{path}"),
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_address_is_gone() {
    world::run(async |world| {
        let anna = world.customer("anna@example.org").await;
        world.set_address(&anna, address(1), home()).await;
        let path = format!("/me/addresses/{}", address(1));
        assert_eq!(
            world.send(Method::DELETE, &path, Some(&anna), None, "").await.status,
            200
        );
        let again = world.send(Method::DELETE, &path, Some(&anna), None, "").await;
        assert_eq!((again.status, again.kind().as_str()), (404, "not_found"));
        assert_eq!(
            world
                .get(&format!("/people/{}/addresses/{}", anna.subject, address(1)))
                .await
                .status,
            404
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_twenty_first_address_is_refused_even_if_all_come_at_once() {
    world::run(async |world| {
        let anna = world.customer("anna@example.org").await;
        for number in 0..19 {
            assert_eq!(world.set_address(&anna, address(number), home()).await.status, 200);
        }
        let last = join_all((19..25).map(|number| world.set_address(&anna, address(number), home()))).await;
        let kept = last.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(kept, 1);
        for refused in last.iter().filter(|answer| answer.status != 200) {
            assert_eq!((refused.status, refused.kind().as_str()), (409, "too_many_addresses"));
        }
    })
    .await;
}
