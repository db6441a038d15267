//! Mails that are not taken, and jobs that are none.

use mesh_contracts::id::UserId;
use mesh_contracts::notification::Occasion;
use mesh_contracts::user::Language;
use sandbox_mail::office::Mood;

use crate::world::run;

#[tokio::test(flavor = "multi_thread")]
async fn an_address_refused_for_good_is_said_and_not_tried_again() {
    run(async |world| {
        let nobody = world.person("Nobody", "refused@example.org", Language::En);
        let job = world.job(nobody, Occasion::Paid);
        assert_eq!(world.outcome(&job).await, "refused");
        world.nothing_left().await;
        // Were it tried again, the second answer would be another.
        let mut again = job.clone();
        again.customer = world.anna();
        world.ask(&again).await;
        world.nothing_left().await;
        assert_eq!(world.events(&job).await.len(), 1);
        assert_eq!(world.post.mails("anna@example.org").await, []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_address_is_refused_before_anything_is_said_to_the_mailer() {
    run(async |world| {
        let nobody = world.person("Nobody", "no address", Language::En);
        let job = world.job(nobody, Occasion::Paid);
        assert_eq!(world.outcome(&job).await, "refused");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_is_gone_is_not_written_to() {
    run(async |world| {
        let job = world.job(UserId::new_v7(), Occasion::Completed);
        assert_eq!(world.outcome(&job).await, "no_recipient");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_put_off_is_tried_again_until_it_is_taken() {
    run(async |world| {
        world.post.set_mood(Mood::PuttingOff).await;
        let job = world.job(world.anna(), Occasion::Paid);
        world.ask(&job).await;
        world.tried(2).await;
        assert_eq!(world.events(&job).await, []);
        world.post.set_mood(Mood::Accepting).await;
        assert_eq!(world.answer(&job).await, "sent");
        world.post.mail("anna@example.org").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_always_put_off_is_given_up_and_said() {
    run(async |world| {
        let slow = world.person("Slow", "put-off@example.org", Language::En);
        let job = world.job(slow, Occasion::Paid);
        assert_eq!(world.outcome(&job).await, "put_off");
        world.nothing_left().await;
        assert_eq!(world.dead_letters().await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_no_notification_is_buried_and_in_nobodys_way() {
    run(async |world| {
        world.ask_nonsense().await;
        let job = world.job(world.anna(), Occasion::Paid);
        assert_eq!(world.outcome(&job).await, "sent");
        world.nothing_left().await;
        assert_eq!(world.dead_letters().await, 1);
    })
    .await;
}
