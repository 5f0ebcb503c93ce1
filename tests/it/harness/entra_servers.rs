//! Servers that Entra protects directly, a bridge that knows them, and the emulator with fault
//! injection as Entra.
//!
//! Does not own: the servers themselves. A sign-in of this kind sends them no request.

use control::{
    CallError,
    api::{Problem, Request},
};
use emulator::demo;
use serde_json::Value;
use tempfile::TempDir;

use super::{bridge::Bridge, browser::Browser, servers::Server, wire, within};

/// A user at an Entra whose faults the case controls.
pub(crate) struct EntraServers {
    pub(crate) base: String,
    pub(crate) bridge: Bridge,
    pub(crate) browser: Browser,
    pages_opened: usize,
    _entra: Server,
    _folder: TempDir,
}

impl EntraServers {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("postern-it-entra-servers-")
            .tempdir()
            .expect("a temporary folder");
        let arguments = ["--data-dir", "entra"];
        let (entra, address) = Server::start(folder.path(), "emulator", &arguments).await;
        let base = format!("http://{address}");
        let server = |name: &str, resource: &str, scope: &str| {
            format!(
                "[servers.{name}]\nurl = \"http://127.0.0.1:9/{name}\"\nauth = {{ kind = \"entra\", authority = \"{base}/{}/v2.0\", client_id = \"{}\", resource = \"{resource}\", scopes = [\"{scope}\"] }}\n",
                demo::TENANT_ID,
                demo::BRIDGE_CLIENT_ID,
            )
        };
        let reports = format!("api://{}", demo::REPORTS_CLIENT_ID);
        let config = [
            "[bridge]\nport = 0\n".to_owned(),
            server("crm", &demo::gateway_app_id_uri(), demo::GATEWAY_SCOPE),
            server("reports", &reports, demo::REPORTS_SCOPE),
        ];
        let config = config.concat();
        let bridge = Bridge::configured(folder.path(), &config);
        bridge.start().await;
        Self {
            base,
            bridge,
            browser: Browser::open().await,
            pages_opened: 0,
            _entra: entra,
            _folder: folder,
        }
    }

    /// Starts a sign-in, lets `user` act on the page, and returns the outcome.
    pub(crate) async fn sign_in(&mut self, user: impl AsyncFn(&Self)) -> Result<(), Problem> {
        let request = Request::SignIn {
            server: "crm".to_owned(),
            way: Default::default(),
        };
        self.request(request, user).await
    }

    /// Sends a request that opens a page, lets `user` act there, and returns the outcome.
    pub(crate) async fn request(
        &mut self,
        request: Request,
        user: impl AsyncFn(&Self),
    ) -> Result<(), Problem> {
        let mut client = self.bridge.connect().await;
        let acting = async {
            let page = self.bridge.browser.page(self.pages_opened).await;
            self.browser.go_to(&page).await;
            user(self).await;
        };
        let (ended, ()) = tokio::join!(within("the end", client.call(&request)), acting);
        self.pages_opened += 1;
        match ended {
            Ok(_) => Ok(()),
            Err(CallError::Problem(problem)) => Err(problem),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn emulator_command(&self, command: &Value) {
        let asked = wire::client()
            .post(format!("{}/admin/commands", self.base))
            .json(command)
            .send();
        let answer = within("the switches", asked).await.expect("an answer");
        assert!(answer.status().is_success(), "{command}: {answer:?}");
    }

    pub(crate) async fn errors(&self) -> Vec<Value> {
        let asked = wire::client()
            .get(format!("{}/admin/errors", self.base))
            .send();
        let answer = within("the table", asked).await.expect("an answer");
        within("the table", answer.json()).await.expect("rows")
    }

    /// Returns the account that the server uses.
    pub(crate) async fn account_of(&self, server: &str) -> Option<String> {
        let state = self.bridge.state().await;
        let mut servers = state.servers.into_iter();
        let found = servers.find(|known| known.name == server);
        found.expect("the server").account
    }
}
