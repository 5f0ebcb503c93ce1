//! A person at a real browser: Chromium through chromedriver, without a screen.
//!
//! Knows the pages of the emulator and of the gateway by the ids of their forms, and nothing
//! else about them.

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

/// How often chromedriver is started.
const DRIVERS: u32 = 5;

/// The browser. It ends with this value, with all its processes.
pub(crate) struct Browser {
    client: Client,
    driver: Child,
    /// What the driver says; it would end if nobody listened.
    _words: Lines<BufReader<ChildStdout>>,
    profile: TempDir,
}

impl Browser {
    pub(crate) async fn open() -> Self {
        Self::open_with(&[]).await
    }

    /// Runs no script of any page.
    pub(crate) async fn open_without_scripts() -> Self {
        let blocked = json!({ "profile.managed_default_content_settings.javascript": 2 });
        Self::open_as(&[], blocked).await
    }

    /// With more arguments to Chromium.
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
            _words: words,
            profile,
        }
    }

    /// Opens a page.
    pub(crate) async fn go_to(&self, page: &str) {
        within(page, self.client.goto(page))
            .await
            .unwrap_or_else(|error| panic!("{page}: {error}"));
    }

    /// The tab that is looked at.
    pub(crate) async fn tab(&self) -> WindowHandle {
        self.client.window().await.expect("a tab")
    }

    /// Opens a tab, and looks at it.
    pub(crate) async fn new_tab(&self) -> WindowHandle {
        let tab = self.client.new_window(true).await.expect("a tab");
        self.switch_to(tab.handle.clone()).await;
        tab.handle
    }

    /// Waits until there are so many tabs.
    pub(crate) async fn tabs(&self, count: usize) -> Vec<WindowHandle> {
        until("the tabs", async || {
            let tabs = self.client.windows().await.expect("tabs");
            (tabs.len() == count).then_some(tabs)
        })
        .await
    }

    /// Looks at a tab.
    pub(crate) async fn switch_to(&self, tab: WindowHandle) {
        self.client.switch_to_window(tab).await.expect("a tab");
    }

    /// Where it is.
    pub(crate) async fn address(&self) -> Url {
        self.client.current_url().await.expect("an address")
    }

    /// Runs a script in the page.
    pub(crate) async fn run(&self, script: &str) {
        let run = self.client.execute(script, Vec::new());
        within(script, run).await.expect("a script");
    }

    /// The text of the page.
    pub(crate) async fn text(&self) -> String {
        let body = self.find("body").await;
        body.text().await.expect("a text")
    }

    /// What it shows, as a PNG.
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

/// Whether the page that was looked at was just being left for the next.
fn is_leaving(error: &CmdError) -> bool {
    matches!(error, CmdError::NotW3C(said) if said == "aborted by navigation")
}

impl Drop for Browser {
    fn drop(&mut self) {
        let profile = self.profile.path().display().to_string();
        // It may have ended by itself.
        let _ = self.driver.start_kill();
        for process in program::processes_with(&profile) {
            program::kill(process);
        }
    }
}

/// chromedriver has the system choose a port for IPv6 and then wants the same for IPv4, where
/// somebody else may have it: it ends then, and is started again.
async fn start_driver(profile: &TempDir) -> (Child, Lines<BufReader<ChildStdout>>, u16) {
    let mut said = Vec::new();
    for _ in 0..DRIVERS {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver; hint: `cargo xtask test` installs it");
        let stdout = driver.stdout.take().expect("its words");
        let mut words = BufReader::new(stdout).lines();
        while let Some(line) = words.next_line().await.expect("its words") {
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
