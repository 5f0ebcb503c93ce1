//! Records that version 0.1.0 wrote: their grants must stay findable after an update.
//!
//! The files in `stored` are the plain text of its records. There is none for a server without a
//! sign-in or with client credentials, whose tokens are not stored.

use model::config::ServerAuth;
use zeroize::Zeroizing;

use super::super::{GrantStore, record};
use crate::target::Target;
use crate::vault::{RecordName, Vault};

const AT_LOGIN: &str = "grant-4lXE5ieFzS0sibpIjgurlaNx78Tgi9uO-F7LMTyzsMM.sealed";
const AT_CRM: &str = "grant-tkpyaJHLprtnfHVZgPCV8FaMmdM0TxAz_WNtIV2L2fs.sealed";
const AT_ENTRA: &str = "grant-H1mvQlGM22YuyUm3uIepS7EvbH87b_rRXcgR8c6znmI.sealed";
const AT_ENTRA_WITH_SCOPES: &str = "grant-nyKWaJ95I-21q4wtv-uN07RuFroeWL9Xsh0xg74nCrA.sealed";

/// A record, and the servers that use its grant.
struct Stored {
    name: &'static str,
    text: &'static str,
    urls: &'static [&'static str],
    /// How they sign in, as JSON.
    auth: &'static str,
}

/// A grant for each way to sign in.
const RECORDS: [Stored; 6] = [
    Stored {
        name: AT_LOGIN,
        text: include_str!("stored/discover.json"),
        urls: &["https://mcp.example/mcp"],
        auth: r#"{"kind":"discover"}"#,
    },
    Stored {
        name: AT_LOGIN,
        text: include_str!("stored/discover-two-servers.json"),
        urls: &[
            "https://mcp.example/one/mcp",
            "https://mcp.example/two/mcp?x=%20",
        ],
        auth: r#"{"kind":"discover"}"#,
    },
    Stored {
        name: AT_CRM,
        text: include_str!("stored/client.json"),
        urls: &["https://mcp.example/mcp"],
        auth: r#"{"kind":"client","client_id":"crm"}"#,
    },
    Stored {
        name: AT_CRM,
        text: include_str!("stored/client-with-issuer.json"),
        urls: &["https://mcp.example/mcp"],
        auth: r#"{
            "kind": "client",
            "client_id": "crm",
            "client_secret": {"secret": "crm-client"},
            "issuer": "https://login.example",
            "scopes": ["read", "write"],
            "redirect_port": 8123
        }"#,
    },
    Stored {
        name: AT_ENTRA,
        text: include_str!("stored/entra.json"),
        urls: &["https://mcp.example/mcp", "https://other.example/mcp"],
        auth: r#"{
            "kind": "entra",
            "authority": "https://login.microsoftonline.com/5f3b6c1e-0000-4000-8000-000000000001/v2.0",
            "client_id": "5f3b6c1e-0000-4000-8000-000000000002",
            "resource": "api://snippets"
        }"#,
    },
    Stored {
        name: AT_ENTRA_WITH_SCOPES,
        text: include_str!("stored/entra-with-scopes.json"),
        urls: &["https://mcp.example/mcp"],
        auth: r#"{
            "kind": "entra",
            "authority": "https://login.microsoftonline.com/5f3b6c1e-0000-4000-8000-000000000001/v2.0",
            "client_id": "5f3b6c1e-0000-4000-8000-000000000002",
            "resource": "api://snippets",
            "scopes": ["Snippets.Read", "api://snippets/Snippets.Write"],
            "redirect_port": 8124
        }"#,
    },
];

impl Stored {
    fn targets(&self) -> Vec<Target> {
        let auth: ServerAuth = serde_json::from_str(self.auth).unwrap();
        let target = |url: &&str| Target::new(url.parse().unwrap(), auth.clone());
        self.urls.iter().map(target).collect()
    }

    /// Returns a store whose vault contains this record alone.
    async fn load(&self) -> GrantStore {
        let vault = Vault::memory();
        let name = RecordName::from_file_name(self.name).unwrap();
        let plain = Zeroizing::new(self.text.as_bytes().to_vec());
        vault.write(&name, &plain).unwrap();
        let store = GrantStore::new(vault);
        store.load().await.unwrap();
        store
    }
}

#[tokio::test]
async fn grant_of_stored_record_is_found() {
    for stored in &RECORDS {
        let store = stored.load().await;
        for target in stored.targets() {
            let entry = store.grant_for(target.key()).unwrap();
            let (subject, access) = entry.with_grant(|grant| {
                let access = grant.tokens.access.expose().to_owned();
                (grant.account.key.subject.clone(), access)
            });
            assert_eq!((&*subject, &*access), ("alice", "access"), "{target:?}");
        }
    }
}

/// So an older program that runs again finds the grant too.
#[tokio::test]
async fn record_is_written_as_before() {
    for stored in &RECORDS {
        let store = stored.load().await;
        let [entry] = &*store.grants() else {
            panic!("one grant per record");
        };
        entry.with_grant(|grant| {
            assert_eq!(grant.key.record().file_name(), stored.name);
            let written = record::from_grant(grant);
            assert_eq!(std::str::from_utf8(&written), Ok(stored.text));
        });
    }
}
