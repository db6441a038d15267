//! Somebody with an account: signs in at the first call, and stays signed in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use mesh_contracts::api::{Login, Refresh, Session};
use mesh_contracts::id::UserId;
use tokio::sync::Mutex;

use super::{Api, Call, Caller, Failure, Live, Reply};

/// A token is renewed when this part of its life is over, so that none expires on its way.
const RENEW_AFTER: f64 = 0.75;

/// A person with a session. Clones share it.
#[derive(Clone)]
pub struct Person(Arc<Inner>);

struct Inner {
    api: Api,
    email: String,
    password: String,
    held: Mutex<Option<Held>>,
}

struct Held {
    session: Session,
    renew_at: Instant,
}

/// Who a person is to the door, for a while.
#[derive(Debug, Clone)]
pub struct Pass {
    /// The person.
    pub user: UserId,
    /// The access token.
    pub token: String,
}

impl Pass {
    pub(crate) fn caller(&self) -> Caller<'_> {
        Caller {
            user: self.user,
            token: &self.token,
        }
    }
}

impl Person {
    pub(super) fn new(api: Api, email: String, password: String) -> Self {
        Self(Arc::new(Inner {
            api,
            email,
            password,
            held: Mutex::default(),
        }))
    }

    /// The API that this person uses.
    pub fn api(&self) -> &Api {
        &self.0.api
    }

    /// Sends a call as this person, until it has a definite answer.
    ///
    /// # Errors
    /// As [`Api::send`].
    pub async fn send(&self, call: Call) -> Result<Reply, Failure> {
        let pass = self.pass().await?;
        let answer = self.0.api.send(&call, Some(pass.caller())).await;
        if answer.as_ref().err().and_then(Failure::status) != Some(StatusCode::UNAUTHORIZED) {
            return answer;
        }
        // The clock of the door differs from ours, or its keys were changed.
        self.forget(&pass).await;
        let pass = self.pass().await?;
        self.0.api.send(&call, Some(pass.caller())).await
    }

    /// A live stream, followed until it is dropped.
    pub fn live(&self, path: impl Into<String>, seen: Option<String>) -> Live {
        Live::follow(self.clone(), path.into(), seen)
    }

    /// Signs in unless signed in already.
    ///
    /// # Errors
    /// When e-mail and password do not fit.
    pub async fn sign_in(&self) -> Result<UserId, Failure> {
        Ok(self.pass().await?.user)
    }

    /// A token that is good for a while. Callers wait for the one who fetches it.
    pub(crate) async fn pass(&self) -> Result<Pass, Failure> {
        let mut held = self.0.held.lock().await;
        let session = match held.take() {
            Some(current) if current.renew_at > Instant::now() => {
                let pass = current.pass();
                *held = Some(current);
                return Ok(pass);
            }
            Some(old) => match self.refresh(&old.session).await {
                Ok(session) => session,
                // A refresh whose answer was lost has used the token up.
                Err(_) => self.log_in().await?,
            },
            None => self.log_in().await?,
        };
        let life = Duration::from_secs(session.expires_in_s.into());
        let fresh = Held {
            session,
            renew_at: Instant::now() + life.mul_f64(RENEW_AFTER),
        };
        let pass = fresh.pass();
        *held = Some(fresh);
        Ok(pass)
    }

    /// Drops a token that was refused, unless somebody has replaced it.
    pub(crate) async fn forget(&self, pass: &Pass) {
        let mut held = self.0.held.lock().await;
        if held
            .as_ref()
            .is_some_and(|held| held.session.access_token == pass.token)
        {
            *held = None;
        }
    }

    async fn log_in(&self) -> Result<Session, Failure> {
        let login = Login {
            email: self.0.email.clone(),
            password: self.0.password.clone(),
        };
        self.session(Call::post("/v1/sessions", &login)).await
    }

    async fn refresh(&self, old: &Session) -> Result<Session, Failure> {
        let refresh = Refresh {
            refresh_token: old.refresh_token.clone(),
        };
        self.session(Call::post("/v1/sessions/refresh", &refresh)).await
    }

    async fn session(&self, call: Call) -> Result<Session, Failure> {
        let call = call.unkeyed();
        let reply = self.0.api.send(&call, None).await?;
        reply.json().map_err(|err| Failure::Unknown {
            what: call.what(),
            why: err.to_string(),
        })
    }
}

impl Held {
    fn pass(&self) -> Pass {
        Pass {
            user: self.session.user,
            token: self.session.access_token.clone(),
        }
    }
}
