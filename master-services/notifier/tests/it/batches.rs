//! Notices that come together go together, and none suffers from another.

use mesh_contracts::id::UserId;
use mesh_contracts::notification::Occasion;
use mesh_contracts::user::Language;

use crate::world::run;

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_together_is_one_transaction_and_each_is_told_what_is_meant_for_them() {
    run(async |world| {
        let people: Vec<_> = (0..30)
            .map(|number| {
                let email = format!("customer-{number}@example.org");
                (world.person(&format!("Customer {number}"), &email, Language::En), email)
            })
            .collect();
        let jobs: Vec<_> = people.iter().map(|(id, _)| world.job(*id, Occasion::Paid)).collect();
        for job in &jobs {
            world.ask(job).await;
        }
        world.nothing_left().await;
        for (job, (_, email)) in jobs.iter().zip(&people) {
            let mail = world.post.mail(email).await;
            assert!(mail.subject.contains(&job.number), "{mail:?}");
            assert_eq!(world.answer(job).await, "sent");
        }
        assert_eq!(world.sent_log().await.len(), jobs.len());
        let commits = world.commits().await;
        assert!(commits <= 10, "{commits} commits");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_refused_put_off_or_gone_is_in_nobodys_way() {
    run(async |world| {
        let person = |email| world.person("Somebody", email, Language::En);
        let expected = [
            (person("refused@example.org"), "refused"),
            (person("put-off@example.org"), "put_off"),
            (person("юзер@example.org"), "refused"),
            (person("no address"), "refused"),
            (UserId::new_v7(), "no_recipient"),
            (world.anna(), "sent"),
            (person("boris@example.org"), "sent"),
        ];
        let jobs = expected.map(|(id, outcome)| (world.job(id, Occasion::Completed), outcome));
        for (job, _) in &jobs {
            world.ask(job).await;
        }
        for (job, outcome) in &jobs {
            assert_eq!(world.answer(job).await, *outcome);
            assert_eq!(world.events(job).await.len(), 1);
        }
        world.post.mail("anna@example.org").await;
        world.post.mail("boris@example.org").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_in_is_noted_although_the_mailer_falls_silent_over_another() {
    run(async |world| {
        let silent = world.person("Silent", "stalling@example.org", Language::En);
        let in_vain = world.job(silent, Occasion::Paid);
        let job = world.job(world.anna(), Occasion::Paid);
        world.ask(&in_vain).await;
        world.ask(&job).await;
        assert_eq!(world.answer(&job).await, "sent");
        world.in_hand(1).await;
        assert_eq!(world.events(&in_vain).await, []);
        world.post.mail("anna@example.org").await;
        // It would wait forever.
        world.drop_queue().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_the_mailer_closed_costs_no_mail() {
    run(async |world| {
        let first = world.job(world.anna(), Occasion::Paid);
        assert_eq!(world.outcome(&first).await, "sent");
        world.post.process.kill().await;
        world.post.process.start().await;
        let second = world.job(world.anna(), Occasion::Paid);
        assert_eq!(world.outcome(&second).await, "sent");
        assert_eq!(world.post.mails("anna@example.org").await.len(), 2);
        assert_eq!(world.dead_letters().await, 0);
    })
    .await;
}
