//! Encodes PEM (RFC 7468), also for strict parsers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The maximum length of a line.
const LINE: usize = 64;

/// Returns `der` in PEM with this label.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for (position, letter) in text.chars().enumerate() {
        if position > 0 && position % LINE == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem + &format!("\n-----END {label}-----\n")
}
