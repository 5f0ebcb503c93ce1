//! Random values. Only this module uses the system's generator. Everything else takes it as an
//! argument.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// A source of random bytes: [`fill`] in programs, a counter in tests.
pub(crate) type Random<'a> = &'a mut dyn FnMut(&mut [u8]);

/// Fills `bytes` from the system's generator.
pub(crate) fn fill(bytes: &mut [u8]) {
    // This fails only if the operating system has no random numbers, and then nothing here would
    // be safe.
    aws_lc_rs::rand::fill(bytes).expect("the system has random numbers");
}

/// Returns 256 random bits as 43 URL-safe characters.
pub(crate) fn token(random: Random<'_>) -> String {
    let mut bytes = [0; 32];
    random(&mut bytes);
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
