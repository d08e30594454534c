//! Secrets of applications: hashed with Argon2id (RFC 9106) before anything is kept, verified in the same time whether
//! there is something to verify or not.
//!
//! A hash takes 19 MiB and some 20 ms. Only few are made at once and only so many wait, so that a flood of wrong
//! secrets leaves decisions the processor.

use std::{fmt, sync::Arc, thread::available_parallelism};

use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher as _, PasswordVerifier as _, Version};
use tokio::sync::Semaphore;

use crate::{
    app::{
        credentials::Secret,
        error::{Error, Kind},
        ports::place::elsewhere,
    },
    domain::application::SecretHash,
};

/// The shortest secret, in bytes.
pub const SECRET_BYTES_MIN: usize = 16;
/// The longest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 512;

/// How many secrets may wait to be hashed; further ones are refused.
const WAITING_MAX: usize = 64;

/// What takes the place of the hash of an application that is unknown or has no secret. Made of no secret.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$aGFsbHBhc3Mgbm9ib2R5$mlvGFWvM7XUgRo3yHqR5M2MNM3pDd2JxvSo2nUDmMs4";

/// The costs of hashes that were made elsewhere. The least is OWASP's with the least memory (Password Storage Cheat
/// Sheet), the most holds RFC 9106's second recommendation (section 4).
const MEMORY_KIB: std::ops::RangeInclusive<u32> = 7_168..=131_072;
const PASSES: std::ops::RangeInclusive<u32> = 1..=10;
const LANES: std::ops::RangeInclusive<u32> = 1..=16;
/// Memory times passes, which is the time that a verification takes.
const WORK_KIB: std::ops::RangeInclusive<u64> = 35_840..=262_144;
const SALT_BYTES_MIN: usize = 8;
const HASH_BYTES_MIN: usize = 16;
/// The longest PHC string that is read.
const HASH_TEXT_BYTES_MAX: usize = 512;

/// Hashes and verifies secrets, few at a time.
pub(crate) struct Secrets {
    working: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Default for Secrets {
    fn default() -> Self {
        // Half of the processor at most.
        let workers = available_parallelism().map_or(1, |count| (count.get() / 2).max(1));
        Self { working: Arc::new(Semaphore::new(workers)), waiting: Semaphore::new(workers + WAITING_MAX) }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Hashes a secret with a salt of its own.
    pub(super) async fn hash(&self, secret: Secret) -> Result<SecretHash, Error> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(no_chance)?;
        let hashed = self.work(move || hashed(secret.0.as_bytes(), &salt)).await?;
        hashed.ok_or_else(|| Error::new(Kind::Internal, "SECRET_CHECK_FAILED", "the secret could not be hashed"))
    }

    /// The secret is the one that was hashed; never so without a hash, which takes its time all the same. `instead` is
    /// verified against then.
    pub(super) async fn verify(
        &self,
        secret: Secret,
        hash: Option<&SecretHash>,
        instead: Option<&SecretHash>,
    ) -> Result<bool, Error> {
        let is_known = hash.is_some();
        let hash = hash.or(instead).map_or_else(|| NOBODYS.into(), |SecretHash(hash)| Arc::clone(hash));
        let holds = self.work(move || is_secret_of(secret.0.as_bytes(), &hash)).await?;
        Ok(holds && is_known)
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let _waiting = self.waiting.try_acquire().map_err(|_| {
            let message = format!("more than {WAITING_MAX} secrets wait to be looked at");
            Error::new(Kind::ResourceExhausted, "SECRET_CHECKS_BUSY", message)
        })?;
        let failed = |()| Error::new(Kind::Internal, "SECRET_CHECK_FAILED", "the secret could not be looked at");
        let turn = elsewhere(Arc::clone(&self.working).acquire_owned()).await?;
        let working = turn.map_err(|_| failed(()))?;
        // Goes on to the end when nobody waits any more, and keeps its place until then.
        let work = move || {
            let done = work();
            drop(working);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| failed(()))
    }
}

/// Chance cannot be had from the operating system.
pub(super) fn no_chance(error: getrandom::Error) -> Error {
    Error::new(Kind::Unavailable, "RANDOM_UNAVAILABLE", format!("the operating system gives no random bytes: {error}"))
}

fn hashed(secret: &[u8], salt: &[u8]) -> Option<SecretHash> {
    // OWASP's first choice: 19 MiB, two passes, one lane. These are the crate's defaults today, and written out because
    // they must not change with it.
    let params = Params::new(19_456, 2, 1, Some(32)).ok()?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2.hash_password_with_salt(secret, salt).ok()?;
    Some(SecretHash(hash.to_string().into()))
}

/// Compares in constant time, as the crate's outputs do.
fn is_secret_of(secret: &[u8], hash: &str) -> bool {
    let hash = PasswordHash::new(hash);
    hash.is_ok_and(|hash| Argon2::default().verify_password(secret, &hash).is_ok())
}

/// Reads a hash that was made elsewhere.
///
/// # Errors
/// What was expected in place of it.
pub fn read_hash(text: &str) -> Result<SecretHash, String> {
    let expected = || {
        "is no hash of Argon2id, expected a PHC string such as `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`".to_owned()
    };
    if text.len() > HASH_TEXT_BYTES_MAX {
        return Err(expected());
    }
    let hash = PasswordHash::new(text).map_err(|_| expected())?;
    let names: Vec<_> = hash.params.iter().map(|(name, _)| name.to_string()).collect();
    let is_argon2id = hash.algorithm.as_str() == "argon2id" && hash.version == Some(0x13) && names == ["m", "t", "p"];
    let (Some(salt), Some(output), Ok(params), true) = (&hash.salt, &hash.hash, Params::try_from(&hash), is_argon2id)
    else {
        return Err(expected());
    };
    let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    let work = u64::from(memory) * u64::from(passes);
    let is_fit = MEMORY_KIB.contains(&memory) && PASSES.contains(&passes) && LANES.contains(&lanes);
    if !is_fit || !WORK_KIB.contains(&work) {
        return Err(format!(
            "is too cheap or too costly, expected m of {} to {} KiB, t of {} to {}, p of {} to {}, and m times t of {} to {} KiB",
            MEMORY_KIB.start(),
            MEMORY_KIB.end(),
            PASSES.start(),
            PASSES.end(),
            LANES.start(),
            LANES.end(),
            WORK_KIB.start(),
            WORK_KIB.end(),
        ));
    }
    if salt.len() < SALT_BYTES_MIN || output.len() < HASH_BYTES_MIN {
        return Err(format!("is too short, expected a salt of {SALT_BYTES_MIN} bytes and a hash of {HASH_BYTES_MIN}"));
    }
    Ok(SecretHash(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret(text.into())
    }

    #[tokio::test]
    async fn a_secret_is_verified_by_its_hash_and_by_no_other() {
        let secrets = Secrets::default();
        let hash = secrets.hash(secret("a secret of sixteen")).await.unwrap();
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.0);
        assert_eq!(read_hash(&hash.0), Ok(hash.clone()));
        assert_ne!(
            secrets.hash(secret("a secret of sixteen")).await.unwrap(),
            hash,
            "every hash has a salt of its own"
        );
        for (given, hash, instead, expected) in [
            ("a secret of sixteen", Some(&hash), None, true),
            ("a secret of sixteem", Some(&hash), None, false),
            ("", Some(&hash), None, false),
            ("a secret of sixteen", None, None, false),
            ("a secret of sixteen", None, Some(&hash), false),
        ] {
            assert_eq!(secrets.verify(secret(given), hash, instead).await.unwrap(), expected, "{given}");
        }
    }

    #[test]
    fn nobodys_hash_costs_what_ours_cost() {
        let nobodys = PasswordHash::new(NOBODYS).unwrap();
        let ours = PasswordHash::new(&hashed(b"x", b"a salt of sixteen").unwrap().0).unwrap();
        assert_eq!((nobodys.params, nobodys.algorithm, nobodys.version), (ours.params, ours.algorithm, ours.version));
        assert!(!is_secret_of(b"", NOBODYS));
    }

    #[test]
    fn hashes_of_other_kinds_or_costs_are_refused() {
        let tail = "aGFsbHBhc3Mgbm9ib2R5$mlvGFWvM7XUgRo3yHqR5M2MNM3pDd2JxvSo2nUDmMs4";
        let phc = |kind: &str, costs: &str| format!("${kind}${costs}${tail}");
        for good in ["m=19456,t=2,p=1", "m=65536,t=3,p=4", "m=7168,t=5,p=1"] {
            assert!(read_hash(&phc("argon2id$v=19", good)).is_ok(), "{good}");
        }
        for (kind, costs) in [
            ("argon2i$v=19", "m=19456,t=2,p=1"),
            ("argon2d$v=19", "m=19456,t=2,p=1"),
            ("argon2id$v=16", "m=19456,t=2,p=1"),
            ("argon2id", "m=19456,t=2,p=1"),
            ("argon2id$v=19", "m=19456,t=2"),
            ("argon2id$v=19", "m=19456,t=2,p=1,keyid=AAAA"),
            ("argon2id$v=19", "m=1024,t=2,p=1"),
            ("argon2id$v=19", "m=7168,t=4,p=1"),
            ("argon2id$v=19", "m=4194304,t=1,p=1"),
            ("argon2id$v=19", "m=131072,t=3,p=1"),
            ("argon2id$v=19", "m=19456,t=11,p=1"),
            ("argon2id$v=19", "m=19456,t=2,p=17"),
            ("scrypt", "ln=17,r=8,p=1"),
        ] {
            assert!(read_hash(&phc(kind, costs)).is_err(), "{kind} {costs}");
        }
        for bad in ["", "secret", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA", &"x".repeat(10_000)] {
            let message = read_hash(bad).unwrap_err();
            assert!(bad.is_empty() || !message.contains(bad), "{message}");
        }
    }

    #[tokio::test]
    async fn a_flood_of_secrets_is_refused_beyond_a_queue() {
        let secrets = Secrets { working: Arc::new(Semaphore::new(0)), waiting: Semaphore::new(1) };
        let held = secrets.waiting.try_acquire().unwrap();
        let error = secrets.verify(secret("x"), None, None).await.unwrap_err();
        assert_eq!((error.kind, error.reason), (Kind::ResourceExhausted, "SECRET_CHECKS_BUSY"));
        drop(held);
        secrets.working.add_permits(1);
        assert!(!secrets.verify(secret("x"), None, None).await.unwrap());
    }
}
