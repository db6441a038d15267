//! Tokens: given, taken back, never guessed.

use futures::future::join_all;
use mesh_contracts::user::Role;

use crate::world::{self, PASSWORD};

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_says_who_and_passes_the_gateways_check() {
    world::run(async |world| {
        let anna = world.customer("anna@example.org").await;
        let session = world.login("Anna@example.org", PASSWORD).await.session();
        assert_eq!(
            (session.user, session.role, session.expires_in_s),
            (anna.subject, Role::Customer, 600)
        );
        let claims = world
            .verifier()
            .verify(&session.access_token)
            .await
            .expect("a good token");
        assert_eq!((claims.subject, claims.role), (anna.subject, Role::Customer));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_stay_good_over_a_restart() {
    world::run(async |world| {
        world.customer("anna@example.org").await;
        let session = world.login("anna@example.org", PASSWORD).await.session();
        world.service.kill().await;
        world.service.start().await;
        world
            .verifier()
            .verify(&session.access_token)
            .await
            .expect("a good token");
        assert_eq!(world.refresh(&session.refresh_token).await.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_good_for_one_refresh_and_a_second_one_revokes_its_family() {
    world::run(async |world| {
        world.customer("anna@example.org").await;
        let elsewhere = world.login("anna@example.org", PASSWORD).await.session();
        let first = world.login("anna@example.org", PASSWORD).await.session();
        let second = world.refresh(&first.refresh_token).await.session();
        assert_ne!(second.refresh_token, first.refresh_token);
        let third = world.refresh(&second.refresh_token).await.session();
        let stolen = world.refresh(&first.refresh_token).await;
        assert_eq!((stolen.status, stolen.kind().as_str()), (401, "refresh_reused"));
        // The newest is revoked with the rest of its family; another login is not touched.
        assert_eq!(world.refresh(&third.refresh_token).await.kind(), "refresh_reused");
        assert_eq!(world.refresh(&elsewhere.refresh_token).await.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_refreshes_with_one_token_one_wins() {
    world::run(async |world| {
        world.customer("anna@example.org").await;
        let session = world.login("anna@example.org", PASSWORD).await.session();
        let answers = join_all((0..8).map(|_| world.refresh(&session.refresh_token))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_keeps_no_token_and_no_password() {
    world::run(async |world| {
        world.customer("anna@example.org").await;
        let session = world.login("anna@example.org", PASSWORD).await.session();
        let mut connection = world.connection().await;
        let kept: Vec<String> = sqlx::query_scalar(
            "select encode(hash, 'escape') from refresh_tokens union all select hash from credentials",
        )
        .fetch_all(&mut connection)
        .await
        .expect("rows");
        assert!(
            kept.iter()
                .all(|row| !row.contains(&session.refresh_token) && !row.contains(PASSWORD))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_e_mail_and_a_wrong_password_look_the_same() {
    world::run(async |world| {
        world.customer("anna@example.org").await;
        let before = world.written().await;
        let mut told = Vec::new();
        for (email, password) in [
            ("anna@example.org", "wrong password"),
            ("nobody@example.org", PASSWORD),
            ("no e-mail", PASSWORD),
            ("anna@example.org", ""),
        ] {
            let answer = world.login(email, password).await;
            assert_eq!((answer.status, answer.kind().as_str()), (401, "bad_credentials"));
            let mut problem = answer.json();
            problem.as_object_mut().expect("an object").remove("trace_id");
            told.push(problem);
        }
        assert!(told.iter().all(|problem| *problem == told[0]), "{told:?}");
        for bad in ["", "not-a-token", &"x".repeat(1_000)] {
            let answer = world.refresh(bad).await;
            assert_eq!((answer.status, answer.kind().as_str()), (401, "refresh_invalid"));
        }
        assert_eq!(world.written().await, before);
    })
    .await;
}
