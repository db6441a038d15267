//! A gateway that asks one service on people's behalf, the people, and what the service answers.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, header};
use mesh_contracts::id::{FoodPointId, UserId};
use mesh_contracts::user::Role;
use mesh_identity::{Caller, Client, Upstream};
use mesh_runtime::consistency::Signer;
use mesh_runtime::headers;
use serde_json::Value;
use uuid::Uuid;

use crate::certificates;
use crate::process::{CONSISTENCY_SECRET, ServiceProcess};

/// Asks one service on everybody's behalf.
pub struct Gateway {
    client: Client,
    upstream: Upstream,
}

/// What a service answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// All of them.
    pub headers: HeaderMap,
    /// As it came.
    pub body: Bytes,
}

impl Answer {
    /// The body of a success.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_slice(&self.body).expect("an answer is JSON")
    }

    /// The stable name of a problem, behind its status.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json",
            "{self:?}"
        );
        let body: Value = serde_json::from_slice(&self.body).expect("a problem is JSON");
        let kind = body["type"].as_str().expect("a problem has a type");
        (self.status, kind.rsplit('/').next().unwrap_or_default().to_owned())
    }

    /// The ids of a list's documents.
    ///
    /// # Panics
    /// If it is no list.
    #[track_caller]
    pub fn ids(&self) -> Vec<String> {
        let items = self.json()["items"].as_array().expect("a list").clone();
        items
            .iter()
            .map(|item| item["id"].as_str().expect("an id").to_owned())
            .collect()
    }
}

impl Gateway {
    /// Needs a tokio runtime.
    pub fn before(service: &ServiceProcess) -> Self {
        Self {
            client: certificates::mesh("gateway").client(),
            upstream: service.upstream(),
        }
    }

    /// Its connections, for what none of these functions does.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The service it asks.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Reads.
    pub async fn get(&self, path: &str, caller: &Caller) -> Answer {
        self.get_with(path, caller, &[]).await
    }

    /// Reads for somebody who has seen that version of a stream.
    pub async fn get_after(&self, path: &str, caller: &Caller, stream: impl ToString, version: u64) -> Answer {
        let token = signer().sign(&[(stream.to_string(), version)]);
        self.get_with(path, caller, &[(headers::CONSISTENCY, token)]).await
    }

    /// Reads with more headers.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn get_with(&self, path: &str, caller: &Caller, more: &[(HeaderName, String)]) -> Answer {
        let answer = self.client.request(&self.upstream, question(path, caller, more)).await;
        let (head, body) = answer.expect("an answer").into_parts();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }
}

/// A `GET` on somebody's behalf.
///
/// # Panics
/// If the path or a header is none.
pub fn question(path: &str, caller: &Caller, more: &[(HeaderName, String)]) -> Request<Bytes> {
    let mut request = Request::get(path).body(Bytes::new()).expect("a path");
    caller.write(request.headers_mut());
    for (name, value) in more {
        request
            .headers_mut()
            .insert(name.clone(), value.parse().expect("visible ASCII"));
    }
    request
}

/// Signs what the services of a test sign.
pub fn signer() -> Signer {
    Signer::new(CONSISTENCY_SECRET.as_bytes()).expect("long enough")
}

/// A customer.
pub fn customer(number: u128) -> Caller {
    person(Role::Customer, number, Vec::new())
}

/// A courier.
pub fn courier(number: u128) -> Caller {
    person(Role::Courier, number, Vec::new())
}

/// The operator.
pub fn operator() -> Caller {
    person(Role::Operator, 99, Vec::new())
}

/// Staff of that point.
pub fn kitchen(point: FoodPointId) -> Caller {
    person(Role::Kitchen, 98, vec![point])
}

fn person(role: Role, number: u128, points: Vec<FoodPointId>) -> Caller {
    Caller {
        subject: UserId(Uuid::from_u128(number)),
        role,
        points,
        region: None,
    }
}
