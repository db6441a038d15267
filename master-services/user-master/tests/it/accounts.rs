//! Opening, changing and leaving.

use futures::future::join_all;
use http::Method;
use mesh_contracts::api::Profile;
use mesh_testkit::Stage;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use crate::world::{self, PASSWORD, address, home, person};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_registers_can_log_in_and_read_what_was_given() {
    world::run(async |world| {
        let answer = world.register("one", person(" Anna@Example.ORG ")).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.json()["role"], "customer");
        assert!(answer.headers.contains_key("tiffin-consistency"));
        let session = world.login("anna@example.org", PASSWORD).await.session();
        assert_eq!(json!(session.user), answer.json()["id"]);
        let profile: Profile =
            serde_json::from_value(world.get(&format!("/people/{}", session.user)).await.json()).expect("a profile");
        assert_eq!(
            (profile.email.as_str(), profile.name.as_str()),
            ("anna@example.org", "Anna")
        );
        assert_eq!(world.event_types(session.user).await, ["user.registered"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_taps_of_register_open_one_account_with_one_answer() {
    world::run(async |world| {
        let before = world.written().await;
        let taps = join_all((0..20).map(|_| world.register("tap", person("anna@example.org")))).await;
        for tap in &taps {
            assert_eq!((tap.status, &tap.body), (201, &taps[0].body), "{tap:?}");
        }
        assert_ne!(world.written().await, before);
        let people: i64 = sqlx::query_scalar("select count(*) from people where role = 'customer'")
            .fetch_one(&mut world.connection().await)
            .await
            .expect("a count");
        assert_eq!(people, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_want_one_e_mail_one_gets_it() {
    world::run(async |world| {
        let keys: Vec<String> = (0..10).map(|number| format!("key-{number}")).collect();
        let taps = join_all(keys.iter().map(|key| world.register(key, person("anna@example.org")))).await;
        let opened = taps.iter().filter(|tap| tap.status == 201).count();
        assert_eq!(opened, 1);
        for lost in taps.iter().filter(|tap| tap.status != 201) {
            assert_eq!((lost.status, lost.kind().as_str()), (409, "email_taken"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_opens_accounts_for_couriers_and_kitchens() {
    world::run(async |world| {
        let operator = world.operator().await;
        let mut courier = person("courier@example.org");
        courier["country"] = json!("DE");
        let answer = world.post("/couriers", Some(&operator), "c", courier.clone()).await;
        assert_eq!((answer.status, answer.json()["role"].as_str()), (201, Some("courier")));
        let again = world.post("/couriers", Some(&operator), "c", courier).await;
        assert_eq!(again.body, answer.body);
        let id = answer.json()["id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("a person's id");
        let event = world.events(id).await.remove(0);
        assert_eq!(
            event.data.value(),
            json!({ "role": "courier", "points": [], "country": "DE" })
        );
        assert_eq!(event.meta.actor, operator.actor());

        let point = "pnt_00000000000000000000000007";
        let path = format!("/food-points/{point}/staff");
        let answer = world
            .post(&path, Some(&operator), "k", person("cook@example.org"))
            .await;
        assert_eq!((answer.status, answer.json()["role"].as_str()), (201, Some("kitchen")));
        let session = world.login("cook@example.org", PASSWORD).await.session();
        assert_eq!(json!(session.food_points), json!([point]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_profile_is_told_without_what_changed() {
    world::run(async |world| {
        let anna = world.customer("anna@example.org").await;
        let patch = async |body: serde_json::Value| {
            world
                .send(Method::PATCH, "/me", Some(&anna), None, body.to_string())
                .await
        };
        assert_eq!(patch(json!({ "name": "Anna B." })).await.status, 200);
        assert_eq!(patch(json!({ "phone": "" })).await.status, 200);
        let profile = world.get(&format!("/people/{}", anna.subject)).await.json();
        assert_eq!(
            (
                profile["name"].as_str(),
                &profile["phone"],
                profile["language"].as_str()
            ),
            (Some("Anna B."), &json!(null), Some("en"))
        );
        assert_eq!(patch(json!({ "language": "ru" })).await.status, 200);
        let profile = world.get(&format!("/people/{}", anna.subject)).await.json();
        assert_eq!(
            (profile["name"].as_str(), profile["language"].as_str()),
            (Some("Anna B."), Some("ru"))
        );
        let events = world.events(anna.subject).await;
        assert_eq!(
            (events[1].event_type.as_str(), events[1].data.value()),
            ("user.profile_changed", json!({}))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_leaves_nothing_but_the_fact() {
    world::run(async |world| {
        let anna = world.customer("anna@example.org").await;
        let session = world.login("anna@example.org", PASSWORD).await.session();
        world.set_address(&anna, address(1), home()).await;
        for _ in 0..2 {
            let erased = world.send(Method::DELETE, "/me", Some(&anna), None, "").await;
            assert_eq!((erased.status, erased.json()["status"].as_str()), (200, Some("erased")));
        }
        assert_eq!(
            world.event_types(anna.subject).await.last().map(String::as_str),
            Some("user.erased")
        );
        let mut connection = world.connection().await;
        for table in ["people", "credentials", "addresses", "refresh_families"] {
            let left: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
                "select count(*) from {table} where person = $1"
            )))
            .bind(anna.subject.to_string())
            .fetch_one(&mut connection)
            .await
            .expect("a count");
            assert_eq!(left, 0, "{table}");
        }
        assert_eq!(world.get(&format!("/people/{}", anna.subject)).await.status, 404);
        assert_eq!(
            world.login("anna@example.org", PASSWORD).await.kind(),
            "bad_credentials"
        );
        assert_eq!(world.refresh(&session.refresh_token).await.kind(), "refresh_invalid");
        let again = world.register("anew", person("anna@example.org")).await;
        assert_eq!(again.status, 201, "the e-mail is free again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_again_changes_neither_the_operator_nor_the_key() {
    mesh_testkit::run(async |stage: &Stage| {
        let database = stage.database().await;
        let service = || {
            mesh_testkit::ServiceProcess::new(stage, world::SERVICE, env!("CARGO_BIN_EXE_user-master"))
                .env("TIFFIN_OPERATOR_EMAIL", "operator@example.org")
        };
        let count = async || -> (i64, i64, i64) {
            let mut connection = PgConnection::connect(&database.url).await.expect("the database answers");
            sqlx::query_as("select (select count(*) from events), (select count(*) from people), (select count(*) from signing_keys)")
                .fetch_one(&mut connection)
                .await
                .expect("a count")
        };
        for password in ["the first one", "another one"] {
            let _ = service().env("TIFFIN_OPERATOR_PASSWORD", password).migrated(&database).await;
            assert_eq!(count().await, (1, 1, 1));
        }
        // Whoever serves publishes what migrating wrote.
        let mut serving = service().env("TIFFIN_POSTGRES_URL", &database.url);
        serving.start().await;
        stage.settled().await;
    })
    .await;
}
