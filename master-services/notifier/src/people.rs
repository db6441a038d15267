//! The recipient, asked of user-master at sending and forgotten after it.

use mesh_contracts::api::Contact;
use mesh_contracts::id::UserId;
use mesh_identity::{Client, Upstream};

use crate::error::Error;

/// user-master, as far as we may ask it.
#[derive(Clone)]
pub struct People {
    client: Client,
    user_master: Upstream,
}

impl People {
    pub fn new(client: Client, user_master: Upstream) -> Self {
        Self { client, user_master }
    }

    /// How to write to somebody; `None` if there is no such person any more.
    pub async fn contact(&self, person: UserId) -> Result<Option<Contact>, Error> {
        let path = format!("/people/{person}/contact");
        match self.client.get_json(&self.user_master, &path).await {
            Ok(contact) => Ok(Some(contact)),
            Err(err) if err.status().is_some_and(|status| status.as_u16() == 404) => Ok(None),
            Err(err) => Err(Error::away("user-master", err)),
        }
    }
}
