//! PEM (RFC 7468), as strict readers want it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The most letters that a line may have.
const LINE: usize = 64;

/// `der` between the lines that name it.
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
