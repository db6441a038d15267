//! Who may speak to this service at all.

use bytes::Bytes;
use http::{Request, header};
use mesh_contracts::api::Contact;
use mesh_contracts::id::UserId;
use mesh_identity::ClientError;
use mesh_runtime::headers;
use mesh_testkit::{certificates, strangers};

use crate::world::{self, World, address, home, person};

fn register() -> Request<Bytes> {
    Request::post("/users")
        .header(header::CONTENT_TYPE, "application/json")
        .header(headers::IDEMPOTENCY_KEY, "register")
        .body(person("anna@example.org").to_string().into())
        .expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_gateway_may_speak_for_people() {
    world::run(async |world| {
        let before = world.written().await;
        for service in ["order-master", "user-info", "user-master"] {
            let client = certificates::mesh(service).client();
            let answer = client.request(&world.upstream, register()).await.expect("an answer");
            assert_eq!(answer.status(), 403, "{service}");
        }
        assert_eq!(world.written().await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_data_is_for_those_who_show_it_and_the_feed_for_those_who_hear() {
    world::run(async |world| {
        let anna = world.customer("anna@example.org").await;
        world.set_address(&anna, address(1), home()).await;
        let status = async |service: &str, path: &str| {
            let client = certificates::mesh(service).client();
            let request = Request::get(path).body(Bytes::new()).expect("a request");
            client
                .request(&world.upstream, request)
                .await
                .expect("an answer")
                .status()
                .as_u16()
        };
        let person = format!("/people/{}", anna.subject);
        for path in [person.clone(), format!("{person}/addresses/{}", address(1))] {
            assert_eq!(status("user-info", &path).await, 200, "{path}");
            assert_eq!(status("gateway", &path).await, 200, "{path}");
            for service in ["order-info", "order-master", "courier-master", "tiffin"] {
                assert_eq!(status(service, &path).await, 403, "{service} {path}");
            }
        }
        assert_eq!(status("notifier", &person).await, 403);
        for service in ["gateway", "user-info", "order-master", "tiffin"] {
            let refused = contacts(world, service, &[anna.subject]).await;
            assert_eq!(
                refused.unwrap_err().status().map(|status| status.as_u16()),
                Some(403),
                "{service}"
            );
        }
        assert_eq!(status("courier-master", "/feed").await, 200);
        assert_eq!(status("sandbox-payments", "/feed").await, 403);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_to_people_is_told_how_to_reach_those_who_are_there_and_nobody_else() {
    world::run(async |world| {
        let anna = world.customer("anna@example.org").await.subject;
        let boris = world.register("boris", person("boris@example.org")).await.json()["id"].clone();
        let boris: UserId = serde_json::from_value(boris).expect("an id");
        let told = contacts(world, "notifier", &[anna, UserId::new_v7(), anna, boris]).await;
        let mut told = told.expect("an answer");
        told.sort_by(|one, other| one.email.cmp(&other.email));
        let emails: Vec<_> = told
            .iter()
            .map(|contact| (contact.person, contact.email.as_str()))
            .collect();
        assert_eq!(emails, [(anna, "anna@example.org"), (boris, "boris@example.org")]);
        assert_eq!(contacts(world, "notifier", &[]).await.expect("an answer"), []);
    })
    .await;
}

async fn contacts(world: &World<'_>, service: &str, people: &[UserId]) -> Result<Vec<Contact>, ClientError> {
    let client = certificates::mesh(service).client();
    client.post_json(&world.upstream, "/contacts", people).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_does_not_get_past_the_handshake() {
    world::run(async |world| {
        let before = world.written().await;
        strangers::are_refused(&world.service, &register()).await;
        assert_eq!(world.written().await, before);
    })
    .await;
}
