//! A person's own data.

use http::header;
use mesh_contracts::user::Event;
use mesh_testkit::eventually;
use serde_json::json;

use crate::people::HOME;
use crate::world::{self, customer};

#[tokio::test]
async fn a_person_sees_everything_we_know_of_them() {
    world::run(async |world| {
        let ann = customer(1);
        let version = world.register(ann.subject, "Ann").await;
        let answer = world.gateway.get_after("/me", &ann, ann.subject, version).await;
        assert_eq!(
            answer.json(),
            json!({
                "id": ann.subject,
                "role": "customer",
                "email": "ann@example.org",
                "name": "Ann",
                "phone": "+49 30 1234",
                "language": "ru",
                "addresses": {
                    (HOME.to_string()): {
                        "text": "Holzweg 7, third floor",
                        "place": { "country": "DE", "at": { "lat_e6": 52_520_449, "lon_e6": 13_404_951 } },
                        "instructions": "ring twice",
                    },
                },
            })
        );
        let known = [(header::IF_NONE_MATCH, "\"2.2\"".to_owned())];
        assert_eq!(world.gateway.get_with("/me", &ann, &known).await.status, 304);
        assert_eq!(
            world.gateway.get("/me", &customer(2)).await.problem(),
            (404, "not_found".into())
        );
    })
    .await;
}

#[tokio::test]
async fn whoever_changed_a_name_reads_the_new_one() {
    world::run(async |world| {
        let ann = customer(1);
        let version = world.register(ann.subject, "Ann").await;
        assert_eq!(
            world.gateway.get_after("/me", &ann, ann.subject, version).await.json()["name"],
            "Ann"
        );
        for name in ["Anna", "Annika", "Anuschka"] {
            world.people.set_name(ann.subject, name);
            let version = world.users.tell_all(ann.subject, [Event::ProfileChanged {}]).await;
            let me = world.gateway.get_after("/me", &ann, ann.subject, version).await.json();
            assert_eq!(me["name"], name);
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_fetched_outlives_an_outage_of_user_master() {
    world::run(async |world| {
        let ann = customer(1);
        world.register(ann.subject, "Ann").await;
        // Nobody has asked for it; the event alone made it come.
        eventually("the profile is here", async || {
            world.keeps_profile(ann.subject).await.then_some(())
        })
        .await;
        world.stage.settled().await;
        world.users.set_down(true);
        assert_eq!(world.gateway.get("/me", &ann).await.json()["name"], "Ann");
        let version = world.users.tell_all(ann.subject, [Event::ProfileChanged {}]).await;
        let answer = world.gateway.get_after("/me", &ann, ann.subject, version).await;
        assert_eq!(
            answer.problem(),
            (503, "unavailable".into()),
            "the old name is not the answer"
        );
        world.users.set_down(false);
    })
    .await;
}

#[tokio::test]
async fn an_erased_person_leaves_nothing_behind() {
    world::run(async |world| {
        let ann = customer(1);
        let version = world.register(ann.subject, "Ann Erasable").await;
        assert_eq!(
            world.gateway.get_after("/me", &ann, ann.subject, version).await.status,
            200
        );
        assert!(world.keeps_profile(ann.subject).await);
        world.people.erase(ann.subject);
        let version = world.users.tell_all(ann.subject, [Event::Erased {}]).await;
        let answer = world.gateway.get_after("/me", &ann, ann.subject, version).await;
        assert_eq!(answer.problem(), (404, "not_found".into()));
        eventually("the copy is deleted", async || {
            (!world.keeps_profile(ann.subject).await).then_some(())
        })
        .await;
        let log = std::fs::read_to_string(world.service.log()).expect("a log");
        for personal in ["Erasable", "ann@example.org", "Holzweg", "1234"] {
            assert!(!log.contains(personal), "{personal} is in the log");
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_fetched_while_the_person_was_erased_is_not_kept() {
    world::run(async |world| {
        let ann = customer(1);
        let version = world.register(ann.subject, "Ann").await;
        world.gateway.get_after("/me", &ann, ann.subject, version).await;
        world.stage.settled().await;
        world.lose_profile(ann.subject).await;

        let closed = world.people.door.clone().write_owned().await;
        let erase = async {
            eventually("user-master has read its row", async || {
                (world.people.waiting() > 0).then_some(())
            })
            .await;
            world.people.erase(ann.subject);
            world.users.tell_all(ann.subject, [Event::Erased {}]).await;
            world.stage.settled().await;
            drop(closed);
        };
        tokio::join!(world.gateway.get("/me", &ann), erase);
        assert!(!world.keeps_profile(ann.subject).await);
    })
    .await;
}
