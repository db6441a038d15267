//! The gateway on real listeners, with small servers as services behind it, all over the mesh's own TLS.

mod access;
mod composition;
mod console;
mod contract;
mod doors;
mod input;
mod limits;
mod live;
mod outage;
mod program;
mod relay;
mod shedding;
mod site;
