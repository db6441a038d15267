//! Passwords: argon2id on threads of their own, few at a time, so that a rush at the door costs neither the rest of
//! the service nor its memory.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use mesh_runtime::settings::Secret;
use tokio::sync::Semaphore;

/// OWASP's first choice for argon2id in KiB, passes and lanes: what costs us 20 ms costs a thief as much per guess.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Hashes at a time: two use 38 MiB, which is half of what a service may have.
const HASHES_MAX: usize = 2;
/// How long one may queue: half of the gateway's own patience. Beyond it we shed.
const QUEUE_WAIT: Duration = Duration::from_secs(1);

/// What one hash works in. Kept and used again: freed by whichever thread hashed last, 19 MiB would stay with each.
type Memory = Vec<Block>;

/// Hashes and verifies. Clones share the seats.
#[derive(Clone)]
pub struct Passwords {
    seats: Arc<Semaphore>,
    memories: Arc<Mutex<Vec<Memory>>>,
    /// Of a password that nobody has: what is verified for an account that is not there.
    decoy: Arc<str>,
}

/// Too many passwords at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords at once")]
pub struct Busy;

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

impl Passwords {
    /// Takes as long as one hash.
    pub fn new() -> Self {
        let nobodys = argon2::password_hash::generate_salt();
        let mut memory = Memory::new();
        let decoy = hash(&nobodys, &mut memory).into();
        Self {
            seats: Arc::new(Semaphore::new(HASHES_MAX)),
            memories: Arc::new(Mutex::new(vec![memory])),
            decoy,
        }
    }

    /// What to keep of a password.
    pub async fn hash(&self, password: Secret) -> Result<String, Busy> {
        self.seated(move |memory| hash(password.expose().as_bytes(), memory))
            .await
    }

    /// Whether it is the password that was hashed; without a hash the same work, and no.
    pub async fn verify(&self, password: Secret, kept: Option<String>) -> Result<bool, Busy> {
        let decoy = self.decoy.clone();
        self.seated(move |memory| {
            let kept_or_decoy = kept.as_deref().unwrap_or(&decoy);
            let matches = matches(password.expose().as_bytes(), kept_or_decoy, memory);
            matches && kept.is_some()
        })
        .await
    }

    async fn seated<T: Send + 'static>(&self, work: impl FnOnce(&mut Memory) -> T + Send + 'static) -> Result<T, Busy> {
        let queued = tokio::time::timeout(QUEUE_WAIT, self.seats.clone().acquire_owned()).await;
        let seat = queued.map_err(|_| Busy)?.expect("the seats are never closed");
        let memories = self.memories.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut memory = lock(&memories).pop().unwrap_or_default();
            let done = work(&mut memory);
            lock(&memories).push(memory);
            drop(seat);
            done
        });
        Ok(done.await.expect("hashing does not panic"))
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &[u8], memory: &mut Memory) -> String {
    let argon2 = argon2();
    let salt = argon2::password_hash::generate_salt();
    let kept = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(argon2.params()).expect("parameters are numbers"),
        salt: Some(Salt::new(&salt).expect("a salt of the recommended length")),
        hash: Some(digest(&argon2, password, &salt, memory).expect("passwords are short and the parameters sound")),
    };
    kept.to_string()
}

/// Compares without telling by its time how far two hashes agree: that is `Output`'s equality.
fn matches(password: &[u8], kept: &str, memory: &mut Memory) -> bool {
    let Ok(kept) = PasswordHash::new(kept) else {
        return false;
    };
    let (Ok(params), Some(salt)) = (Params::try_from(&kept), &kept.salt) else {
        return false;
    };
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    kept.hash.is_some() && digest(&argon2, password, salt.as_ref(), memory) == kept.hash
}

fn digest(argon2: &Argon2<'_>, password: &[u8], salt: &[u8], memory: &mut Memory) -> Option<Output> {
    memory.resize(argon2.params().block_count(), Block::new());
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    argon2
        .hash_password_into_with_memory(password, salt, &mut output, memory)
        .ok()?;
    Output::new(&output).ok()
}

fn lock(memories: &Mutex<Vec<Memory>>) -> std::sync::MutexGuard<'_, Vec<Memory>> {
    memories.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_that_was_hashed_matches() {
        let passwords = Passwords::new();
        let kept = passwords.hash(Secret::new("correct horse")).await.expect("a free seat");
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        let verify = |password, kept| passwords.verify(Secret::new(password), kept);
        assert_eq!(verify("correct horse", Some(kept.clone())).await, Ok(true));
        assert_eq!(verify("wrong horse", Some(kept)).await, Ok(false));
        assert_eq!(verify("correct horse", None).await, Ok(false));
    }

    #[tokio::test]
    async fn equal_passwords_are_kept_differently() {
        let passwords = Passwords::new();
        let (one, other) = (
            passwords.hash(Secret::new("the same")),
            passwords.hash(Secret::new("the same")),
        );
        assert_ne!(one.await, other.await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rush_is_shed() {
        let passwords = Passwords::new();
        let taken = passwords.seats.acquire_many(2).await.expect("both seats");
        assert_eq!(passwords.hash(Secret::new("too late")).await, Err(Busy));
        drop(taken);
    }
}
