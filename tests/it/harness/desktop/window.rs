//! The content of the app's window, through WebKit's own WebDriver.
//!
//! The driver attaches to the running app. It neither starts nor stops it.

use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator, elements::Element};
use serde_json::json;
use tokio::process::Child;

use super::{
    super::{free_port, until, within},
    app::App,
    session::Session,
};

/// The page in the window.
pub(crate) struct Window {
    client: Client,
    _driver: Child,
}

impl Window {
    /// Attaches to the app and returns once its page is loaded.
    pub(crate) async fn attach(session: &Session, app: &App) -> Self {
        let port = free_port().await;
        let driver = session.spawn(
            session
                .command("WebKitWebDriver")
                .arg(format!("--port={port}"))
                .arg(format!("--target=127.0.0.1:{}", app.inspector)),
        );
        // Neither the driver nor WebKit reports that it listens.
        let client = until("a WebDriver session", async || connect(port).await).await;
        let window = Self {
            client,
            _driver: driver,
        };
        window.find("//main").await;
        window
    }

    /// Waits for an element.
    pub(crate) async fn find(&self, xpath: &str) -> Element {
        let waiting = self
            .client
            .wait()
            .at_most(Duration::from_secs(20))
            .every(Duration::from_millis(30))
            .for_element(Locator::XPath(xpath));
        match within(xpath, waiting).await {
            Ok(element) => element,
            Err(error) => panic!("no `{xpath}`: {error}\n{}", self.text().await),
        }
    }

    /// Clicks an element.
    pub(crate) async fn click(&self, xpath: &str) {
        let element = self.find(xpath).await;
        within(xpath, element.click())
            .await
            .unwrap_or_else(|error| panic!("click {xpath}: {error}"));
    }

    /// Clicks the button with this label.
    pub(crate) async fn press(&self, words: &str) {
        self.click(&format!("//button[normalize-space()='{words}']"))
            .await;
    }

    /// Opens a page by its name in the side bar.
    pub(crate) async fn go_to(&self, page: &str) {
        self.click(&format!("//nav//button[normalize-space()='{page}']"))
            .await;
        self.find(&format!("//main//h2[normalize-space()='{page}']"))
            .await;
    }

    /// Waits until a text is on the page.
    pub(crate) async fn shows(&self, words: &str) {
        self.find(&format!("//*[text()[contains(., '{words}')]]"))
            .await;
    }

    /// Returns the text of the page.
    pub(crate) async fn text(&self) -> String {
        self.texts("body").await.concat()
    }

    /// Returns the texts of the selected elements, blanks included.
    pub(crate) async fn texts(&self, css: &str) -> Vec<String> {
        let script =
            "return [...document.querySelectorAll(arguments[0])].map(it => it.textContent)";
        let texts = within(css, self.client.execute(script, vec![json!(css)])).await;
        serde_json::from_value(texts.expect("a page")).expect("texts")
    }
}

async fn connect(port: u16) -> Option<Client> {
    let connector = hyper_util::client::legacy::connect::HttpConnector::new();
    ClientBuilder::new(connector)
        .connect(&format!("http://127.0.0.1:{port}"))
        .await
        .ok()
}
