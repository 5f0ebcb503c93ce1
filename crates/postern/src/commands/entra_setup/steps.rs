//! The registration as steps in the Entra admin center.

use super::registration::{LOOPBACK_REDIRECT, Registration, Role};
use crate::error::CliError;

pub(super) fn text(registration: &Registration) -> Result<String, CliError> {
    let steps: String = steps(registration)
        .iter()
        .zip(1..)
        .map(|(step, number)| format!("  {number}. {step}\n"))
        .collect();
    let documents = serde_json::to_string_pretty(&registration.documents())?;
    Ok(format!(
        "In the Entra admin center (https://entra.microsoft.com), under App registrations:\n{steps}\nThe same for Microsoft Graph v1.0 (POST /applications, /servicePrincipals, /applications/{{id}}/federatedIdentityCredentials):\n{documents}\n\nWith --apply and a Microsoft Graph token, this command creates the registration."
    ))
}

fn steps(registration: &Registration) -> Vec<String> {
    let mut steps = vec![format!(
        "New registration: name `{}`, accounts in this organizational directory only, no redirect URI yet",
        registration.name
    )];
    match &registration.role {
        Role::Bridge { .. } => {
            steps.push(format!(
                "Authentication > Add a platform > Mobile and desktop applications > {LOOPBACK_REDIRECT}: without port and path, and on no other platform"
            ));
            steps.push("Authentication > Settings > Allow public client flows > Yes".to_owned());
        }
        Role::Gateway { redirect_uri, .. } => {
            steps.push(format!(
                "Authentication > Add a platform > Web > {redirect_uri}"
            ));
            steps.push("Manifest: \"requestedAccessTokenVersion\": 2 under \"api\"".to_owned());
        }
    }
    steps.push(
        "API permissions > Add a permission > Microsoft Graph > Delegated permissions: openid, profile, offline_access".to_owned(),
    );
    if let Some(api) = registration.api() {
        steps.push(format!(
            "API permissions > Add a permission > APIs my organization uses > {} > Delegated permissions: {}",
            api.app,
            api.scopes.join(", ")
        ));
    }
    steps.push(
        "API permissions > Grant admin consent, if users may not consent themselves".to_owned(),
    );
    steps.extend(credential_step(&registration.role));
    steps.push(config_step(registration));
    steps
}

/// Returns the step for a gateway's credential. Returns `None` for the bridge, a public client.
fn credential_step(role: &Role) -> Option<String> {
    let Role::Gateway {
        federated,
        certificate,
        ..
    } = role
    else {
        return None;
    };
    Some(match (federated, certificate) {
        (Some(federated), _) => format!(
            "Certificates & secrets > Federated credentials > Add credential > Other issuer: issuer {}, subject {}, audience {}",
            federated["issuer"].as_str().unwrap_or_default(),
            federated["subject"].as_str().unwrap_or_default(),
            federated["audiences"][0].as_str().unwrap_or_default()
        ),
        (None, Some(_)) => {
            "Certificates & secrets > Certificates > Upload certificate: the file that was named"
                .to_owned()
        }
        (None, None) => "Certificates & secrets > Federated credentials, or Certificates: prefer either to a client secret, which can be copied and expires".to_owned(),
    })
}

/// Returns the configuration that uses the registration, with `CLIENT` for the client ID.
pub(super) fn config_step(registration: &Registration) -> String {
    match &registration.role {
        Role::Bridge { api } => {
            let resource = api.as_ref().map_or("api://…", |api| &api.app);
            format!(
                "config.toml: auth = {{ kind = \"entra\", authority = \"https://login.microsoftonline.com/TENANT/v2.0\", client_id = \"CLIENT\", resource = \"{resource}\" }} under each server, with the ids of Overview"
            )
        }
        Role::Gateway { .. } => "gateway.toml: authority = \"https://login.microsoftonline.com/TENANT/v2.0\" and client_id = \"CLIENT\" under [entra], with the ids of Overview".to_owned(),
    }
}
