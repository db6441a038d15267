//! The recipients, asked of user-master at sending and forgotten after it.

use std::collections::{BTreeSet, HashMap};

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

    /// How to write to these people, those of them who are still there.
    pub async fn contacts(&self, people: &BTreeSet<UserId>) -> Result<HashMap<UserId, Contact>, Error> {
        let asked = self.client.post_json(&self.user_master, "/contacts", people);
        let contacts: Vec<Contact> = asked.await.map_err(|err| Error::away("user-master", err))?;
        Ok(contacts.into_iter().map(|contact| (contact.person, contact)).collect())
    }
}
