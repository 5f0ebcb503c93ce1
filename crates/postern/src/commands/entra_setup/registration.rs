//! The app registration as Microsoft Graph v1.0 JSON.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::certificate;
use crate::cli::{EntraBridgeArgs, EntraGatewayArgs};
use crate::error::CliError;

/// The app ID of Microsoft Graph, and the IDs of its scopes that a sign-in uses.
pub(super) const GRAPH_APP_ID: &str = "00000003-0000-0000-c000-000000000000";
const SIGN_IN_SCOPES: [&str; 3] = [
    "37f7f235-527c-4136-accd-4a02d197296e", // openid
    "14dad69e-099b-42c9-810b-d002981feec1", // profile
    "7427e0e9-2fba-42fe-b0c0-848c9e6a8182", // offline_access
];

/// An app registration.
pub(super) struct Registration {
    pub(super) name: String,
    pub(super) role: Role,
}

/// The component that uses the registration.
pub(super) enum Role {
    Bridge {
        api: Option<Api>,
    },
    Gateway {
        redirect_uri: String,
        federated: Option<Value>,
        /// An item of `keyCredentials`.
        certificate: Option<Value>,
    },
}

/// The scopes of another registration.
#[derive(Clone)]
pub(super) struct Api {
    /// Its App ID URI or its client ID.
    pub(super) app: String,
    pub(super) scopes: Vec<String>,
}

/// The bridge's redirect URI. Entra ignores the port only for `localhost`.
pub(super) const LOOPBACK_REDIRECT: &str = "http://localhost";

impl Registration {
    pub(super) fn for_bridge(args: &EntraBridgeArgs) -> Self {
        let api = args.api.as_ref().map(|app| Api {
            app: app.clone(),
            scopes: args.scopes.clone(),
        });
        Self {
            name: args.name.clone(),
            role: Role::Bridge { api },
        }
    }

    /// # Errors
    ///
    /// If the certificate cannot be read.
    pub(super) fn for_gateway(args: &EntraGatewayArgs) -> Result<Self, CliError> {
        let base = args.public_url.to_string();
        let federated = args
            .federated_issuer
            .as_ref()
            .zip(args.federated_subject.as_ref());
        let federated = federated.map(|(issuer, subject)| {
            json!({
                "name": "postern-gateway",
                "issuer": issuer,
                "subject": subject,
                "audiences": [args.federated_audience],
            })
        });
        let certificate = args.certificate.as_deref().map(|file| {
            Ok::<_, CliError>(json!({
                "type": "AsymmetricX509Cert",
                "usage": "Verify",
                "key": BASE64_STANDARD.encode(certificate(file)?),
            }))
        });
        Ok(Self {
            name: args.name.clone(),
            role: Role::Gateway {
                redirect_uri: format!("{}/oauth-callback", base.trim_end_matches('/')),
                federated,
                certificate: certificate.transpose()?,
            },
        })
    }

    /// Returns the scopes of another registration that it requests.
    pub(super) fn api(&self) -> Option<&Api> {
        match &self.role {
            Role::Bridge { api } => api.as_ref(),
            Role::Gateway { .. } => None,
        }
    }

    pub(super) fn federated(&self) -> Option<&Value> {
        match &self.role {
            Role::Bridge { .. } => None,
            Role::Gateway { federated, .. } => federated.as_ref(),
        }
    }

    /// Returns the `application` object. `api` is the `requiredResourceAccess` for another
    /// registration.
    pub(super) fn application(&self, api: Option<Value>) -> Value {
        let mut access = vec![resource(GRAPH_APP_ID, &SIGN_IN_SCOPES)];
        access.extend(api);
        let mut application = json!({
            "displayName": self.name,
            "signInAudience": "AzureADMyOrg",
            "requiredResourceAccess": access,
        });
        match &self.role {
            Role::Bridge { .. } => {
                application["isFallbackPublicClient"] = json!(true);
                application["publicClient"] = json!({ "redirectUris": [LOOPBACK_REDIRECT] });
            }
            Role::Gateway {
                redirect_uri,
                certificate,
                ..
            } => {
                application["web"] = json!({ "redirectUris": [redirect_uri] });
                application["api"] = json!({ "requestedAccessTokenVersion": 2 });
                if let Some(certificate) = certificate {
                    application["keyCredentials"] = json!([certificate]);
                }
            }
        }
        application
    }

    /// Returns all objects to create, with placeholders in angle brackets for the tenant's IDs.
    pub(super) fn documents(&self) -> Value {
        let api = self.api().map(|api| {
            let ids: Vec<_> = api
                .scopes
                .iter()
                .map(|scope| format!("<id of {scope}>"))
                .collect();
            resource(&format!("<client id of {}>", api.app), &ids)
        });
        let mut documents = json!({
            "application": self.application(api),
            "servicePrincipal": { "appId": "<the application's appId>" },
        });
        if let Some(federated) = self.federated() {
            documents["federatedIdentityCredential"] = federated.clone();
        }
        documents
    }
}

/// Returns an item of `requiredResourceAccess`.
pub(super) fn resource(app: &str, scopes: &[impl AsRef<str>]) -> Value {
    let scopes = scopes.iter().map(AsRef::as_ref);
    let access: Vec<_> = scopes
        .map(|id| json!({ "id": id, "type": "Scope" }))
        .collect();
    json!({ "resourceAppId": app, "resourceAccess": access })
}
