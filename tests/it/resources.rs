//! Which resources a server gets Entra's tokens for: an honest discovered server (App Service's
//! built-in MCP authorization), and hostile ones.

mod api;

use std::process::Stdio;

use control::api::{DoctorOutcome, Reply, Request};
use emulator::demo;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::harness::{
    bridge::Bridge, browser::Browser, program, servers::Server, shim::Shim, sign_in_pages, within,
};
use api::Api;

/// The emulator as Entra, three servers that trust it, a bridge that knows them, and a user at a
/// browser.
struct Setup {
    /// With a configured resource.
    files: Api,
    /// Discovered. Its metadata names the API "Contoso reports".
    notes: Api,
    /// Discovered. Its metadata names Microsoft Graph.
    graph: Api,
    bridge: Bridge,
    browser: Browser,
    authority: String,
    _entra: Server,
    _folder: TempDir,
}

impl Setup {
    async fn start() -> Self {
        let setup = Self::without_bridge().await;
        setup.bridge.start().await;
        setup
    }

    /// Does not start the bridge: the first host does, without a browser.
    async fn without_bridge() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("postern-it-resources-")
            .tempdir()
            .expect("a temporary folder");
        let arguments = ["--data-dir", "entra"];
        let (entra, address) = Server::start(folder.path(), "emulator", &arguments).await;
        let authority = format!("http://{address}/{}/v2.0", demo::TENANT_ID);
        let files = Api::start(&authority, &[], demo::GATEWAY_CLIENT_ID).await;
        let scope = format!("{}/{}", reports(), demo::REPORTS_SCOPE);
        let notes = Api::start(&authority, &[&scope], demo::REPORTS_CLIENT_ID).await;
        let graph = ["https://graph.microsoft.com/.default"];
        let graph = Api::start(&authority, &graph, demo::REPORTS_CLIENT_ID).await;
        let client = demo::BRIDGE_CLIENT_ID;
        let discovered = |name: &str, api: &Api| {
            format!(
                "[servers.{name}]\nurl = \"{}\"\nauth = {{ kind = \"client\", client_id = \"{client}\" }}\n",
                api.url()
            )
        };
        let config = [
            format!(
                "[bridge]\nport = 0\nsign_in_wait_seconds = 5\n[servers.files]\nurl = \"{}\"\nauth = {{ kind = \"entra\", authority = \"{authority}\", client_id = \"{client}\", resource = \"{}\" }}\n",
                files.url(),
                demo::gateway_app_id_uri(),
            ),
            discovered("notes", &notes),
            discovered("graph", &graph),
        ];
        let bridge = Bridge::configured(folder.path(), &config.concat());
        Self {
            files,
            notes,
            graph,
            bridge,
            browser: Browser::open().await,
            authority,
            _entra: entra,
            _folder: folder,
        }
    }

    /// Starts another server, whose metadata names `scopes`. The bridge does not know it.
    async fn start_api(&self, scopes: &[&str]) -> Api {
        Api::start(&self.authority, scopes, demo::REPORTS_CLIENT_ID).await
    }

    /// Signs in to `files` as Adele. The browser keeps the session.
    async fn sign_in_to_files(&self) {
        let signing_in = self.bridge.run(&["sign-in", "files"]);
        let user = async {
            self.browser.go_to(&self.bridge.browser.page(0).await).await;
            sign_in_pages::sign_in_at_entra(&self.browser, demo::ADELE).await;
            sign_in_pages::expect_signed_in(&self.browser).await;
        };
        tokio::join!(signing_in, user);
    }

    /// Calls a tool, and opens every new page in the browser, which has a session.
    async fn call(&self, server: &str) -> Result<String, serde_json::Value> {
        let mut shim = Shim::connect(&self.bridge, server).await;
        let first = self.bridge.browser.page_count();
        let tabs = async {
            for number in first.. {
                let page = self.bridge.browser.page(number).await;
                self.browser.go_to(&page).await;
            }
        };
        tokio::select! {
            answer = shim.call("whoami", json!({})) => answer,
            () = tabs => unreachable!("tabs do not end"),
        }
    }

    async fn doctor(&self, subject: &str) -> (DoctorOutcome, String) {
        let Reply::Doctor(checks) = self.bridge.request(Request::Doctor).await else {
            panic!("no checks");
        };
        let check = checks.into_iter().find(|check| check.subject == subject);
        let check = check.unwrap_or_else(|| panic!("nothing about {subject}"));
        let hint = check.hint.unwrap_or_default();
        (check.outcome, format!("{}; hint: {hint}", check.finding))
    }

    async fn foreign_scopes(&self, server: &str) -> Vec<String> {
        let mut servers = self.bridge.state().await.servers.into_iter();
        let view = servers.find(|view| view.name == server);
        view.expect("the server").foreign_scopes
    }
}

fn reports() -> String {
    format!("api://{}", demo::REPORTS_CLIENT_ID)
}

#[tokio::test(flavor = "multi_thread")]
async fn challenge_with_foreign_scope_gets_no_foreign_token() {
    let setup = Setup::start().await;
    setup.sign_in_to_files().await;
    for foreign in [
        format!("{}/.default", reports()),
        "https://graph.microsoft.com/User.Read".to_owned(),
    ] {
        for status in [401, 403] {
            setup.files.demand(status, &foreign);
            let refused = setup.call("files").await.expect_err("no other token");
            assert!(refused["error"]["code"].is_number(), "{refused}");
        }
        assert!(setup.foreign_scopes("files").await.contains(&foreign));
        setup.bridge.replace().await;
        setup.call("files").await.expect_err("no other token");
    }
    // Only its own tokens: v2.0 tokens name the application.
    let own = demo::GATEWAY_CLIENT_ID.to_string();
    assert_eq!(setup.files.audiences(), [own]);
    let (outcome, finding) = setup.doctor("server files, access").await;
    assert_eq!(outcome, DoctorOutcome::Ok, "{finding}");
    let status = setup.bridge.run(&["status"]).await;
    assert!(
        status.contains("files asked for scopes of other resources"),
        "{status}"
    );
    assert!(
        setup.bridge.log().contains("which is dropped"),
        "not in the log"
    );
    setup.files.demand(200, "");
    setup.bridge.replace().await;
    assert_eq!(
        setup.call("files").await.expect("its own token"),
        "Adele Vance"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn discovered_server_is_approved_on_page_before_entra() {
    let setup = Setup::start().await;
    setup.sign_in_to_files().await;
    let (outcome, finding) = setup.doctor("server notes, access").await;
    assert_eq!(outcome, DoctorOutcome::Warning, "{finding}");
    assert!(finding.contains(&reports()), "{finding}");

    // Declined first: no request goes to Entra, although the browser has a session there.
    let declining = async {
        setup
            .browser
            .go_to(&setup.bridge.browser.page(1).await)
            .await;
        let text = setup.browser.text().await;
        assert!(text.contains("notes asks for access to"), "{text}");
        assert!(text.contains(&reports()), "{text}");
        setup.browser.click("button[value=deny]").await;
        setup.browser.find("main > .mark").await;
    };
    let (refused, ()) = tokio::join!(refused(&setup.bridge, &["sign-in", "notes"]), declining);
    assert!(refused.contains("was not allowed"), "{refused}");
    assert!(setup.notes.audiences().is_empty());

    let allowing = async {
        setup
            .browser
            .go_to(&setup.bridge.browser.page(2).await)
            .await;
        setup.browser.click("button[value=allow]").await;
        sign_in_pages::expect_signed_in(&setup.browser).await;
    };
    let (said, ()) = tokio::join!(setup.bridge.run(&["sign-in", "notes"]), allowing);
    assert_eq!(said, format!("Signed in to notes as {}.\n", demo::ADELE));
    assert_eq!(setup.call("notes").await.expect("a token"), "Adele Vance");
    setup.bridge.replace().await;
    assert_eq!(setup.call("notes").await.expect("a token"), "Adele Vance");
    assert_eq!(setup.bridge.browser.page_count(), 3);
    // v1.0 tokens name the App ID URI.
    assert_eq!(setup.notes.audiences(), [reports()]);
    let (outcome, finding) = setup.doctor("server notes, access").await;
    assert_eq!(outcome, DoctorOutcome::Ok, "{finding}");
}

#[tokio::test(flavor = "multi_thread")]
async fn discovered_server_asking_for_graph_is_refused() {
    let setup = Setup::start().await;
    setup.sign_in_to_files().await;
    let tabs = setup.bridge.browser.page_count();
    let text = refused(&setup.bridge, &["sign-in", "graph"]).await;
    assert!(text.contains("is Microsoft Graph"), "{text}");
    assert!(
        text.contains("resource = \"https://graph.microsoft.com\""),
        "{text}"
    );
    let refused = setup.call("graph").await.expect_err("no token");
    assert!(refused.to_string().contains("Microsoft Graph"), "{refused}");
    assert_eq!(setup.bridge.browser.page_count(), tabs, "no page is opened");
    assert!(setup.graph.audiences().is_empty());
    let (outcome, finding) = setup.doctor("server graph, discovery").await;
    assert_eq!(outcome, DoctorOutcome::Failed, "{finding}");
    assert!(finding.contains("is Microsoft Graph"), "{finding}");
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_server_releases_its_resource() {
    let setup = Setup::start().await;
    let by_url = setup.start_api(&[]).await;
    let scope = format!("{}/read", by_url.url());
    let claimer = setup.start_api(&[&scope]).await;
    let added = Request::AddServer {
        allow_http: false,
        name: "claimer".to_owned(),
        url: claimer.url(),
    };
    setup.bridge.request(added).await;
    drop(Shim::connect(&setup.bridge, &by_url.url()).await);
    let text = refused(&setup.bridge, &["sign-in", "claimer"]).await;
    assert!(text.contains("which the server 127-0-0-1 uses"), "{text}");

    let name = "127-0-0-1".to_owned();
    setup.bridge.request(Request::RemoveServer { name }).await;
    let text = refused(&setup.bridge, &["sign-in", "claimer"]).await;
    assert!(
        text.contains("does not let applications register"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn declined_approval_of_call_opens_no_second_page() {
    let setup = Setup::start().await;
    let declining = async {
        setup
            .browser
            .go_to(&setup.bridge.browser.page(0).await)
            .await;
        setup.browser.click("button[value=deny]").await;
        setup.browser.find("main > .mark").await;
    };
    let mut shim = Shim::spawn(&setup.bridge, "notes");
    shim.initialize().await;
    let calling = shim.call("whoami", json!({}));
    let (refused, ()) = tokio::join!(calling, declining);
    let refused = refused.expect_err("no token");
    assert_eq!(refused["error"]["code"], 1008, "{refused}");
    let again = shim.call("whoami", json!({})).await.expect_err("no token");
    assert_eq!(again["error"]["code"], 1001, "{again}");
    setup.call("notes").await.expect_err("no token");
    assert_eq!(setup.bridge.browser.page_count(), 1);
    assert!(setup.notes.audiences().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_is_approved_at_terminal_for_device_code() {
    let setup = Setup::start().await;
    let mut terminal = Terminal::run(&setup.bridge, "sign-in notes --device");
    let question = terminal.shows("Allow it? [y/N]").await;
    assert!(question.contains(&format!("notes asks for access to {}", reports())));
    // A second line does not change the answer.
    terminal.types("y\n\n").await;
    let shown = terminal
        .shows("Enter a code only if you asked for it yourself.")
        .await;
    let lines: Vec<&str> = shown.lines().map(str::trim).collect();
    let page = lines.iter().find(|line| line.ends_with("/devicelogin"));
    let code = lines.iter().find(|line| {
        line.len() == 9
            && line
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    });
    setup.browser.go_to(page.expect("a page")).await;
    let code = code.expect("a code");
    sign_in_pages::enter_device_code(&setup.browser, code, demo::ADELE).await;
    let signed_in = format!("Signed in to notes as {}", demo::ADELE);
    terminal.shows(&signed_in).await;
    assert_eq!(setup.call("notes").await.expect("a token"), "Adele Vance");
    assert_eq!(setup.bridge.browser.page_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn approval_for_pending_call_is_given_at_terminal() {
    let setup = Setup::without_bridge().await;
    let mut shim = Shim::connect(&setup.bridge, "notes").await;
    let told = shim.call("whoami", json!({})).await.expect_err("no token");
    let hint = told["error"]["data"]["hint"].as_str().expect("a hint");
    assert!(
        hint.contains(&format!("notes asks for access to {}", reports())),
        "{hint}"
    );
    assert!(hint.contains("`postern sign-in notes`"), "{hint}");
    let status = setup.bridge.run(&["status"]).await;
    assert!(
        status.contains("answer with `postern sign-in notes`"),
        "{status}"
    );

    let mut terminal = Terminal::run(&setup.bridge, "sign-in notes --device");
    terminal.shows("Allow it? [y/N]").await;
    terminal.types("n\n").await;
    let shown = terminal.shows("cancelled").await;
    assert!(!shown.contains("devicelogin"), "{shown}");

    let mut terminal = Terminal::run(&setup.bridge, "sign-in notes --device");
    terminal.shows("Allow it? [y/N]").await;
    terminal.types("y\n").await;
    terminal
        .shows("Enter a code only if you asked for it yourself.")
        .await;
}

/// A command on a terminal.
struct Terminal {
    _process: Child,
    keyboard: ChildStdin,
    screen: ChildStdout,
    shown: String,
}

impl Terminal {
    fn run(bridge: &Bridge, command: &str) -> Self {
        let command = format!(
            "{} {command} --home {}",
            program::postern().display(),
            bridge.root().display()
        );
        let mut process = Command::new("script")
            .args(["-qefc", &command, "/dev/null"])
            .env_clear()
            .env("HOME", bridge.root())
            .env("PATH", program::search_path())
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("script starts");
        Self {
            keyboard: process.stdin.take().expect("its keyboard"),
            screen: process.stdout.take().expect("its screen"),
            shown: String::new(),
            _process: process,
        }
    }

    async fn types(&mut self, keys: &str) {
        let typed = self.keyboard.write_all(keys.as_bytes()).await;
        typed.expect("a keyboard");
    }

    /// Waits until a text is shown. Returns all output so far.
    async fn shows(&mut self, wanted: &str) -> &str {
        let mut bytes = [0; 1024];
        while !self.shown.contains(wanted) {
            let read = within(wanted, self.screen.read(&mut bytes)).await;
            let count = read.expect("a screen");
            assert!(count > 0, "{}", self.shown);
            self.shown
                .push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        &self.shown
    }
}

/// Runs a command that fails and returns its stderr.
async fn refused(bridge: &Bridge, arguments: &[&str]) -> String {
    let output = bridge.output(arguments, "").await;
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}
