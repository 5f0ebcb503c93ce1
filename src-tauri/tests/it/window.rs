//! The app's window, through WebKit's own WebDriver.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use fantoccini::error::NewSessionError;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::process::{Child, Command};
use tokio::time::interval;

use crate::session::Session;
use crate::within;

/// The app, started by the driver. Both stop when it is dropped.
pub(crate) struct Window {
    client: Client,
    _driver: Child,
}

impl Window {
    pub(crate) async fn open(session: &Session) -> Self {
        let (driver, port) = start_driver(session);
        let capabilities = serde_json::json!({
            "browserName": "wry",
            "webkitgtk:browserOptions": {
                "binary": session.program(),
                "args": ["--home", session.home_folder()],
            },
        });
        let address = format!("http://127.0.0.1:{port}");
        let connecting = async {
            let mut attempts = interval(Duration::from_millis(20));
            loop {
                // The driver does not report that it listens.
                attempts.tick().await;
                let session = ClientBuilder::new(HttpConnector::new())
                    .capabilities(capabilities.as_object().expect("an object").clone())
                    .connect(&address)
                    .await;
                match session {
                    Ok(client) => return client,
                    Err(NewSessionError::FailedC(_)) => {}
                    Err(error) => panic!("no session: {error}"),
                }
            }
        };
        let client = within("a driver that listens", connecting).await;
        Self {
            client,
            _driver: driver,
        }
    }

    /// Waits until the page shows a text.
    pub(crate) async fn text(&self, text: &str) {
        let shown = format!("//*[text()[contains(., \"{text}\")]]");
        self.wait(&shown).await;
    }

    /// Clicks the first button with this label.
    pub(crate) async fn press(&self, name: &str) {
        let button = format!("//button[normalize-space(.)=\"{name}\"]");
        self.wait(&button)
            .await
            .click()
            .await
            .expect("a button that can be pressed");
    }

    pub(crate) async fn close(self) {
        self.client.close().await.expect("the session's end");
    }

    async fn wait(&self, path: &str) -> fantoccini::elements::Element {
        let found = self
            .client
            .wait()
            .at_most(Duration::from_secs(30))
            .every(Duration::from_millis(30))
            .for_element(Locator::XPath(path))
            .await;
        match found {
            Ok(element) => element,
            Err(error) => panic!(
                "no {path}: {error}\n{}",
                self.client.source().await.unwrap_or_default()
            ),
        }
    }
}

/// Starts the driver. It does not support port 0, so a free port is chosen first.
fn start_driver(session: &Session) -> (Child, u16) {
    let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let driver = Command::new("WebKitWebDriver")
        .arg(format!("--port={port}"))
        .envs(
            session
                .environment()
                .iter()
                .filter(|(name, _)| **name != "PATH"),
        )
        .env("TAURI_WEBVIEW_AUTOMATION", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(session.log())
        .kill_on_drop(true)
        .spawn()
        .expect("WebKitWebDriver; hint: `cargo xtask test` installs it");
    (driver, port)
}
