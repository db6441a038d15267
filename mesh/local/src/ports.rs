//! Which loopback port each process listens on, kept across starts so that addresses stay put.
//!
//! Ports are taken from below the range the kernel hands to outgoing connections.
//! A client that keeps reconnecting to a dead server's port inside that range would one day
//! be given that very port as its own, meet itself, and keep the server from coming back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context as _, Result};
use rand::RngExt as _;

use crate::data_dir::{read_json, write_json};

const FILE: &str = "ports.json";

/// Above the ports that well-known programs like to sit on.
const LOWEST: u16 = 11_000;

/// Below the lowest default of Linux (32768) and of macOS (49152), unless the kernel says otherwise.
const HIGHEST: u16 = 32_000;

/// With some twenty thousand ports, this many misses mean that something else is wrong.
const TRIES_MAX: u32 = 200;

/// The ports of one platform.
#[derive(Debug)]
pub struct Ports {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    kept: BTreeMap<String, u16>,
    handed_out: BTreeSet<u16>,
}

impl Ports {
    /// Those of a data directory.
    pub fn open(data_dir: &Path) -> Result<Self> {
        let path = Self::file(data_dir);
        let kept = read_json(&path)?.unwrap_or_default();
        Ok(Self {
            path,
            known: Mutex::new(Known {
                kept,
                handed_out: BTreeSet::new(),
            }),
        })
    }

    pub(crate) fn file(data_dir: &Path) -> PathBuf {
        data_dir.join(FILE)
    }

    /// The loopback address of this name: the one it had, if it is free, else a new one.
    pub fn get(&self, name: &str) -> Result<SocketAddr> {
        let mut known = self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let port = match known.kept.get(name) {
            Some(&port) if known.handed_out.contains(&port) || is_free(port) => port,
            Some(_) | None => {
                let taken: BTreeSet<u16> = known.kept.values().copied().collect();
                let port = choose(&taken)?;
                known.kept.insert(name.to_owned(), port);
                write_json(&self.path, &known.kept)?;
                port
            }
        };
        known.handed_out.insert(port);
        Ok((Ipv4Addr::LOCALHOST, port).into())
    }

    /// Fixes a port that the user chose.
    pub fn fix(&self, name: &str, port: u16) -> Result<SocketAddr> {
        let mut known = self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        known.kept.insert(name.to_owned(), port);
        known.handed_out.insert(port);
        write_json(&self.path, &known.kept)?;
        Ok((Ipv4Addr::LOCALHOST, port).into())
    }
}

/// A free loopback port that no outgoing connection will be given.
pub fn choose(taken: &BTreeSet<u16>) -> Result<u16> {
    let range = range();
    let mut rng = rand::rng();
    (0..TRIES_MAX)
        .map(|_| rng.random_range(range.clone()))
        .find(|port| !taken.contains(port) && is_free(*port))
        .context("found no free port on loopback")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn range() -> Range<u16> {
    let outgoing_from = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse::<u16>().ok())
        .unwrap_or(HIGHEST);
    let end = outgoing_from.min(HIGHEST);
    if end > LOWEST { LOWEST..end } else { LOWEST..HIGHEST }
}
