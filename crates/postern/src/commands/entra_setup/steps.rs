//! The registration as steps in Entra's portal.

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
        "In the Entra admin center (https://entra.microsoft.com), under App registrations:\n{steps}\nThe same for Microsoft Graph v1.0 (POST /applications, /servicePrincipals, /applications/{{id}}/federatedIdentityCredentials):\n{documents}\n\nWith --apply and a token for Microsoft Graph this command does it."
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
                "Authentication > Add a platform > Mobile and desktop applications > {LOOPBACK_REDIRECT}: without a port and a path, and on no other platform"
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
        "API permissions > Grant admin consent, where people may not consent by themselves"
            .to_owned(),
    );
    steps.extend(credential_step(&registration.role));
    steps.push(config_step(registration));
    steps
}

/// How a gateway proves itself.
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
        (None, None) => "Certificates & secrets > Federated credentials, or Certificates: either rather than a client secret, which can be copied and ends".to_owned(),
    })
}

/// What to write where with what the registration is called then.
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
