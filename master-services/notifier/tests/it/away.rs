//! Whoever notifier needs is away, or notifier is.

use mesh_contracts::notification::Occasion;
use sandbox_mail::office::Mood;

use crate::world::run;

#[tokio::test(flavor = "multi_thread")]
async fn while_the_mailer_is_away_jobs_wait_and_then_go_out_once() {
    run(async |world| {
        world.post.process.kill().await;
        let job = world.job(world.anna(), Occasion::Paid);
        world.ask(&job).await;
        world.in_hand(1).await;
        assert_eq!(world.events(&job).await, []);
        world.post.process.start().await;
        assert_eq!(world.answer(&job).await, "sent");
        world.post.mail("anna@example.org").await;
        assert_eq!(world.dead_letters().await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_knows_the_recipient_jobs_wait() {
    run(async |world| {
        world.users.set_down(true);
        let job = world.job(world.anna(), Occasion::Paid);
        world.ask(&job).await;
        world.in_hand(1).await;
        assert_eq!(world.events(&job).await, []);
        world.users.set_down(false);
        assert_eq!(world.answer(&job).await, "sent");
        world.post.mail("anna@example.org").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_mail_is_handed_in_it_is_handed_in_again() {
    run(async |world| {
        world.post.set_mood(Mood::Stalling).await;
        let job = world.job(world.anna(), Occasion::Paid);
        world.ask(&job).await;
        world.in_hand(1).await;
        world.service.kill().await;
        world.post.set_mood(Mood::Accepting).await;
        world.service.start().await;
        assert_eq!(world.answer(&job).await, "sent");
        world.post.mail("anna@example.org").await;
        assert_eq!(world.events(&job).await.len(), 1);
    })
    .await;
}
