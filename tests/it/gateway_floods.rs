//! Floods of anonymous requests: what must survive them at a gateway, and how much memory they may
//! cost it.

use std::{net::Ipv4Addr, sync::Arc};

use emulator::demo;
use reqwest::{
    RequestBuilder, StatusCode,
    header::{ACCEPT, COOKIE, ORIGIN, SET_COOKIE},
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{Harness, browser::Browser, oauth::OAuthClient, program, sign_in_pages, wire};

/// More than a gateway's limits for unused clients and for sign-ins in its store.
const MANY: usize = 10_500;
const MANY_LONG: usize = 5_500;

/// The number of connections of a flood.
const FLOODERS: usize = 8;

/// The maximum memory of the gateway, in KiB.
const MAX_MEMORY: u64 = 200 << 10;

/// A client whose page waits for a user, and the browser that shows it.
struct Waiting {
    browser: Browser,
    client: OAuthClient,
    id: String,
}

impl Waiting {
    async fn begin(harness: &Harness, path: &str) -> Self {
        let gateway = harness.servers.gateway_url();
        let (browser, client) = tokio::join!(Browser::open(), OAuthClient::new("127.0.0.1", path));
        let id = client.register(&format!("{gateway}/register")).await;
        let page = client.authorize_url(&format!("{gateway}/authorize"), &id, &[]);
        browser.go_to(&page).await;
        Self {
            browser,
            client,
            id,
        }
    }

    async fn is_let_in(&mut self, harness: &Harness) {
        let came_back = self.client.callback().await;
        let code = self.client.code(&came_back);
        let endpoint = format!("{}/token", harness.servers.gateway_url());
        let redeemed = self.client.redeem(&endpoint, &self.id, &code, &[]).await;
        assert_eq!(redeemed.0, 200, "{}", redeemed.1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_evicts_no_client_that_signs_in() {
    let harness = Harness::start().await;
    let gateway = harness.servers.gateway_url();
    // One user reads the consent page, one is at Entra, and one client has just registered.
    let (mut reads, mut signs_in) = tokio::join!(
        Waiting::begin(&harness, "/reads"),
        Waiting::begin(&harness, "/signs-in")
    );
    sign_in_pages::consent_at_gateway(&signs_in.browser).await;
    signs_in.browser.find("button[data-account]").await;
    let new = OAuthClient::new("127.0.0.1", "/new").await;
    let new_id = new.register(&format!("{gateway}/register")).await;

    let flood = Arc::new(Flood::prepare(&gateway).await);
    for kind in [
        Kind::Requests,
        Kind::Approvals,
        Kind::LongApprovals,
        Kind::Registrations,
    ] {
        flood.send(kind).await;
    }
    let memory = program::memory(harness.servers.gateway_process().await);
    assert!(memory < MAX_MEMORY, "{memory} kB");

    sign_in_pages::sign_in_at_entra(&signs_in.browser, demo::ADELE).await;
    signs_in.is_let_in(&harness).await;
    sign_in_pages::consent_at_gateway(&reads.browser).await;
    sign_in_pages::sign_in_at_entra(&reads.browser, demo::ADELE).await;
    reads.is_let_in(&harness).await;
    let page = new.authorize_url(&format!("{gateway}/authorize"), &new_id, &[]);
    let page = wire::client().get(page).send().await.expect("an answer");
    assert_eq!(page.status(), StatusCode::OK, "a consent page");
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Requests,
    Approvals,
    /// For a request that is too long for a cookie.
    LongApprovals,
    Registrations,
}

/// A client that sends as many requests as it can.
struct Flood {
    gateway: String,
    page: String,
    /// The forms of a consent page with a short state and with a long one.
    forms: [Form; 2],
}

/// The form of a consent page with its cookie.
struct Form {
    request: String,
    cookie: String,
}

impl Form {
    async fn open(page: &str) -> Self {
        let answer = wire::client().get(page).header(ACCEPT, "text/html").send();
        let answer = answer.await.expect("an answer");
        let cookie = answer.headers()[SET_COOKIE].to_str().expect("text");
        let cookie = cookie.split(';').next().expect("a pair").to_owned();
        let html = answer.text().await.expect("a page");
        let request = html
            .split_once("name=\"request\" value=\"")
            .and_then(|(_, rest)| rest.split('"').next());
        Self {
            request: request.expect("a form").to_owned(),
            cookie,
        }
    }
}

impl Flood {
    async fn prepare(gateway: &str) -> Self {
        let client = OAuthClient::new("127.0.0.1", "/flood").await;
        let id = client.register(&format!("{gateway}/register")).await;
        let page = client.authorize_url(&format!("{gateway}/authorize"), &id, &[]);
        let long = page.replace("&state=", &format!("&state={}", "x".repeat(4_000)));
        let forms = [Form::open(&page).await, Form::open(&long).await];
        Self {
            gateway: gateway.to_owned(),
            page,
            forms,
        }
    }

    async fn send(self: &Arc<Self>, kind: Kind) {
        let mut flooders = JoinSet::new();
        for flooder in 0..FLOODERS {
            let flood = Arc::clone(self);
            flooders.spawn(async move {
                let http = wire::client();
                for number in (flooder..kind.count()).step_by(FLOODERS) {
                    let answer = flood.request(&http, kind, number).send().await;
                    let status = answer.expect("an answer").status();
                    assert_eq!(status, kind.done(), "{kind:?}");
                }
            });
        }
        while let Some(done) = flooders.join_next().await {
            done.expect("a flood");
        }
    }

    /// Returns one request of a flood, from a network of its own.
    fn request(&self, http: &reqwest::Client, kind: Kind, number: usize) -> RequestBuilder {
        let approve = |form: &Form| {
            http.post(format!("{}/consent", self.gateway))
                .header(ORIGIN, &self.gateway)
                .header(COOKIE, &form.cookie)
                .form(&[("answer", "allow"), ("request", &form.request)])
        };
        let request = match kind {
            Kind::Requests => http.get(&self.page),
            Kind::Approvals => approve(&self.forms[0]),
            Kind::LongApprovals => approve(&self.forms[1]),
            Kind::Registrations => http
                .post(format!("{}/register", self.gateway))
                .json(&json!({
                    "client_name": format!("flood {number}"),
                    "redirect_uris": ["http://127.0.0.1/cb"],
                })),
        };
        let network = u32::try_from(number).expect("few") << 8;
        let address = Ipv4Addr::from_bits(network | 0x1400_0001);
        request.header("x-forwarded-for", address.to_string())
    }
}

impl Kind {
    fn count(self) -> usize {
        match self {
            Self::LongApprovals => MANY_LONG,
            Self::Requests | Self::Approvals | Self::Registrations => MANY,
        }
    }

    fn done(self) -> StatusCode {
        match self {
            Self::Requests => StatusCode::OK,
            Self::Approvals | Self::LongApprovals => StatusCode::SEE_OTHER,
            Self::Registrations => StatusCode::CREATED,
        }
    }
}
