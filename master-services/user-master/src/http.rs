//! Registration, sessions, one's own data. Routes first, then handlers.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{delete, get, patch, post, put};
use mesh_contracts::api::{
    Address, ChangeProfile, Contact, Login, Nothing, Profile, Refresh, Register, RegisterStaff, Session, SigningKey,
    StoredAddress,
};
use mesh_contracts::envelope::Actor;
use mesh_contracts::geo::Country;
use mesh_contracts::id::{AddressId, FoodPointId, UserId};
use mesh_contracts::user::Role;
use mesh_eventstore::http::{IdempotencyKey, answer};
use mesh_eventstore::{CommandKey, Request, feed};
use mesh_identity::{Caller, peer};
use mesh_runtime::extract::Path;
use mesh_runtime::json::Json;
use mesh_runtime::settings::Secret;
use mesh_runtime::{Problem, server};
use serde::Serialize;
use serde_json::Value;

use crate::App;
use crate::accounts::Submitted;
use crate::domain::Command;
use crate::error::unavailable;
use crate::input::{self, Given};
use crate::store::{self, Account, Rows};

/// Who may read personal data: the services that show it to its owner or to a courier with an active job.
const READERS: &[&str] = &[peer::GATEWAY, "user-info"];

/// Who writes to people.
const WRITERS: &[&str] = &["notifier"];

/// Whoever keeps documents, reacts to our events or checks the platform may read them.
const FEED_READERS: &[&str] = &[
    "gateway",
    "order-master",
    "basket-master",
    "menu-master",
    "point-master",
    "courier-master",
    "order-info",
    "basket-info",
    "menu-info",
    "user-info",
    "tiffin",
];

/// Everything this service answers over the mesh.
pub fn router(app: Arc<App>) -> Router {
    let commands = Router::new()
        .route("/users", post(register))
        .route("/sessions", post(login))
        .route("/sessions/refresh", post(refresh))
        .route("/jwks", get(jwks))
        .route("/me", patch(change_profile).delete(erase))
        .route("/me/addresses/{id}", put(set_address).delete(remove_address))
        .route("/couriers", post(register_courier))
        .route("/food-points/{id}/staff", post(register_kitchen))
        .route("/ops/signing-keys", get(signing_keys))
        .route("/ops/signing-keys/{id}/retire", post(retire_key))
        .route("/ops/signing-keys/{id}", delete(withdraw_key))
        .route_layer(peer::allow(&[peer::GATEWAY]));
    let personal = Router::new()
        .route("/people/{id}", get(profile))
        .route("/people/{id}/addresses/{address}", get(address))
        .route_layer(peer::allow(READERS));
    let contacts = Router::new()
        .route("/contacts", post(contacts))
        .route_layer(peer::allow(WRITERS));
    let feed = feed::routes(app.store.clone()).route_layer(peer::allow(FEED_READERS));
    server::with_layers(commands.merge(personal).merge(contacts).merge(feed).with_state(app))
}

async fn register(
    State(app): State<Arc<App>>,
    key: IdempotencyKey,
    Json(body): Json<Register>,
) -> Result<Response, Problem> {
    let opening = Opening {
        given: input::customer(&body)?,
        password: Secret::new(&body.password),
        role: Role::Customer,
        points: Vec::new(),
        country: None,
    };
    // Whoever registers is nobody yet: known by the address, which must not be kept.
    let subject = app.signer.fingerprint(opening.given.email.as_str());
    let command = app.key(&subject, "POST /users", &key, &body);
    app.open(opening, command, None).await
}

async fn register_courier(
    State(app): State<Arc<App>>,
    caller: Caller,
    key: IdempotencyKey,
    Json(body): Json<RegisterStaff>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let Some(country) = body.country else {
        return Err(Problem::invalid().field("country", "is needed: a courier works in one"));
    };
    let opening = Opening {
        given: input::staff(&body)?,
        password: Secret::new(&body.password),
        role: Role::Courier,
        points: Vec::new(),
        country: Some(country),
    };
    let command = app.key(&caller.subject.to_string(), "POST /couriers", &key, &body);
    app.open(opening, command, Some(&caller)).await
}

async fn register_kitchen(
    State(app): State<Arc<App>>,
    caller: Caller,
    key: IdempotencyKey,
    Path(point): Path<FoodPointId>,
    Json(body): Json<RegisterStaff>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    if body.country.is_some() {
        return Err(Problem::invalid().field("country", "is the food point's"));
    }
    let opening = Opening {
        given: input::staff(&body)?,
        password: Secret::new(&body.password),
        role: Role::Kitchen,
        points: vec![point],
        country: None,
    };
    let route = format!("POST /food-points/{point}/staff");
    let command = app.key(&caller.subject.to_string(), &route, &key, &body);
    app.open(opening, command, Some(&caller)).await
}

async fn login(State(app): State<Arc<App>>, Json(body): Json<Login>) -> Result<Json<Session>, Problem> {
    app.login(&body.email, Secret::new(body.password)).await.map(Json)
}

async fn refresh(State(app): State<Arc<App>>, Json(body): Json<Refresh>) -> Result<Json<Session>, Problem> {
    app.refresh(&body.refresh_token).await.map(Json)
}

async fn jwks(State(app): State<Arc<App>>) -> Json<Value> {
    Json(app.keys.issuer().jwks())
}

async fn signing_keys(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Vec<SigningKey>>, Problem> {
    caller.require(Role::Operator)?;
    Ok(Json(app.keys.standings()))
}

/// Needs no memory of keys: a key that has been retired stays so.
async fn retire_key(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(kid): Path<String>,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Json<Vec<SigningKey>>, Problem> {
    caller.require(Role::Operator)?;
    app.keys.retire(&kid).await?;
    Ok(Json(app.keys.standings()))
}

async fn withdraw_key(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(kid): Path<String>,
) -> Result<Json<Vec<SigningKey>>, Problem> {
    caller.require(Role::Operator)?;
    app.keys.withdraw(&kid).await?;
    Ok(Json(app.keys.standings()))
}

async fn change_profile(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(body): Json<ChangeProfile>,
) -> Result<Response, Problem> {
    let (name, phone) = input::profile(&body)?;
    let language = body.language;
    if name.is_none() && phone.is_none() && language.is_none() {
        return Err(Problem::invalid().field("name", "name, phone or language is needed"));
    }
    let rows = Rows::Profile { name, phone, language };
    app.change_own(&caller, Command::ChangeProfile, rows).await
}

async fn set_address(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<AddressId>,
    Json(body): Json<Address>,
) -> Result<Response, Problem> {
    let address = Box::new(input::address(body)?);
    let command = Command::SetAddress {
        address: id,
        place: address.place,
    };
    app.change_own(&caller, command, Rows::Address { id, address }).await
}

async fn remove_address(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<AddressId>,
) -> Result<Response, Problem> {
    app.change_own(&caller, Command::RemoveAddress { address: id }, Rows::NoAddress { id })
        .await
}

async fn erase(State(app): State<Arc<App>>, caller: Caller) -> Result<Response, Problem> {
    app.change_own(&caller, Command::Erase, Rows::Nobody).await
}

async fn profile(State(app): State<Arc<App>>, Path(id): Path<UserId>) -> Result<Json<Profile>, Problem> {
    let profile = store::profile(app.store.pool(), id).await.map_err(unavailable)?;
    profile.map(Json).ok_or_else(Problem::not_found)
}

/// Who is not in the answer is not there any more. Asked by `POST`, so that a long list is no long path.
async fn contacts(State(app): State<Arc<App>>, Json(people): Json<Vec<UserId>>) -> Result<Json<Vec<Contact>>, Problem> {
    let contacts = store::contacts(app.store.pool(), &people).await;
    contacts.map(Json).map_err(unavailable)
}

async fn address(
    State(app): State<Arc<App>>,
    Path((person, id)): Path<(UserId, AddressId)>,
) -> Result<Json<StoredAddress>, Problem> {
    let found = app.addresses.ask((person, id)).await.map_err(unavailable)?;
    let address = found.map_err(unavailable)?;
    address.map(Json).ok_or_else(Problem::not_found)
}

/// An account to be opened.
struct Opening {
    given: Given,
    password: Secret,
    role: Role,
    points: Vec<FoodPointId>,
    country: Option<Country>,
}

impl App {
    /// The key of a command whose body is personal: it is told apart by what stands for it.
    fn key(&self, subject: &str, route: &str, key: &IdempotencyKey, body: &impl Serialize) -> CommandKey {
        let body = serde_json::to_string(body).expect("a request body has text keys");
        CommandKey::new(subject, route, &key.0, &self.signer.fingerprint(&body))
    }

    async fn open(&self, opening: Opening, key: CommandKey, by: Option<&Caller>) -> Result<Response, Problem> {
        let Opening {
            given,
            password,
            role,
            points,
            country,
        } = opening;
        let hash = self.passwords.hash(password).await?;
        // Made of the command, so that its twins meet at one stream.
        let id = UserId(key.id);
        let actor = by.map_or_else(|| Actor::person(role, id), Caller::actor);
        let request = Request::command(actor, key).created();
        let command = Command::Register {
            role,
            points: points.clone(),
            country,
        };
        let account = Account {
            given,
            role,
            points,
            hash,
            opened_at: self.clock.now(),
        };
        self.reply(
            self.accounts
                .change(id, request, command, Rows::Open(Box::new(account)))
                .await,
        )
    }

    async fn change_own(&self, caller: &Caller, command: Command, rows: Rows) -> Result<Response, Problem> {
        self.reply(
            self.accounts
                .change(caller.subject, Request::by(caller.actor()), command, rows)
                .await,
        )
    }

    fn reply(&self, submitted: Submitted) -> Result<Response, Problem> {
        Ok(answer(submitted?, &self.signer))
    }
}
