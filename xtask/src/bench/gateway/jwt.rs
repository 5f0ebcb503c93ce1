//! A key and a token that HAProxy verifies. The `openssl` program makes them, and they are valid for
//! one run.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// Writes the public key to `key.pem` in `folder`. Returns a token, signed with RS256.
pub(super) fn issue(folder: &Path) -> Result<String> {
    let private = openssl(&["genrsa", "2048"], b"")?;
    let secret = folder.join("private.pem");
    fs::write(&secret, &private)?;
    let public = openssl(&["rsa", "-pubout"], &private)?;
    fs::write(folder.join(KEY), public)?;
    let header = encoded(br#"{"alg":"RS256","typ":"JWT"}"#)?;
    // The year 2100, so that it outlives every run.
    let claims = br#"{"iss":"https://issuer.example","aud":"mcp","sub":"bench","exp":4102444800}"#;
    let signed = format!("{header}.{}", encoded(claims)?);
    let secret = secret.to_str().context("a path that is not UTF-8")?;
    let signature = openssl(&["dgst", "-sha256", "-sign", secret], signed.as_bytes())?;
    Ok(format!("{signed}.{}", encoded(&signature)?))
}

/// The name of the file with the public key.
pub(super) const KEY: &str = "key.pem";

/// Encodes bytes as RFC 7515 does.
fn encoded(bytes: &[u8]) -> Result<String> {
    let text = String::from_utf8(openssl(&["base64", "-A"], bytes)?)?;
    let text = text.trim().trim_end_matches('=');
    Ok(text.replace('+', "-").replace('/', "_"))
}

fn openssl(arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start openssl")?;
    let mut stdin = child.stdin.take().context("no input")?;
    // A program that reads no input may have ended before it is written.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "openssl {} failed: {}",
        arguments[0],
        output.status
    );
    Ok(output.stdout)
}
