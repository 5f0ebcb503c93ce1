//! Where chance comes from: the system here, an argument everywhere else.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// A source of random bytes: [`fill`] in programs, a counter in tests.
pub(crate) type Random<'a> = &'a mut dyn FnMut(&mut [u8]);

/// Fills `bytes` from the system's generator.
pub(crate) fn fill(bytes: &mut [u8]) {
    // It fails only where the operating system offers no randomness at all: nothing here could
    // go on safely then.
    aws_lc_rs::rand::fill(bytes).expect("the system has random numbers");
}

/// 256 random bits as 43 characters that need no escaping anywhere.
pub(crate) fn token(random: Random<'_>) -> String {
    let mut bytes = [0; 32];
    random(&mut bytes);
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
