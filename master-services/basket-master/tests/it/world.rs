//! A running basket-master, its neighbours, its provider, and a gateway that talks to it.

use std::collections::BTreeMap;

use axum::body::Bytes;
use http::{HeaderMap, Method, Request, header};
use jiff::{SignedDuration, Timestamp};
use mesh_bus::{Bus, NewJob};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::geo::Country;
use mesh_contracts::id::{OrderId, ProductId, UserId};
use mesh_contracts::menu::{self, Names};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::{self, Method as Payment};
use mesh_contracts::subject::{Context, Queue};
use mesh_contracts::user::Role;
use mesh_identity::{Caller, Client, Upstream};
use mesh_testkit::{Database, Master, ServiceProcess, Stage, certificates, eventually};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::provider::{KEY, Provider, WEBHOOK_SECRET};

pub const SERVICE: &str = "basket-master";
pub const PRICE: i64 = 1290;

pub struct World {
    pub service: ServiceProcess,
    pub orders: Master,
    pub menu: Master,
    pub provider: Provider,
    pub upstream: Upstream,
    pub database: Database,
    gateway: Client,
    auditor: Client,
    bus: Bus,
    bus_prefix: String,
    bus_admin: async_nats::Client,
}

/// What the service answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("an answer is JSON")
    }

    /// The stable name of a problem.
    pub fn kind(&self) -> String {
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json",
            "{self:?}"
        );
        let kind = self.json()["type"].as_str().expect("a problem has a type").to_owned();
        kind.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

/// Runs a test in a world of its own, which must be at rest before it goes.
pub async fn run(start: impl AsyncFnOnce(&Stage) -> World, body: impl AsyncFnOnce(&mut World)) {
    mesh_testkit::run(async |stage| {
        let mut world = start(stage).await;
        body(&mut world).await;
        stage.settled().await;
    })
    .await;
}

impl World {
    /// Everything runs, the provider with its webhooks.
    pub async fn new(stage: &Stage) -> Self {
        let mut world = Self::without_provider(stage).await;
        let receiver = (world.gateway.clone(), world.upstream.clone());
        world.provider.open(Some(receiver)).await;
        world
    }

    /// Everything runs, and no webhook ever comes.
    pub async fn without_webhooks(stage: &Stage) -> Self {
        let mut world = Self::without_provider(stage).await;
        world.provider.open(None).await;
        world
    }

    /// Migrated, started and ready; nobody answers at the provider's address yet.
    pub async fn without_provider(stage: &Stage) -> Self {
        let orders = Master::start(stage, Context::Order).await;
        let menu = Master::start(stage, Context::Menu).await;
        let provider = Provider::closed();
        let database = stage.database().await;
        let mut service = ServiceProcess::new(stage, SERVICE, env!("CARGO_BIN_EXE_basket-master"))
            .env("TIFFIN_UPSTREAMS", format!("{},{}", orders.upstream(), menu.upstream()))
            .env("TIFFIN_PAYMENTS_URL", format!("https://{}", provider.address))
            .env("TIFFIN_PAYMENTS_KEY", KEY)
            .env("TIFFIN_PAYMENTS_WEBHOOK_SECRET", WEBHOOK_SECRET)
            .migrated(&database)
            .await;
        service.start().await;
        Self {
            upstream: Upstream::new(SERVICE, service.address().to_string()),
            gateway: certificates::mesh("gateway").client(),
            auditor: certificates::mesh("tiffin").client(),
            bus: Bus::connect(stage.bus(SERVICE)).await.expect("an address"),
            bus_prefix: stage.bus_prefix(),
            bus_admin: stage.bus_admin().await,
            service,
            orders,
            menu,
            provider,
            database,
        }
    }

    pub async fn send(&self, method: Method, path: &str, caller: &Caller, body: Value) -> Answer {
        self.send_raw(method, path, Some(caller), &[], body.to_string().into())
            .await
    }

    pub async fn send_raw(
        &self,
        method: Method,
        path: &str,
        caller: Option<&Caller>,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body).expect("a request");
        if let Some(caller) = caller {
            caller.write(request.headers_mut());
        }
        let answer = self.gateway.request(&self.upstream, request).await.expect("an answer");
        let (head, body) = answer.into_parts();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }

    pub async fn set_line(&self, caller: &Caller, product: ProductId, line: Value) -> Answer {
        self.send(Method::PUT, &format!("/basket/lines/{product}"), caller, line)
            .await
    }

    pub async fn remove_line(&self, caller: &Caller, product: ProductId) -> Answer {
        self.send(Method::DELETE, &format!("/basket/lines/{product}"), caller, json!({}))
            .await
    }

    pub async fn checkout(&self, caller: &Caller, body: Value) -> Answer {
        self.send(
            Method::POST,
            &format!("/baskets/{}/checkout", caller.subject),
            caller,
            body,
        )
        .await
    }

    pub async fn pay_again(&self, caller: &Caller, order: OrderId, key: &str, body: Value) -> Answer {
        let headers = [("idempotency-key", key)];
        let path = format!("/orders/{order}/payments");
        self.send_raw(Method::POST, &path, Some(caller), &headers, body.to_string().into())
            .await
    }

    pub async fn webhook(&self, signature: &str, body: &str) -> Answer {
        let headers = [("stripe-signature", signature)];
        self.send_raw(
            Method::POST,
            "/webhooks/payments",
            None,
            &headers,
            body.to_owned().into(),
        )
        .await
    }

    /// A product on the menu, heard of.
    pub async fn product(&self, prices: &[(&str, Money)]) -> ProductId {
        let id = ProductId::new_v7();
        let created = self
            .menu
            .tell(
                id,
                menu::Event::Created {
                    product: product(prices),
                },
            )
            .await;
        self.heard(&created).await;
        id
    }

    /// A full basket, checked out for an order with this card.
    pub async fn checked_out(&self, caller: &Caller, card: &str) -> OrderId {
        let club = self.product(&[("DE", euros(PRICE))]).await;
        let line = self.set_line(caller, club, one("DE")).await;
        assert_eq!(line.status, 200, "{line:?}");
        let order = OrderId::new_v7();
        let body = checkout(order, version(&line), json!({ "method": "card", "token": card }));
        let answer = self.checkout(caller, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        order
    }

    /// order-master asks for the money.
    pub async fn ask_for(&self, caller: &Caller, order: OrderId, method: Payment) {
        let requested = order::Event::PaymentRequested {
            customer: caller.subject,
            method,
            amount: euros(PRICE),
            pay_by: Timestamp::now() + SignedDuration::from_mins(10),
        };
        self.orders.tell(order, requested).await;
    }

    /// A card's payment, asked for.
    pub async fn paying(&self, caller: &Caller, card: &str) -> OrderId {
        let order = self.checked_out(caller, card).await;
        self.ask_for(caller, order, Payment::Card).await;
        order
    }

    /// order-master says what is due.
    pub async fn due(&self, order: OrderId, cents: i64, is_final: bool, seq: u32) {
        self.orders
            .tell(
                order,
                order::Event::SettlementDue {
                    amount: euros(cents),
                    is_final,
                    seq,
                },
            )
            .await;
    }

    /// Puts something on the queue of payments, as basket-master would.
    pub async fn put_on_queue(&self, id: impl Into<String>, body: &Value) {
        let job = NewJob::new(id, "pay", body).expect("JSON");
        self.bus
            .publish_job(Queue::Payment, &job)
            .await
            .expect("the broker has it");
    }

    /// Jobs that were put on the queue of payments, and those that are still there.
    pub async fn jobs(&self) -> (u64, u64) {
        let state = self.bus_stream(Queue::Payment.as_str()).await;
        (state.last_sequence, state.messages)
    }

    /// Jobs and events that were given up.
    pub async fn dead_letters(&self) -> u64 {
        self.bus_stream("DEAD").await.messages
    }

    async fn bus_stream(&self, name: &str) -> async_nats::jetstream::stream::State {
        let jetstream = async_nats::jetstream::new(self.bus_admin.clone());
        let stream = jetstream.get_stream(format!("{}{name}", self.bus_prefix)).await;
        stream.expect("it is there").cached_info().state.clone()
    }

    /// Everything that happened to a stream, as its feed tells it.
    pub async fn events(&self, stream: impl ToString) -> Vec<Envelope> {
        let path = format!("/feed/streams/{}", stream.to_string());
        self.auditor.get_json(&self.upstream, &path).await.expect("a feed")
    }

    pub async fn event_types(&self, stream: impl ToString) -> Vec<String> {
        self.events(stream)
            .await
            .into_iter()
            .map(|event| event.event_type)
            .collect()
    }

    /// Waits until the payment's newest event is of this type.
    pub async fn until(&self, order: OrderId, event_type: &str) {
        eventually(event_type, || async {
            let types = self.event_types(order.payment()).await;
            (types.last().map(String::as_str) == Some(event_type)).then_some(())
        })
        .await;
    }

    /// Waits until an event was applied.
    pub async fn heard(&self, event: &Envelope) {
        eventually("the event is heard", || async {
            let version: i64 = self
                .count(
                    "select coalesce(max(version), 0) from inbox where source_stream = $1",
                    &event.stream,
                )
                .await;
            (version >= event.version.cast_signed()).then_some(())
        })
        .await;
    }

    /// How many events, stored commands and kept tokens there are.
    pub async fn written(&self) -> (i64, i64, i64) {
        let query = "select (select count(*) from events), (select count(*) from commands),
                            (select count(*) from secrets)";
        sqlx::query_as(query)
            .fetch_one(&mut self.connection().await)
            .await
            .expect("the tables are there")
    }

    /// Tokens that have no use any more go within moments.
    pub async fn until_no_token_of(&self, order: OrderId) {
        eventually("the token is gone", || async {
            let kept = "select count(*) from secrets where about = $1";
            (self.count(kept, &order.to_string()).await == 0).then_some(())
        })
        .await;
    }

    /// One number that the database knows; `$1` is `text`.
    pub async fn count(&self, query: &'static str, text: &str) -> i64 {
        sqlx::query_scalar(query)
            .bind(text)
            .fetch_one(&mut self.connection().await)
            .await
            .expect("a number")
    }

    /// Does something to the database behind the service's back.
    pub async fn execute(&self, statement: &'static str) {
        sqlx::query(statement)
            .execute(&mut self.connection().await)
            .await
            .expect("it can be done");
    }

    async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.database.url)
            .await
            .expect("the database answers")
    }
}

pub fn customer() -> Caller {
    person(Role::Customer)
}

/// Somebody nobody has seen before.
pub fn person(role: Role) -> Caller {
    Caller {
        subject: UserId::new_v7(),
        role,
        points: Vec::new(),
        region: None,
    }
}

pub fn euros(cents: i64) -> Money {
    Money::new(cents, Currency::EUR)
}

pub fn dinars(para: i64) -> Money {
    Money::new(para, Currency::RSD)
}

pub fn one(country: &str) -> Value {
    json!({ "quantity": 1, "country": country })
}

pub fn checkout(order: OrderId, basket_version: u64, payment: Value) -> Value {
    json!({ "order": order, "basket_version": basket_version, "payment": payment })
}

pub fn product(prices: &[(&str, Money)]) -> menu::Product {
    let prices = prices
        .iter()
        .map(|(country, price)| (Country::parse(country).expect("two letters"), *price));
    menu::Product {
        names: Names {
            en: "Club".into(),
            ru: "Клаб".into(),
        },
        prices: prices.collect::<BTreeMap<_, _>>(),
        recipe: Vec::new(),
        allergens: Vec::new(),
        prep_minutes: 8,
        ..menu::Product::default()
    }
}

/// The basket's version, from the first half of its `ETag`.
pub fn version(answer: &Answer) -> u64 {
    let tag = answer.headers[header::ETAG]
        .to_str()
        .expect("visible ASCII")
        .trim_matches('"');
    tag.split('.').next().expect("two halves").parse().expect("a number")
}

pub fn an_order() -> OrderId {
    OrderId(Uuid::now_v7())
}
