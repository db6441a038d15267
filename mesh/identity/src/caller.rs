//! The person on whose behalf the gateway asks. Headers that say so count only over mutual TLS
//! from the gateway's own identity; from anyone else they are air.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_contracts::envelope::Actor;
use mesh_contracts::id::{FoodPointId, UserId};
use mesh_contracts::user::Role;
use mesh_runtime::{Problem, headers};

use crate::jwt::Claims;
use crate::peer::{GATEWAY, Peer};

/// A verified person. As an extractor it answers 401 `caller_unknown` where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub subject: UserId,
    /// What they may do.
    pub role: Role,
    /// The food points that kitchen staff work at; empty for everyone else.
    pub points: Vec<FoodPointId>,
    /// The region the request came in by.
    pub region: Option<String>,
}

impl Caller {
    /// The person that a verified token names.
    pub fn from_claims(claims: &Claims, region: Option<String>) -> Self {
        Self {
            subject: claims.subject,
            role: claims.role,
            points: claims.points.clone(),
            region,
        }
    }

    /// Refuses everyone without this role.
    ///
    /// # Errors
    /// 403 `forbidden`.
    pub fn require(&self, role: Role) -> Result<(), Problem> {
        if self.role == role {
            Ok(())
        } else {
            Err(Problem::forbidden())
        }
    }

    /// Refuses everyone with none of these roles.
    ///
    /// # Errors
    /// 403 `forbidden`.
    pub fn require_any(&self, roles: &[Role]) -> Result<(), Problem> {
        if roles.contains(&self.role) {
            Ok(())
        } else {
            Err(Problem::forbidden())
        }
    }

    /// Whether the person is staff of a food point.
    pub fn works_at(&self, point: &FoodPointId) -> bool {
        self.role == Role::Kitchen && self.points.contains(point)
    }

    /// The person as events name them.
    pub fn actor(&self) -> Actor {
        Actor::person(self.role, self.subject)
    }

    /// Says to a service of ours who is asking; replaces whatever was said before.
    pub fn write(&self, to: &mut HeaderMap) {
        erase(to);
        to.insert(headers::CALLER_SUBJECT, ascii(&self.subject.to_string()));
        to.insert(headers::CALLER_ROLE, HeaderValue::from_static(self.role.as_str()));
        if !self.points.is_empty() {
            let scope = self
                .points
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(",");
            to.insert(headers::CALLER_SCOPE, ascii(&scope));
        }
        // A region that fits no header names none of ours.
        if let Some(region) = self
            .region
            .as_deref()
            .and_then(|region| HeaderValue::from_str(region).ok())
        {
            to.insert(headers::CALLER_REGION, region);
        }
    }

    fn read(from: &HeaderMap) -> Option<Self> {
        let scope = text(from, &headers::CALLER_SCOPE).unwrap_or_default();
        Some(Self {
            subject: text(from, &headers::CALLER_SUBJECT)?.parse().ok()?,
            role: Role::parse(text(from, &headers::CALLER_ROLE)?)?,
            points: scope
                .split(',')
                .filter(|point| !point.is_empty())
                .map(str::parse)
                .collect::<Result<_, _>>()
                .ok()?,
            region: text(from, &headers::CALLER_REGION).map(str::to_owned),
        })
    }
}

/// Drops everything a client might say about who it is. The gateway does this at the door.
pub fn erase(headers: &mut HeaderMap) {
    for name in headers::CALLER {
        headers.remove(name);
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        if !Peer::sending(&parts.extensions).is(GATEWAY) {
            return Err(unknown());
        }
        Self::read(&parts.headers).ok_or_else(unknown)
    }
}

fn unknown() -> Problem {
    Problem::unauthenticated("caller_unknown", "nobody is known to be asking")
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn ascii(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("ids are visible ASCII")
}
