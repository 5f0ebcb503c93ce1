//! A user's real browser: headless Chromium, driven by chromedriver.
//!
//! It finds elements by CSS selector. The pages' own selectors are in [`super::sign_in_pages`] and
//! the cases.

use std::{process::Stdio, time::Duration};

use fantoccini::{
    Client, ClientBuilder, Locator, elements::Element, error::CmdError, wd::WindowHandle,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};
use url::Url;

use super::{program, until, within};

/// How often starting chromedriver is attempted.
const MAX_ATTEMPTS: u32 = 5;

/// The browser. All its processes stop when it is dropped.
pub(crate) struct Browser {
    client: Client,
    driver: Child,
    /// The driver's output, held open because the driver exits when it is closed.
    _stdout: Lines<BufReader<ChildStdout>>,
    profile: TempDir,
}

impl Browser {
    pub(crate) async fn open() -> Self {
        Self::open_with(&[]).await
    }

    /// Opens a browser in which scripts are disabled.
    pub(crate) async fn open_without_scripts() -> Self {
        let blocked = json!({ "profile.managed_default_content_settings.javascript": 2 });
        Self::open_as(&[], blocked).await
    }

    /// Opens a browser with additional arguments for Chromium.
    pub(crate) async fn open_with(more: &[&str]) -> Self {
        Self::open_as(more, json!({})).await
    }

    async fn open_as(more: &[&str], preferences: Value) -> Self {
        let profile = tempfile::Builder::new()
            .prefix("postern-browser-")
            .tempdir()
            .expect("a temporary folder");
        let (driver, words, port) = within("chromedriver", start_driver(&profile)).await;
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-dev-shm-usage",
            "--disable-sync",
            "--window-size=1000,900",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let arguments: Vec<_> = arguments.iter().chain(more).collect();
        let capabilities = json!({ "goog:chromeOptions": {
            "args": arguments, "prefs": preferences,
        } });
        let connector = hyper_util::client::legacy::connect::HttpConnector::new();
        let client = within(
            "a browser session",
            ClientBuilder::new(connector)
                .capabilities(capabilities.as_object().expect("an object").clone())
                .connect(&format!("http://127.0.0.1:{port}")),
        )
        .await
        .expect("chromium starts");
        Self {
            client,
            driver,
            _stdout: words,
            profile,
        }
    }

    /// Opens a page.
    pub(crate) async fn go_to(&self, page: &str) {
        within(page, self.client.goto(page))
            .await
            .unwrap_or_else(|error| panic!("{page}: {error}"));
    }

    /// Returns the current tab.
    pub(crate) async fn tab(&self) -> WindowHandle {
        self.client.window().await.expect("a tab")
    }

    /// Opens a tab and switches to it.
    pub(crate) async fn new_tab(&self) -> WindowHandle {
        let tab = self.client.new_window(true).await.expect("a tab");
        self.switch_to(tab.handle.clone()).await;
        tab.handle
    }

    /// Waits until there are `count` tabs.
    pub(crate) async fn tabs(&self, count: usize) -> Vec<WindowHandle> {
        until("the tabs", async || {
            let tabs = self.client.windows().await.expect("tabs");
            (tabs.len() == count).then_some(tabs)
        })
        .await
    }

    /// Switches to a tab.
    pub(crate) async fn switch_to(&self, tab: WindowHandle) {
        self.client.switch_to_window(tab).await.expect("a tab");
    }

    /// Returns the URL of the page.
    pub(crate) async fn address(&self) -> Url {
        self.client.current_url().await.expect("an address")
    }

    /// Runs a script in the page.
    pub(crate) async fn run(&self, script: &str) {
        let run = self.client.execute(script, Vec::new());
        within(script, run).await.expect("a script");
    }

    /// Returns the text of the page.
    pub(crate) async fn text(&self) -> String {
        let body = self.find("body").await;
        body.text().await.expect("a text")
    }

    /// Returns a screenshot as a PNG.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        let picture = within("a picture", self.client.screenshot()).await;
        picture.expect("a picture")
    }

    /// Waits for an element.
    pub(crate) async fn find(&self, selector: &str) -> Element {
        let wait = || {
            self.client
                .wait()
                .at_most(Duration::from_secs(20))
                .every(Duration::from_millis(30))
                .for_element(Locator::Css(selector))
        };
        let mut found = wait().await;
        while found.as_ref().is_err_and(is_leaving) {
            found = wait().await;
        }
        match found {
            Ok(element) => element,
            Err(error) => panic!(
                "no `{selector}` at {}: {error}\n{}",
                self.address().await,
                self.client.source().await.unwrap_or_default()
            ),
        }
    }

    /// Clicks an element.
    pub(crate) async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        element
            .click()
            .await
            .unwrap_or_else(|error| panic!("click {selector}: {error}"));
    }

    /// Types into a field.
    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        let element = self.find(selector).await;
        element.clear().await.expect("an empty field");
        element
            .send_keys(text)
            .await
            .unwrap_or_else(|error| panic!("fill {selector}: {error}"));
    }
}

/// Returns true if the page was being left for the next one.
fn is_leaving(error: &CmdError) -> bool {
    matches!(error, CmdError::NotW3C(said) if said == "aborted by navigation")
}

impl Drop for Browser {
    fn drop(&mut self) {
        let profile = self.profile.path().display().to_string();
        // It may have exited.
        let _ = self.driver.start_kill();
        for process in program::processes_with(&profile) {
            program::kill(process);
        }
    }
}

/// Starts chromedriver. It lets the system choose a port for IPv6 and then binds the same port for
/// IPv4, which may be in use. It exits then, and is started again.
async fn start_driver(profile: &TempDir) -> (Child, Lines<BufReader<ChildStdout>>, u16) {
    let mut said = Vec::new();
    for _ in 0..MAX_ATTEMPTS {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver; hint: `cargo xtask test` installs it");
        let stdout = driver.stdout.take().expect("its output");
        let mut words = BufReader::new(stdout).lines();
        while let Some(line) = words.next_line().await.expect("its output") {
            let port = line
                .split_once("started successfully on port ")
                .and_then(|(_, port)| port.trim_end_matches('.').parse().ok());
            if let Some(port) = port {
                return (driver, words, port);
            }
            said.push(line);
        }
        if !said.iter().any(|line| line.contains("port not available")) {
            break;
        }
    }
    panic!("chromedriver ended before it listened: {said:?}");
}
