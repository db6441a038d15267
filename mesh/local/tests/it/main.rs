//! Real servers in data directories of their own: they keep what they have, come back when killed, and go when told.

mod data_dir;
mod servers;
mod supervise;
