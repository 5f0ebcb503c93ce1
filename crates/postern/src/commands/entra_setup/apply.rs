//! Creates the registration, or adds what an existing one lacks.
//!
//! Invariants: all lookups precede the first write. Existing settings of other origin stay. A second
//! run changes nothing.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::graph::Graph;
use super::registration::{Api, Registration, Role, resource};
use super::steps;
use crate::error::CliError;
use crate::terminal;

/// The fields of an application that are compared.
const FIELDS: &str = "id,appId,displayName,isFallbackPublicClient,publicClient,web,spa,api,requiredResourceAccess,keyCredentials";

/// The fields of a federated credential that can be changed. Its name cannot.
const FEDERATED_FIELDS: [&str; 3] = ["issuer", "subject", "audiences"];

/// The existing objects.
struct Found {
    application: Option<Value>,
    has_principal: bool,
    /// The federated credential of the same name.
    federated: Option<Value>,
}

/// A change to an application, and its description for the user.
#[derive(Default)]
struct Change {
    fields: Map<String, Value>,
    summary: Vec<String>,
}

pub(super) async fn apply(
    graph: &Graph,
    registration: &Registration,
    client_id: Option<&str>,
) -> Result<(), CliError> {
    graph.check_permissions()?;
    let api = match registration.api() {
        Some(api) => Some(resolve(graph, api).await?),
        None => None,
    };
    let found = find_existing(graph, registration, client_id).await?;
    let wanted = registration.application(api);
    let (application, mut changed) = match &found.application {
        Some(known) => (known.clone(), update(graph, known, &wanted).await?),
        None => (create(graph, &wanted).await?, true),
    };
    changed |= complete(graph, registration, &found, &application).await?;
    if !changed {
        terminal::print("Nothing to change: everything is registered as it should be.");
    }
    for note in notes(registration, &application) {
        terminal::note(note);
    }
    let id = text(&application["appId"]);
    let next = steps::config_step(registration).replace("CLIENT", id);
    terminal::print(format_args!("Client id: {id}\nNext, {next}"));
    Ok(())
}

/// Looks up the IDs of the scopes of another registration.
async fn resolve(graph: &Graph, api: &Api) -> Result<Value, CliError> {
    let name = api.app.replace('\'', "''");
    let filter = format!("servicePrincipalNames/any(name:name eq '{name}')");
    let query = [
        ("$filter", filter.as_str()),
        ("$select", "appId,oauth2PermissionScopes"),
    ];
    let answer = graph.find("/servicePrincipals", &query).await?;
    let principals = list(answer.as_ref().map(|answer| &answer["value"]));
    let [principal] = principals else {
        return Err(CliError::new(format_args!(
            "{} registrations in this tenant match `{}`; nothing was changed; hint: pass the client ID of one with --api",
            principals.len(),
            api.app
        )));
    };
    let offered = list(Some(&principal["oauth2PermissionScopes"]));
    let id = |scope: &String| {
        let fitting = offered.iter().find(|one| one["value"] == json!(scope));
        fitting.map(|one| text(&one["id"])).ok_or_else(|| {
            let offered: Vec<_> = offered.iter().map(|one| text(&one["value"])).collect();
            CliError::new(format_args!(
                "`{}` has no scope `{scope}`; nothing was changed; hint: it has {}",
                api.app,
                offered.join(", ")
            ))
        })
    };
    let ids = api.scopes.iter().map(id).collect::<Result<Vec<_>, _>>()?;
    Ok(resource(text(&principal["appId"]), &ids))
}

async fn find_existing(
    graph: &Graph,
    registration: &Registration,
    client_id: Option<&str>,
) -> Result<Found, CliError> {
    let Some(id) = object_id(graph, registration, client_id).await? else {
        return Ok(Found {
            application: None,
            has_principal: false,
            federated: None,
        });
    };
    let path = format!("/applications/{id}");
    let application = graph.find(&path, &[("$select", FIELDS)]).await?;
    let application = application.unwrap_or_default();
    let principal = format!(
        "/servicePrincipals(appId='{}')",
        text(&application["appId"])
    );
    let has_principal = graph
        .find(&principal, &[("$select", "id")])
        .await?
        .is_some();
    let federated = match registration.federated() {
        Some(wanted) => {
            let path = format!("{path}/federatedIdentityCredentials");
            let known = graph.find(&path, &[]).await?;
            let known = list(known.as_ref().map(|known| &known["value"]));
            known
                .iter()
                .find(|one| one["name"] == wanted["name"])
                .cloned()
        }
        None => None,
    };
    Ok(Found {
        application: Some(application),
        has_principal,
        federated,
    })
}

/// Finds the application by its client ID, or else by its name. Returns its object ID, or `None` if
/// no application has that name.
async fn object_id(
    graph: &Graph,
    registration: &Registration,
    client_id: Option<&str>,
) -> Result<Option<String>, CliError> {
    let (field, value) = match client_id {
        Some(id) => ("appId", id),
        None => ("displayName", registration.name.as_str()),
    };
    let filter = format!("{field} eq '{}'", value.replace('\'', "''"));
    let query = [("$filter", filter.as_str()), ("$select", "id,appId")];
    let answer = graph.find("/applications", &query).await?;
    match (
        list(answer.as_ref().map(|answer| &answer["value"])),
        client_id,
    ) {
        ([one], _) => Ok(Some(text(&one["id"]).to_owned())),
        ([], None) => Ok(None),
        ([], Some(id)) => Err(CliError::new(format_args!(
            "this tenant has no registration with the client ID {id}; nothing was changed; hint: omit --client-id to create one"
        ))),
        (several, _) => {
            let ids: Vec<_> = several.iter().map(|one| text(&one["appId"])).collect();
            Err(CliError::new(format_args!(
                "several registrations are named `{value}`; nothing was changed; hint: choose one with --client-id: {}",
                ids.join(", ")
            )))
        }
    }
}

async fn create(graph: &Graph, wanted: &Value) -> Result<Value, CliError> {
    let made = graph.write(Method::POST, "/applications", wanted).await?;
    terminal::print(format_args!(
        "Created the registration `{}`.",
        text(&wanted["displayName"])
    ));
    Ok(made)
}

async fn update(graph: &Graph, known: &Value, wanted: &Value) -> Result<bool, CliError> {
    let Change { fields, summary } = change(known, wanted);
    if fields.is_empty() {
        return Ok(false);
    }
    let path = format!("/applications/{}", text(&known["id"]));
    graph.write(Method::PATCH, &path, &fields.into()).await?;
    for line in summary {
        terminal::print(format_args!(
            "Changed the registration `{}`: {line}.",
            text(&known["displayName"])
        ));
    }
    Ok(true)
}

/// Adds or updates the service principal and the federated credential. Returns whether anything
/// changed.
async fn complete(
    graph: &Graph,
    registration: &Registration,
    found: &Found,
    application: &Value,
) -> Result<bool, CliError> {
    let mut changed = false;
    if !found.has_principal {
        let principal = json!({ "appId": application["appId"] });
        graph.add("/servicePrincipals", &principal).await?;
        terminal::print("Created its service principal in this tenant.");
        changed = true;
    }
    let Some(wanted) = registration.federated() else {
        return Ok(changed);
    };
    let path = format!(
        "/applications/{}/federatedIdentityCredentials",
        text(&application["id"])
    );
    match &found.federated {
        None => {
            graph.add(&path, wanted).await?;
            terminal::print("Added its federated credential.");
            changed = true;
        }
        Some(known) if !is_same_credential(known, wanted) => {
            let path = format!("{path}/{}", text(&known["id"]));
            let fields = FEDERATED_FIELDS.map(|field| (field.to_owned(), wanted[field].clone()));
            let fields = Value::from(Map::from_iter(fields));
            graph.write(Method::PATCH, &path, &fields).await?;
            terminal::print("Changed its federated credential.");
            changed = true;
        }
        Some(_) => {}
    }
    Ok(changed)
}

fn is_same_credential(known: &Value, wanted: &Value) -> bool {
    FEDERATED_FIELDS
        .iter()
        .all(|field| known[field] == wanted[field])
}

/// Returns the change that adds what `known` lacks.
fn change(known: &Value, wanted: &Value) -> Change {
    let mut change = Change::default();
    if wanted["isFallbackPublicClient"] == true && known["isFallbackPublicClient"] != true {
        change.set("isFallbackPublicClient", json!(true));
        change
            .summary
            .push("public client flows are allowed".to_owned());
    }
    for platform in ["publicClient", "web"] {
        let (has, wants) = (
            &known[platform]["redirectUris"],
            &wanted[platform]["redirectUris"],
        );
        if let Some((all, new)) = united(has, wants, |one, other| one == other) {
            change.set(platform, json!({ "redirectUris": all }));
            let new: Vec<_> = new.iter().map(text).collect();
            change
                .summary
                .push(format!("redirect URI {} ({platform})", new.join(", ")));
        }
    }
    let version = &wanted["api"]["requestedAccessTokenVersion"];
    if !version.is_null() && known["api"]["requestedAccessTokenVersion"] != *version {
        change.set("api", json!({ "requestedAccessTokenVersion": version }));
        change
            .summary
            .push(format!("access tokens of version {version}"));
    }
    let (has, wants) = (&known["keyCredentials"], &wanted["keyCredentials"]);
    if let Some((all, _)) = united(has, wants, |one, other| one["key"] == other["key"]) {
        change.set("keyCredentials", all.into());
        change.summary.push("the certificate".to_owned());
    }
    if let Some(access) = access(
        &known["requiredResourceAccess"],
        &wanted["requiredResourceAccess"],
    ) {
        change.set("requiredResourceAccess", access);
        change.summary.push("API permissions".to_owned());
    }
    change
}

impl Change {
    fn set(&mut self, field: &str, value: Value) {
        self.fields.insert(field.to_owned(), value);
    }
}

/// Returns the union of both lists and the new items. Returns `None` if there are no new items.
fn united(
    has: &Value,
    wants: &Value,
    same: impl Fn(&Value, &Value) -> bool,
) -> Option<(Vec<Value>, Vec<Value>)> {
    let has = list(Some(has));
    let wants = list(Some(wants)).iter();
    let new: Vec<_> = wants
        .filter(|want| !has.iter().any(|one| same(one, want)))
        .cloned()
        .collect();
    (!new.is_empty()).then(|| ([has, &new].concat(), new))
}

/// Returns the union of both lists of permissions. Returns `None` if there are no new permissions.
fn access(has: &Value, wants: &Value) -> Option<Value> {
    let mut all = list(Some(has)).to_vec();
    let mut grown = false;
    for want in list(Some(wants)) {
        let known = all
            .iter_mut()
            .find(|one| one["resourceAppId"] == want["resourceAppId"]);
        let Some(known) = known else {
            all.push(want.clone());
            grown = true;
            continue;
        };
        let (has, wants) = (&known["resourceAccess"], &want["resourceAccess"]);
        if let Some((united, _)) = united(has, wants, |one, other| one["id"] == other["id"]) {
            known["resourceAccess"] = united.into();
            grown = true;
        }
    }
    grown.then(|| all.into())
}

/// Returns warnings about existing settings that conflict and are not changed.
fn notes(registration: &Registration, application: &Value) -> Vec<String> {
    let (uri, others) = match &registration.role {
        Role::Bridge { .. } => (super::registration::LOOPBACK_REDIRECT, ["web", "spa"]),
        Role::Gateway { redirect_uri, .. } => (redirect_uri.as_str(), ["publicClient", "spa"]),
    };
    let stands_in = |platform: &&str| {
        let uris = list(Some(&application[*platform]["redirectUris"]));
        uris.iter()
            .any(|one| text(one).trim_end_matches('/') == uri)
    };
    others
        .into_iter()
        .filter(|platform| stands_in(platform))
        .map(|platform| {
            format!(
                "warning: {uri} is registered under `{platform}` too, and Entra may use either\nhint: remove it there, under Authentication of the registration"
            )
        })
        .collect()
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
