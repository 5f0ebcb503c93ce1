//! A bridge in this process, and a host that uses it like the shim.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use bridge::DescriptorLimits;
use bytes::Bytes;
use control::api::{Reply, Request, ServerState, State};
use control::hello::ConnectionKind;
use control::lines::Lines;
use control::socket::{Reader, SocketKind, Writer};
use control::{Client, Home};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

/// Far longer than anything here takes: a hang is a failure, not a wait.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Bridge {
    pub(crate) home: Home,
    _folder: TempDir,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), bridge::ServeError>>,
}

impl Bridge {
    /// Starts a bridge with a server called `one` at `url`.
    pub(crate) async fn start(url: &str) -> Self {
        Self::start_with(url, |_| {}).await
    }

    /// Starts a bridge with changed options.
    pub(crate) async fn start_with(url: &str, adjust: impl FnOnce(&mut bridge::Options)) -> Self {
        Self::start_as("sign_in_wait_seconds = 3", url, adjust).await
    }

    /// Starts a bridge with these settings.
    pub(crate) async fn start_set(settings: &str, url: &str) -> Self {
        Self::start_as(settings, url, |_| {}).await
    }

    async fn start_as(
        settings: &str,
        url: &str,
        adjust: impl FnOnce(&mut bridge::Options),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::under(folder.path()).unwrap();
        std::fs::create_dir_all(home.config_file().parent().unwrap()).unwrap();
        let config = format!("[bridge]\nport = 0\n{settings}\n[servers.one]\nurl = '{url}'\n");
        std::fs::write(home.config_file(), config).unwrap();
        let (shutdown, task) = serve(&home, adjust).await;
        Self {
            home,
            _folder: folder,
            shutdown,
            task,
        }
    }

    /// Returns the cache file of the server `one`, if it exists.
    pub(crate) fn written(&self) -> Option<String> {
        std::fs::read_to_string(self.home.seen_dir().join("one.json")).ok()
    }

    /// Ends the bridge.
    pub(crate) fn stop(&self) {
        self.shutdown.cancel();
    }

    /// Ends the bridge and starts another one in its place.
    pub(crate) async fn restart(&mut self) {
        self.shutdown.cancel();
        (&mut self.task).await.unwrap().unwrap();
        (self.shutdown, self.task) = serve(&self.home, |_| {}).await;
    }

    pub(crate) async fn host(&self, server: &str) -> Host {
        let wants = ConnectionKind::Server {
            server: server.to_owned(),
            host: None,
            resumed: false,
        };
        let (lines, writer, _) = control::open(&self.home, SocketKind::Mcp, "1.0.0", wants)
            .await
            .unwrap();
        Host { lines, writer }
    }

    pub(crate) async fn call(&self, request: Request) -> Result<Reply, control::CallError> {
        let mut client = Client::connect(&self.home, "1.0.0", false).await?;
        tokio::time::timeout(TIMEOUT, client.call(&request))
            .await
            .expect("the bridge answers")
    }

    pub(crate) async fn state(&self) -> State {
        match self.call(Request::Status).await.unwrap() {
            Reply::State(state) => *state,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the server `one` satisfies the condition.
    pub(crate) async fn until(&self, wanted: impl Fn(&ServerState) -> bool) {
        self.until_state(|state| wanted(&state.servers[0].state))
            .await;
    }

    /// Waits until the state satisfies the condition, and returns it.
    pub(crate) async fn until_state(&self, wanted: impl Fn(&State) -> bool) -> State {
        let client = Client::connect(&self.home, "1.0.0", false).await.unwrap();
        let mut watch = client.watch().await.unwrap();
        let seen = async {
            loop {
                let state = watch.next().await.unwrap();
                if wanted(&state) {
                    return state;
                }
            }
        };
        tokio::time::timeout(TIMEOUT, seen)
            .await
            .expect("the bridge gets there")
    }

    /// Follows the sign-in page that is open as a browser would, to its end.
    pub(crate) async fn browse(&self) {
        let state = self.until_state(|state| !state.sign_ins.is_empty()).await;
        self.browse_at(&state.sign_ins[0].url).await;
    }

    /// Follows a sign-in page as a browser would, to its end.
    pub(crate) async fn browse_at(&self, page: &str) {
        let answer = visit(page).await;
        assert!(answer.unwrap().status().is_success());
        self.until_state(|state| state.sign_ins.is_empty()).await;
    }

    /// Follows every sign-in page from now on as a browser would that has a session.
    pub(crate) async fn follow(&self) -> Browser {
        let client = Client::connect(&self.home, "1.0.0", false).await.unwrap();
        let mut states = client.watch().await.unwrap();
        let (seen, pages) = watch::channel(BTreeSet::new());
        let following = tokio::spawn(async move {
            while let Ok(state) = states.next().await {
                for page in state.sign_ins {
                    if seen.send_if_modified(|pages| pages.insert(page.url.clone())) {
                        let _ = visit(&page.url).await;
                    }
                }
            }
        });
        Browser {
            pages,
            following: following.abort_handle(),
        }
    }

    pub(crate) async fn http(&self) -> String {
        self.state().await.bridge.http.unwrap()
    }

    pub(crate) async fn ended(self) {
        tokio::time::timeout(TIMEOUT, self.task)
            .await
            .expect("the bridge ends")
            .unwrap()
            .unwrap();
    }
}

/// A browser that has a session with each authorization server.
pub(crate) struct Browser {
    pages: watch::Receiver<BTreeSet<String>>,
    following: AbortHandle,
}

impl Browser {
    /// How many pages were followed so far.
    pub(crate) fn count(&self) -> usize {
        self.pages.borrow().len()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// Calls back from a sign-in page with a code.
async fn visit(page: &str) -> reqwest::Result<reqwest::Response> {
    let page: url::Url = page.parse().unwrap();
    let query: std::collections::HashMap<_, _> = page.query_pairs().collect();
    let mut back: url::Url = query["redirect_uri"].parse().unwrap();
    back.query_pairs_mut()
        .append_pair("code", "c")
        .append_pair("state", &query["state"]);
    let client = auth::http::client([], &model::config::Proxy::None).unwrap();
    client.get(back).send().await
}

async fn serve(
    home: &Home,
    adjust: impl FnOnce(&mut bridge::Options),
) -> (
    CancellationToken,
    JoinHandle<Result<(), bridge::ServeError>>,
) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let shutdown = CancellationToken::new();
    let mut options = bridge::Options {
        home: home.clone(),
        version: "1.0.0".to_owned(),
        program: PathBuf::from("/usr/bin/postern"),
        vault: bridge::VaultChoice::File,
        browser: Some("false".to_owned()),
        browser_availability: bridge::browser::BrowserAvailability::Desktop,
        clock: model::Clock::system(),
        idle_exit: None,
        places: bridge::hosts::Places {
            os: bridge::hosts::Os::Linux,
            home: home.root().unwrap().to_owned(),
            config_home: None,
            appdata: None,
            local_appdata: None,
        },
        extra_roots: Vec::new(),
        descriptors: DescriptorLimits::from_limit(None),
    };
    adjust(&mut options);
    let (tell, ready) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(bridge::serve(
        options,
        move || tell.send(()).expect("the test waits"),
        shutdown.clone(),
    ));
    if ready.await.is_err() {
        panic!("the bridge does not start: {:?}", task.await);
    }
    (shutdown, task)
}

pub(crate) struct Host {
    lines: Lines<Reader>,
    writer: Writer,
}

impl Host {
    pub(crate) async fn send(&mut self, line: &str) {
        self.writer
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
    }

    pub(crate) async fn receive(&mut self) -> Bytes {
        let line = tokio::time::timeout(TIMEOUT, self.lines.next())
            .await
            .expect("a line comes");
        line.unwrap().expect("the bridge is there")
    }

    pub(crate) async fn value(&mut self) -> Value {
        serde_json::from_slice(&self.receive().await).unwrap()
    }

    /// The next line that answers `id`; others are given to `meanwhile`.
    pub(crate) async fn answer(&mut self, id: i64, meanwhile: &mut Vec<Value>) -> Value {
        loop {
            let value = self.value().await;
            if value.get("method").is_none() && value["id"] == id {
                return value;
            }
            meanwhile.push(value);
        }
    }

    pub(crate) async fn request(&mut self, id: i64, method: &str, params: Value) -> Value {
        self.send(
            &json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string(),
        )
        .await;
        self.answer(id, &mut Vec::new()).await
    }

    pub(crate) async fn initialize(&mut self) -> Value {
        let info = json!({ "name": "test", "version": "1" });
        let params =
            json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info });
        let answer = self.request(0, "initialize", params).await;
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
            .await;
        answer
    }

    /// Sends nothing more, and reads no more either.
    pub(crate) async fn fall_silent(&mut self) {
        self.writer.shutdown().await.unwrap();
    }

    /// Sends nothing more; true once the bridge has closed its side too.
    pub(crate) async fn end(mut self) -> bool {
        self.writer.shutdown().await.unwrap();
        tokio::time::timeout(TIMEOUT, self.lines.next())
            .await
            .expect("the bridge closes")
            .unwrap()
            .is_none()
    }
}
