//! Documents as they are answered. A profile is answered as user-master gave it.

use mesh_contracts::id::CourierId;
use mesh_contracts::view::courier;
use serde::Serialize;

/// A courier as operators see one.
#[derive(Debug, Serialize)]
pub struct Courier {
    pub id: CourierId,
    #[serde(flatten)]
    pub courier: courier::Courier,
}
