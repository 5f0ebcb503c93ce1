//! No secret is in the log or readable on the disk.

use std::io::Write;
use std::sync::{Arc, Mutex};

use http::StatusCode;

use super::browser::Browser;
use super::client::{Tokens, VERIFIER};
use super::identity_provider::CLIENT_SECRET;
use super::world::{FUNCTIONS_KEY, World};

/// Collects the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn d12_t76_t77_no_secret_is_logged_or_stored_readable() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("trace,hyper=off,hyper_util=off,h2=off,reqwest=off")
        .with_writer(move || writer.clone())
        .finish();
    // This also collects the lines of the tests that run concurrently. They must not contain a secret
    // either.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (secrets, folder) = runtime.block_on(everything());
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(
        log.contains("request") && log.contains("a code was used twice"),
        "{log}"
    );
    let mut places = vec![("the log".to_owned(), log.into_bytes())];
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        // The database creates and deletes files beside it. A deleted file is skipped.
        let Ok(content) = std::fs::read(&path) else {
            assert!(!path.exists(), "{} cannot be read", path.display());
            continue;
        };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).map(|file| file.permissions().mode());
            assert_eq!(mode.unwrap_or_default() & 0o077, 0, "{}", path.display());
        }
        places.push((path.display().to_string(), content));
    }
    assert!(places.len() >= 3, "{}", places.len());
    for secret in &secrets {
        for (place, bytes) in &places {
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {place}");
        }
    }
}

/// Performs every kind of request once. Returns all secrets that were used.
async fn everything() -> (Vec<String>, tempfile::TempDir) {
    let mut world = World::start().await;
    let mut secrets = [CLIENT_SECRET, FUNCTIONS_KEY, VERIFIER, "canary-entra-"]
        .map(str::to_owned)
        .to_vec();
    let client = world.client().await;
    let browser = Browser::new();
    let page = browser
        .open(&client.authorize_url(&[("state", "canary-client-state")]))
        .await;
    secrets.extend([page.field("request"), "canary-client-state".to_owned()]);
    let back = browser.press(&page, "allow").await;
    let code = back.parameter("code").unwrap();
    let (_, answer) = client.redeem(&code, &[]).await;
    let tokens = Tokens::of(&answer);
    assert_eq!(world.mcp_status(&tokens.access).await, StatusCode::OK);
    let (_, answer) = client.refresh(&tokens.refresh, &[]).await;
    let next = Tokens::of(&answer);
    world.get_as("/userinfo", &next.access).await;
    world
        .http
        .get(world.url_with("/mcp", &[("access_token", &next.access)]))
        .send()
        .await
        .unwrap();
    world.advance(3590);
    client.refresh(&next.refresh, &[]).await;
    client.redeem(&code, &[]).await;
    for request in world.provider.requests() {
        secrets.extend(request.get("code_verifier").cloned());
    }
    secrets.extend(
        browser
            .cookies()
            .split("; ")
            .filter_map(|pair| Some(pair.split_once('=')?.1.to_owned())),
    );
    secrets.extend([
        code,
        tokens.access,
        tokens.refresh,
        next.access,
        next.refresh,
    ]);
    world.stop().await;
    (secrets, world.into_folder())
}
