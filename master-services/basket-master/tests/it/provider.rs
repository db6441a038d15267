//! The stand-in payment provider, its real routes and ledger on a real port.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::Request;
use mesh_contracts::id::OrderId;
use mesh_identity::{Client, Upstream};
use mesh_runtime::settings::Secret;
use mesh_runtime::{Shutdown, server};
use mesh_testkit::{certificates, free_address, shared};
use sandbox_payments::bank::{Bank, Writer};
use sandbox_payments::http::{App, routes};
use sandbox_payments::ledger::Payment;
use sandbox_payments::webhooks::{self, Message};
use tokio::net::TcpListener;
use uuid::Uuid;

pub const KEY: &str = "the key of a test";
pub const WEBHOOK_SECRET: &str = "what signs the webhooks of a test";

/// A provider at an address; nobody answers there until it is opened.
pub struct Provider {
    pub address: SocketAddr,
    dir: PathBuf,
    bank: Option<Bank>,
}

impl Provider {
    pub fn closed() -> Self {
        let dir = shared().folder().join(format!("ledger-{}", Uuid::now_v7()));
        std::fs::create_dir_all(&dir).expect("the shared folder is writable");
        Self {
            address: free_address(),
            dir,
            bank: None,
        }
    }

    /// Answers from now on; sends webhooks to basket-master if there is one to send them to.
    pub async fn open(&mut self, receiver: Option<(Client, Upstream)>) {
        let (bank, writer) = Bank::open(&self.dir, receiver.is_some()).expect("a fresh journal opens");
        let Writer { notices, ended: _ } = writer;
        let shutdown = Shutdown::new();
        if let Some((client, upstream)) = receiver {
            let bank = bank.clone();
            let shutdown = shutdown.clone();
            tokio::spawn(async move {
                let deliver = |message| confirmed(client.clone(), upstream.clone(), message);
                webhooks::run(notices, bank, WEBHOOK_SECRET.as_bytes(), shutdown, deliver).await;
            });
        }
        let app = App {
            bank: bank.clone(),
            key: Arc::new(Secret::new(KEY)),
            shutdown: shutdown.clone(),
        };
        let listener = TcpListener::bind(self.address).await.expect("the port is still free");
        let accept = certificates::mesh("sandbox-payments").server();
        tokio::spawn(server::serve(listener, accept, routes(app), shutdown));
        self.bank = Some(bank);
    }

    /// What the provider's own ledger has of an order.
    pub async fn ledger(&self, order: OrderId) -> Vec<Arc<Payment>> {
        let bank = self.bank.as_ref().expect("it was opened");
        bank.read(move |ledger| ledger.payments_of(&order.to_string()))
            .await
            .expect("it is running")
    }
}

async fn confirmed(client: Client, upstream: Upstream, message: Message) -> bool {
    let request = Request::post("/webhooks/payments")
        .header("stripe-signature", message.signature)
        .body(message.body)
        .expect("a request");
    client
        .request(&upstream, request)
        .await
        .is_ok_and(|answer| answer.status().is_success())
}
