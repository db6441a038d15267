//! What is sent, in which words, and how often.

use mesh_contracts::notification::Occasion;
use mesh_contracts::user::Language;

use crate::world::run;

#[tokio::test(flavor = "multi_thread")]
async fn customers_are_written_to_in_their_language() {
    run(async |world| {
        let anna = world.anna();
        let boris = world.person("Борис Ёлкин", "boris@example.org", Language::Ru);
        let to_anna = world.job(anna, Occasion::Completed);
        let to_boris = world.job(boris, Occasion::Paid);
        assert_eq!(world.outcome(&to_anna).await, "sent");
        assert_eq!(world.outcome(&to_boris).await, "sent");

        let mail = world.post.mail("anna@example.org").await;
        assert_eq!(mail.subject, format!("Your order {} is with you", to_anna.number));
        assert!(mail.text.starts_with("Hello Anna Berg,"), "{mail:?}");
        assert!(mail.text.contains("Its price is 12.90 EUR."), "{mail:?}");
        assert_eq!(mail.from, "no-reply@tiffin.local");
        assert_eq!(mail.message_id, format!("<{}.completed@tiffin>", to_anna.order));

        let mail = world.post.mail("boris@example.org").await;
        assert_eq!(mail.subject, format!("Мы приняли ваш заказ {}", to_boris.number));
        assert!(mail.text.starts_with("Здравствуйте, Борис Ёлкин!"), "{mail:?}");
        assert!(mail.text.contains("на сумму 12,90 EUR"), "{mail:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_comes_again_sends_nothing_again_and_says_nothing_again() {
    run(async |world| {
        let job = world.job(world.anna(), Occasion::Paid);
        for _ in 0..6 {
            world.ask(&job).await;
        }
        assert_eq!(world.answer(&job).await, "sent");
        world.nothing_left().await;
        world.service.kill().await;
        world.service.start().await;
        world.ask(&job).await;
        world.nothing_left().await;
        world.post.mail("anna@example.org").await;
        assert_eq!(world.events(&job).await.len(), 1);
        assert_eq!(world.sent_log().await.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_occasion_of_an_order_has_a_mail_of_its_own() {
    run(async |world| {
        let mut job = world.job(world.anna(), Occasion::Paid);
        for occasion in Occasion::ALL {
            job.occasion = occasion;
            // Not awaited one by one: those of one order wait for each other.
            world.ask(&job).await;
        }
        world.nothing_left().await;
        assert_eq!(world.post.mails("anna@example.org").await.len(), Occasion::ALL.len());
        let versions: Vec<u64> = world.events(&job).await.iter().map(|event| event.version).collect();
        assert_eq!(versions, (1..=Occasion::ALL.len() as u64).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_named_in_an_event_a_row_or_the_log() {
    run(async |world| {
        let job = world.job(world.anna(), Occasion::Paid);
        assert_eq!(world.outcome(&job).await, "sent");
        let refused = world.person("Anna Berg", "refused@example.org", Language::En);
        let in_vain = world.job(refused, Occasion::Paid);
        assert_eq!(world.outcome(&in_vain).await, "refused");
        let mut traces = world.sent_log().await;
        for job in [&job, &in_vain] {
            let events = world.events(job).await;
            traces.push(serde_json::to_string(&events).expect("plain data"));
        }
        traces.push(std::fs::read_to_string(world.service.log()).expect("a log"));
        assert!(traces.last().is_some_and(|log| log.contains("notification settled")));
        for trace in traces {
            for secret in ["Anna", "Berg", "example.org", "refused@"] {
                assert!(!trace.contains(secret), "{secret} is in {trace}");
            }
        }
    })
    .await;
}
