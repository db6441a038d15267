//! The life of an account, as far as anyone may know it: role, food points, addresses by reference.
//!
//! Nothing here awaits, reads a clock, or knows SQL or HTTP; names, e-mails and texts never come near it.

#[cfg(test)]
mod tests;

use http::StatusCode;
use mesh_contracts::geo::{Country, Place};
use mesh_contracts::id::{AddressId, FoodPointId};
use mesh_contracts::user::{Event, Role};
use mesh_contracts::view::person::Person;

/// Home, work, parents, friends; more is a script.
pub const ADDRESSES_MAX: usize = 20;

/// What an account's stream is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Open it.
    Register {
        role: Role,
        points: Vec<FoodPointId>,
        country: Option<Country>,
    },
    /// Name or phone changed.
    ChangeProfile,
    /// An address was added or replaced; its exact place stays in the rows.
    SetAddress { address: AddressId, place: Place },
    /// An address is no longer used.
    RemoveAddress { address: AddressId },
    /// The person wants to be forgotten.
    Erase,
}

/// The answer is no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is none, or not any more.
    #[error("there is no such person")]
    NoSuchPerson,
    /// Not one of this person's.
    #[error("there is no such address")]
    NoSuchAddress,
    /// As many as one may keep.
    #[error("there are {ADDRESSES_MAX} addresses already")]
    TooManyAddresses,
    /// Somebody has an account with it.
    #[error("there is an account with this e-mail")]
    EmailTaken,
    /// No such account, or another password: which of them is nobody's business.
    #[error("e-mail or password is wrong")]
    BadCredentials,
    /// Unknown, expired, or its account is gone.
    #[error("the refresh token is not valid")]
    RefreshInvalid,
    /// It was used before, so somebody has a copy; the whole family is revoked.
    #[error("the refresh token was used before")]
    RefreshReused,
}

impl Rejection {
    /// The stable end of the problem's type.
    pub fn kind(self) -> &'static str {
        match self {
            Self::NoSuchPerson | Self::NoSuchAddress => "not_found",
            Self::TooManyAddresses => "too_many_addresses",
            Self::EmailTaken => "email_taken",
            Self::BadCredentials => "bad_credentials",
            Self::RefreshInvalid => "refresh_invalid",
            Self::RefreshReused => "refresh_reused",
        }
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NoSuchPerson | Self::NoSuchAddress => StatusCode::NOT_FOUND,
            Self::TooManyAddresses | Self::EmailTaken => StatusCode::CONFLICT,
            Self::BadCredentials | Self::RefreshInvalid | Self::RefreshReused => StatusCode::UNAUTHORIZED,
        }
    }
}

/// What happens.
pub fn decide(person: Option<&Person>, command: Command) -> Result<Vec<Event>, Rejection> {
    let Some(person) = person else {
        return match command {
            Command::Register { role, points, country } => Ok(vec![Event::Registered { role, points, country }]),
            Command::ChangeProfile | Command::SetAddress { .. } | Command::RemoveAddress { .. } | Command::Erase => {
                Err(Rejection::NoSuchPerson)
            }
        };
    };
    match command {
        // Ids are made of the command, so this is a key used again for an account that is there or was.
        Command::Register { .. } => Err(Rejection::EmailTaken),
        Command::Erase => Ok(if person.erased {
            Vec::new()
        } else {
            vec![Event::Erased {}]
        }),
        Command::ChangeProfile | Command::SetAddress { .. } | Command::RemoveAddress { .. } if person.erased => {
            Err(Rejection::NoSuchPerson)
        }
        Command::ChangeProfile => Ok(vec![Event::ProfileChanged {}]),
        Command::SetAddress { address, place } => {
            let is_new = !person.addresses.contains_key(&address.to_string());
            if is_new && person.addresses.len() >= ADDRESSES_MAX {
                return Err(Rejection::TooManyAddresses);
            }
            let place = Place {
                at: place.at.coarse(),
                ..place
            };
            Ok(vec![Event::AddressSet { address, place }])
        }
        Command::RemoveAddress { address } => {
            if !person.addresses.contains_key(&address.to_string()) {
                return Err(Rejection::NoSuchAddress);
            }
            Ok(vec![Event::AddressRemoved { address }])
        }
    }
}
