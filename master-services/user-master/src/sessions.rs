//! Sessions: a short token for everything, and a long one that is good for one more pair.
//!
//! All in wall time. The database keeps hashes of refresh tokens only, so that a copy of it opens nothing.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::api::Session;
use mesh_eventstore::SqlTime;
use mesh_identity::jwt::LIFETIME_MAX;
use mesh_runtime::settings::Secret;
use mesh_runtime::{Problem, Shutdown};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::App;
use crate::domain::Rejection;
use crate::error::unavailable;
use crate::input::Email;
use crate::store::{self, Person};

/// A month without opening the app, and one logs in again.
const REFRESH_LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Nobody guesses 256 bits.
const TOKEN_BYTES: usize = 32;
/// Expired families only take space.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

impl App {
    /// A session for whoever knows e-mail and password. Both wrongs look and take the same.
    pub async fn login(&self, email: &str, password: Secret) -> Result<Session, Problem> {
        let known = match Email::parse(email) {
            Some(email) => store::credentials(self.store.pool(), &email)
                .await
                .map_err(unavailable)?,
            None => None,
        };
        let (person, kept) = known.unzip();
        let is_right = self.passwords.verify(password, kept).await?;
        let person = person.filter(|_| is_right).ok_or(Rejection::BadCredentials)?;
        let token = self.open_family(&person).await.map_err(unavailable)?;
        Ok(self.session(person, token))
    }

    /// The next session of a family. A token that comes twice ends the family: one of the two is a thief.
    pub async fn refresh(&self, token: &str) -> Result<Session, Problem> {
        let mut tx = self.store.pool().begin().await.map_err(unavailable)?;
        match rotate(&mut tx, token, self.clock.wall()).await.map_err(unavailable)? {
            Rotation::Next { person, token } => {
                tx.commit().await.map_err(unavailable)?;
                Ok(self.session(person, token))
            }
            Rotation::Reused { family } => {
                tx.commit().await.map_err(unavailable)?;
                tracing::warn!(%family, "refresh token used twice, family revoked");
                Err(Rejection::RefreshReused.into())
            }
            Rotation::Unknown => Err(Rejection::RefreshInvalid.into()),
        }
    }

    /// Removes expired families now and then, until shutdown.
    pub async fn sweep(&self, shutdown: Shutdown) {
        loop {
            let swept = sqlx::query("delete from refresh_families where expires_at < $1")
                .bind(SqlTime(self.clock.wall()))
                .execute(self.store.pool())
                .await;
            if let Err(err) = swept {
                tracing::warn!(error = %err, "expired sessions not swept");
            }
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
        }
    }

    async fn open_family(&self, person: &Person) -> Result<String, sqlx::Error> {
        let family = Uuid::new_v4();
        let mut tx = self.store.pool().begin().await?;
        sqlx::query("insert into refresh_families (family, person, expires_at) values ($1, $2, $3)")
            .bind(family)
            .bind(person.id.to_string())
            .bind(SqlTime(self.clock.wall() + REFRESH_LIFETIME))
            .execute(&mut *tx)
            .await?;
        let token = add_token(&mut tx, family).await?;
        tx.commit().await?;
        Ok(token)
    }

    fn session(&self, person: Person, refresh_token: String) -> Session {
        let access_token = self
            .keys
            .issuer()
            .access_token(&person.id, person.role, &person.points, LIFETIME_MAX);
        Session {
            access_token,
            expires_in_s: u32::try_from(LIFETIME_MAX.as_secs()).expect("ten minutes"),
            refresh_token,
            user: person.id,
            role: person.role,
            food_points: person.points,
        }
    }
}

enum Rotation {
    Next { person: Person, token: String },
    Reused { family: Uuid },
    Unknown,
}

async fn rotate(tx: &mut PgConnection, token: &str, now: Timestamp) -> Result<Rotation, sqlx::Error> {
    // Both rows are locked: of two refreshes with one token the second sees what the first did.
    let found: Option<(Uuid, String, bool, bool)> = sqlx::query_as(
        "select f.family, f.person, t.used, f.revoked
         from refresh_tokens t join refresh_families f using (family)
         where t.hash = $1 and f.expires_at > $2
         for update",
    )
    .bind(hash(token))
    .bind(SqlTime(now))
    .fetch_optional(&mut *tx)
    .await?;
    let Some((family, person, used, revoked)) = found else {
        return Ok(Rotation::Unknown);
    };
    if used || revoked {
        sqlx::query("update refresh_families set revoked = true where family = $1")
            .bind(family)
            .execute(tx)
            .await?;
        return Ok(Rotation::Reused { family });
    }
    let Some(person) = store::person_of(tx, &person).await? else {
        return Ok(Rotation::Unknown);
    };
    sqlx::query("update refresh_tokens set used = true where hash = $1")
        .bind(hash(token))
        .execute(&mut *tx)
        .await?;
    sqlx::query("update refresh_families set expires_at = $2 where family = $1")
        .bind(family)
        .bind(SqlTime(now + REFRESH_LIFETIME))
        .execute(&mut *tx)
        .await?;
    let token = add_token(tx, family).await?;
    Ok(Rotation::Next { person, token })
}

async fn add_token(tx: &mut PgConnection, family: Uuid) -> Result<String, sqlx::Error> {
    let mut bytes = [0; TOKEN_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has randomness");
    let token = URL_SAFE_NO_PAD.encode(bytes);
    sqlx::query("insert into refresh_tokens (hash, family) values ($1, $2)")
        .bind(hash(&token))
        .bind(family)
        .execute(tx)
        .await?;
    Ok(token)
}

fn hash(token: &str) -> Vec<u8> {
    digest(&SHA256, token.as_bytes()).as_ref().to_vec()
}
