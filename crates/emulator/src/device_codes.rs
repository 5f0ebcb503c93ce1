//! Device codes and user codes. Each pair is granted or declined once, within fifteen minutes, and
//! redeemed once.
//!
//! Device codes are stored as digests.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::fault::Fault;
use crate::random;
use crate::session::Session;

/// The lifetime of a pair in seconds.
pub(crate) const LIFETIME: u64 = 15 * 60;
/// Has no vowels, so that no code is a word, and no characters that look alike.
const ALPHABET: &[u8] = b"BCDFGHJKLMNPQRSTVWXZ23456789";
const LENGTH: usize = 9;

/// The request of a device.
#[derive(Clone, Debug)]
pub(crate) struct DeviceRequest {
    /// The path segment of the requested authority.
    pub(crate) authority: String,
    pub(crate) client_id: Uuid,
    pub(crate) scope: String,
    pub(crate) resource: Option<String>,
}

pub(crate) struct CodePair {
    pub(crate) user_code: String,
    pub(crate) device_code: String,
}

/// The recently issued pairs, by the digest of the device code.
#[derive(Default)]
pub(crate) struct DeviceCodes(Mutex<HashMap<String, Entry>>);

struct Entry {
    user_code: String,
    issued_at: u64,
    request: DeviceRequest,
    state: State,
}

enum State {
    Pending,
    Granted(Session),
    Declined,
    Redeemed,
}

impl DeviceCodes {
    pub(crate) fn issue(&self, request: DeviceRequest, now: u64) -> CodePair {
        let pair = CodePair {
            user_code: user_code(),
            device_code: random::token::<48>(),
        };
        let mut entries = self.lock();
        // Entries are kept for two lifetimes, so that a late device gets "expired", not "unknown".
        entries.retain(|_, entry| now < entry.issued_at + 2 * LIFETIME);
        entries.insert(
            random::sha256(&pair.device_code),
            Entry {
                user_code: pair.user_code.clone(),
                issued_at: now,
                request,
                state: State::Pending,
            },
        );
        pair
    }

    /// Returns the normalized user code and the request of the device. Returns `None` if no device
    /// waits for this code.
    pub(crate) fn pending(&self, typed: &str, now: u64) -> Option<(String, DeviceRequest)> {
        let mut entries = self.lock();
        let entry = find_pending(&mut entries, &normalize(typed), now)?;
        Some((entry.user_code.clone(), entry.request.clone()))
    }

    /// Stores the user's decision. Without a session, the user declined.
    ///
    /// # Errors
    /// If no device waits for this code any more.
    pub(crate) fn complete(
        &self,
        user_code: &str,
        session: Option<Session>,
        now: u64,
    ) -> Result<(), Fault> {
        let mut entries = self.lock();
        let entry = find_pending(&mut entries, user_code, now).ok_or(Fault::DeviceCodeExpired)?;
        entry.state = session.map_or(State::Declined, State::Granted);
        Ok(())
    }

    /// Redeems the device code if `check` succeeds. If `check` fails, the device can try again.
    ///
    /// # Errors
    /// If the decision is pending, the user declined, the code is unknown, expired or redeemed, or
    /// `check` fails.
    pub(crate) fn redeem<T>(
        &self,
        code: &SecretString,
        client_id: Uuid,
        now: u64,
        check: impl FnOnce(&DeviceRequest, &Session) -> Result<T, Fault>,
    ) -> Result<(DeviceRequest, Session, T), Fault> {
        let mut entries = self.lock();
        let entry = entries
            .get_mut(&random::sha256(code.expose_secret()))
            .filter(|entry| entry.request.client_id == client_id)
            .ok_or(Fault::DeviceCodeUnknown)?;
        match &entry.state {
            State::Declined => Err(Fault::DeviceDeclined),
            State::Redeemed => Err(Fault::CodeRedeemed),
            State::Pending | State::Granted(_) if now >= entry.issued_at + LIFETIME => {
                Err(Fault::DeviceCodeExpired)
            }
            State::Pending => Err(Fault::DevicePending),
            State::Granted(session) => {
                let checked = check(&entry.request, session)?;
                let granted = (entry.request.clone(), session.clone(), checked);
                entry.state = State::Redeemed;
                Ok(granted)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find_pending<'a>(
    entries: &'a mut HashMap<String, Entry>,
    user_code: &str,
    now: u64,
) -> Option<&'a mut Entry> {
    entries.values_mut().find(|entry| {
        entry.user_code == user_code
            && matches!(entry.state, State::Pending)
            && now < entry.issued_at + LIFETIME
    })
}

/// Removes separators and changes lower case to upper case, as users may type both.
fn normalize(typed: &str) -> String {
    typed
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_uppercase())
        .collect()
}

fn user_code() -> String {
    random::bytes::<LENGTH>()
        .map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]))
        .into_iter()
        .collect()
}
