//! Who may not: nobody, somebody of another role, somebody whose token has expired, and the provider that is none.

use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use mesh_contracts::id::UserId;
use mesh_contracts::user::Role;
use mesh_identity::jwt::{Issuer, SigningKey};
use mesh_local::services::SERVICES;
use mesh_testkit::eventually_in;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use super::{Case, Scene, case};
use crate::platform::{DEADLINE, Sent, alone, shared};

/// As user-master signs them unless told otherwise.
const ISSUER: &str = "https://tiffin.local";
const AUDIENCE: &str = "tiffin";

#[tokio::test]
async fn who_may_not_is_refused_and_leaves_no_trace() {
    let _alone = alone().await;
    let scene = Scene::new("bad-callers").await;
    let expired = expired_token(&scene).await;
    let mut cases = strangers(&scene, &expired);
    cases.extend(wrong_roles(&scene));
    cases.push(forged_webhook());
    scene.refuses_all(cases).await;
}

/// A token of the customer's that was good a moment ago.
async fn expired_token(scene: &Scene) -> String {
    let issuer = issuer(signing_keys().await);
    let token = issuer.access_token(&scene.customer.id, Role::Customer, &[], Duration::ZERO);
    eventually_in("the token expires", DEADLINE, || async {
        let answer = scene.door.send(Sent::get("/v1/basket").by(&token)).await;
        (answer.status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    token
}

fn issuer(keys: Vec<SigningKey>) -> Issuer {
    Issuer::new(keys, ISSUER, AUDIENCE)
}

/// user-master's own.
async fn signing_keys() -> Vec<SigningKey> {
    let user_master = SERVICES
        .iter()
        .find(|service| service.name == "user-master")
        .expect("in the table");
    let url = shared()
        .running()
        .database_url(user_master)
        .expect("every master has a database");
    let mut database = PgConnection::connect(&url).await.expect("its superuser enters");
    let pems: Vec<String> = sqlx::query_scalar("select pem from signing_keys order by signs_from")
        .fetch_all(&mut database)
        .await
        .expect("keys");
    pems.iter()
        .map(|pem| SigningKey::from_pem(pem).expect("a key"))
        .collect()
}

/// No token, and tokens of every kind that is not one.
fn strangers(scene: &Scene, expired: &str) -> Vec<Case> {
    let customer = scene.customer.id;
    let forged = issuer(vec![SigningKey::generate()]).access_token(&customer, Role::Operator, &[], DEADLINE);
    let (head, signature) = scene.token.rsplit_once('.').expect("three parts");
    let unsigned = format!("{head}.");
    let altered = format!("{head}A.{signature}");
    let line = || Sent::put(scene.line(), &json!({"quantity": 2, "country": "DE"}));
    let order = || Sent::post("/v1/orders", &scene.wish(1));
    let mut cases = Vec::new();
    let mut add = |what: String, sent: Sent, kind| cases.push(case(what, sent, StatusCode::UNAUTHORIZED, kind));
    for (what, sent) in [
        ("a basket line", line()),
        ("an order", order()),
        ("the order page", Sent::get("/v1/home")),
    ] {
        add(format!("{what} without a token"), sent.clone(), "token_missing");
        add(
            format!("{what} with an expired token"),
            sent.clone().by(expired),
            "token_expired",
        );
        add(
            format!("{what} with somebody else's signature"),
            sent.clone().by(&forged),
            "token_invalid",
        );
        add(
            format!("{what} without a signature"),
            sent.clone().by(&unsigned),
            "token_invalid",
        );
        add(
            format!("{what} with an altered token"),
            sent.by(&altered),
            "token_invalid",
        );
    }
    // Whoever claims to be somebody without a token is nobody.
    let claims = [
        ("tiffin-caller-subject", UserId::to_string(&customer)),
        ("tiffin-caller-role", "customer".to_owned()),
    ];
    let claimed = claims.iter().fold(line(), |sent, (name, value)| {
        sent.with(HeaderName::from_static(name), value)
    });
    add("a claim in headers".to_owned(), claimed, "token_missing");
    let wrong = json!({"email": scene.customer.email, "password": "not this one"});
    add(
        "a wrong password".to_owned(),
        Sent::post("/v1/sessions", &wrong),
        "bad_credentials",
    );
    cases
}

/// Each role at a door of each other's; the gateway's own tests walk the whole matrix.
fn wrong_roles(scene: &Scene) -> Vec<Case> {
    let (point, order) = (scene.site.points[0].id, mesh_contracts::id::OrderId::new_v7());
    let line = || Sent::put(scene.line(), &json!({"quantity": 2, "country": "DE"}));
    let accept = || Sent::post(format!("/v1/orders/{order}/accept"), &json!({}));
    let shift = || Sent::put("/v1/couriers/me/shift", &json!({"on": false}));
    let open = || {
        Sent::json(
            Method::PATCH,
            format!("/v1/food-points/{point}"),
            &json!({"open": false}),
        )
    };
    let retire = || {
        Sent::json(
            Method::DELETE,
            format!("/v1/products/{}", scene.site.product),
            &json!({}),
        )
    };
    let promote = || Sent::post("/v1/promotions", &json!({}));
    let end = || Sent::post(format!("/v1/orders/{order}/override"), &json!({"reason": "other"}));
    let Scene {
        token,
        operator,
        cook,
        courier,
        ..
    } = scene;
    let tries: [(&str, &String, Vec<Sent>); 4] = [
        (
            "a customer",
            token,
            vec![accept(), shift(), open(), retire(), promote(), end()],
        ),
        ("a cook", cook, vec![line(), shift(), retire(), promote(), end()]),
        (
            "a courier",
            courier,
            vec![line(), accept(), open(), retire(), promote(), end()],
        ),
        ("an operator", operator, vec![line(), accept(), shift()]),
    ];
    let mut cases = Vec::new();
    for (who, token, all) in tries {
        for sent in all {
            let what = format!("{who}: {} {}", sent.method, sent.path);
            cases.push(case(what, sent.by(token), StatusCode::FORBIDDEN, "wrong_role"));
        }
    }
    let settings = json!({"settings": scene.site.settings("Mine now", scene.site.place_of_first_point())});
    let takes_over = Sent::json(Method::PATCH, format!("/v1/food-points/{point}"), &settings).by(cook);
    cases.push(case(
        "a cook describes the point",
        takes_over,
        StatusCode::FORBIDDEN,
        "forbidden",
    ));
    cases
}

fn forged_webhook() -> Case {
    let event = json!({"type": "payment_intent.succeeded"});
    let signature = HeaderName::from_static("stripe-signature");
    let sent = Sent::post("/v1/webhooks/payments", &event).with(signature, "t=1,v1=00");
    case("a forged webhook", sent, StatusCode::UNAUTHORIZED, "webhook_forged")
}
